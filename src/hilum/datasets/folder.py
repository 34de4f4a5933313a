"""Any file, or any folder: every volume file and every CT series in it is a scan."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import InputError, MissingInputError
from hilum.io import READERS, is_volume, read, suffix_of
from hilum.io.files import is_there
from hilum.io.values import is_uid
from hilum.scan import Scan, ScanRef

if TYPE_CHECKING:
    from hilum.io.dicom_records import Stack

_ID_DIGITS = 16

_LEVELS = 3
"""How deep subfolders are indexed each by itself: patients, studies, series."""


class _Listed(NamedTuple):
    """Where a series lies, what it is called where it has no UID, and its files relative to the folder."""

    folder: Path
    tag: str
    files: tuple[str, ...]


def index(root: Path, annotations: Path | None = None) -> list[ScanRef]:
    """List the scans of a file or folder, reading headers only.

    Parameters
    ----------
    root : Path
        A volume file, a DICOM file, or a folder that is searched with its subfolders.
    annotations : Path, optional
        A LUNA16 csv that every scan listed gets.

    Returns
    -------
    list of ScanRef
        Volume files first, then CT series, each in a fixed order; ids are unique.

    Raises
    ------
    InputError
        If there is no such path or nothing in it that could be a scan.
    """
    if not is_there(root):
        raise MissingInputError("there is no such file or folder", where=root, do="check the path")
    if root.is_file() or is_volume(root):
        return [_ref(root, "", annotations, tag=root.stem)]
    found = [_ref(path, "", annotations, tag=str(path.relative_to(root))) for path in _volume_files(root)]
    found += _dicom_series(root, annotations, quiet=bool(found))
    return _unique(found)


def load(ref: ScanRef, *, max_gap_mm: float | None = None) -> Scan:
    """Load a scan that `index` listed.

    Parameters
    ----------
    ref : ScanRef
    max_gap_mm : float, optional
        As `hilum.read` takes it.

    Returns
    -------
    Scan

    Raises
    ------
    InputError
        As `hilum.read` does.
    """
    return read(ref.path, series=ref.series_uid, annotations=ref.annotations, max_gap_mm=max_gap_mm)


def scan_id_of(series_uid: str) -> str:
    """Name a scan's output folder after its series, without showing any text of the file.

    Parameters
    ----------
    series_uid : str
        A Series Instance UID, or whatever stands for it.

    Returns
    -------
    str
        ``ct-`` and 16 hexadecimal digits of a SHA-256.
    """
    return "ct-" + hashlib.sha256(series_uid.encode("utf-8", "replace")).hexdigest()[:_ID_DIGITS]


def _ref(path: Path, series_uid: str, annotations: Path | None, *, tag: str, files: tuple[str, ...] = ()) -> ScanRef:
    stem = path.name[: -len(suffix_of(path))] if suffix_of(path) else path.name
    uid = series_uid or (stem if is_uid(stem) else "")
    return ScanRef("folder", scan_id_of(uid or tag), path, series_uid, annotations, files=files)


def _volume_files(root: Path) -> list[Path]:
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
        found += [path for path in paths if suffix_of(path) in READERS and path.is_file()]
    return found


def _dicom_series(root: Path, annotations: Path | None, *, quiet: bool) -> list[ScanRef]:
    """List the CT series; `quiet` where other scans were found, so that a folder without DICOM is no error.

    Folder by folder: the headers of thousands of series need not be in memory at once.
    """
    parts = _parts(root)
    found: dict[str, _Listed] = {}
    for part in parts:
        try:
            listed = _list_part(part)
        except InputError:
            if len(parts) == 1 and not quiet:
                raise
            continue
        for uid, one in listed.items():
            found[uid] = _joined(found[uid], one) if uid in found else one
    if not found and not quiet:
        _list_part(root)  # says why
    return [_ref(one.folder, uid, annotations, tag=one.tag, files=one.files) for uid, one in sorted(found.items())]


def _joined(first: _Listed, second: _Listed) -> _Listed:
    """A series that lies in several folders."""
    folder = Path(os.path.commonpath([first.folder, second.folder]))
    names = [(one.folder / name).relative_to(folder).as_posix() for one in (first, second) for name in one.files]
    return _Listed(folder, first.tag, tuple(sorted(names)))


def _list_part(part: Path) -> dict[str, _Listed]:
    """The CT series below a folder, by their UIDs."""
    from hilum.io.dicom import index_dicom
    from hilum.io.dicom_index import list_series

    series = list_series(part)
    found = {uid: _Listed(one.folder, "", one.files) for uid, one in series.items() if uid}
    if series and "" not in series:
        return found
    # A series that was split into several stacks is one scan: reading it takes the largest, and says so.
    first = next(stack for stack in index_dicom(part) if not stack.series_uid)
    tag = f"{first.slices[0].sop_uid} {first.slices[0].path}"
    return {**found, "": _Listed(_folder_of(part, first), tag, ())}


def _parts(root: Path) -> list[Path]:
    """The folders that hold everything below a root, as small as a few levels of looking find them."""
    parts = [root]
    for _ in range(_LEVELS):
        parts = [sub for part in parts for sub in _subfolders(part)]
    return parts


def _subfolders(folder: Path) -> list[Path]:
    """The folders in a folder; itself where files lie beside them."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
            folders = [Path(entry.path) for entry in listed if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return [folder]
    return folders if folders and len(folders) == len(listed) else [folder]


def _folder_of(root: Path, stack: Stack) -> Path:
    """The deepest folder that holds all slices: loading one series need not walk the whole tree again."""
    return root / os.path.commonpath([Path(header.path).parent for header in stack.slices])


def _unique(refs: list[ScanRef]) -> list[ScanRef]:
    seen: dict[str, int] = {}
    out = []
    for ref in refs:
        seen[ref.scan_id] = count = seen.get(ref.scan_id, 0) + 1
        renamed = ref.scan_id if count == 1 else f"{ref.scan_id}-{count}"
        out.append(replace(ref, scan_id=renamed))
    return out
