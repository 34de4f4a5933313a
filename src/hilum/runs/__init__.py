"""A finished run as a value: its scans, read when they are asked for, its folds, and a table of its measurements."""
