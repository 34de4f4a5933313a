"""What one file says about its frames: the quick way for a plain header, pydicom for the rest."""

from __future__ import annotations

import io
import os
from importlib import import_module
from typing import TYPE_CHECKING

from hilum.io.dicom.fast_header import HEAD, first_look, walk
from hilum.io.dicom.fields import header_from
from hilum.io.dicom.sniff import PEEK, start_of

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.io.dicom.records import Header


def read_headers(root: Path, name: str) -> list[Header] | None:
    """Read what one file says about its frames.

    Parameters
    ----------
    root : Path
        The folder searched.
    name : str
        The file, relative to it.

    Returns
    -------
    list of Header or None
        One per frame, without any value if the file is too damaged to tell; empty for a DICOM directory;
        None for what is not DICOM.

    Raises
    ------
    OSError
        If the file may not be read.
    """
    path = f"{root}{os.sep}{name}"  # a Path made of each name takes longer than opening the file
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(file).st_size
        head = os.read(file, first_look(size))
        walked = walk(head, size)
        if walked is None and len(head) < min(size, HEAD):
            head += os.read(file, HEAD - len(head))
            walked = walk(head, size)
    finally:
        os.close(file)
    start = start_of(head[:PEEK])
    if start < 0:
        return None
    if walked is not None:
        return [header_from(walked.fields, name, walked.syntax, walked.place)]
    with io.BufferedReader(io.FileIO(path)) as source:
        headers: list[Header] = import_module("hilum.io.dicom.by_pydicom").headers_by_pydicom(source, name, start, size)
    return headers
