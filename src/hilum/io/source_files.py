"""The files that make up a scan or a model: those of a folder, or a header with its data files."""

import re
from pathlib import Path

from hilum.errors import InputError
from hilum.io import files
from hilum.io.volumes import metaimage
from hilum.io.volumes.nrrd import read_nrrd_header

_DATA_FILE = re.compile(rb"^ElementDataFile[ \t]*=[ \t]*([^\r\n]+)", re.MULTILINE)


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
        return [(path.name, path) for path in (root, root.with_suffix(".json")) if path == root or path.is_file()]
    return [(root.name, root), *((name, path) for name, path in _data_files(root) if path.is_file())]


def _data_files(header: Path) -> list[tuple[str, Path]]:
    """The data files of a MetaImage or NRRD header."""
    suffix = header.suffix.lower()
    if suffix == ".mhd" and (name := _plain_data_file(header)):
        return [(name, header.with_name(name))]
    read_headers = {".mhd": metaimage.read_metaimage_header, ".nhdr": read_nrrd_header, ".nrrd": read_nrrd_header}
    try:
        names = read_headers[suffix](header).files if suffix in read_headers else ()
        return [(name, files.data_path(header, name)) for name in names]
    except (InputError, OSError):
        return []


def _plain_data_file(header: Path) -> str:
    """The one data file of nearly every MetaImage header, in the same folder; empty for other headers.

    A resumed run calls this for thousands of scans, so it does not parse the whole header.
    """
    try:
        with files.open_file(header) as handle:
            match = _DATA_FILE.search(handle.read(files.HEADER_LIMIT))
    except (InputError, OSError):
        return ""
    name = match[1].decode("utf-8", "replace").strip() if match else ""
    return "" if name.upper() in {"LOCAL", "LIST"} or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) else name
