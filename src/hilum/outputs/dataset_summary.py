"""``dataset.json``: what became of each data set's nodules, and which rows and scans did not find each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hilum.io.atomic import atomic_path
from hilum.io.files import read_small
from hilum.outputs.finished import finished_scans
from hilum.outputs.records import DatasetRecord, TableRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hilum.outputs.records import ScanRecord

NAME = "dataset.json"

LARGEST = 1 << 28
"""Bytes beyond which it is none of ours: 75,000 scans without a row take some megabytes."""

INSIDE_FRACTION = 0.5
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
    scans = finished = with_nodules = nodules = landed = inside = measured = 0
    worst = 0.0
    folds: dict[str, int] = {}
    for record in records:  # one at a time: there may be thousands
        scans += 1
        if record is None:
            continue
        finished += 1
        with_nodules += bool(record.nodules)
        nodules += len(record.nodules)
        there = [nodule for nodule in record.nodules if nodule.inside]
        landed += len(there)
        shares = [nodule.inside_lungs for nodule in there if nodule.inside_lungs is not None]
        measured += len(shares)
        inside += sum(share >= INSIDE_FRACTION for share in shares)
        worst = max([worst, *(nodule.round_trip_mm for nodule in there)])
        if "fold" in record.labels:
            fold = str(record.labels["fold"])
            folds[fold] = folds.get(fold, 0) + 1
    return DatasetRecord(
        dataset=dataset,
        scans=scans,
        finished=finished,
        scans_with_nodules=with_nodules,
        nodules=nodules,
        landed=landed,
        inside_lungs=inside if measured or not nodules else None,
        largest_round_trip_mm=worst,
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


def landed_again(before: Path, after: Path) -> list[DatasetRecord]:
    """What became of the data sets of a run that was stored again in another format.

    Parameters
    ----------
    before, after : Path
        The output folders; all that is finished in the first is in the second.

    Returns
    -------
    list of DatasetRecord
        As the first has it, but for how near its nodules are to their annotations.
    """
    worst: dict[str, float] = {}
    for _, record in finished_scans(after):
        trips = (nodule.round_trip_mm for nodule in record.nodules if nodule.inside)
        worst[record.dataset] = max([worst.get(record.dataset, 0.0), *trips])
    return [
        msgspec.structs.replace(one, largest_round_trip_mm=worst.get(one.dataset, 0.0)) for one in read_summary(before)
    ]


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
    with atomic_path(folder / NAME) as partial:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(list(datasets))) + b"\n")


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
        return msgspec.json.decode(read_small(folder / NAME, limit=LARGEST), type=list[DatasetRecord])
    except (OSError, ValueError, msgspec.DecodeError):
        return []
