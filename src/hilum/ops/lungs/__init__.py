"""Lung segmentation: one function, a table of methods."""
