"""Label maps that come with a scan: filled from contours, and brought to another grid."""
