"""``scans.csv``: one row per scan of a run's ledger, which leads from a scan back to its input.

The columns come from ``scan.json`` of finished scans, and from the ledger for the others. The run knows the inputs of
the scans that it lists; those of other scans are read from the existing ``scans.csv``.
"""

import csv
import hashlib
import io
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hilum.errors import one_line
from hilum.io import atomic, files
from hilum.io.annotations.csv_tables import plain_cell, safe_cells
from hilum.io.names import safe_kernel, safe_name, safe_path
from hilum.io.volumes.placement import GridRecord
from hilum.outputs import checksums, finished, records
from hilum.outputs.ledger import FINISHED, Ledger, Row

NAME = "scans.csv"

COLUMNS = (
    "id", "dataset", "series_uid", "case", "input", "path", "status", "codes",
    "shape_z", "shape_y", "shape_x", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm",
    "source_shape_z", "source_shape_y", "source_shape_x",
    "source_spacing_z_mm", "source_spacing_y_mm", "source_spacing_x_mm",
    "kernel", "slice_thickness_mm", "lung_right_ml", "lung_left_ml", "lung_score", "nodules",
)  # fmt: skip

_CONTENT = COLUMNS[COLUMNS.index("shape_z") :]  # from ``scan.json``

LABEL_MAPS = "label_maps"  # one more column at the end, if a scan of the run has label maps: their names

_MAX_BYTES = 1 << 28
_MAX_PATH = 4096
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")


class Origin(NamedTuple):
    """The input of a scan.

    Parameters
    ----------
    dataset : str
        Name of the adapter that listed it.
    series_uid : str
        Hashed if the recipe hides it; empty if it is unknown before the scan is read.
    case : str
        Its public case id.
    source, path : str
        The input given to the run, and the scan's path relative to it, with parts separated by ``/``.
    """

    dataset: str = ""
    series_uid: str = ""
    case: str = ""
    source: str = ""
    path: str = ""


Origins = Mapping[str, Origin]  # by scan id


def write_index(
    folder: Path, ledger: Ledger, origins: Origins, *, former: Origins, full_paths: bool, hide: bool
) -> None:
    """Write ``scans.csv`` atomically, sorted by id, unless it is up to date.

    Parameters
    ----------
    folder : Path
        The run's output folder.
    ledger : Ledger
        It has the same rows.
    origins : mapping of str to Origin
        By id: the scans that the run lists.
    former : mapping of str to Origin
        By id: the other scans, from `read_origins` before the run changed anything.
    full_paths : bool
        Write full paths; otherwise `hilum.io.names.safe_path` removes names that could identify a patient.
    hide : bool
        Remove series UIDs.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    rows = []
    for row in ledger.rows():
        origin = _merge_origins(origins.get(row.id), former.get(row.id), hide=hide)
        record = finished.read_record(folder / "scans" / row.id) if row.status in FINISHED else None
        source, within = (safe_path(one, full=full_paths, hide=hide) for one in (origin.source, origin.path))
        rows.append(cells(row, record, origin._replace(source=source, path=within)))
    columns = (*COLUMNS, LABEL_MAPS) if any(row[LABEL_MAPS] for row in rows) else COLUMNS
    table.writerow(columns)
    table.writerows(safe_cells(row[name] for name in columns) for row in rows)
    data = text.getvalue().encode("utf-8", "replace")
    path = folder / NAME
    with suppress(OSError, ValueError):
        if files.read_small(path, limit=_MAX_BYTES) == data:
            return
    checksums.remove_checksums(folder)  # they are out of date
    with atomic.atomic_path(path) as partial:
        partial.write_bytes(data)


def cells(row: Row, record: records.ScanRecord | None, origin: Origin) -> dict[str, str | float | None]:
    """Collect the cells of one scan by column, also `LABEL_MAPS`; None where a value is missing.

    Parameters
    ----------
    row : Row
        Its line of the ledger.
    record : ScanRecord or None
        None for a scan that is not finished.
    origin : Origin
        With paths that may be written.

    Returns
    -------
    dict of str to str, number or None
    """
    known = origin if record is None else record
    names = one_line(known.dataset, limit=40), one_line(known.series_uid, limit=128), origin.case
    given = (text or None for text in (*names, origin.source, origin.path))
    first = dict(zip(COLUMNS, (row.id, *given, row.status, _codes(row)), strict=False))
    content = [] if record is None else _content(record)
    maps = "" if record is None else " ".join(record.label_maps)
    return {**dict.fromkeys(COLUMNS), **first, **dict(zip(_CONTENT, content, strict=False)), LABEL_MAPS: maps}


def read_origins(folder: Path) -> dict[str, Origin]:
    """Read the inputs of a run's scans from ``scans.csv``.

    Parameters
    ----------
    folder : Path
        The run's output folder, perhaps from a stranger.

    Returns
    -------
    dict of str to Origin
        By id; empty if ``scans.csv`` is missing, malformed, or does not match its checksum.
    """
    try:
        data = files.read_small(folder / NAME, limit=_MAX_BYTES)
        if checksums.read_checksums(folder).get(NAME) not in {None, hashlib.sha256(data).hexdigest()}:
            return {}
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))
    except (OSError, ValueError, csv.Error):
        return {}
    origins = {}
    for row in rows:
        name, dataset, uid, case, source, path = (plain_cell(row.get(column) or "") for column in COLUMNS[:6])
        if records.is_plain_name(name):
            known = one_line(dataset, limit=40), one_line(uid, limit=128), safe_name(case)
            origins[name] = Origin(*known, source[:_MAX_PATH], path[:_MAX_PATH])
    return origins


def _merge_origins(now: Origin | None, before: Origin | None, *, hide: bool) -> Origin:
    """Prefer the origin from this run to that from an earlier run."""
    if before is not None and hide:
        before = before._replace(series_uid="")  # perhaps written with a recipe that did not hide it
    if now is None or before is None:
        return now or before or Origin()
    return now if now.path else now._replace(source=before.source, path=before.path)


def _codes(row: Row) -> str:
    """The code of a refusal or failure, or the codes of a finished scan's notes, without duplicates."""
    codes = [row.code, *(note.split(":", 1)[0] for note in row.notes)]
    return " ".join(dict.fromkeys(code for code in codes if _CODE.fullmatch(code)))


def _content(record: records.ScanRecord) -> list[str | float | None]:
    """The cells from ``scan.json``."""
    kernel, depth = record.acquisition.get("kernel", ""), record.acquisition.get("slice_thickness_mm")
    return [
        *_grid(record.geometry),
        *_grid(record.source_geometry),
        safe_kernel(str(kernel)) or None,
        None if isinstance(depth, str) else depth,
        *(record.figures.get(name) for name in ("lung_right_ml", "lung_left_ml", "lung_score")),
        len(record.nodules),
    ]


def _grid(grid: GridRecord) -> list[float]:
    return [*grid.shape, *(round(step, 6) for step in grid.spacing)]
