"""What is known of the scans of a run, as columns of plain values."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from hilum.errors import InputError
from hilum.outputs import scans_index
from hilum.outputs.findings import finished_status
from hilum.outputs.finished import LABELS
from hilum.outputs.ledger import Row
from hilum.runs.run_scan import RunScan

Cell = str | int | float | None


class RunTable(dict[str, list[Cell]]):
    """Columns of plain values by name: a dict of lists of the same length, with None where a value is missing.

    Parameters
    ----------
    columns : mapping of str to list
        The columns by name, such as `hilum.Run.table` makes them.

    Examples
    --------
    >>> import hilum
    >>> hilum.RunTable({"id": ["a", "b"], "lung_right_ml": [2100.5, None]})
    RunTable(2 rows: id, lung_right_ml)
    """

    def __init__(self, columns: Mapping[str, list[Cell]]) -> None:
        super().__init__(columns)

    def __repr__(self) -> str:
        """The number of rows and the names of the columns, on one line."""
        return f"RunTable({len(next(iter(self.values()), []))} rows: {', '.join(self)})"

    def to_pandas(self) -> Any:
        """Convert to a ``pandas.DataFrame``; `InputError` names the command that installs pandas if it is missing.

        Returns
        -------
        ``pandas.DataFrame``
            One row for each scan. Numbers that are missing are NaN.
        """
        return _import("pandas").DataFrame(dict(self))

    def to_polars(self) -> Any:
        """Convert to a ``polars.DataFrame``; `InputError` names the command that installs polars if it is missing.

        Returns
        -------
        ``polars.DataFrame``
            One row for each scan. Values that are missing are null.
        """
        return _import("polars").DataFrame(dict(self), strict=False, infer_schema_length=None)


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        what = f"a table for {name} needs the package {name}, which is not installed"
        raise InputError(what, do=f"pip install {name}", code="no-package") from None


def make_table(folder: Path, scans: Iterable[RunScan], unfinished: Iterable[Row]) -> RunTable:
    """Collect the columns of `hilum.Run.table`: of finished scans, then of rows of the ledger without a scan."""
    origins = scans_index.read_origins(folder)
    unknown, columns = scans_index.Origin(), dict.fromkeys((*scans_index.COLUMNS, scans_index.LABEL_MAPS))
    rows: list[dict[str, Cell]] = []
    for scan in scans:
        codes = [note.code for note in scan.notes]
        row = scan.row or Row(id=scan.scan_id, status=finished_status(codes), notes=codes)
        more = _of_record(scan)
        columns |= dict.fromkeys(more)
        rows.append(more | scans_index.cells(row, scan.record, origins.get(scan.scan_id, unknown)))
    rows += (scans_index.cells(row, None, origins.get(row.id, unknown)) for row in unfinished)
    return RunTable({name: [row.get(name) for row in rows] for name in columns})


def _of_record(scan: RunScan) -> dict[str, Cell]:
    """What ``scan.json`` has in addition to ``scans.csv``."""
    record = scan.record
    volumes = {
        f"{LABELS}/{name}/{label}_ml": volume
        for name, one in record.label_maps.items()
        for label, volume in one.volumes_ml.items()
    }
    known: dict[str, Cell] = {"unit": record.unit, "annotated": scan.annotated, "fold": scan.fold or None}
    return {**dict.fromkeys(known), **record.labels, **record.figures, **volumes, **known}
