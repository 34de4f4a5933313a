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
from hilum.outputs.records import ScanRecord
from hilum.outputs.scans_index import Origin
from hilum.report.risk import LEVELS
from hilum.scan import Label, Scan

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


def row_names(name: str, origin: Origin | None, record: ScanRecord | None, risk: int) -> dict[str, str]:
    """The names of a run's scan for the list: its case in a public data set, if it has one, and what else finds it.

    Parameters
    ----------
    name : str
        The scan id.
    origin : Origin or None
        Its row of ``scans.csv``.
    record : ScanRecord or None
        Its ``scan.json``.
    risk : int
        An index into `hilum.report.risk.LEVELS`.

    Returns
    -------
    dict
        ``title``, ``series``, ``dataset``, and ``risk_words``.
    """
    known = origin or Origin()
    series = known.series_uid if record is None else record.series_uid
    dataset = known.dataset if record is None else record.dataset
    return {"title": known.case or name, "series": series, "dataset": dataset, "risk_words": LEVELS[risk]}


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
