"""Which files a scan lies in: those of a folder, or a volume file and the data files that its header names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hilum.errors import HilumError
from hilum.io.files import HEADER_LIMIT, data_path, open_file

if TYPE_CHECKING:
    from pathlib import Path

_DATA_FILE = re.compile(rb"^ElementDataFile[ \t]*=[ \t]*([^\r\n]+)", re.MULTILINE)

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

_SPECIAL = frozenset({"LOCAL", "LIST"})


def list_source_files(root: Path) -> list[tuple[str, Path]]:
    """List the files behind a path.

    Parameters
    ----------
    root : Path
        A folder, with its subfolders; or a file.

    Returns
    -------
    list of tuple of str and Path
        The name of each file relative to the folder, and where it lies; sorted, and the header first where it names
        others. A header that cannot be read, or that names files it must not, stands alone: its reader refuses it.
    """
    if root.is_dir():
        return [(path.relative_to(root).as_posix(), path) for path in sorted(root.rglob("*")) if path.is_file()]
    if root.suffix.lower() == ".npy":  # its place lies beside it
        beside = root.with_suffix(".json")
        return [(path.name, path) for path in (root, beside) if path == root or path.is_file()]
    named = _named_by(root)
    return [(root.name, root), *((name, path) for name, path in named if path.is_file())]


def _named_by(header: Path) -> list[tuple[str, Path]]:
    """The data files of a MetaImage or NRRD header."""
    kind = header.suffix.lower()
    if kind == ".mhd" and (plain := _plain_name(header)):
        return [(plain, header.with_name(plain))]
    names: tuple[str, ...] = ()
    try:
        if kind == ".mhd":
            from hilum.io.volumes.metaimage_header import read_header

            with open_file(header) as handle:
                names = read_header(handle, header).files
        elif kind in {".nhdr", ".nrrd"}:
            from hilum.io.volumes.nrrd import data_file

            names = tuple(filter(None, [data_file(header)]))
        return [(name, data_path(header, name)) for name in names]
    except (HilumError, OSError):
        return []


def _plain_name(header: Path) -> str:
    """The one data file of a MetaImage header that lies beside it, as nearly all do; empty where it is not so plain.

    A run that goes on asks this of thousands of scans, and no more than this.
    """
    try:
        with open_file(header) as handle:
            match = _DATA_FILE.search(handle.read(HEADER_LIMIT))
    except (HilumError, OSError):
        return ""
    name = match[1].decode("utf-8", "replace").strip() if match else ""
    return "" if name.upper() in _SPECIAL or not _PLAIN.fullmatch(name) else name
