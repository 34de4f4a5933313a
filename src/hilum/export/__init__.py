"""A finished output in the forms of other programs: nnU-Net, MONAI, DICOM-SEG, tables of boxes."""
