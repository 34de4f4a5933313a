"""What the inputs of a run hold: each is taken as the kind of data set that it is, and listed."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hilum.datasets import DATASETS, recognize
from hilum.datasets.naming import place_of, placed, sources_of
from hilum.datasets.rows import check_annotations, give_rows
from hilum.errors import AnnotationError, HilumError
from hilum.io import is_volume
from hilum.io.uids import hashed_uid, hide_uids, is_uid
from hilum.outputs.ledger_rows import Row
from hilum.outputs.reasons import reason_without_names
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hilum.outputs.records import TableRecord
    from hilum.scan import ScanRef


@dataclass(frozen=True)
class Survey:
    """What several inputs hold.

    Parameters
    ----------
    refs : list of ScanRef
        With unique ids; a scan reached by two inputs is listed once.
    refused : list of Row
        One for each input that holds no scan, and for each folder or file in one that should be a scan and is none.
    tables : dict of str to list of TableRecord
        By data set, what its csv tables hold for scans that are there and for others.
    notes : dict of str to list of str
        By data set, what was odd about it as a whole, without names that must not leave.
    told : dict of str to list of str
        The same for the person at the screen, with all names; it is never written.
    places : dict of str to tuple of str
        By the id of a refused row, the input that it is about, and where in it, as `ScanRef` has them.
    """

    refs: list[ScanRef]
    refused: list[Row]
    tables: dict[str, list[TableRecord]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, tuple[str, str]] = field(default_factory=dict)


def index(
    inputs: Sequence[Path], *, dataset: str = "auto", annotations: Path | None = None
) -> tuple[list[ScanRef], list[Row]]:
    """List the scans of several inputs, and refuse those that hold none; `survey` tells more.

    Parameters
    ----------
    inputs : sequence of Path
    dataset : str
    annotations : Path, optional
        As `survey` takes them.

    Returns
    -------
    refs : list of ScanRef
    refused : list of Row
        As in `Survey`.
    """
    found = survey(inputs, dataset=dataset, annotations=annotations)
    return found.refs, found.refused


def survey(inputs: Sequence[Path], *, dataset: str = "auto", annotations: Path | None = None) -> Survey:
    """List the scans of several inputs and what their tables hold, reading no voxel.

    Parameters
    ----------
    inputs : sequence of Path
        Files, folders, roots of data sets.
    dataset : str
        A key of `DATASETS`; ``auto`` tells the kind of each input by its shape.
    annotations : Path, optional
        A csv for all of them, in place of the data set's own.

    Returns
    -------
    Survey

    Raises
    ------
    MissingInputError, UnsupportedError, AnnotationError
        If `annotations` is no such file, or no row of it fits any scan.
    """
    if annotations is not None:
        check_annotations(annotations)
    refs: dict[str, ScanRef] = {}
    refused: dict[str, Row] = {}
    tables: dict[str, list[TableRecord]] = {}
    notes: dict[str, list[Note]] = {}
    met: Counter[str] = Counter()
    places: dict[str, tuple[str, str]] = {}
    for path, (root, source) in zip(inputs, sources_of(inputs), strict=True):
        name = _kind_of(path, dataset, annotations)
        kind = DATASETS[name]
        try:
            found = kind.index(path, annotations if kind.reads_csv or not _is_csv(annotations) else None)
        except HilumError as refusal:
            row = _refused(refusal, path, annotations)
            refused[row.id] = row
            places[row.id] = source, place_of(path, root)
            continue
        met.update(_add(refs, placed(ref, root, source)) for ref in found.refs)
        for error in found.refused:
            row = _refused(error, path, annotations)
            refused[row.id] = row
            places[row.id] = source, place_of(error.where if isinstance(error.where, Path) else path, root)
        tables.setdefault(name, []).extend(found.tables)
        notes.setdefault(name, []).extend(
            note for note in found.notes if annotations is None or note.code != "unused-table"
        )
    if annotations is not None:
        _give_annotations(refs, annotations, tables, notes)
    for note in _met_twice(met):
        notes.setdefault(next(iter(notes)), []).append(note)
    kept = {name: list(map(str, several)) for name, several in notes.items()}
    told = {name: [note.terminal_text for note in several] for name, several in notes.items()}
    return Survey(list(refs.values()), list(refused.values()), tables, kept, told, places)


def hide_series(found: Survey) -> Survey:
    """What a survey tells of tables and refusals, as it leaves where series UIDs must not.

    Parameters
    ----------
    found : Survey

    Returns
    -------
    Survey
        The scans are the same, for they are still to be read.
    """
    return replace(
        found,
        refused=[hide_row(row) for row in found.refused],
        tables={name: [_hide_table(table) for table in tables] for name, tables in found.tables.items()},
        notes={name: list(map(hide_uids, notes)) for name, notes in found.notes.items()},
    )


def hide_row(row: Row) -> Row:
    """A ledger's row, as it leaves where series UIDs must not.

    Parameters
    ----------
    row : Row

    Returns
    -------
    Row
    """
    return msgspec.structs.replace(row, reason=hide_uids(row.reason))


def _hide_table(table: TableRecord) -> TableRecord:
    return msgspec.structs.replace(
        table,
        name=hide_uids(table.name),
        series_without_scan={_hidden(uid): count for uid, count in table.series_without_scan.items()},
        scans_without_rows=sorted(map(_hidden, table.scans_without_rows)),
    )


def _hidden(uid: str) -> str:
    return hashed_uid(uid) if is_uid(uid) else uid


def _kind_of(path: Path, dataset: str, annotations: Path | None) -> str:
    """The kind of an input; a reading in XML makes any folder one of readings."""
    if dataset != "auto":
        return dataset
    name = recognize(path)
    is_reading = annotations is not None and (annotations.is_dir() or annotations.suffix.lower() == ".xml")
    return "lidc" if name == "folder" and is_reading and path.is_dir() and not is_volume(path) else name


def _is_csv(annotations: Path | None) -> bool:
    return annotations is not None and annotations.suffix.lower() == ".csv"


def _refused(error: HilumError, path: Path, annotations: Path | None) -> Row:
    """The ledger's line of a folder or file that is no scan, named by where it lies."""
    where = path if error.where is None else error.where
    tag = hashlib.sha256(str(where).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    reason = reason_without_names(error, path=path, annotations=annotations)
    return Row(id=f"input-{tag}", status="refused", code=error.code, reason=reason, shown=str(error))


def _give_annotations(
    refs: dict[str, ScanRef], path: Path, tables: dict[str, list[TableRecord]], notes: dict[str, list[Note]]
) -> None:
    """Give the scans of kinds that do not read tables themselves their rows, all of them at once."""
    mine = [name for name, ref in refs.items() if not DATASETS[ref.dataset].reads_csv]
    if not mine:
        return
    if not _is_csv(path):
        if not any(refs[name].annotations for name in mine):
            what = f"no reading is of any of the {len(mine)} scans"
            do = "give the readings of these scans, or leave --annotations out"
            raise AnnotationError(what, where=path, do=do, code="no-row-fits")
        return
    given, table, told = give_rows([refs[name] for name in mine], path)
    refs |= dict(zip(mine, given, strict=True))
    tables.setdefault(given[0].dataset, []).append(table)
    notes.setdefault(given[0].dataset, []).extend(told)


_NEW, _SAME, _COPY = "new", "same", "copy"


def _add(refs: dict[str, ScanRef], ref: ScanRef) -> str:
    """Add a scan, under another id where the id is taken by another file: nothing may vanish."""
    number, name = 1, ref.scan_id
    while name in refs and (refs[name].path.resolve(), refs[name].series_uid) != (ref.path.resolve(), ref.series_uid):
        number += 1
        name = f"{ref.scan_id}-{number}"
    met = _SAME if name in refs else _NEW if number == 1 else _COPY
    refs[name] = replace(ref, scan_id=name)
    return met


def _met_twice(met: Counter[str]) -> list[Note]:
    notes = []
    if met[_SAME]:
        notes.append(Note("same-scan", f"{met[_SAME]} scans are reached by more than one input: taken once"))
    if met[_COPY]:
        what = f"{met[_COPY]} scans have the series UID of another input's: each is made, under an id of its own"
        notes.append(Note("same-series", what))
    return notes
