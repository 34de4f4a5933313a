"""Label maps that come with a scan, structure sets and segmentations."""
