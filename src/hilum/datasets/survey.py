"""What the inputs of a run hold: each is taken as the kind of data set that it is, and listed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from hilum.datasets import DATASETS, recognize
from hilum.datasets.naming import place_of, placed, sources_of
from hilum.errors import HilumError
from hilum.io.ledger import Row
from hilum.io.names import hashed_uid, hide_uids
from hilum.io.reasons import reason_of
from hilum.io.values import is_uid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hilum.io.records import TableRecord
    from hilum.scan import ScanRef


@dataclass(frozen=True)
class Survey:
    """What several inputs hold.

    Parameters
    ----------
    refs : list of ScanRef
        With unique ids; a scan reached by two inputs is listed once.
    refused : list of Row
        One for each input that holds no scan.
    tables : dict of str to list of TableRecord
        By data set, what its csv tables hold for scans that are there and for others.
    notes : dict of str to list of str
        By data set, what was odd about it as a whole.
    places : dict of str to tuple of str
        By the id of a refused row, the input that it is about, and where in it, as `ScanRef` has them.
    """

    refs: list[ScanRef]
    refused: list[Row]
    tables: dict[str, list[TableRecord]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
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
    """
    refs: dict[str, ScanRef] = {}
    refused = []
    tables: dict[str, list[TableRecord]] = {}
    notes: dict[str, list[str]] = {}
    places: dict[str, tuple[str, str]] = {}
    for path, (root, source) in zip(inputs, sources_of(inputs), strict=True):
        name = recognize(path) if dataset == "auto" else dataset
        try:
            found = DATASETS[name].index(path, annotations)
        except HilumError as refusal:
            tag = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:16]
            reason = reason_of(refusal, path=path, annotations=annotations)
            refused.append(
                Row(id=f"input-{tag}", status="refused", code=refusal.code, reason=reason, shown=str(refusal))
            )
            places[refused[-1].id] = (source, place_of(path, root))
            continue
        for ref in found.refs:
            _add(refs, placed(ref, root, source))
        tables.setdefault(name, []).extend(found.tables)
        notes.setdefault(name, []).extend(str(note) for note in found.notes)
    return Survey(list(refs.values()), refused, tables, notes, places)


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


def _add(refs: dict[str, ScanRef], ref: ScanRef) -> None:
    """Add a scan, under another id where the id is taken by another file: nothing may vanish."""
    number, name = 1, ref.scan_id
    while name in refs and (refs[name].path.resolve(), refs[name].series_uid) != (ref.path.resolve(), ref.series_uid):
        number += 1
        name = f"{ref.scan_id}-{number}"
    refs[name] = replace(ref, scan_id=name)
