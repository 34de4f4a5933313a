"""A phantom chest with known truth: its anatomy, its tissue, and its files."""
