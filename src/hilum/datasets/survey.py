"""Recognize and list the inputs of a run."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from hilum.datasets import DATASETS, naming, recognize, structures
from hilum.datasets.labels import LabelRequest, pair_labels
from hilum.datasets.listing import check_annotations
from hilum.datasets.table_rows import attach_rows
from hilum.errors import AnnotationError, HilumError, InputError, UnsupportedError
from hilum.io.annotations import tables as nodule_tables
from hilum.io.annotations.table_rows import TableColumns
from hilum.io.names import hashed_uid, hide_uids, is_uid
from hilum.io.volumes.formats import is_volume
from hilum.outputs import ledger, reasons, records
from hilum.scan import Note
from hilum.scan_ref import ScanRef


@dataclass(frozen=True)
class Survey:
    """The scans of several inputs.

    Parameters
    ----------
    refs : list of ScanRef
        With unique ids; a scan that two inputs contain is listed once.
    refused : list of Row
        One for each input without a scan, and for each folder or file that should be a scan but cannot be read.
    tables : dict of str to list of TableRecord
        By data set, counts of the rows of its csv tables.
    notes : dict of str to list of str
        By data set, notes on it as a whole, without names that must not leave.
    screen_notes : dict of str to list of str
        The same notes for the screen, with all names; never written.
    refused_paths : dict of str to tuple of str
        By the id of a refused row, its input and the path in it, as ``source`` and ``place`` of `ScanRef`.
    """

    refs: list[ScanRef]
    refused: list[ledger.Row]
    tables: dict[str, list[records.TableRecord]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    screen_notes: dict[str, list[str]] = field(default_factory=dict)
    refused_paths: dict[str, tuple[str, str]] = field(default_factory=dict)


def index(
    inputs: Sequence[Path], *, dataset: str = "auto", annotations: Path | None = None
) -> tuple[list[ScanRef], list[ledger.Row]]:
    """List the scans of several inputs, and the inputs that are refused; `survey` returns more.

    Parameters
    ----------
    inputs : sequence of Path
        Files and folders with scans.
    dataset : str
        Name of the data set, a key of `DATASETS`, or ``auto``.
    annotations : Path, optional
        As `survey` takes them.

    Returns
    -------
    refs : list of ScanRef
    refused : list of Row
        As in `Survey`.
    """
    result = survey(inputs, dataset=dataset, annotations=annotations)
    return result.refs, result.refused


def survey(
    inputs: Sequence[Path],
    *,
    dataset: str = "auto",
    annotations: Path | None = None,
    columns: TableColumns | None = None,
    labels: LabelRequest | None = None,
    rois: Sequence[str] = (),
    roi_xor: bool = False,
) -> Survey:
    """List the scans of several inputs and the rows of their tables, without reading voxels.

    Parameters
    ----------
    inputs : sequence of Path
        Files, folders, roots of data sets.
    dataset : str
        A key of `DATASETS`; ``auto`` recognizes the kind of each input.
    annotations : Path, optional
        Annotations for all of them, which replace those of the data sets.
    columns : TableColumns, optional
        How the table of annotations is read.
    labels : LabelRequest, optional
        The label maps that the scans get besides those of their data sets.
    rois : sequence of str
        The regions of structure sets and segmentations that become label maps: ``"Lung*"``, ``"GTV-1=tumor"``, as
        `hilum.datasets.structures` describes them.
    roi_xor : bool
        As ``xor`` of `hilum.scan_ref.LabelFile`, for all structure sets.

    Raises
    ------
    MissingInputError, UnsupportedError, AnnotationError, InputError
        If `annotations` or `labels` are no such files, nothing in them belongs to any scan, or a choice in `rois` is
        malformed or fits no region.
    """
    if annotations is not None:
        check_annotations(annotations)
        if columns is not None and not _is_table(annotations):
            raise UnsupportedError("has no columns", where=annotations, do="leave --columns out", code="option")
    elif columns is not None:
        raise InputError("there is no table to which the columns belong", do="give --annotations", code="option")
    own = annotations is None or nodule_tables.is_plain(annotations, columns)
    refs: dict[str, ScanRef] = {}
    refusals: list[_Refusal] = []
    tables: defaultdict[str, list[records.TableRecord]] = defaultdict(list)
    notes: defaultdict[str, list[Note]] = defaultdict(list)
    additions: Counter[str] = Counter()
    region_files: dict[Path, tuple[str, Path, str]] = {}
    for path, (root, source) in zip(inputs, naming.name_inputs(inputs), strict=True):
        name = _dataset_of(path, dataset, annotations)
        adapter = DATASETS[name]
        if rois and (alone := structures.regions_alone(path)):
            region_files |= dict.fromkeys(alone, (name, root, source))
            continue
        try:
            reads = own and (adapter.reads_csv or not _is_table(annotations))
            listing = adapter.index(path, annotations if reads else None)
        except HilumError as error:
            refusals.append(_Refusal(error, path, source, naming.path_in_input(path, root)))
            continue
        additions.update(_add_scan(refs, naming.with_origin(ref, root, source)) for ref in listing.refs)
        refusals += [_refusal_in(error, path, root, source) for error in listing.refused]
        region_files |= dict.fromkeys(listing.region_files, (name, root, source))
        tables[name] += listing.tables
        notes[name] += [note for note in listing.notes if annotations is None or note.code != "unused-table"]
    if annotations is not None:
        ids = [scan_id for scan_id, ref in refs.items() if not (own and DATASETS[ref.dataset].reads_csv)]
        _attach_annotations(refs, ids, annotations, columns, tables, notes)
    listed = list(refs.values())
    if labels is not None and labels != LabelRequest() and refs:
        listed, label_notes = pair_labels(listed, labels, inputs=inputs)
        notes[next(iter(notes))] += label_notes
    listed = _with_regions(listed, region_files, rois, notes, refusals, xor=roi_xor)
    for note in _repetition_notes(additions):
        notes[next(iter(notes))].append(note)
    texts = {name: list(map(str, several)) for name, several in notes.items()}
    screen_texts = {name: [note.terminal_text for note in several] for name, several in notes.items()}
    rows = [_refused_row(refusal, annotations) for refusal in refusals]
    paths = {row.id: (refusal.source, refusal.place) for row, refusal in zip(rows, refusals, strict=True)}
    return Survey(listed, list({row.id: row for row in rows}.values()), tables, texts, screen_texts, paths)


def hide_survey_uids(survey: Survey) -> Survey:
    """Hide the series UIDs in what a survey reports of tables and data sets; its scans are still to be read."""
    tables = {name: list(map(_hide_table_uids, several)) for name, several in survey.tables.items()}
    return replace(survey, tables=tables, notes={name: list(map(hide_uids, n)) for name, n in survey.notes.items()})


def hide_row_uids(row: ledger.Row) -> ledger.Row:
    """Hide the series UIDs in a row of the ledger."""
    return msgspec.structs.replace(row, reason=hide_uids(row.reason))


def _hide_table_uids(table: records.TableRecord) -> records.TableRecord:
    name, without_rows = hide_uids(table.name), sorted(map(_hide_uid, table.scans_without_rows))
    unused = {_hide_uid(uid): count for uid, count in table.series_without_scan.items()}
    return msgspec.structs.replace(table, name=name, series_without_scan=unused, scans_without_rows=without_rows)


def _hide_uid(name: str) -> str:
    return hashed_uid(name) if is_uid(name) else name


def _dataset_of(path: Path, dataset: str, annotations: Path | None) -> str:
    """The kind of an input; with a reading in XML every folder is LIDC-IDRI."""
    if dataset != "auto":
        return dataset
    name = recognize(path)
    is_reading = annotations is not None and (annotations.is_dir() or annotations.suffix.lower() == ".xml")
    return "lidc" if name == "folder" and is_reading and path.is_dir() and not is_volume(path) else name


def _is_table(annotations: Path | None) -> bool:
    return annotations is not None and annotations.suffix.lower() in {".csv", ".json"}


class _Refusal(NamedTuple):
    """A folder or file that is not a scan: why, the input that holds it, the name of that input and the path in it."""

    error: HilumError
    path: Path
    source: str
    place: str


def _refusal_in(error: HilumError, path: Path, root: Path, source: str) -> _Refusal:
    """The refusal of a part of an input."""
    where = error.where if isinstance(error.where, Path) else path
    return _Refusal(error, path, source, naming.path_in_input(where, root))


def _with_regions(
    refs: list[ScanRef],
    files: Mapping[Path, tuple[str, Path, str]],
    rois: Sequence[str],
    notes: dict[str, list[Note]],
    refusals: list[_Refusal],
    *,
    xor: bool,
) -> list[ScanRef]:
    """The scans with the chosen regions; `files` tells the data set, the input and its name for each file."""
    if not rois or not refs:
        if files and refs:
            notes[next(iter(files.values()))[0]].append(structures.count_note(len(files)))
        return refs
    attached = structures.attach_regions(refs, files, rois, xor=xor)
    notes[refs[0].dataset] += attached.notes
    for error in attached.refused:
        path = Path(str(error.where))
        refusals.append(_refusal_in(error, path, *files[path][1:]))
    return attached.refs


def _refused_row(refusal: _Refusal, annotations: Path | None) -> ledger.Row:
    """The ledger row of a refusal; its id is a hash of the path."""
    error = refusal.error
    where = refusal.path if error.where is None else error.where
    tag = hashlib.sha256(str(where).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    reason = reasons.reason_without_names(error, path=refusal.path, annotations=annotations)
    return ledger.Row(id=f"input-{tag}", status="refused", code=error.code, reason=reason, full_reason=str(error))


def _attach_annotations(
    refs: dict[str, ScanRef],
    ids: Sequence[str],
    path: Path,
    columns: TableColumns | None,
    tables: dict[str, list[records.TableRecord]],
    notes: dict[str, list[Note]],
) -> None:
    """Attach rows to the scans with these ids, which did not get them from their data set."""
    if not ids:
        return
    if not _is_table(path):
        if not any(refs[scan_id].annotations for scan_id in ids):
            what = f"no reading belongs to any of the {len(ids)} scans"
            do = "give the readings of these scans, or leave --annotations out"
            raise AnnotationError(what, where=path, do=do, code="no-row-fits")
        return
    attached, table, row_notes = attach_rows([refs[scan_id] for scan_id in ids], path, columns)
    refs |= dict(zip(ids, attached, strict=True))
    tables.setdefault(attached[0].dataset, []).append(table)
    notes.setdefault(attached[0].dataset, []).extend(row_notes)


def _add_scan(refs: dict[str, ScanRef], ref: ScanRef) -> str:
    """Add a scan, under another id if another file has its id; return the code of the note about it, if any."""
    number, scan_id = 1, ref.scan_id
    identity = ref.path.resolve(), ref.series_uid
    while scan_id in refs and (refs[scan_id].path.resolve(), refs[scan_id].series_uid) != identity:
        number += 1
        scan_id = f"{ref.scan_id}-{number}"
    code = "same-scan" if scan_id in refs else "same-series" if number > 1 else ""
    refs[scan_id] = replace(ref, scan_id=scan_id)
    return code


def _repetition_notes(additions: Counter[str]) -> list[Note]:
    notes = []
    if count := additions["same-scan"]:
        notes.append(Note("same-scan", f"{count} scans are in more than one input: each is listed once"))
    if count := additions["same-series"]:
        what = f"{count} scans have the series UID of another input's: each is processed, under an id of its own"
        notes.append(Note("same-series", what))
    return notes
