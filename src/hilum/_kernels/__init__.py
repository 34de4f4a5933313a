"""Compiled loops over bare arrays; each has a slow, obvious oracle in its test."""
