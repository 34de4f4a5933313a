"""LIDC-IDRI as The Cancer Imaging Archive gives it: DICOM series in folders, their readers' XML anywhere among them.

A reading belongs to the series that it names; names of files and folders decide nothing, but a folder that is called
after a case lends its name to the scan.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hilum.datasets import folder
from hilum.datasets.listing import Listing
from hilum.errors import InputError, MissingInputError
from hilum.io import header_uid, is_volume, scan_names
from hilum.io.annotations.lidc_xml import series_of
from hilum.io.files import is_there
from hilum.io.folder_listing import list_folder
from hilum.io.names import safe_name
from hilum.io.uids import is_uid
from hilum.scan import DatasetEntry, Note, Scan, ScanRef

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CASE = re.compile(r"LIDC-IDRI-[0-9]{4}")


@dataclass
class _Readings:
    """XML files by the series they read; those of whose series nothing could be read, by their folder."""

    of_series: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    damaged: defaultdict[Path, list[Path]] = field(default_factory=lambda: defaultdict(list))
    xrays: int = 0


def recognize(root: Path) -> bool:
    """Whether a path has the shape of LIDC-IDRI: a folder in which the first XML file is a reading.

    Parameters
    ----------
    root : Path

    Returns
    -------
    bool
    """
    if not is_there(root) or not root.is_dir():
        return False
    for path in _xml_files(root):
        try:
            return bool(series_of(path))
        except InputError as refusal:
            if refusal.code != "xray-message":
                return False
    return False


def index(root: Path, annotations: Path | None = None) -> Listing:
    """List the CT series of a tree, each with its reading; headers are read, no voxels.

    A series gets the reading that names its Series Instance UID. Where none does and an XML file that cannot be read
    lies in the folder of that series alone, it counts as its reading, so that the scan is refused and not taken for
    one that nobody read. Readings of X-ray images, and of series that are not there, belong to no scan.

    Parameters
    ----------
    root : Path
        A folder that is searched with its subfolders.
    annotations : Path, optional
        An XML file, or a folder of them, in place of those in `root`.

    Returns
    -------
    Listing
        Ids begin with the case where a folder is called after one (``LIDC-IDRI-0001``); readings that belong to no
        scan are counted.

    Raises
    ------
    InputError
        If there is no such path, or nothing in it that could be a scan.
    """
    readings = _find_readings(root if annotations is None else annotations)
    listing = folder.index(root)
    refs = listing.refs
    alone = defaultdict(list)
    for ref in refs:
        alone[ref.path if ref.path.is_dir() else ref.path.parent].append(ref)
    paired = [_pair(ref, root, readings, alone) for ref in refs]
    notes = [*listing.notes, *_left_over(readings, paired)]
    return Listing(paired, notes=notes, refused=listing.refused)


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
        Annotated where a reading was found; elsewhere a note says that there is none.

    Raises
    ------
    InputError
        As `hilum.read` does.
    """
    known = ref.known or DatasetEntry()
    scan = folder.load(ref, max_gap_mm=max_gap_mm)
    own = [note for note in scan.notes if not _tells_of_the_reading(note, ref)]
    return replace(scan, notes=tuple(own) if known.annotated else (*own, *known.notes))


def _tells_of_the_reading(note: Note, ref: ScanRef) -> bool:
    """Whether a note says that the reading, and nothing else, was ignored because it is not DICOM."""
    beside = ref.annotations is not None and ref.annotations.is_relative_to(ref.path)
    return note.code == "ignored-files" and beside and note.text.startswith("1 files ")


def _pair(ref: ScanRef, root: Path, readings: _Readings, alone: dict[Path, list[ScanRef]]) -> ScanRef:
    found = readings.of_series.get(_uid(ref), [])
    home = ref.path if ref.path.is_dir() else ref.path.parent
    if not found and len(alone[home]) == 1:
        found = readings.damaged.get(home.resolve(), [])
    notes = []
    if not found:
        notes.append(Note("no-reading", "no reading of this series was found: nobody is known to have looked"))
    if len(found) > 1 and len({path.read_bytes() for path in found}) > 1:
        what = f"{len(found)} different readings of this series: took the first by path{_called(found[0])}"
        notes.append(Note("several-readings", what))
    return _named(replace(ref, known=DatasetEntry(notes=tuple(notes))), root, found[0] if found else None)


def _named(ref: ScanRef, root: Path, annotations: Path | None) -> ScanRef:
    """A scan of this data set, called after its case where a folder tells it."""
    case = next((part for part in ref.path.relative_to(root).parts if _CASE.fullmatch(part)), "")
    name = f"{case}-{ref.scan_id.removeprefix('ct-')}" if case else ref.scan_id
    return replace(ref, dataset="lidc", scan_id=name, annotations=annotations)


def _left_over(readings: _Readings, refs: list[ScanRef]) -> list[Note]:
    used = {_uid(ref) for ref in refs}
    absent = [paths[0] for uid, paths in sorted(readings.of_series.items()) if uid not in used]
    taken = {ref.annotations for ref in refs}
    damaged = [path for paths in readings.damaged.values() for path in paths if path not in taken]
    notes = []
    for paths, what in ((absent, "read series that are not here"), (damaged, "are damaged or name no series")):
        if paths:
            names = [name for path in paths if (name := safe_name(path.name))][:3]
            rest = f" and {len(paths) - len(names)} more" if names and len(paths) > len(names) else ""
            some = f": {', '.join(names)}{rest}" if names else ""
            notes.append(Note("readings-without-scan", f"{len(paths)} XML files {what}{some}"))
    if readings.xrays:
        notes.append(Note("xray-readings", f"{readings.xrays} readings of X-ray images belong to no CT: ignored"))
    return notes


def _called(path: Path) -> str:
    """The name of a file where that may be shown, to stand after a comma."""
    return f", {safe_name(path.name)}" if safe_name(path.name) else ""


def _find_readings(root: Path) -> _Readings:
    if not is_there(root):
        raise MissingInputError("there is no such file or folder", where=root, do="check the path")
    found = _Readings()
    for path in _xml_files(root):
        try:
            uid = series_of(path)
        except InputError as refusal:
            if refusal.code == "xray-message":
                found.xrays += 1
            else:
                found.damaged[path.parent.resolve()].append(path)
            continue
        if uid:
            found.of_series[uid].append(path)
        else:
            found.damaged[path.parent.resolve()].append(path)
    return found


def _xml_files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for name in list_folder(root).files:
        if name.lower().endswith(".xml"):
            yield root / name


def _uid(ref: ScanRef) -> str:
    """The series of a listed scan; a volume file is called after it, or names it in its header."""
    if ref.series_uid or not is_volume(ref.path):
        return ref.series_uid
    stem = scan_names(ref.path)[0]
    return stem if is_uid(stem) else header_uid(ref.path)
