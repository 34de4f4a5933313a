"""Boxes and rotated patches of a volume, for training."""
