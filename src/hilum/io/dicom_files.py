"""Which files of a folder may be DICOM: a walk that never leaves it, and a look at the first bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

PREAMBLE = 128
"""A Part 10 file starts with 128 free bytes, then ``DICM`` (PS3.10 section 7.1)."""

PEEK = PREAMBLE + 4


class Found(NamedTuple):
    """What a walk met.

    Parameters
    ----------
    files : list of str
        Paths relative to the root, sorted; regular files only.
    links : int
        Linked folders, not followed.
    locked : int
        Folders that may not be opened.
    """

    files: list[str]
    links: int
    locked: int


def find_files(root: Path) -> Found:
    """List the regular files of a folder and its subfolders.

    Hidden names are left out; linked folders are not followed, so that no loop is walked and nothing outside
    is read; links to files, pipes and devices count only if a regular file is behind them.

    Parameters
    ----------
    root : Path

    Returns
    -------
    Found
    """
    files: list[str] = []
    links = locked = 0
    open_folders = [""]
    while open_folders:
        folder = open_folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                listed = [e for e in entries if not e.name.startswith(".")]
        except OSError:
            locked += 1
            continue
        for entry in listed:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                open_folders.append(name)
            elif _is_regular(entry):
                files.append(name)
            elif entry.is_symlink() and Path(entry.path).is_dir():
                links += 1
    return Found(sorted(files), links, locked)


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def start_of(head: bytes) -> int:
    """Where the DICOM part of a file starts, judged by its first bytes.

    Parameters
    ----------
    head : bytes
        The first `PEEK` bytes of the file, or all of it.

    Returns
    -------
    int
        0 for a regular Part 10 file and for one without file meta information, 4 for one that lost its
        preamble, -1 for what is not DICOM.
    """
    if head[PREAMBLE:PEEK] == b"DICM":
        return 0
    if head[:4] == b"DICM":
        return 4
    return 0 if _bare_dataset(head) else -1


def _bare_dataset(head: bytes) -> bool:
    """Whether a file starts with a data element of group 2 or 8, little endian, as old archives wrote it."""
    if len(head) < 12 or head[:2] not in {b"\x02\x00", b"\x08\x00"} or head[3] != 0:
        return False
    if head[4:6].isalpha() and head[4:6].isupper():
        return True
    return int.from_bytes(head[4:8], "little") <= 256  # implicit VR: a short first value
