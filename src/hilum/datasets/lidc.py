"""LIDC-IDRI from The Cancer Imaging Archive: DICOM series in folders, with their readings as XML files among them.

A reading belongs to the series that it names; the names of files and folders do not matter. Only the id of a scan
begins with its case, if a folder is named after one.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from hilum.datasets import folder
from hilum.datasets.listing import Listing, id_of_case, series_uid_of
from hilum.errors import InputError, MissingInputError
from hilum.io import files, folders
from hilum.io.annotations.lidc_xml import parse_message, series_of
from hilum.io.names import safe_name
from hilum.io.read_options import DEFAULT, ReadOptions
from hilum.scan import Note, Scan
from hilum.scan_ref import DatasetEntry, ScanRef

_CASE = re.compile(r"LIDC-IDRI-[0-9]{4}")


@dataclass
class _ReadingFiles:
    """XML files by their series, files without a readable series by their folder, and the number of X-ray readings."""

    of_series: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    damaged: defaultdict[Path, list[Path]] = field(default_factory=lambda: defaultdict(list))
    xrays: int = 0


def recognize(root: Path) -> bool:
    """Whether the first XML file of a folder is a reading of CT."""
    for path in _xml_files(root):
        try:
            return bool(series_of(path))
        except InputError as refusal:
            if refusal.code != "xray-message":
                return False
    return False


def index(root: Path, annotations: Path | None = None) -> Listing:
    """List the CT series of a folder with their readings, without reading voxels.

    A series gets the reading that names its Series Instance UID. If there is none, and the folder of that series alone
    has an XML file that cannot be read, this file counts as its reading: the scan is refused, and does not pass for
    one that nobody read. Readings of X-ray images, and of series that are not here, belong to no scan.

    Parameters
    ----------
    root : Path
        A folder that is searched with its subfolders.
    annotations : Path, optional
        An XML file, or a folder of them, that replaces those in `root`.

    Returns
    -------
    Listing
        Ids begin with the case if a folder is named after one (``LIDC-IDRI-0001``). Readings that belong to no scan
        are counted.

    Raises
    ------
    InputError
        If there is no such path, or nothing in it that could be a scan.
    """
    readings = _find_readings(root if annotations is None else annotations)
    listing = folder.index(root)
    scans_in = Counter(map(_folder_of, listing.refs))
    refs = [_with_reading(ref, root, readings, alone=scans_in[_folder_of(ref)] == 1) for ref in listing.refs]
    return replace(listing, refs=refs, notes=[*listing.notes, *_unused_reading_notes(readings, refs)])


def load(ref: ScanRef, *, options: ReadOptions = DEFAULT) -> Scan:
    """Load a scan, as `hilum.datasets.Dataset.load`: with its reading, or a note that there is none."""
    scan = folder.load(ref, options=options)
    notes = [note for note in scan.notes if not _is_about_the_reading(note, ref)]
    return replace(scan, notes=(*notes, *(note for note in ref.known.notes if note not in notes)))


def _is_about_the_reading(note: Note, ref: ScanRef) -> bool:
    """Whether a note reports only the reading as a file that is not DICOM."""
    among_slices = ref.annotations is not None and ref.annotations.is_relative_to(ref.path)
    return note.code == "ignored-files" and among_slices and note.text.startswith("1 files ")


def _folder_of(ref: ScanRef) -> Path:
    return ref.path if ref.path.is_dir() else ref.path.parent


def _with_reading(ref: ScanRef, root: Path, readings: _ReadingFiles, *, alone: bool) -> ScanRef:
    """A scan of this data set with its reading; `alone` if its folder has no other scan."""
    paths = readings.of_series.get(series_uid_of(ref), [])
    if not paths and alone:
        paths = readings.damaged.get(_folder_of(ref).resolve(), [])
    notes = []
    if not paths:
        notes.append(Note("no-reading", "this series has no reading: nobody is known to have looked for nodules"))
    if len(paths) > 1 and (several := _count_readings(paths)) > 1:
        name = f", {safe_name(paths[0].name)}" if safe_name(paths[0].name) else ""
        what = f"{several} different readings of this series: took the first by path{name}"
        notes.append(Note("several-readings", what))
    case = next((part for part in ref.path.relative_to(root).parts if _CASE.fullmatch(part)), "")
    scan_id = id_of_case(case, ref.scan_id)
    known, annotations = DatasetEntry(notes=tuple(notes)), paths[0] if paths else None
    return replace(ref, dataset="lidc", scan_id=scan_id, annotations=annotations, known=known)


def _count_readings(paths: list[Path]) -> int:
    """Count the files that say different things; the id of the message, white space and order do not count."""
    if len(contents := {path.read_bytes(): path for path in paths}) == 1:
        return 1
    said = set()
    for raw, path in contents.items():
        try:
            said.add(repr(parse_message(path).content()))
        except InputError:  # damaged
            said.add(repr(raw))
    return len(said)


def _unused_reading_notes(readings: _ReadingFiles, refs: list[ScanRef]) -> list[Note]:
    uids = {series_uid_of(ref) for ref in refs}
    absent = [paths[0] for uid, paths in sorted(readings.of_series.items()) if uid not in uids]
    used = {ref.annotations for ref in refs}
    damaged = [path for paths in readings.damaged.values() for path in paths if path not in used]
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


def _find_readings(root: Path) -> _ReadingFiles:
    if not files.path_exists(root):
        raise MissingInputError("there is no such file or folder", where=root, do="check the path")
    readings = _ReadingFiles()
    for path in _xml_files(root):
        try:
            uid = series_of(path)
        except InputError as refusal:
            if refusal.code == "xray-message":
                readings.xrays += 1
                continue
            uid = ""
        (readings.of_series[uid] if uid else readings.damaged[path.parent.resolve()]).append(path)
    return readings


def _xml_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return [root / name for name in folders.list_folder(root).files if name.lower().endswith(".xml")]
