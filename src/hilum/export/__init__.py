"""A finished run in the formats of other programs: nnU-Net, MONAI, DICOM-SEG, tables of boxes."""
