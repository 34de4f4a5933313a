"""Recognize DICOM files by their first bytes."""

from __future__ import annotations

PREAMBLE = 128
"""A Part 10 file starts with 128 free bytes, then ``DICM`` (PS3.10 section 7.1)."""

PEEK = PREAMBLE + 4


def start_of(head: bytes) -> int:
    """Find where the DICOM part of a file starts.

    Parameters
    ----------
    head : bytes
        The first `PEEK` bytes of the file, or the whole file if it is shorter.

    Returns
    -------
    int
        0 for a regular Part 10 file and for one without file meta information, 4 for one that lost its
        preamble, -1 for a file that is not DICOM.
    """
    if head[PREAMBLE:PEEK] == b"DICM":
        return 0
    if head[:4] == b"DICM":
        return 4
    return 0 if _is_bare_dataset(head) else -1


def _is_bare_dataset(head: bytes) -> bool:
    """Whether a file starts with a data element of group 2 or 8, little endian, as old archives wrote it."""
    if len(head) < 12 or head[:2] not in {b"\x02\x00", b"\x08\x00"} or head[3] != 0:
        return False
    if head[4:6].isalpha() and head[4:6].isupper():
        return True
    return int.from_bytes(head[4:8], "little") <= 256  # implicit VR: a short first value
