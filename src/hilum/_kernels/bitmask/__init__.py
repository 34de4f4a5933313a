"""Bit masks, 64 voxels to a word: morphology, edges and statistics."""
