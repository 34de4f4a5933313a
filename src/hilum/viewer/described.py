"""What the page tells of a scan beside its pictures: readable names, header fields, and where it opens."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import hilum
from hilum.errors import InputError
from hilum.geometry import Geometry
from hilum.io.volumes.formats import is_volume
from hilum.ops.bounding_box import bounding_box
from hilum.outputs.ledger import Row
from hilum.outputs.scans_index import Origin
from hilum.report.risk import LEVELS, flags, risk
from hilum.runs.run_scan import RunScan
from hilum.scan import Label, Scan

CHANGED = "changed"  # the flag of a scan whose `scan.json` does not match the ledger; the scan is not shown

Fields = Sequence[tuple[str, str]]  # names and values of header fields

_TITLES = {"kernel": "Convolution Kernel", "slice_thickness_mm": "Slice Thickness, mm"}  # of `Scan.acquisition`


def scan_row(name: str, status: str, flags: list[str], **known: Any) -> dict[str, Any]:
    """A row of the list of scans; what is not known is empty or None."""
    row = {"name": name, "title": name, "series": "", "dataset": "", "risk_words": "", "status": status, "reason": ""}
    unknown = dict.fromkeys(("risk", "nodules", "right_ml", "left_ml", "shape", "spacing"))
    return row | unknown | {"flags": flags, "label_maps": [], "viewable": False, "thumbnail": False} | known


def grid_row(shape: tuple[int, ...], spacing: tuple[float, ...]) -> dict[str, Any]:
    """The grid of a scan in its row."""
    return {"shape": list(shape), "spacing": list(spacing)}


def run_row(
    name: str, row: Row | None, scan: RunScan | None, origin: Origin | None, masks: Sequence[str]
) -> dict[str, Any]:
    """The row of a run's scan: its status, what is known of it, and the names that people call it by.

    Parameters
    ----------
    name : str
        The scan id.
    row : Row or None
        Its ledger row.
    scan : RunScan or None
        Its output, if it is finished.
    origin : Origin or None
        Its row of ``scans.csv``, which knows its case in a public data set.
    masks : sequence of str
        The names of masks that the user gave for it.
    """
    record = None if scan is None else scan.valid_record
    reasons = flags(row, record)
    names = [CHANGED] if scan is not None and record is None else [flag.name for flag in reasons]
    status, reason = ("unlisted", "") if row is None else (row.status, row.reason)
    level, from_table = risk(reasons), origin or Origin()
    known = {"title": from_table.case or name, "risk": level, "risk_words": LEVELS[level], "reason": reason}
    known |= {"series": from_table.series_uid, "dataset": from_table.dataset}
    if record is not None:
        known |= {"series": record.series_uid, "dataset": record.dataset, "nodules": len(record.nodules)}
        known |= {"thumbnail": "preview.png" in record.files, "label_maps": [*record.label_maps, *masks]}
        known |= {f"{side}_ml": record.figures.get(f"lung_{side}_ml") for side in ("right", "left")}
        known |= grid_row(record.geometry.shape, record.geometry.spacing)
    return scan_row(name, status, names, viewable=scan is not None, **known)


def header_fields(series_uid: str, acquisition: Mapping[str, Label], grid: Geometry) -> Fields:
    """Header fields that hilum may show and store: those of ``scan.json``, never a name or free text.

    Parameters
    ----------
    series_uid : str
        As the scan states it.
    acquisition : mapping of str to number or str
        As in `hilum.Scan`.
    grid : Geometry
        Of the voxels as they were read.

    Returns
    -------
    list of (str, str)
        Without fields that have no value.
    """
    slices, rows, columns = grid.shape
    axes = "; ".join(_numbers(axis) for axis in grid.direction)
    told = [("Series Instance UID", series_uid)]
    told += [(title, str(acquisition.get(name, ""))) for name, title in _TITLES.items()]
    told += [("Slices", str(slices)), ("Rows", str(rows)), ("Columns", str(columns))]
    told += [
        ("Spacing (z, y, x), mm", _numbers(grid.spacing)),
        ("First voxel (x, y, z), LPS mm", _numbers(grid.origin)),
    ]
    return [(name, value) for name, value in (*told, ("Ways of z; y; x", axes)) if value]


def series_fields(path: Path, series_uid: str, shape: tuple[int, ...]) -> Fields:
    """The fields of a DICOM series that ``hilum info --headers`` lists besides; empty for other files."""
    if is_volume(path):
        return []
    try:
        listed = hilum.series(path, pixels=False)
    except InputError:
        return []
    same = [one for one in listed if one.uid == series_uid and one.format == "DICOM"]
    if not same:
        return []
    one = next((one for one in same if one.shape == shape), same[0])
    number = "" if one.series_number is None else str(one.series_number)
    fields = [("Series Number", number), (one.told_by or "Phase", one.phase)]
    return [(name, value) for name, value in fields if value]


def start_place(scan: Scan, nodules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the page opens: at the largest nodule, else in the middle of the lungs' mask, else of the volume.

    Parameters
    ----------
    scan : Scan
        Its grid and its lungs.
    nodules : sequence of mapping
        As the page reads them, with ``label``, ``world`` and ``diameter_mm``.

    Returns
    -------
    dict
        ``world``, (x, y, z), LPS mm; and ``nodule``, the label of the nodule there, or None.
    """
    grid = scan.ct.geometry
    if inside := [one for one in nodules if grid.contains(one["world"])]:
        largest = max(inside, key=itemgetter("diameter_mm"))
        return {"world": list(largest["world"]), "nodule": largest["label"]}
    box = None if scan.lungs is None else bounding_box(scan.lungs.array != 0)
    middle = [n // 2 for n in grid.shape] if box is None else [(one.start + one.stop) // 2 for one in box]
    return {"world": grid.index_to_world(middle).tolist(), "nodule": None}


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
