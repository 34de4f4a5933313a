"""Nodules in world millimetres to labels on a grid; one function rasterizes, so that nothing needs inverse replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import AnnotationError
from hilum.volume import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.scan import Nodule

_SLAB_VOXELS = 2**20


def mask_nodules(geometry: Geometry, nodules: Sequence[Nodule]) -> Mask:
    """Mark each nodule as a sphere on any grid, oblique and left-handed ones too.

    A voxel belongs to a nodule if its center lies within half the diameter of the nodule's center; where spheres
    overlap, to the one whose center is nearer, and of two at the same distance to the first. A nodule too small to
    hold a voxel center is marked at the voxel nearest to its center, under the same rule. What lies outside the
    grid is not marked: see `nodules_outside`.

    Parameters
    ----------
    geometry : Geometry
        The grid of the mask.
    nodules : sequence of Nodule
        At most 255.

    Returns
    -------
    Mask
        Labels 1, 2, ... in the order of `nodules`, 0 elsewhere.

    Raises
    ------
    AnnotationError
        If there are more nodules than labels.
    """
    if len(nodules) > 255:
        raise AnnotationError(f"{len(nodules)} nodules, but a mask holds at most 255", do="give those of one scan")
    labels = np.zeros(geometry.shape, np.uint8)
    centers = geometry.world_to_index([n.center for n in nodules]) if nodules else np.empty((0, 3))
    # |affine . d|^2 = d . gram . d is the squared distance in mm of an index offset d, whatever the direction.
    gram = geometry.affine[:3, :3].T @ geometry.affine[:3, :3]
    # A step of r mm changes an index by at most r times the length of its row of the inverse.
    reach = np.linalg.norm(geometry.inverse_affine[:3, :3], axis=1)
    for k, nodule in enumerate(nodules):
        radius = nodule.diameter_mm / 2
        first = np.clip(np.ceil(centers[k] - reach * radius - 1e-9), 0, geometry.shape).astype(int)
        stop = np.clip(np.floor(centers[k] + reach * radius + 1e-9) + 1, 0, geometry.shape).astype(int)
        marked = bool((first < stop).all()) and _mark(labels, first, stop, centers, gram, k, radius)
        if not marked and geometry.contains(nodule.center):
            near = np.clip(np.rint(centers[k]), 0, np.array(geometry.shape) - 1).astype(int)
            _mark(labels, near, near + 1, centers, gram, k, np.inf)
    return Mask(labels, geometry)


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


def _mark(
    labels: NDArray[np.uint8],
    first: NDArray[np.int64],
    stop: NDArray[np.int64],
    centers: NDArray[np.float64],
    gram: NDArray[np.float64],
    k: int,
    radius: float,
) -> bool:
    """Write label k + 1 where the sphere reaches and no earlier center is as near; whether it reaches any voxel."""
    reached = False
    plane = int(np.prod(stop[1:] - first[1:]))
    step = max(1, _SLAB_VOXELS // plane)
    for z in range(int(first[0]), int(stop[0]), step):
        low, high = (z, first[1], first[2]), (min(z + step, int(stop[0])), stop[1], stop[2])
        box = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        squared = _squared_distance(low, high, centers[k], gram)
        inside = squared <= radius * radius
        if not inside.any():
            continue
        reached = True
        for other in np.unique(box[inside]):
            if other:
                inside &= (box != other) | (squared < _squared_distance(low, high, centers[other - 1], gram))
        box[inside] = k + 1
    return reached


def _squared_distance(
    low: Sequence[int], high: Sequence[int], center: NDArray[np.float64], gram: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared distance in mm of each voxel of a box from a center given as an index; shape (z, y, x) of the box."""
    z, y, x = np.ogrid[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    z, y, x = z - center[0], y - center[1], x - center[2]
    along = gram[0, 0] * z * z + gram[1, 1] * y * y + 2 * gram[0, 1] * z * y
    across = gram[2, 2] * x * x + 2 * (gram[0, 2] * z + gram[1, 2] * y) * x
    squared: NDArray[np.float64] = along + across
    return squared
