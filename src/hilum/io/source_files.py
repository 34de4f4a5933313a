"""The files that make up a scan: those of a folder, or a volume file and the data files that its header names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hilum.errors import HilumError
from hilum.io.files import HEADER_LIMIT, data_path, open_file
from hilum.io.volumes.metaimage import read_metaimage_header
from hilum.io.volumes.nrrd import read_nrrd_header

if TYPE_CHECKING:
    from pathlib import Path

_DATA_FILE = re.compile(rb"^ElementDataFile[ \t]*=[ \t]*([^\r\n]+)", re.MULTILINE)

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

_SPECIAL = frozenset({"LOCAL", "LIST"})


def list_source_files(root: Path) -> list[tuple[str, Path]]:
    """List the files that make up a scan.

    Parameters
    ----------
    root : Path
        A folder, with its subfolders; or a file.

    Returns
    -------
    list of tuple of str and Path
        The name of each file relative to the folder, and its path; sorted. A header that names data files is the
        first, before them. A header that cannot be read, or names files that it must not, is the only one: its reader
        refuses it.
    """
    if root.is_dir():
        return [(path.relative_to(root).as_posix(), path) for path in sorted(root.rglob("*")) if path.is_file()]
    if root.suffix.lower() == ".npy":
        geometry = root.with_suffix(".json")
        return [(path.name, path) for path in (root, geometry) if path == root or path.is_file()]
    return [(root.name, root), *((name, path) for name, path in _data_files(root) if path.is_file())]


def _data_files(header: Path) -> list[tuple[str, Path]]:
    """The data files of a MetaImage or NRRD header."""
    suffix = header.suffix.lower()
    if suffix == ".mhd" and (name := _plain_data_file(header)):
        return [(name, header.with_name(name))]
    names: tuple[str, ...] = ()
    try:
        if suffix == ".mhd":
            names = read_metaimage_header(header).files
        elif suffix in {".nhdr", ".nrrd"}:
            names = tuple(filter(None, [read_nrrd_header(header).file]))
        return [(name, data_path(header, name)) for name in names]
    except (HilumError, OSError):
        return []


def _plain_data_file(header: Path) -> str:
    """The one data file of nearly every MetaImage header, in the same folder; empty for other headers.

    A resumed run calls this for thousands of scans, so it does not parse the whole header.
    """
    try:
        with open_file(header) as handle:
            match = _DATA_FILE.search(handle.read(HEADER_LIMIT))
    except (HilumError, OSError):
        return ""
    name = match[1].decode("utf-8", "replace").strip() if match else ""
    return "" if name.upper() in _SPECIAL or not _PLAIN.fullmatch(name) else name
