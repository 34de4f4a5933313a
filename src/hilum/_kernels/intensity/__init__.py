"""Voxel values: stored values to HU, histograms, lookup tables."""
