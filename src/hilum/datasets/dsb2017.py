"""Data Science Bowl 2017: a folder of DICOM slices for each patient, and a csv of who was found to have cancer.

Source: https://www.kaggle.com/competitions/data-science-bowl-2017/data
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hilum.datasets.listing import Listing, entries, known_of, own_output_notes, scan_id_of, table_record
from hilum.errors import AnnotationError, MissingInputError, UnsupportedError
from hilum.io import files, scan_files
from hilum.io.annotations.csv_tables import read_rows, wrong_line
from hilum.io.annotations.table_rows import give_marks
from hilum.io.folders import output_kind
from hilum.io.names import safe_name
from hilum.io.read_options import DEFAULT, ReadOptions
from hilum.outputs.records import TableRecord
from hilum.scan import Note, Scan
from hilum.scan_ref import DatasetEntry, ScanRef

_CASE = re.compile(r"[0-9a-f]{32}")  # a public case id of the challenge

_STAGE = re.compile(r"(stage[12]|sample_images)", re.IGNORECASE)
_LABELS = re.compile(r"stage[12]_(labels|solution)\.csv", re.IGNORECASE)


def recognize(root: Path) -> bool:
    """Whether a folder has subfolders named by case ids of the challenge."""
    return any(_CASE.fullmatch(path.resolve().name) for path in _patients(root))


def index(root: Path, annotations: Path | None = None) -> Listing:
    """List the patients without opening their files, as `hilum.datasets.Dataset.index`.

    Parameters
    ----------
    root : Path
        The folder with the patients' folders, or with ``stage1``. ``stage1_labels.csv`` is in it or beside it.
    annotations : Path, optional
        A csv of labels (id, cancer) that replaces it.

    Returns
    -------
    Listing
        A scan for each patient, in the order of their names; ``labels["cancer"]`` is 1 or 0 where it is known. A
        patient with an invalid label or with two different labels is listed with the refusal.
    """
    if not files.path_exists(root) or not root.is_dir():
        raise MissingInputError("there is no such folder", where=root, do="give the folder that holds stage1")
    if not (patients := _patients(root)):
        raise MissingInputError("has no folder of a patient", where=root, do="give the folder that holds stage1")
    names = {path.name for path in patients}
    known: dict[str, DatasetEntry] = {}
    tables = []
    for path in [annotations] if annotations is not None else _label_files(root):
        labels, counts = _read_labels(path)
        known |= {name: _merge(known.get(name), labels[name], path) for name in sorted(names & labels.keys())}
        unlabeled_ids = (name if _CASE.fullmatch(name) else scan_id_of(name) for name in names - labels.keys())
        tables.append(table_record(safe_name(path.name) or "labels", counts, names, unlabeled_ids, _public_case))
    unlabeled = sorted(names - known.keys())
    refs = [_scan_ref(path, known.get(path.name, DatasetEntry())) for path in patients]
    outputs = sorted(path.name for path in root.iterdir() if output_kind(path))
    return Listing(refs, tables, [*own_output_notes(root, outputs), *_notes(tables, len(unlabeled), len(patients))])


def load(ref: ScanRef, *, options: ReadOptions = DEFAULT) -> Scan:
    """Load a patient, as `hilum.datasets.Dataset.load`: the largest chest-like series of the folder.

    Repeated scans of a patient are separated by acquisition.
    """
    known = known_of(ref)
    scan = scan_files.check_is_ct(scan_files.read(ref.path, **vars(options)), ref.path)
    return replace(give_marks(scan, known), labels=known.labels)


def _patients(root: Path) -> list[Path]:
    """The folders of patients, in the root and its stages; the root itself if it is one."""
    if _CASE.fullmatch(root.resolve().name):
        return [root]
    folders = _folders(root)
    stages = [path for path in folders if _STAGE.fullmatch(path.name)]
    below = [inner for stage in stages for inner in _folders(stage)]
    return [path for path in (*folders, *below) if path not in stages]


def _folders(path: Path) -> list[Path]:
    inside = entries(path)
    folders = [inner for inner in inside if inner.is_dir() and not output_kind(inner)]
    dangling = [inner for inner in inside if inner.is_symlink() and not inner.exists() and _CASE.fullmatch(inner.name)]
    return sorted([*folders, *dangling])  # reading a dangling link raises an error that explains it


def _label_files(root: Path) -> list[Path]:
    """The csv files of labels in the root, or else beside it."""
    folders = (root, root.resolve().parent)
    tables = (sorted(path for path in folder.iterdir() if _LABELS.fullmatch(path.name)) for folder in folders)
    return next(filter(None, tables), [])


def _public_case(name: str) -> str:
    return name if _CASE.fullmatch(name) else "(no case id)"


def _scan_ref(path: Path, known: DatasetEntry) -> ScanRef:
    """A scan named by its public case id; any other name could be a person's and is hashed."""
    name = path.resolve().name
    case = name if _CASE.fullmatch(name) else ""
    return ScanRef("dsb2017", case or scan_id_of(name), path, known=known, case=safe_name(case))


def _read_labels(path: Path) -> tuple[dict[str, DatasetEntry], dict[str, int]]:
    """The label or the refusal of each patient, and the number of rows."""
    if path.suffix.lower() != ".csv":
        raise UnsupportedError("labels are read from a csv of id and cancer", where=path, do="give stage1_labels.csv")
    labels: dict[str, DatasetEntry] = {}
    counts: dict[str, int] = {}
    for row in read_rows(path, ("id", "cancer"), do="give stage1_labels.csv"):
        text = row.values[1].strip() if row.values is not None else ""
        counts[row.key] = counts.get(row.key, 0) + 1
        if (known := labels.setdefault(row.key, DatasetEntry())).refusal is not None:
            continue
        if row.values is None or text not in {"0", "1"}:
            what = row.what or "cancer is neither 0 nor 1"
            labels[row.key] = replace(known, refusal=wrong_line(path, row.line, what))
            continue
        cancer = {"cancer": int(text)}
        if known.labels and known.labels != cancer:
            what = f"line {row.line}: the patient has another label in an earlier row"
            labels[row.key] = replace(known, refusal=AnnotationError(what, where=path, do="keep the right one"))
        elif known.labels:
            note = Note("duplicate-label", "the table gives this label more than once")
            labels[row.key] = replace(known, notes=(note,))
        else:
            labels[row.key] = replace(known, labels=cancer)
    return labels, counts


def _merge(before: DatasetEntry | None, now: DatasetEntry, path: Path) -> DatasetEntry:
    """Merge what two tables say about one patient."""
    if before is None or before.labels == now.labels or before.refusal is not None:
        return before or now
    what = "gives a patient a label that differs from that of another table"
    return replace(now, refusal=now.refusal or AnnotationError(what, where=path, do="keep the right one"))


def _notes(tables: Sequence[TableRecord], unlabeled: int, patients: int) -> list[Note]:
    if not tables:
        return [Note("no-labels", "there is no stage1_labels.csv in the folder or beside it: no scan gets a label")]
    notes = []
    for table in tables:
        if table.rows_without_scan:
            what = f"{table.rows_without_scan} of {table.rows} rows name patients that are not here"
            notes.append(Note("rows-without-scan", f"{table.name}: {what}; dataset.json lists them"))
    if unlabeled:
        notes.append(Note("scans-without-rows", f"{unlabeled} of {patients} patients have no label"))
    return notes
