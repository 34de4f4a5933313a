"""``dataset.json``: counts of each data set's nodules, and the table rows and scans that do not match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hilum.io.atomic import atomic_path
from hilum.io.files import read_small
from hilum.outputs.finished import finished_scans
from hilum.outputs.records import DatasetRecord, TableRecord, json_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hilum.outputs.records import ScanRecord

NAME = "dataset.json"

_MAX_BYTES = 1 << 28
"""The largest ``dataset.json`` that is read; 75,000 scans without a row take some megabytes."""

INSIDE_FRACTION = 0.5
"""A nodule counts as inside the lungs if at least this fraction of its voxels lies in the lung mask."""


def summarize(
    dataset: str,
    records: Iterable[ScanRecord | None],
    *,
    tables: Sequence[TableRecord] = (),
    notes: Sequence[str] = (),
) -> DatasetRecord:
    """Count the scans and nodules of a data set.

    Parameters
    ----------
    dataset : str
    records : iterable of ScanRecord or None
        One for each input scan; None if it was not finished.
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
        in_volume = [nodule for nodule in record.nodules if nodule.inside]
        landed += len(in_volume)
        fractions = [nodule.inside_lungs for nodule in in_volume if nodule.inside_lungs is not None]
        measured += len(fractions)
        inside += sum(fraction >= INSIDE_FRACTION for fraction in fractions)
        worst = max([worst, *(nodule.round_trip_mm for nodule in in_volume)])
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
    """Merge the records that several roots have of one table: a row is matched if a scan of any root matches it.

    Parameters
    ----------
    tables : iterable of TableRecord
        Tables with the same name and number of rows are copies of one table.

    Returns
    -------
    list of TableRecord
        One for each table, in order of first appearance.
    """
    merged: dict[tuple[str, int], TableRecord] = {}
    for table in tables:
        before = merged.get((table.name, table.rows))
        if before is None:
            merged[table.name, table.rows] = table
            continue
        unmatched = {k: n for k, n in table.series_without_scan.items() if k in before.series_without_scan}
        count = sum(unmatched.values())
        merged[table.name, table.rows] = TableRecord(
            name=table.name,
            rows=table.rows,
            rows_of_scans=table.rows - count,
            rows_without_scan=count,
            series_without_scan=unmatched,
            scans_without_rows=sorted({*before.scans_without_rows, *table.scans_without_rows}),
        )
    return list(merged.values())


def converted_summary(before: Path, after: Path) -> list[DatasetRecord]:
    """Summarize the data sets of a run that was converted to another format.

    Parameters
    ----------
    before, after : Path
        The output folders; the second contains all finished scans of the first.

    Returns
    -------
    list of DatasetRecord
        Those of the first folder, with the largest round trip measured in the second.
    """
    worst: dict[str, float] = {}
    for _, record in finished_scans(after):
        trips = (nodule.round_trip_mm for nodule in record.nodules if nodule.inside)
        worst[record.dataset] = max([worst.get(record.dataset, 0.0), *trips])
    return [
        msgspec.structs.replace(one, largest_round_trip_mm=worst.get(one.dataset, 0.0)) for one in read_summary(before)
    ]


def write_summary(folder: Path, datasets: Sequence[DatasetRecord]) -> None:
    """Write ``dataset.json`` atomically.

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
        partial.write_bytes(json_bytes(list(datasets)))


def read_summary(folder: Path) -> list[DatasetRecord]:
    """Read a run's ``dataset.json``.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Returns
    -------
    list of DatasetRecord
        Empty if the file is missing or not valid for this version.
    """
    try:
        return msgspec.json.decode(read_small(folder / NAME, limit=_MAX_BYTES), type=list[DatasetRecord])
    except (OSError, ValueError, msgspec.DecodeError):
        return []
