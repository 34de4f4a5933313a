"""Readers' outlines filled on the slices where they were drawn.

The readers of LIDC-IDRI drew along centers of pixels, and were told to keep just outside the nodule: the outline lies
on the first pixels beyond it. So by default the pixels of an outline do not belong to the nodule
(``contour_pixel="exclude"``); with ``"include"`` they do. A hole takes its own outline along either way.

Source: S. Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): a
completed reference database of lung nodules on CT scans", Medical Physics 38, 2011.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hilum.errors import AnnotationError, InputError
from hilum.volume import Mask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.scan import Nodule, Reading

ContourPixel = Literal["exclude", "include"]

_MOST_VOXELS = 2**28
_EDGES_AT_ONCE = 4096
_SAME_LATTICE = 1e-3
_SNAP = 6
"""Decimals of a pixel that are kept: the way to the world and back costs some 1e-12."""


def reading_mask(reading: Reading, *, contour_pixel: ContourPixel = "exclude") -> Mask:
    """Fill one reader's outlines, slice by slice.

    A pixel belongs to the nodule if its center lies inside an outline (winding number not zero, so that outlines that
    cross or repeat themselves stay filled) and neither in nor on a hole. If that leaves nothing in any slice, the
    pixels of the outlines count, as with ``"include"``.

    Parameters
    ----------
    reading : Reading
    contour_pixel : {"exclude", "include"}
        Whether the pixels on an outline belong to the nodule.

    Returns
    -------
    Mask
        1 inside; its grid is the box around the outlines on the reading's grid, and may reach beyond that.

    Raises
    ------
    AnnotationError
        If the outlines span more than any image, or one does not lie in a slice.
    InputError
        If `contour_pixel` is neither.
    """
    check_contour_pixel(contour_pixel)
    low, high = _box([reading])
    mask = Mask(_fill(reading, low, high, contour_pixel), reading.grid.crop(low, high))
    if contour_pixel == "exclude" and not mask.array.any():
        return Mask(_fill(reading, low, high, "include"), mask.geometry)
    return mask


def consensus_mask(nodule: Nodule, *, level: float = 0.5, contour_pixel: ContourPixel = "exclude") -> Mask:
    """Where at least a share of a nodule's readers drew it.

    Parameters
    ----------
    nodule : Nodule
        With readings, all of one grid.
    level : float
        The share of those readers who outlined this nodule: 0.5 for half of them or more, 1 for all; above 0. What one
        reader outlined in several readings counts once.
    contour_pixel : {"exclude", "include"}

    Returns
    -------
    Mask
        1 inside, on the box around all outlines of the readings' grid.

    Raises
    ------
    AnnotationError
        If there is no reading, the readings are of several grids, or span more than any image.
    InputError
        If the level is not above 0 and at most 1, or `contour_pixel` is neither.
    """
    check_level(level)
    count, geometry, readers = _count(nodule.readings, contour_pixel)
    return Mask(count >= max(1, np.ceil(level * readers - 1e-9)), geometry)


def reading_volume_mm3(reading: Reading) -> float:
    """Volume of a reading as pylidc defines it: areas of the outlines' polygons times the distance of slices.

    Parameters
    ----------
    reading : Reading

    Returns
    -------
    float
        Holes taken off. It ends on the outline, half a pixel beyond what `reading_mask` fills.
    """
    areas = [(1, points) for points in reading.contours] + [(-1, points) for points in reading.holes]
    return float(reading.grid.spacing[0] * sum(sign * _area(points) for sign, points in areas))


def reading_diameter_mm(reading: Reading) -> float:
    """Diameter of a reading as pylidc defines it: the largest distance of two points of one outline.

    Parameters
    ----------
    reading : Reading

    Returns
    -------
    float
    """
    return max(_span(points) for points in reading.contours)


def check_level(level: float) -> None:
    """Check a level of consensus.

    Parameters
    ----------
    level : float

    Raises
    ------
    InputError
        If it is not above 0 and at most 1.
    """
    if not 0 < level <= 1:
        raise InputError(f"the level of consensus is {level}, expected above 0 and at most 1", code="option")


def check_contour_pixel(contour_pixel: str) -> None:
    """Check what shall become of the pixels on an outline.

    Parameters
    ----------
    contour_pixel : str

    Raises
    ------
    InputError
        If it is neither ``"exclude"`` nor ``"include"``.
    """
    if contour_pixel not in {"exclude", "include"}:
        raise InputError(f"contour_pixel is {contour_pixel!r}, expected exclude or include", code="option")


def outline_pixels(points: NDArray[np.float64], grid: Geometry) -> NDArray[np.float64]:
    """Where an outline runs on its slice.

    Parameters
    ----------
    points : ndarray, shape (n, 3), (x, y, z), LPS mm
    grid : Geometry

    Returns
    -------
    ndarray, shape (n, 3), (z, y, x)
        Voxel indices; z is whole and the same for all.

    Raises
    ------
    AnnotationError
        If the points do not lie in one slice.
    """
    index = np.round(grid.world_to_index(points), _SNAP)
    level = np.rint(index[0, 0])
    if np.abs(index[:, 0] - level).max() > 0.01:
        raise AnnotationError("an outline does not lie in one slice of the grid on which it was drawn")
    index[:, 0] = level
    return index


def _box(readings: Iterable[Reading]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    index = np.concatenate([outline_pixels(points, r.grid) for r in readings for points in r.contours])
    low, high = np.floor(index.min(axis=0)).astype(int), np.ceil(index.max(axis=0)).astype(int) + 1
    if np.prod((high - low).astype(float)) > _MOST_VOXELS:
        raise AnnotationError(f"outlines span {tuple((high - low).tolist())} voxels, more than any nodule")
    return (int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2]))


def _count(readings: tuple[Reading, ...], contour_pixel: ContourPixel) -> tuple[NDArray[np.int32], Geometry, int]:
    """How many readers drew each voxel; the box it is in; how many readers there are."""
    if not readings:
        raise AnnotationError("a nodule without outlines has no consensus", do="mask_nodules draws it as a sphere")
    grid = readings[0].grid
    low, high = _box(readings)
    count = np.zeros([b - a for a, b in zip(low, high, strict=True)], np.int32)
    readers = sorted({r.reader for r in readings})
    for reader in readers:
        drawn = np.zeros(count.shape, bool)
        for reading in (r for r in readings if r.reader == reader):
            mask = reading_mask(reading, contour_pixel=contour_pixel)
            start = grid.world_to_index(mask.geometry.origin)
            first = np.rint(start).astype(int) - low
            if np.abs(start - np.rint(start)).max() > _SAME_LATTICE or not _same_lattice(grid, reading.grid):
                raise AnnotationError("readings of one nodule were drawn on different grids")
            drawn[tuple(slice(a, a + n) for a, n in zip(first, mask.shape, strict=True))] |= mask.array.view(bool)
        count += drawn
    return count, grid.crop(low, high), len(readers)


def _same_lattice(one: Geometry, other: Geometry) -> bool:
    return bool(np.allclose(one.affine[:3, :3], other.affine[:3, :3], rtol=0, atol=1e-6))


def _fill(
    reading: Reading, low: tuple[int, int, int], high: tuple[int, int, int], contour_pixel: ContourPixel
) -> NDArray[np.bool_]:
    drawn = np.zeros([b - a for a, b in zip(low, high, strict=True)], bool)
    for points in reading.contours:
        index = outline_pixels(points, reading.grid) - low
        inside, on = fill_polygon(index[:, 1:], drawn.shape[1:])
        drawn[int(index[0, 0])] |= inside | on if contour_pixel == "include" else inside & ~on
    for points in reading.holes:
        index = outline_pixels(points, reading.grid) - low
        if 0 <= index[0, 0] < len(drawn):
            inside, on = fill_polygon(index[:, 1:], drawn.shape[1:])
            drawn[int(index[0, 0])] &= ~(inside | on)
    return drawn


def fill_polygon(vertices: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pixels lie inside a polygon, and which on it.

    Parameters
    ----------
    vertices : ndarray, shape (n, 2), (row, column)
        The last is joined to the first. Those outside the image count as well.
    shape : tuple of int, (rows, columns)

    Returns
    -------
    inside : ndarray of bool, shape (rows, columns)
        Centers whose winding number is not zero; undecided for those on the polygon.
    on : ndarray of bool, shape (rows, columns)
        Centers on an edge, and the nearest center of every vertex.
    """
    winding = np.zeros((shape[0], shape[1] + 1), np.int32)
    on = np.zeros(shape, bool)
    _set(on, np.rint(vertices[:, 0]), np.rint(vertices[:, 1]))
    start, stop = vertices, np.roll(vertices, -1, axis=0)
    for k in range(0, len(start), _EDGES_AT_ONCE):
        a, b = start[k : k + _EDGES_AT_ONCE], stop[k : k + _EDGES_AT_ONCE]
        rows, columns, edge = _crossings(a, b, shape[0])
        up = np.sign(b[edge, 0] - a[edge, 0]).astype(np.int32)
        counted = rows < np.maximum(a[edge, 0], b[edge, 0])  # of two edges that meet in a row one crosses it
        first = np.clip(np.floor(columns[counted]) + 1, 0, shape[1]).astype(int)
        np.add.at(winding, (rows[counted], first), up[counted])
        whole = np.abs(columns - np.rint(columns)) < 1e-6
        _set(on, rows[whole], np.rint(columns[whole]))
        across, down, _ = _crossings(a[:, ::-1], b[:, ::-1], shape[1])
        whole = np.abs(down - np.rint(down)) < 1e-6
        _set(on, np.rint(down[whole]), across[whole])
    return np.cumsum(winding[:, :-1], axis=1) != 0, on


def _crossings(
    a: NDArray[np.float64], b: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Where edges cross the whole rows of an image: row, position along it, number of the edge; level ones nowhere."""
    least, most = np.minimum(a[:, 0], b[:, 0]), np.maximum(a[:, 0], b[:, 0])
    first = np.maximum(np.ceil(least), 0).astype(int)
    last = np.minimum(np.floor(most), size - 1).astype(int)
    count = np.where(most > least, np.maximum(last - first + 1, 0), 0)
    edge = np.repeat(np.arange(len(a)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    share = (row - a[edge, 0]) / (b[edge, 0] - a[edge, 0])
    return row, a[edge, 1] + share * (b[edge, 1] - a[edge, 1]), edge


def _set(image: NDArray[np.bool_], at_rows: NDArray[Any], at_columns: NDArray[Any]) -> None:
    rows, columns = at_rows.astype(int), at_columns.astype(int)
    there = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
    image[rows[there], columns[there]] = True


def _area(points: NDArray[np.float64]) -> float:
    """Area of a plane polygon in space, after the shoelace formula."""
    legs = points - points[0]
    return float(np.linalg.norm(np.cross(legs[:-1], legs[1:]).sum(axis=0)) / 2)


def _span(points: NDArray[np.float64]) -> float:
    corners = np.unique(points, axis=0)
    rows = range(0, len(corners), 1024)
    return max(float(np.linalg.norm(corners[k : k + 1024, None] - corners, axis=-1).max()) for k in rows)
