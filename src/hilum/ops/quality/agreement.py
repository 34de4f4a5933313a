"""Compare two masks: their overlap, and the distance between their surfaces in mm."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.distance import squared_distance
from hilum.errors import GeometryError, InputError
from hilum.ops.bounding_box import bounding_box
from hilum.volume import Mask

_ROUNDING_MM = 1e-9


@dataclass(frozen=True)
class Agreement:
    """How well two masks agree.

    Parameters
    ----------
    dice : float
        Twice the number of common voxels, divided by the sum of both; 1 for two empty masks.
    nsd : float
        Normalized surface distance: the fraction of both surfaces that lies within the tolerance of the other one.
    hd95_mm : float, mm
        95 % Hausdorff distance: the larger of the 95th percentiles of the distances from one surface to the other.
        0 for two empty masks, infinite if only one is empty.
    """

    dice: float
    nsd: float
    hd95_mm: float


def compare_masks(
    one: Mask, other: Mask, *, label: int | None = None, tolerance_mm: float = 2.0, workers: int = 0
) -> Agreement:
    """Compare two masks on one grid, or one label of both.

    The surface of a mask consists of its voxels that share a face with a voxel outside it. Positions beyond the volume
    are outside.

    Parameters
    ----------
    one, other : Mask
        Their order does not matter.
    label : int, optional
        The label to compare; by default all labels count as one.
    tolerance_mm : float, mm
        For the normalized surface distance.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Agreement

    Raises
    ------
    GeometryError
        If the masks lie on different grids.
    InputError
        If the tolerance is negative or not finite.

    References
    ----------
    S. Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck anatomy for
    radiotherapy", 2018 (the normalized surface distance; counted here in voxels of the surface).
    L. Maier-Hein et al., "Metrics reloaded: recommendations for image analysis validation", Nature Methods 21, 2024.
    """
    if not one.geometry.isclose(other.geometry):
        raise GeometryError("the masks lie on different grids", do="resample both to one grid")
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise InputError(f"tolerance_mm is {tolerance_mm}, expected a distance of 0 mm or more", code="option")
    first, second = (mask.array > 0 if label is None else mask.array == label for mask in (one, other))
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    if not total:
        return Agreement(1.0, 1.0, 0.0)
    dice = 2 * int(np.count_nonzero(first & second)) / total
    distances = _surface_distances(first, second, one.spacing, workers)
    if not all(part.size for part in distances):
        return Agreement(dice, 0.0, math.inf)
    near = sum(int(np.count_nonzero(part <= tolerance_mm + _ROUNDING_MM)) for part in distances)
    hd95 = max(float(np.percentile(part, 95)) for part in distances)
    return Agreement(dice, near / sum(part.size for part in distances), hd95)


def nodule_coverage(lungs: Mask, nodules: Mask) -> tuple[float, ...]:
    """Compute the fraction of each nodule's voxels that a lung mask contains.

    Parameters
    ----------
    lungs : Mask
        The lung mask.
    nodules : Mask
        Labels 1, 2, ... as `hilum.mask_nodules` gives them, on the same grid.

    Returns
    -------
    tuple of float
        One for each label up to the highest, 0 to 1; NaN for a label without voxels.

    Raises
    ------
    GeometryError
        If the masks lie on different grids.
    """
    if not lungs.geometry.isclose(nodules.geometry):
        raise GeometryError("the masks lie on different grids", do="resample both to one grid")
    where = np.nonzero(nodules.array)
    labels, in_lungs = nodules.array[where], lungs.array[where] > 0
    counts = np.bincount(labels)
    inside = np.bincount(labels, weights=in_lungs)
    return tuple(float(n / c) if c else math.nan for n, c in zip(inside[1:], counts[1:], strict=True))


def _surface_distances(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing: tuple[float, float, float], workers: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance, mm, of each surface voxel of either mask from the other's surface; both empty if a mask is empty."""
    if not (first.any() and second.any()):
        return np.empty(0), np.empty(0)
    box = bounding_box(first | second)
    surfaces = [_surface(mask[box]) for mask in (first, second)]  # beyond the box there is no mask
    squared = [squared_distance(surface, spacing, workers=workers) for surface in surfaces]
    return np.sqrt(squared[1][surfaces[0]]), np.sqrt(squared[0][surfaces[1]])


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels that share a face with a voxel outside the mask, or beyond the array."""
    padded = np.pad(mask, 1)
    inner = np.ones_like(mask)
    for axis, step in product(range(3), (-1, 1)):
        inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inner
