"""Data Science Bowl 2017: a folder of DICOM slices for each patient, and a csv of who was found to have cancer.

Source: https://www.kaggle.com/competitions/data-science-bowl-2017/data
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hilum.datasets.folder import scan_id_of
from hilum.datasets.listing import Listing, left_out
from hilum.errors import AnnotationError, MissingInputError, UnsupportedError
from hilum.io import check_is_ct, read
from hilum.io.annotations.csv_tables import read_rows, wrong_line
from hilum.io.files import is_there
from hilum.io.names import safe_name
from hilum.io.output_kinds import output_kind
from hilum.outputs.records import TableRecord
from hilum.scan import DatasetEntry, Note, Scan, ScanRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_CASE = re.compile(r"[0-9a-f]{32}")
"""A public case id: what the challenge named its patients."""

_STAGE = re.compile(r"(stage[12]|sample_images)", re.IGNORECASE)
_LABELS = re.compile(r"stage[12]_(labels|solution)\.csv", re.IGNORECASE)


def recognize(root: Path) -> bool:
    """Whether a path has the shape of the challenge: folders named by its 32 hexadecimal digits.

    Parameters
    ----------
    root : Path

    Returns
    -------
    bool
    """
    return is_there(root) and root.is_dir() and any(_CASE.fullmatch(path.resolve().name) for path in _patients(root))


def index(root: Path, annotations: Path | None = None) -> Listing:
    """List the patients; no file of theirs is opened.

    Parameters
    ----------
    root : Path
        The folder that holds the patients' folders, or ``stage1`` with them; ``stage1_labels.csv`` in it or beside it.
    annotations : Path, optional
        A csv of labels (id, cancer) in place of those.

    Returns
    -------
    Listing
        A scan for each patient, in the order of their names; ``labels["cancer"]`` is 1 or 0 where it is known. A
        patient with two different labels, or one that is none, is listed with the refusal.

    Raises
    ------
    MissingInputError
        If there is no such folder, or no folder in it.
    AnnotationError, InputError
        If a table is none.
    """
    if not is_there(root) or not root.is_dir():
        raise MissingInputError("there is no such folder", where=root, do="give the folder that holds stage1")
    patients = _patients(root)
    if not patients:
        raise MissingInputError("holds no folder of a patient", where=root, do="give the folder that holds stage1")
    names = {path.name for path in patients}
    known: dict[str, DatasetEntry] = {}
    tables = []
    for path in [annotations] if annotations is not None else _label_files(root):
        found = _read_labels(path)
        known |= {name: _both(known.get(name), found[name][0], path) for name in sorted(names & found.keys())}
        tables.append(_record(safe_name(path.name) or "labels", found, names))
    unlabeled = sorted(names - known.keys())
    refs = [
        ScanRef("dsb2017", _scan_id(path), path, "", None, known.get(path.name, DatasetEntry())) for path in patients
    ]
    outputs = sorted(path.name for path in root.iterdir() if output_kind(path))
    return Listing(refs, tables, [*left_out(root, outputs), *_notes(tables, len(unlabeled), len(patients))])


def load(ref: ScanRef, *, max_gap_mm: float | None = None) -> Scan:
    """Load a patient that `index` listed.

    Parameters
    ----------
    ref : ScanRef
    max_gap_mm : float, optional
        As `hilum.read` takes it.

    Returns
    -------
    Scan
        The largest chest-like series of the folder; a patient scanned twice over is told apart by acquisition.

    Raises
    ------
    InputError
        What was found wrong when the patient was listed, or as `hilum.read` does.
    """
    known = ref.known or DatasetEntry()
    if known.refusal is not None:
        raise known.refusal
    scan = check_is_ct(read(ref.path, max_gap_mm=max_gap_mm), ref.path)
    return replace(scan, labels=known.labels, notes=(*scan.notes, *known.notes))


def _patients(root: Path) -> list[Path]:
    """The folders of patients: those of the root and of its stages; the root itself, where it is one."""
    if _CASE.fullmatch(root.resolve().name):
        return [root]
    folders = _folders(root)
    stages = [path for path in folders if _STAGE.fullmatch(path.name)]
    below = [inner for stage in stages for inner in _folders(stage)]
    return [path for path in (*folders, *below) if path not in stages]


def _folders(path: Path) -> list[Path]:
    try:
        inside = sorted(inner for inner in path.iterdir() if not inner.name.startswith("."))
    except OSError:  # may not be opened: nothing to find in it
        return []
    there = [inner for inner in inside if inner.is_dir() and not output_kind(inner)]
    lost = [inner for inner in inside if inner.is_symlink() and not inner.exists() and _CASE.fullmatch(inner.name)]
    return sorted([*there, *lost])  # reading one that is lost says that its content is not there


def _label_files(root: Path) -> list[Path]:
    """The csv files of labels, in the root or, where there are none, beside it."""
    for folder in (root, root.resolve().parent):
        found = sorted(path for path in folder.iterdir() if _LABELS.fullmatch(path.name))
        if found:
            return found
    return []


def _scan_id(path: Path) -> str:
    """The public case id; a name of any other form could be a person's."""
    name = path.resolve().name
    return name if _CASE.fullmatch(name) else scan_id_of(name)


def _read_labels(path: Path) -> dict[str, tuple[DatasetEntry, int]]:
    """What a table says of each patient, and in how many rows."""
    if path.suffix.lower() != ".csv":
        raise UnsupportedError("labels are read from a csv of id and cancer", where=path, do="give stage1_labels.csv")
    found: dict[str, tuple[DatasetEntry, int]] = {}
    for row in read_rows(path, ("id", "cancer"), do="give stage1_labels.csv"):
        text = row.values[1].strip() if row.values is not None else ""
        before, count = found.get(row.key, (DatasetEntry(), 0))
        told = replace(before, labels={"cancer": int(text)}) if text in {"0", "1"} else before
        if before.refusal is not None:
            told = before
        elif row.values is None or text not in {"0", "1"}:
            what = row.what or "cancer is neither 0 nor 1"
            told = replace(before, refusal=wrong_line(path, row.line, what))
        elif before.labels and before.labels != told.labels:
            what = f"line {row.line}: the patient has another label in an earlier row"
            told = replace(before, refusal=AnnotationError(what, where=path, do="keep the right one"))
        elif count:
            told = replace(told, notes=(Note("duplicate-label", "the label is given more than once, the same"),))
        found[row.key] = told, count + 1
    return found


def _both(before: DatasetEntry | None, now: DatasetEntry, path: Path) -> DatasetEntry:
    """What two tables say of one patient together."""
    if before is None or before.labels == now.labels or before.refusal is not None:
        return before or now
    return replace(now, refusal=now.refusal or AnnotationError("gives a patient another label", where=path))


def _record(name: str, found: Mapping[str, tuple[DatasetEntry, int]], names: set[str]) -> TableRecord:
    lost: dict[str, int] = {}
    for patient, (_, count) in found.items():
        if patient not in names:
            shown = patient if _CASE.fullmatch(patient) else "(no case id)"
            lost[shown] = lost.get(shown, 0) + count
    total = sum(count for _, count in found.values())
    return TableRecord(
        name=name,
        rows=total,
        rows_of_scans=total - sum(lost.values()),
        rows_without_scan=sum(lost.values()),
        series_without_scan=dict(sorted(lost.items())),
        scans_without_rows=sorted(n if _CASE.fullmatch(n) else scan_id_of(n) for n in names - found.keys()),
    )


def _notes(tables: Sequence[TableRecord], unlabeled: int, patients: int) -> list[Note]:
    if not tables:
        return [Note("no-labels", "there is no stage1_labels.csv in the folder or beside it: no scan gets a label")]
    notes = []
    for table in tables:
        if table.rows_without_scan:
            what = f"{table.rows_without_scan} of {table.rows} rows are of patients that are not here"
            notes.append(Note("rows-without-scan", f"{table.name}: {what}; dataset.json names them"))
    if unlabeled:
        notes.append(Note("scans-without-rows", f"{unlabeled} of {patients} patients have no label"))
    return notes
