"""Read the labels of a scan: label maps, structure sets, segmentations."""
