"""Annotations in: LUNA16's csv files, LIDC-IDRI's XML."""
