"""``dataset.json``: counts of each data set's nodules, and the table rows and scans that do not match."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from hilum.io import atomic, files
from hilum.ops.nodules.axes import AXES, PROBABLY
from hilum.outputs.records import DatasetRecord, ScanRecord, TableRecord, json_bytes

NAME = "dataset.json"

_MAX_BYTES = 1 << 28  # the largest ``dataset.json`` that is read; 75,000 scans without a row take some megabytes

INSIDE_FRACTION = 0.5
"""A nodule counts as inside the lungs if at least this fraction of its voxels lies in the lung mask."""


def summarize(
    dataset: str, records: Iterable[ScanRecord | None], *, tables: Sequence[TableRecord] = (), notes: Sequence[str] = ()
) -> DatasetRecord:
    """Count the scans and nodules of a data set.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    records : iterable of ScanRecord or None
        One for each input scan; None if it was not finished.
    tables : sequence of TableRecord
        What was read from its tables.
    notes : sequence of str
        What was odd about its files.

    Returns
    -------
    DatasetRecord
    """
    scans, measured, inside, worst = 0, 0, 0, 0.0
    counts = Counter(finished=0, scans_with_nodules=0, nodules=0, landed=0)
    folds: Counter[str] = Counter()
    axes: Counter[str] = Counter()
    marked = 0
    for record in records:  # one at a time: there may be thousands
        scans += 1
        if record is None:
            continue
        in_volume = [nodule for nodule in record.nodules if nodule.inside]
        fractions = [nodule.inside_lungs for nodule in in_volume if nodule.inside_lungs is not None]
        nodules = len(record.nodules)
        counts.update(finished=1, scans_with_nodules=nodules > 0, nodules=nodules, landed=len(in_volume))
        measured += len(fractions)
        inside += sum(fraction >= INSIDE_FRACTION for fraction in fractions)
        worst = max([worst, *(nodule.round_trip_mm for nodule in in_volume)])
        marked += nodules > 0 or "marks" in record.parts
        axes.update(one["text"].rpartition(PROBABLY)[2] for one in record.notes if one["code"] == "wrong-axes")
        folds.update(str(value) for name, value in record.labels.items() if name == "fold")
    return DatasetRecord(
        dataset=dataset,
        scans=scans,
        **counts,
        inside_lungs=inside if measured or not counts["nodules"] else None,
        largest_round_trip_mm=worst,
        folds=dict(sorted(folds.items(), key=lambda item: (len(item[0]), item[0]))),
        tables=merge_tables(tables),
        notes=[*notes, *_axes_notes(axes, marked)],
    )


def _axes_notes(axes: Counter[str], scans: int) -> list[str]:
    """Say that a table is probably in other axes, if that is so in at least half of the scans with nodules."""
    other, count = axes.most_common(1)[0] if axes else ("", 0)
    if not count or 2 * count < scans:
        return []
    which = f"{count} of {scans} scans" if count < scans else f"all {scans} scans" if scans > 1 else "the one scan"
    do = f"run again with --axes {other}" if other in AXES else "correct the table"
    return [f"wrong-axes: in {which} with nodules the marks only fit as {other}: {do}"]


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
        if (before := merged.setdefault((table.name, table.rows), table)) is table:
            continue
        unmatched = {k: n for k, n in table.series_without_scan.items() if k in before.series_without_scan}
        count = sum(unmatched.values())
        merged[table.name, table.rows] = replace(
            table,
            rows_of_scans=table.rows - count,
            rows_without_scan=count,
            series_without_scan=unmatched,
            scans_without_rows=sorted({*before.scans_without_rows, *table.scans_without_rows}),
        )
    return list(merged.values())


def converted_summary(before: Path, records: Iterable[ScanRecord]) -> list[DatasetRecord]:
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
    for record in records:
        trips = (nodule.round_trip_mm for nodule in record.nodules if nodule.inside)
        worst[record.dataset] = max([worst.get(record.dataset, 0.0), *trips])
    return [replace(one, largest_round_trip_mm=worst.get(one.dataset, 0.0)) for one in read_summary(before)]


def write_summary(folder: Path, datasets: Sequence[DatasetRecord]) -> None:
    """Write ``dataset.json`` into a run's output folder atomically; `OutputError` if that is not possible."""
    with atomic.atomic_path(folder / NAME) as partial:
        partial.write_bytes(json_bytes(list(datasets)))


def read_summary(folder: Path) -> list[DatasetRecord]:
    """Read a run's ``dataset.json``; no records if it is missing or not valid for this version."""
    try:
        return msgspec.json.decode(files.read_small(folder / NAME, limit=_MAX_BYTES), type=list[DatasetRecord])
    except (OSError, ValueError, msgspec.DecodeError):
        return []
