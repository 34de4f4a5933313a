"""Nodules: from world millimetres and readers' outlines to masks."""
