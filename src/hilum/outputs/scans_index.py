"""``scans.csv``: one row per scan of a run's ledger, by which a scan finds the way back to where it came from.

What a finished scan is stands in its ``scan.json``, what became of the others in the ledger. Where each was found is
known to the run that lists it; of scans that a run does not list, the file that is there tells.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import one_line
from hilum.io.annotations.csv_tables import plain_cell, safe_cells
from hilum.io.atomic import atomic_path
from hilum.io.files import read_small
from hilum.io.names import safe_kernel, safe_name, safe_path
from hilum.outputs import checksums
from hilum.outputs.finished import read_record
from hilum.outputs.ledger_rows import FINISHED
from hilum.outputs.records import is_plain_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hilum.io.volumes.placement import GridRecord
    from hilum.outputs.ledger import Ledger
    from hilum.outputs.ledger_rows import Row
    from hilum.outputs.records import ScanRecord

NAME = "scans.csv"

COLUMNS = (
    "id", "dataset", "series_uid", "case", "input", "path", "status", "codes",
    "shape_z", "shape_y", "shape_x", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm",
    "source_shape_z", "source_shape_y", "source_shape_x",
    "source_spacing_z_mm", "source_spacing_y_mm", "source_spacing_x_mm",
    "kernel", "slice_thickness_mm", "lung_right_ml", "lung_left_ml", "lung_score", "nodules",
)  # fmt: skip

_FIGURES = ("lung_right_ml", "lung_left_ml", "lung_score")

_LARGEST = 1 << 28
_LONGEST = 4096
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,80}")


class Origin(NamedTuple):
    """Where a scan came from.

    Parameters
    ----------
    dataset : str
    series_uid : str
        As it may leave; empty where it is not known before the scan is read.
    case : str
        Its public case id.
    source, path : str
        The input, and where in it: relative, parts separated by ``/``.
    """

    dataset: str = ""
    series_uid: str = ""
    case: str = ""
    source: str = ""
    path: str = ""


def write_index(
    folder: Path,
    book: Ledger,
    origins: Mapping[str, Origin],
    *,
    former: Mapping[str, Origin],
    full_paths: bool = False,
    hide: bool = False,
) -> None:
    """Write ``scans.csv`` at one stroke, sorted by id; the file is left as it is where nothing changed.

    Parameters
    ----------
    folder : Path
        The run's output folder.
    book : Ledger
        Its rows are those of the index.
    origins : mapping of str to Origin
        By id, of the scans that the run lists.
    former : mapping of str to Origin
        By id, of the others, as `read_origins` gave it before the run changed anything.
    full_paths : bool
        Whether paths stand in it in full; without it `hilum.io.names.safe_path` says what of them does.
    hide : bool
        Whether series UIDs must not leave.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in book.rows():
        origin = _known(origins.get(row.id), former.get(row.id), hide=hide)
        record = read_record(folder / "scans" / row.id) if row.status in FINISHED else None
        paths = [safe_path(path, full=full_paths, hide=hide) for path in (origin.source, origin.path)]
        table.writerow(safe_cells([*_who(row, origin, record), *paths, row.status, _codes(row), *_what(record)]))
    data = text.getvalue().encode("utf-8", "replace")
    path = folder / NAME
    with suppress(OSError, ValueError):
        if read_small(path, limit=_LARGEST) == data:
            return
    checksums.remove_checksums(folder)  # of what the folder was
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def read_origins(folder: Path) -> dict[str, Origin]:
    """Read back where the scans of a run came from.

    Parameters
    ----------
    folder : Path
        The run's output folder, which a stranger may have made.

    Returns
    -------
    dict of str to Origin
        By id; empty where there is no ``scans.csv``, one that no run wrote, or one that does not match its checksum.
    """
    try:
        data = read_small(folder / NAME, limit=_LARGEST)
        if checksums.read_checksums(folder).get(NAME) not in {None, hashlib.sha256(data).hexdigest()}:
            return {}
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))
    except (OSError, ValueError, csv.Error):
        return {}
    found = {}
    for row in rows:
        name, dataset, uid, case, source, path = (plain_cell(row.get(column) or "") for column in COLUMNS[:6])
        if is_plain_name(name):
            known = one_line(dataset, limit=40), one_line(uid, limit=128), safe_name(case)
            found[name] = Origin(*known, source[:_LONGEST], path[:_LONGEST])
    return found


def _known(now: Origin | None, before: Origin | None, *, hide: bool) -> Origin:
    """What is known of a scan's origin: by the run that lists it, and else by an earlier one."""
    if before is not None and hide:
        before = before._replace(series_uid="")  # it may be from a recipe that hid none
    if now is None or before is None:
        return now or before or Origin()
    return now if now.path else now._replace(source=before.source, path=before.path)


def _who(row: Row, origin: Origin, record: ScanRecord | None) -> list[str]:
    dataset, uid = (origin.dataset, origin.series_uid) if record is None else (record.dataset, record.series_uid)
    return [row.id, one_line(dataset, limit=40), one_line(uid, limit=128), origin.case]


def _codes(row: Row) -> str:
    """Why a scan was not made; of a finished one the codes of its notes, each once."""
    codes = [row.code, *(note.split(":", 1)[0] for note in row.notes)]
    return " ".join(dict.fromkeys(code for code in codes if _CODE.fullmatch(code)))


def _what(record: ScanRecord | None) -> list[object]:
    """What a finished scan is; nothing of any other."""
    if record is None:
        return [""] * (len(COLUMNS) - COLUMNS.index("shape_z"))
    kernel, depth = record.acquisition.get("kernel", ""), record.acquisition.get("slice_thickness_mm", "")
    return [
        *_grid(record.geometry),
        *_grid(record.source_geometry),
        safe_kernel(str(kernel)),
        "" if isinstance(depth, str) else depth,
        *(record.figures.get(name, "") for name in _FIGURES),
        len(record.nodules),
    ]


def _grid(grid: GridRecord) -> list[object]:
    return [*grid.shape, *(round(step, 6) for step in grid.spacing)]
