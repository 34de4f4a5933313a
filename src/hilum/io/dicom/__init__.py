"""DICOM series in: headers, stacks of slices, Hounsfield units. Knows no other format."""
