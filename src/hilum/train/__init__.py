"""What training needs of a finished run: slices, patches, data sets of patches, the score of detections."""
