"""Nodules in world millimetres to labels on a grid; one function rasterizes, so that nothing needs inverse replay."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.errors import AnnotationError, InputError
from hilum.ops.nodules.interpolation import Distances, distances
from hilum.ops.nodules.outlines import ContourPixel, check_contour_pixel, check_level, consensus_mask
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.scan import Nodule

_SLAB_VOXELS = 2**20
_NO_SHIFT = (0.0, 0.0, 0.0)


class _Shape(NamedTuple):
    """A nodule as seen from a grid: a ball, or outlines; the box of voxels that it can reach."""

    center: NDArray[np.float64]
    radius: float
    outlined: Distances | None
    first: NDArray[np.int64]
    stop: NDArray[np.int64]


def mask_nodules(
    geometry: Geometry, nodules: Sequence[Nodule], *, level: float = 0.5, contour_pixel: ContourPixel = "exclude"
) -> Mask:
    """Mark each nodule on any grid, oblique and left-handed ones too: what its readers outlined, or a sphere.

    A voxel belongs to a nodule if its center lies inside: of the consensus of its readers, carried from their slices
    to the grid by shape-based interpolation (`hilum.ops.nodules.interpolation`; on their own grid nothing changes), or,
    where there are no outlines, within half the diameter of the nodule's center. Where nodules overlap, to the one
    whose center is nearer, and of two at the same distance to the first. A nodule too small to hold a voxel center is
    marked at the voxel nearest to its center, under the same rule. What lies outside the grid is not marked: see
    `nodules_outside`.

    For one reader's mask, leave the others out: ``dataclasses.replace(nodule, readings=nodule.readings[:1])``; for the
    sphere, all of them: ``readings=()``.

    Parameters
    ----------
    geometry : Geometry
        The grid of the mask.
    nodules : sequence of Nodule
        At most 255.
    level : float
        The share of a nodule's readers who must have drawn a place: above 0, at most 1.
    contour_pixel : {"exclude", "include"}
        Whether the pixels on an outline belong to the nodule; LIDC's readers kept just outside of it.

    Returns
    -------
    Mask
        Labels 1, 2, ... in the order of `nodules`, 0 elsewhere.

    Raises
    ------
    AnnotationError
        If there are more nodules than labels, or outlines that do not fit their grid.
    InputError
        If `level` or `contour_pixel` is out of range.
    """
    if len(nodules) > 255:
        raise AnnotationError(f"{len(nodules)} nodules, but a mask holds at most 255", do="give those of one scan")
    shapes = _shapes(geometry, nodules, level, contour_pixel)
    labels = np.zeros(geometry.shape, np.uint8)
    # |affine . d|^2 = d . gram . d is the squared distance in mm of an index offset d, whatever the direction.
    gram = geometry.affine[:3, :3].T @ geometry.affine[:3, :3]
    for k, shape in enumerate(shapes):
        marked = bool((shape.first < shape.stop).all()) and _mark(labels, geometry, shapes, gram, k)
        if not marked and geometry.contains(nodules[k].center):
            near = np.clip(np.rint(shape.center), 0, np.array(geometry.shape) - 1).astype(int)
            ball = _Shape(shape.center, np.inf, None, near, near + 1)
            _mark(labels, geometry, [*shapes[:k], ball], gram, k)
    return Mask(labels, geometry)


def cover_nodules(
    geometry: Geometry,
    nodules: Sequence[Nodule],
    *,
    samples: int = 4,
    level: float = 0.5,
    contour_pixel: ContourPixel = "exclude",
) -> Volume:
    """Share of each voxel that nodules take up, in place of a voxel's all or nothing.

    Parameters
    ----------
    geometry : Geometry
        The grid of the result.
    nodules : sequence of Nodule
    samples : int
        Each voxel is looked at in so many places along each axis, evenly spread; 1 to 16.
    level, contour_pixel
        As `mask_nodules` takes them.

    Returns
    -------
    Volume
        float32 from 0 to 1: the share of a voxel's places that lie inside any nodule. A place inside several counts
        once.

    Raises
    ------
    AnnotationError
        If outlines do not fit their grid.
    InputError
        If an option is out of range.
    """
    if not 1 <= samples <= 16:
        raise InputError(f"samples is {samples}, expected 1 to 16", code="option")
    shapes = _shapes(geometry, nodules, level, contour_pixel)
    gram = geometry.affine[:3, :3].T @ geometry.affine[:3, :3]
    share = np.zeros(geometry.shape, np.float32)
    places = [(k + 0.5) / samples - 0.5 for k in range(samples)]
    for k, shape in enumerate(shapes):
        # A voxel whose center lies just outside the box can still be touched at its edge.
        first, stop = np.maximum(shape.first - 1, 0), np.minimum(shape.stop + 1, geometry.shape)
        if not (first < stop).all():
            continue
        earlier = [s for s in shapes[:k] if (np.maximum(s.first - 1, first) < np.minimum(s.stop + 1, stop)).all()]
        for low, high in _slabs(first, stop):
            part = share[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
            for shift in product(places, repeat=3):
                inside = _inside(shape, geometry, gram, low, high, shift)
                for other in earlier:
                    inside &= ~_inside(other, geometry, gram, low, high, shift)
                part += inside
    share /= samples**3
    return Volume(share, geometry)


def nodules_outside(geometry: Geometry, nodules: Sequence[Nodule]) -> tuple[int, ...]:
    """Which nodules have their center outside a grid; part of such a nodule may still be marked.

    Parameters
    ----------
    geometry : Geometry
    nodules : sequence of Nodule

    Returns
    -------
    tuple of int
        Positions in `nodules`.
    """
    return tuple(k for k, nodule in enumerate(nodules) if not geometry.contains(nodule.center))


def _shapes(geometry: Geometry, nodules: Sequence[Nodule], level: float, contour_pixel: ContourPixel) -> list[_Shape]:
    check_level(level)
    check_contour_pixel(contour_pixel)
    centers = geometry.world_to_index([n.center for n in nodules]) if nodules else np.empty((0, 3))
    # A step of r mm changes an index by at most r times the length of its row of the inverse.
    reach = np.linalg.norm(geometry.inverse_affine[:3, :3], axis=1)
    shapes = []
    for nodule, center in zip(nodules, centers, strict=True):
        radius, outlined = nodule.diameter_mm / 2, None
        low, high = center - reach * radius, center + reach * radius
        if nodule.readings:
            drawn = consensus_mask(nodule, level=level, contour_pixel=contour_pixel)
            outlined = distances(drawn)
            corners = list(product(*((-0.5, n - 0.5) for n in drawn.shape)))
            index = geometry.world_to_index(drawn.geometry.index_to_world(corners))
            low, high = index.min(axis=0), index.max(axis=0)
        first = np.clip(np.ceil(low - 1e-9), 0, geometry.shape).astype(int)
        stop = np.clip(np.floor(high + 1e-9) + 1, 0, geometry.shape).astype(int)
        shapes.append(_Shape(center, radius, outlined, first, stop))
    return shapes


def _mark(
    labels: NDArray[np.uint8], geometry: Geometry, shapes: Sequence[_Shape], gram: NDArray[np.float64], k: int
) -> bool:
    """Write label k + 1 where the shape is and no earlier center is as near; whether it holds any voxel."""
    reached = False
    shape = shapes[k]
    for low, high in _slabs(shape.first, shape.stop):
        box = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        inside = _inside(shape, geometry, gram, low, high, _NO_SHIFT)
        if not inside.any():
            continue
        reached = True
        taken = box[inside]
        if taken.any():
            squared = _squared_distance(low, high, shape.center, gram)
            for other in np.unique(taken[taken > 0]):
                nearer = squared < _squared_distance(low, high, shapes[other - 1].center, gram)
                inside &= (box != other) | nearer
        box[inside] = k + 1
    return reached


def _slabs(first: NDArray[np.int64], stop: NDArray[np.int64]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Parts of a box along its first axis, none larger than memory likes: first voxel and one past the last."""
    plane = max(1, int(np.prod(stop[1:] - first[1:])))
    step = max(1, _SLAB_VOXELS // plane)
    top = int(stop[0])
    rest = tuple(map(int, first[1:])), tuple(map(int, stop[1:]))
    return [((z, *rest[0]), (min(z + step, top), *rest[1])) for z in range(int(first[0]), top, step)]


def _inside(
    shape: _Shape,
    geometry: Geometry,
    gram: NDArray[np.float64],
    low: Sequence[int],
    high: Sequence[int],
    shift: tuple[float, ...],
) -> NDArray[np.bool_]:
    """Which voxels of a box have a place inside, a shift away from their center, in voxels."""
    if shape.outlined is None:
        return _squared_distance(low, high, shape.center - shift, gram) <= shape.radius * shape.radius
    z, y, x = (axis + s for axis, s in zip(_axes(low, high), shift, strict=True))
    own = shape.outlined.geometry.inverse_affine @ geometry.affine
    size = [b - a for a, b in zip(low, high, strict=True)]
    index = [np.broadcast_to(row[0] * z + row[1] * y + row[2] * x + row[3], size) for row in own[:3]]
    return shape.outlined.contain(index)


def _squared_distance(
    low: Sequence[int], high: Sequence[int], center: NDArray[np.float64], gram: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared distance in mm of each voxel of a box from a center given as an index; shape (z, y, x) of the box."""
    z, y, x = (axis - c for axis, c in zip(_axes(low, high), center, strict=True))
    along = gram[0, 0] * z * z + gram[1, 1] * y * y + 2 * gram[0, 1] * z * y
    squared: NDArray[np.float64] = along + gram[2, 2] * x * x
    if gram[0, 2] or gram[1, 2]:
        squared += 2 * (gram[0, 2] * z + gram[1, 2] * y) * x
    return squared


def _axes(low: Sequence[int], high: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
    return tuple(np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]])
