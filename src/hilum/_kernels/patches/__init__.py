"""Training patches cut out of a volume, as they lie or rotated."""
