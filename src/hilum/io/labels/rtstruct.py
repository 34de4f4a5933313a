"""Regions of a DICOM structure set (RTSTRUCT), filled on the grid of their scan.

Source: DICOM PS3.3 C.8.8.6 (ROI Contour module).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError
from hilum.geometry import Geometry
from hilum.io.labels.choice import check_series, choose_region, empty_error
from hilum.io.labels.regions import Region, items_of, number_of, open_dataset, reading, regions_of, text_of
from hilum.ops.labels.contours import FilledContours, fill_contours
from hilum.scan import LabelMap, Note, Scan

_POINTS = "single points"

_CLOSED, _XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"

_OPEN = {"POINT": _POINTS, "OPEN_PLANAR": "open", "OPEN_NONPLANAR": "open"}

_EMPTY = ("empty-region", "points-only")

_LARGEST_MM = 1e5  # no scanner reaches so far: the number is damaged


class _Contours(NamedTuple):
    """The contours of one region.

    Parameters
    ----------
    closed : list of ndarray, each shape (n, 3), (x, y, z), LPS mm
        The corners of each closed line.
    images : list of str
        The image that each of them was drawn on; empty where unknown.
    xor : bool
        Whether they are combined by exclusive or.
    left_out : dict of str to int
        Contours that enclose nothing, by kind.
    """

    closed: list[NDArray[np.float64]]
    images: list[str]
    xor: bool
    left_out: dict[str, int]


def read_rtstruct(
    path: Path, scan: Scan, regions: Sequence[tuple[str, str]], *, xor: bool = False
) -> tuple[dict[str, LabelMap], tuple[Note, ...]]:
    """Fill regions of a structure set on the grid of the scan that they were drawn on.

    Parameters
    ----------
    path : Path
        The DICOM file.
    scan : Scan
        The scan that the contours were drawn on.
    regions : sequence of (str, str)
        The name of each region in the file, and the name of its label map.
    xor : bool
        Combine all contours of a slice by exclusive or, as some programs do: a contour that is stored twice then
        leaves its slice empty.

    Returns
    -------
    maps : dict of str to LabelMap
        One for each region that is not empty, with the value 1.
    notes : tuple of Note
        What was odd about the contours.

    Raises
    ------
    MissingInputError, FormatError, UnsupportedError
        If the file cannot be opened, is damaged, or no structure set.
    SeriesError
        If it belongs to another series, a region is not in it or named twice, or all chosen regions are empty.
    """
    maps: dict[str, LabelMap] = {}
    notes: list[Note] = []
    for name, contours, belongs in _read_regions(path, scan, regions):
        filled = fill_contours(contours.closed, scan.ct.geometry, xor=xor or contours.xor)
        if not filled.empty:
            maps[name] = LabelMap(filled.mask, {name: 1})
        notes += (*belongs, *_notes(name, contours, filled, _misplaced(contours, scan)))
    if not maps:
        raise empty_error(regions, next(n.text.partition(": ")[2] for n in notes if n.code in _EMPTY), path)
    return maps, tuple(dict.fromkeys(notes))


def _read_regions(
    path: Path, scan: Scan, regions: Sequence[tuple[str, str]]
) -> list[tuple[str, _Contours, tuple[Note, ...]]]:
    """The name of each label map with the contours of its region, and what speaks for the scan being the right one."""
    with reading(path):
        dataset = open_dataset(path)
        listed = regions_of(dataset, path)
        if listed.kind != "rtstruct":
            raise FormatError("is no structure set", where=path, do="give an RTSTRUCT file")
        items: dict[int, list[Any]] = {}
        for item in items_of(dataset, "ROIContourSequence"):
            items.setdefault(number_of(item, "ReferencedROINumber"), []).extend(items_of(item, "ContourSequence"))
        read = []
        for name, map_name in regions:
            region = choose_region(listed, name, path, is_empty=lambda one: not items.get(one.number))
            contours = _read_contours(items.get(region.number, []), region, path)
            images = frozenset(filter(None, contours.images))
            read.append((map_name, contours, check_series(listed, region, images, scan, path)))
    return read


def _read_contours(items: Sequence[Any], region: Region, path: Path) -> _Contours:
    closed: list[NDArray[np.float64]] = []
    images: list[str] = []
    kinds: set[str] = set()
    left_out: dict[str, int] = {}
    for item in items:
        kind = text_of(item, "ContourGeometricType").upper() or _CLOSED
        if kind in {_CLOSED, _XOR}:
            kinds.add(kind)
            closed.append(_points(item, region, path))
            image = items_of(item, "ContourImageSequence")
            images.append(text_of(image[0], "ReferencedSOPInstanceUID") if image else "")
        else:
            what = _OPEN.get(kind, "of an unknown kind")
            left_out[what] = left_out.get(what, 0) + 1
    if len(kinds) > 1:
        what = f"the contours of '{region.name}' are of two kinds, {_CLOSED} and {_XOR}"
        raise FormatError(what, where=path, do="export it again", code="bad-contour")
    return _Contours(closed, images, _XOR in kinds, left_out)


def _points(item: Any, region: Region, path: Path) -> NDArray[np.float64]:
    """The points of a contour. pydicom would take a second for a hundred thousand numbers."""
    element = item.get_item("ContourData") if "ContourData" in item else None
    value = b"" if element is None or element.value is None else element.value
    text = value if isinstance(value, bytes) else "\\".join(map(str, value)).encode()
    try:
        numbers = np.array([float(number) for number in text.rstrip(b" \0").split(b"\\")])
    except ValueError:
        numbers = np.array([np.nan])
    if len(numbers) % 3 or not (np.abs(numbers) < _LARGEST_MM).all() or b"_" in text:  # nan is not below it
        what = f"a contour of '{region.name}' is not a list of points (x, y, z) in mm"
        raise FormatError(what, where=path, do="export it again", code="bad-contour")
    points = numbers.reshape(-1, 3)
    stated = item.get("NumberOfContourPoints")
    if stated is not None and int(stated) != len(points):
        what = f"a contour of '{region.name}' has {len(points)} points, and {int(stated)} are stated"
        raise FormatError(what, where=path, do="get the file again, complete", code="bad-contour")
    return points


def _misplaced(contours: _Contours, scan: Scan) -> int:
    """Count the contours that lie on another slice than the one that they name."""
    slices: Mapping[str, int] = {uid: k for k, uid in enumerate(scan.slice_uids)}
    if len(slices) < len(scan.slice_uids) and len(set(filter(None, scan.slice_uids))) < 2:
        return 0  # one file holds all slices
    geometry: Geometry = scan.ct.geometry
    return sum(
        image in slices and abs(float(geometry.world_to_index(points.mean(axis=0))[0]) - slices[image]) > 1
        for points, image in zip(contours.closed, contours.images, strict=True)
    )


def _notes(name: str, contours: _Contours, filled: FilledContours, misplaced: int) -> list[Note]:
    """What was odd about the contours of a region; named by its label map."""
    total = len(contours.closed) + sum(contours.left_out.values())
    out = {**contours.left_out, "across the slices": filled.across, "beyond the slices": filled.off_slices}
    texts = ", ".join(f"{count} {what}" for what, count in out.items() if count)
    notes = []
    if total and contours.left_out.get(_POINTS) == total:
        return [Note("points-only", f"{name}: it is a point, not a region")]
    if filled.empty:
        why = f"{total} contours are left out: {texts}" if texts else "none of its contours contains a pixel center"
        return [Note("empty-region", f"{name}: {why if total else 'it has no contours'}")]
    if texts:
        notes.append(Note("contours-left-out", f"{name}: of {total} contours are left out: {texts}"))
    if misplaced:
        what = f"{misplaced} of {total} contours lie on other slices than those that they name"
        notes.append(Note("contours-misplaced", f"{name}: {what}; their positions were used"))
    lines = (
        ("contours-between-slices", filled.between,
         f"contours lie between slices, up to {filled.furthest_mm:.2g} mm from the one that they were filled on"),
        ("contours-crowded", filled.crowded, "contours were left out: others are nearer to the center of their slice"),
        ("contours-cut", filled.cut, "contours reach beyond the image and were cut"),
        ("contours-repeated", filled.repeated, "contours repeat another one of their slice and were left out"),
        ("contours-overlap", filled.overlapping, "contours overlap another one of their slice in part"),
        ("contours-too-small", filled.too_small, "contours contain no pixel center"),
        ("contours-interpolated", filled.interpolated,
         "slices between regularly spaced contours were filled by interpolation"),
        ("contour-gaps", filled.gaps, "slices between its contours have none and stay empty"),
    )  # fmt: skip
    return notes + [Note(code, f"{name}: {count} {what}") for code, count, what in lines if count]
