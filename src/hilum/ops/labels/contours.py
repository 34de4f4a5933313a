"""Fill the contours of a region, drawn in planes of the world, on the slices of a grid.

A pixel belongs to the region if its center lies inside; `hilum.ops.polygons` says what holds for a center exactly on a
contour. A contour that lies inside another one of its plane is a hole in it, and a contour in the hole an island. Each
slice takes the plane of contours nearest to its center, at most half a slice away. Where contours were drawn on every
second or third slice throughout, or on the slices of a thicker series, the slices between are filled by shape-based
interpolation.

Source of the interpolation: S. Raya and J. Udupa, "Shape-based interpolation of multidimensional objects", IEEE
Transactions on Medical Imaging 9, 1990.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.distance import squared_distance
from hilum.geometry import Geometry
from hilum.ops.polygons import FilledPolygon, fill_even_odd
from hilum.volume import Mask

TOLERANCE_MM = 0.1
"""Positions with one decimal, on oblique planes too, deviate by less; contours so close together share a plane."""

_ACROSS = 0.5  # slices; the points of a contour are at most so far from their mean plane
_HOLE = 0.9  # a contour of which so much lies inside others is a hole, even if it reaches out a little
_SAME, _SAME_WITHIN = 0.5, 0.25  # mean pixels between two contours that are the same one; if one is within the other
_FEWEST_PLANES = 3  # so many planes at one distance are a rule of whoever drew them


@dataclass(frozen=True)
class FilledContours:
    """A filled region, and what happened to its contours.

    Parameters
    ----------
    mask : Mask
        1 inside.
    empty : bool
        Whether no voxel is inside.
    used : int
        Contours that were filled.
    across : int
        Contours left out because they do not lie in a plane parallel to the slices.
    off_slices : int
        Contours left out because no slice is within half a slice of them.
    between : int
        Contours that lie beside the center of their slice, by more than `TOLERANCE_MM`.
    furthest_mm : float
        The largest distance of such a contour from its slice.
    crowded : int
        Contours left out because another plane of contours is nearer to the center of their slice.
    cut : int
        Contours that reach beyond the image and are cut there.
    repeated : int
        Contours left out because they repeat another one of their plane, nowhere a hole: planning systems store some
        contours many times.
    overlapping : int
        Contours that overlap another one of their plane in part, and are joined with it.
    too_small : int
        Contours that contain no center of a pixel.
    gaps : int
        Slices without contours between the first and the last slice with contours, which stay empty.
    interpolated : int
        Slices filled between the planes of contours.
    """

    mask: Mask
    empty: bool
    used: int = 0
    across: int = 0
    off_slices: int = 0
    between: int = 0
    furthest_mm: float = 0.0
    crowded: int = 0
    cut: int = 0
    repeated: int = 0
    overlapping: int = 0
    too_small: int = 0
    gaps: int = 0
    interpolated: int = 0


class _Plane(NamedTuple):
    """Contours of one plane: its height in slices of the grid, and the numbers of the contours."""

    height: float
    members: NDArray[np.int64]


def fill_contours(contours: Sequence[NDArray[np.float64]], geometry: Geometry, *, xor: bool = False) -> FilledContours:
    """Fill the closed contours of one region.

    Parameters
    ----------
    contours : sequence of ndarray, each shape (n, 3), (x, y, z), LPS mm
        Finite points. The last of each is joined to the first.
    geometry : Geometry
        The grid to fill them on, oblique or not.
    xor : bool
        Whether the pixels in an even number of contours are outside also where contours overlap in part.

    Returns
    -------
    FilledContours
    """
    index = [_to_index(points, geometry) for points in contours]
    heights = np.array([float(points[:, 0].mean()) for points in index])
    spread = [float(np.abs(points[:, 0] - height).max()) for points, height in zip(index, heights, strict=True)]
    flat = np.flatnonzero(np.array(spread) <= _ACROSS)
    counts = {"across": len(index) - len(flat)}
    step = geometry.spacing[0]
    chosen, between = _choose_planes(_group_planes(heights, flat, TOLERANCE_MM / step), geometry, counts)
    array = np.zeros(geometry.shape, np.uint8)
    members = [int(k) for plane in chosen.values() for k in plane.members]
    limits = np.array(geometry.shape[1:]) - 0.5
    counts["used"] = len(members)
    counts["cut"] = sum(bool((index[k][:, 1:] < -0.5).any() or (index[k][:, 1:] > limits).any()) for k in members)
    counts |= dict.fromkeys(("repeated", "overlapping", "too_small"), 0)
    filled = fill_even_odd([index[k][:, 1:] for k in members], geometry.shape[1:])
    covered = np.zeros(geometry.shape[1:], bool)
    for number, plane in chosen.items():
        _fill_plane(array[number], [next(filled) for _ in plane.members], covered, counts, xor=xor)
    counts["interpolated"] = _interpolate(array, chosen, geometry)
    empty = not any(array[number].any() for number in chosen)  # the other slices are not even read
    numbers = sorted(chosen)
    counts["gaps"] = numbers[-1] - numbers[0] + 1 - len(numbers) - counts["interpolated"] if numbers else 0
    furthest = max(between, default=0.0) * step
    return FilledContours(Mask(array, geometry), empty=empty, between=len(between), furthest_mm=furthest, **counts)


def _to_index(points: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """World points to voxel indices, each computed alone: a product of matrices may round equal points differently."""
    matrix = geometry.inverse_affine
    x, y, z = points.T
    return np.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in matrix[:3]], axis=1)


def _group_planes(heights: NDArray[np.float64], numbers: NDArray[np.int64], tolerance: float) -> list[_Plane]:
    """Group contours whose heights are equal within a tolerance; planes ascend."""
    order = numbers[np.argsort(heights[numbers], kind="stable")]
    starts = np.flatnonzero(np.diff(heights[order]) > tolerance) + 1
    groups = np.split(order, starts) if len(order) else []
    return [_Plane(float(heights[group].mean()), np.sort(group)) for group in groups]


def _choose_planes(
    planes: Iterable[_Plane], geometry: Geometry, counts: dict[str, int]
) -> tuple[dict[int, _Plane], list[float]]:
    """Choose the plane of each slice; also return how far each contour beside its slice is from it, in slices."""
    tolerance = TOLERANCE_MM / geometry.spacing[0]
    nearest: dict[int, _Plane] = {}
    counts |= {"off_slices": 0, "crowded": 0}
    for plane in planes:
        number = int(np.floor(plane.height + 0.5 + tolerance))  # planes half way between slices all go up
        if not 0 <= number < geometry.shape[0]:
            counts["off_slices"] += len(plane.members)
            continue
        other = nearest.get(number, plane)
        better = abs(plane.height - number) <= abs(other.height - number)
        nearest[number] = plane if better else other
        if other is not plane:
            counts["crowded"] += len((other if better else plane).members)
    chosen = dict(sorted(nearest.items()))
    away = {number: abs(plane.height - number) for number, plane in chosen.items()}
    return chosen, [away[k] for k, plane in chosen.items() if away[k] > tolerance for _ in plane.members]


def _fill_plane(
    image: NDArray[np.uint8],
    polygons: list[FilledPolygon],
    covered: NDArray[np.bool_],
    counts: dict[str, int],
    *,
    xor: bool,
) -> None:
    """Combine the polygons of one plane, the larger ones first; `covered` is a buffer of zeros, and is left so."""
    sizes = [int(np.count_nonzero(polygon.inside)) for polygon in polygons]
    counts["too_small"] += sizes.count(0)
    order = sorted((k for k, size in enumerate(sizes) if size), key=lambda k: -sizes[k])
    done: list[FilledPolygon] = []
    for polygon, size in ((polygons[k], sizes[k]) for k in order):
        box = _box(polygon)
        common = int(np.count_nonzero(covered[box] & polygon.inside)) if done else 0
        limit = _SAME if common < size else _SAME_WITHIN
        if not xor and common >= _HOLE * size and any(_is_same(polygon, other, limit) for other in done):
            counts["repeated"] += 1
            continue
        counts["overlapping"] += 0 < common < size
        if xor or common >= _HOLE * size:
            image[box] ^= polygon.inside
        else:
            image[box] |= polygon.inside
        covered[box] |= polygon.inside
        done.append(polygon)
    for polygon in done:
        covered[_box(polygon)] = False


def _box(polygon: FilledPolygon) -> tuple[slice, slice]:
    """The rows and columns of an image that a polygon may cover."""
    rows, columns = polygon.inside.shape
    return slice(polygon.row, polygon.row + rows), slice(polygon.column, polygon.column + columns)


def _is_same(one: FilledPolygon, other: FilledPolygon, limit: float) -> bool:
    """Whether two contours were drawn or stored twice: between them are less than `limit` pixels, all around."""
    if one[:2] == other[:2] and np.array_equal(one.inside, other.inside):
        return True
    top, left = min(one.row, other.row), min(one.column, other.column)
    rows = max(p.row + p.inside.shape[0] for p in (one, other)) - top
    columns = max(p.column + p.inside.shape[1] for p in (one, other)) - left
    differ = np.zeros((rows, columns), bool)
    for p in (one, other):
        differ[p.row - top :, p.column - left :][: p.inside.shape[0], : p.inside.shape[1]] ^= p.inside
    different, sizes = np.count_nonzero(differ), [np.count_nonzero(p.inside) for p in (one, other)]
    overlap = (sum(sizes) - different) / 2
    return bool(overlap >= _HOLE * min(sizes) and different < limit * 2 * (rows + columns))  # the length of their box


def _interpolate(array: NDArray[np.uint8], chosen: dict[int, _Plane], geometry: Geometry) -> int:
    """Fill the slices between planes that are everywhere equally far apart, further than slices; count these slices."""
    heights = np.array([plane.height for plane in chosen.values()])
    steps = np.diff(heights)
    tolerance = 2 * TOLERANCE_MM / geometry.spacing[0]
    if len(heights) < _FEWEST_PLANES or np.ptp(steps) > tolerance:
        return 0
    count = 0
    for (first, below), (last, above) in pairwise(chosen.items()):
        if first + 1 == last:
            continue
        lower, upper = (_signed_distance(array[k], geometry) for k in (first, last))
        for number in range(first + 1, last):
            part = (number - below.height) / (above.height - below.height)
            array[number] = (1 - part) * lower + part * upper < 0
            count += 1
    return count


def _signed_distance(image: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float64]:
    """Distance of each pixel from the edge of the region, mm, negative inside. The edge runs between two pixels."""
    inside = image[None] != 0
    outwards, inwards = (np.sqrt(squared_distance(side, geometry.spacing)[0]) for side in (inside, ~inside))
    half = np.sqrt(geometry.spacing[1] * geometry.spacing[2]) / 2
    return cast("NDArray[np.float64]", np.where(inside[0], half - inwards, outwards - half))
