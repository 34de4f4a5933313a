"""``dataset.json``: what became of each data set's nodules, and which rows and scans did not find each other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from hilum.errors import OutputError
from hilum.io.records import DatasetRecord, TableRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hilum.io.records import ScanRecord

NAME = "dataset.json"

MOSTLY = 0.5
"""The share of a nodule's voxels that lie in the lung mask from which it counts as inside."""


def summarize(
    dataset: str,
    records: Iterable[ScanRecord | None],
    *,
    tables: Sequence[TableRecord] = (),
    notes: Sequence[str] = (),
) -> DatasetRecord:
    """Count what became of a data set.

    Parameters
    ----------
    dataset : str
    records : iterable of ScanRecord or None
        One for each scan that went in; None where it was not finished.
    tables : sequence of TableRecord
    notes : sequence of str

    Returns
    -------
    DatasetRecord
    """
    scans = list(records)
    finished = [record for record in scans if record is not None]
    nodules = [nodule for record in finished for nodule in record.nodules]
    shares = [n.inside_lungs for n in nodules if n.inside and n.inside_lungs is not None]
    folds: dict[str, int] = {}
    for record in finished:
        if "fold" in record.labels:
            fold = str(record.labels["fold"])
            folds[fold] = folds.get(fold, 0) + 1
    return DatasetRecord(
        dataset=dataset,
        scans=len(scans),
        finished=len(finished),
        scans_with_nodules=sum(bool(record.nodules) for record in finished),
        nodules=len(nodules),
        landed=sum(nodule.inside for nodule in nodules),
        inside_lungs=sum(share >= MOSTLY for share in shares) if shares or not nodules else None,
        largest_round_trip_mm=max((n.round_trip_mm for n in nodules if n.inside), default=0.0),
        folds=dict(sorted(folds.items(), key=lambda item: (len(item[0]), item[0]))),
        tables=merge_tables(tables),
        notes=list(notes),
    )


def merge_tables(tables: Iterable[TableRecord]) -> list[TableRecord]:
    """Join what several roots say of one table: a row that fits a scan of any of them has found its scan.

    Parameters
    ----------
    tables : iterable of TableRecord
        Those of one name and one number of rows are copies of one table.

    Returns
    -------
    list of TableRecord
        One for each table, in the order in which they come first.
    """
    merged: dict[tuple[str, int], TableRecord] = {}
    for table in tables:
        before = merged.get((table.name, table.rows))
        if before is None:
            merged[table.name, table.rows] = table
            continue
        lost = {k: n for k, n in table.series_without_scan.items() if k in before.series_without_scan}
        count = sum(lost.values())
        merged[table.name, table.rows] = TableRecord(
            name=table.name,
            rows=table.rows,
            rows_of_scans=table.rows - count,
            rows_without_scan=count,
            series_without_scan=lost,
            scans_without_rows=sorted({*before.scans_without_rows, *table.scans_without_rows}),
        )
    return list(merged.values())


def write_summary(folder: Path, datasets: Sequence[DatasetRecord]) -> None:
    """Write ``dataset.json`` at one stroke.

    Parameters
    ----------
    folder : Path
        The run's output folder.
    datasets : sequence of DatasetRecord

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    partial = folder / f".{NAME}-{os.getpid()}"
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(list(datasets))) + b"\n")
        partial.replace(folder / NAME)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        reason = problem.strerror or str(problem)
        raise OutputError(f"cannot be written: {reason}", where=folder / NAME, do="check the disk") from None


def read_summary(folder: Path) -> list[DatasetRecord]:
    """Read a run's ``dataset.json``.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Returns
    -------
    list of DatasetRecord
        Empty where there is none of this version's form.
    """
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=list[DatasetRecord])
    except (OSError, msgspec.DecodeError):
        return []
