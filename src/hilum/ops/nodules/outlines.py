"""Fill readers' outlines on the slices where they were drawn.

The readers of LIDC-IDRI drew along the centers of pixels, just outside the nodule: an outline lies on the first pixels
beyond it. By default the pixels of an outline do not belong to the nodule (``contour_pixel="exclude"``); with
``"include"`` they do. The pixels on the outline of a hole never belong to the nodule.

Source: S. Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): a
completed reference database of lung nodules on CT scans", Medical Physics 38, 2011.
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError, InputError, check_number
from hilum.geometry import Geometry
from hilum.ops.arguments import expect
from hilum.scan import Nodule, Reading
from hilum.volume import Mask

ContourPixel = Literal["exclude", "include"]

_MOST_VOXELS = 2**28
_EDGES_AT_ONCE = 4096
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
        The reading to fill.
    contour_pixel : {"exclude", "include"}, default "exclude"
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
    InputTypeError
        If the argument is no reading.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((3, 20, 20), (2.0, 1.0, 1.0))
    >>> square = np.array([[4.0, 4.0, 2.0], [10.0, 4.0, 2.0], [10.0, 10.0, 2.0], [4.0, 10.0, 2.0]])
    >>> int(hilum.reading_mask(hilum.Reading(1, grid, (square,))).array.sum())
    25
    """
    reading = expect(reading, Reading, "reading", do="pass one of nodule.readings")
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
    level : float, default 0.5
        A fraction of the readers who outlined this nodule, above 0: 0.5 for at least half of them, 1 for all. Several
        readings of one reader count as one reader.
    contour_pixel : {"exclude", "include"}
        Whether the pixels on an outline belong to the nodule, as for `reading_mask`; by default they do not.

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
    InputTypeError
        If the argument is no nodule.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> grid = hilum.Geometry((3, 20, 20), (2.0, 1.0, 1.0))
    >>> square = np.array([[4.0, 4.0, 2.0], [10.0, 4.0, 2.0], [10.0, 10.0, 2.0], [4.0, 10.0, 2.0]])
    >>> readings = hilum.Reading(1, grid, (square,)), hilum.Reading(2, grid, (square + (2.0, 0.0, 0.0),))
    >>> nodule = hilum.Nodule((8.0, 7.0, 2.0), 7.0, readings)
    >>> int(hilum.consensus_mask(nodule, level=1.0).array.sum()), int(hilum.consensus_mask(nodule).array.sum())
    (15, 35)
    """
    nodule = expect(nodule, Nodule, "nodule", do="pass one of scan.nodules; hilum.mask_nodules(scan) draws all")
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
    check_number("level", level)
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
        The corners of the outline.
    grid : Geometry
        The slices that it was drawn on.

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


def fill_polygon(vertices: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find the pixels inside a polygon, and those on its edge.

    Parameters
    ----------
    vertices : ndarray, shape (n, 2), (row, column)
        The last is joined to the first. Vertices may lie outside the image.
    shape : tuple of int, (rows, columns)
        Size of the image in pixels.

    Returns
    -------
    inside : ndarray of bool, shape (rows, columns)
        Pixels whose center has a winding number other than 0; undefined for pixels on the polygon.
    on : ndarray of bool, shape (rows, columns)
        Pixels whose center lies on an edge, and the pixel nearest to each vertex.
    """
    winding = np.zeros((shape[0], shape[1] + 1), np.int32)
    on = np.zeros(shape, bool)
    _set(on, np.rint(vertices[:, 0]), np.rint(vertices[:, 1]))
    start, stop = vertices, np.roll(vertices, -1, axis=0)
    for k in range(0, len(start), _EDGES_AT_ONCE):
        a, b = start[k : k + _EDGES_AT_ONCE], stop[k : k + _EDGES_AT_ONCE]
        rows, columns, edge = _crossings(a, b, shape[0])
        up = np.sign(b[edge, 0] - a[edge, 0]).astype(np.int32)
        counted = rows < np.maximum(a[edge, 0], b[edge, 0])  # of two edges that meet on a row, only one counts
        first = np.clip(np.floor(columns[counted]) + 1, 0, shape[1]).astype(int)
        np.add.at(winding, (rows[counted], first), up[counted])
        on_center = np.abs(columns - np.rint(columns)) < 1e-6
        _set(on, rows[on_center], np.rint(columns[on_center]))
        across, down, _ = _crossings(a[:, ::-1], b[:, ::-1], shape[1])
        on_center = np.abs(down - np.rint(down)) < 1e-6
        _set(on, np.rint(down[on_center]), across[on_center])
    return np.cumsum(winding[:, :-1], axis=1) != 0, on


def _crossings(
    a: NDArray[np.float64], b: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Find where edges cross the rows of an image: row, column and edge number. Edges along a row have no crossing."""
    least, most = np.minimum(a[:, 0], b[:, 0]), np.maximum(a[:, 0], b[:, 0])
    first = np.maximum(np.ceil(least), 0).astype(int)
    last = np.minimum(np.floor(most), size - 1).astype(int)
    count = np.where(most > least, np.maximum(last - first + 1, 0), 0)
    edge = np.repeat(np.arange(len(a)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    fraction = (row - a[edge, 0]) / (b[edge, 0] - a[edge, 0])
    return row, a[edge, 1] + fraction * (b[edge, 1] - a[edge, 1]), edge


def _set(image: NDArray[np.bool_], at_rows: NDArray[Any], at_columns: NDArray[Any]) -> None:
    rows, columns = at_rows.astype(int), at_columns.astype(int)
    inside = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
    image[rows[inside], columns[inside]] = True
