"""Fill readers' outlines on the slices where they were drawn.

The readers of LIDC-IDRI drew along the centers of pixels, just outside the nodule: an outline lies on the first pixels
beyond it. By default the pixels of an outline do not belong to the nodule (``contour_pixel="exclude"``); with
``"include"`` they do. The pixels on the outline of a hole never belong to the nodule.

Source: S. Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): a
completed reference database of lung nodules on CT scans", Medical Physics 38, 2011.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError, InputError
from hilum.geometry import Geometry
from hilum.ops.nodules.polygons import fill_polygon
from hilum.scan import Nodule, Reading
from hilum.volume import Mask

ContourPixel = Literal["exclude", "include"]

_MOST_VOXELS = 2**28
_SAME_LATTICE = 1e-3
_INDEX_DECIMALS = 6  # indices are rounded to this: the conversion to world coordinates and back costs some 1e-12


def reading_mask(reading: Reading, *, contour_pixel: ContourPixel = "exclude") -> Mask:
    """Fill the outlines of one reading, slice by slice.

    A pixel belongs to the nodule if its center lies inside an outline and neither inside nor on a hole. Inside means
    that the winding number is not 0, so outlines that cross or repeat themselves are filled. If no pixel of any slice
    is inside, the pixels of the outlines count, as with ``"include"``.

    Parameters
    ----------
    reading : Reading
    contour_pixel : {"exclude", "include"}
        Whether the pixels on an outline belong to the nodule.

    Returns
    -------
    Mask
        1 inside. Its grid is the box around the outlines on the reading's grid; it may extend beyond that grid.

    Raises
    ------
    AnnotationError
        If the outlines span more voxels than any image has, or an outline does not lie in one slice.
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
    """Mark the voxels that at least a given fraction of a nodule's readers outlined.

    Parameters
    ----------
    nodule : Nodule
        With readings, all on one grid.
    level : float
        A fraction of the readers who outlined this nodule, above 0: 0.5 for at least half of them, 1 for all. Several
        readings of one reader count as one reader.
    contour_pixel : {"exclude", "include"}

    Returns
    -------
    Mask
        1 inside. Its grid is the box around all outlines on the readings' grid.

    Raises
    ------
    AnnotationError
        If there is no reading, the readings are on several grids, or they span more voxels than any image has.
    InputError
        If the level is not above 0 and at most 1, or `contour_pixel` is neither.
    """
    check_level(level)
    count, geometry, readers = _count(nodule.readings, contour_pixel)
    return Mask(count >= max(1, np.ceil(level * readers - 1e-9)), geometry)


def reading_volume_mm3(reading: Reading) -> float:
    """Compute the volume of a reading, mm3, as pylidc does: the areas of its polygons times the slice distance.

    Holes do not count. The polygon is half a pixel larger on each side than what `reading_mask` fills.
    """
    areas = [(1, points) for points in reading.contours] + [(-1, points) for points in reading.holes]
    return float(reading.grid.spacing[0] * sum(sign * _area(points) for sign, points in areas))


def reading_diameter_mm(reading: Reading) -> float:
    """Compute the diameter of a reading, mm, as pylidc does: the largest distance between two points of one outline."""
    return max(_span(points) for points in reading.contours)


def check_level(level: float) -> None:
    """Refuse, with an InputError, a consensus level that is not above 0 and at most 1."""
    if not 0 < level <= 1:
        raise InputError(f"the consensus level is {level}, expected above 0 and at most 1", code="option")


def check_contour_pixel(contour_pixel: str) -> None:
    """Refuse, with an InputError, an option `contour_pixel` that is neither ``"exclude"`` nor ``"include"``."""
    if contour_pixel not in {"exclude", "include"}:
        raise InputError(f"contour_pixel is {contour_pixel!r}, expected exclude or include", code="option")


def outline_pixels(points: NDArray[np.float64], grid: Geometry) -> NDArray[np.float64]:
    """Convert the points of an outline to voxel indices.

    Parameters
    ----------
    points : ndarray, shape (n, 3), (x, y, z), LPS mm
    grid : Geometry

    Returns
    -------
    ndarray, shape (n, 3), (z, y, x)
        z is a whole number, the same for all points.

    Raises
    ------
    AnnotationError
        If the points do not lie in one slice.
    """
    index = np.round(grid.world_to_index(points), _INDEX_DECIMALS)
    level = np.rint(index[0, 0])
    if np.abs(index[:, 0] - level).max() > 0.01:
        raise AnnotationError("an outline does not lie in one slice of its grid")
    index[:, 0] = level
    return index


def _box(readings: Iterable[Reading]) -> tuple[list[int], list[int]]:
    index = np.concatenate([outline_pixels(points, r.grid) for r in readings for points in r.contours])
    low, high = np.floor(index.min(axis=0)).astype(int), np.ceil(index.max(axis=0)).astype(int) + 1
    if np.prod((high - low).astype(float)) > _MOST_VOXELS:
        raise AnnotationError(f"the outlines span {tuple((high - low).tolist())} voxels, too many for a nodule")
    return low.tolist(), high.tolist()


def _count(readings: tuple[Reading, ...], contour_pixel: ContourPixel) -> tuple[NDArray[np.int32], Geometry, int]:
    """Count the readers who outlined each voxel; also return the box's geometry and the number of readers."""
    if not readings:
        raise AnnotationError("the nodule has no outlines, so it has no consensus", do="draw a sphere: mask_nodules")
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
            same_axes = np.allclose(grid.affine[:3, :3], reading.grid.affine[:3, :3], rtol=0, atol=1e-6)
            if np.abs(start - np.rint(start)).max() > _SAME_LATTICE or not same_axes:
                raise AnnotationError("the readings of one nodule lie on different grids")
            drawn[tuple(slice(a, a + n) for a, n in zip(first, mask.shape, strict=True))] |= mask.array.view(bool)
        count += drawn
    return count, grid.crop(low, high), len(readers)


def _fill(reading: Reading, low: list[int], high: list[int], contour_pixel: ContourPixel) -> NDArray[np.bool_]:
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


def _area(points: NDArray[np.float64]) -> float:
    """Area of a plane polygon in space, after the shoelace formula."""
    legs = points - points[0]
    return float(np.linalg.norm(np.cross(legs[:-1], legs[1:]).sum(axis=0)) / 2)


def _span(points: NDArray[np.float64]) -> float:
    corners = np.unique(points, axis=0)
    rows = range(0, len(corners), 1024)
    return max(float(np.linalg.norm(corners[k : k + 1024, None] - corners, axis=-1).max()) for k in rows)
