"""Sets of voxels, 64 to a word: morphology, edges, counts."""
