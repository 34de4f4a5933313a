"""The headers of all frames of one file: a fast parser for plain headers, pydicom for the others."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from hilum.io.dicom.fast_header import HEAD, first_read_size, read_plain_header
from hilum.io.dicom.fields import header_from
from hilum.io.dicom.sniff import PEEK, start_of

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.io.dicom.records import SliceHeader


def read_headers(root: Path, name: str) -> list[SliceHeader] | None:
    """Read the headers of all frames of one file.

    Parameters
    ----------
    root : Path
        The folder searched.
    name : str
        The file, relative to it.

    Returns
    -------
    list of SliceHeader or None
        One per frame. A header that is too damaged to read has no values; a DICOM directory gives an empty list. None
        for a file that is not DICOM.

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    """
    path = f"{root}{os.sep}{name}"  # making a Path of each name takes longer than opening the file
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(file).st_size
        head = os.read(file, first_read_size(size))
        plain = read_plain_header(head, size)
        if plain is None and len(head) < min(size, HEAD):
            head += os.read(file, HEAD - len(head))
            plain = read_plain_header(head, size)
    finally:
        os.close(file)
    start = start_of(head[:PEEK])
    if start < 0:
        return None
    if plain is not None:
        return [header_from(name, *plain)]
    from hilum.io.dicom.by_pydicom import headers_by_pydicom

    with io.BufferedReader(io.FileIO(path)) as source:
        return headers_by_pydicom(source, name, start, size)
