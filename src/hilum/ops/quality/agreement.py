"""Compare two masks: their overlap, and the distance between their surfaces in mm."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.distance import squared_distance
from hilum.errors import GeometryError, InputError
from hilum.ops.bounding_box import bounding_box
from hilum.ops.quality.surface_elements import element_areas, surface_codes
from hilum.volume import Mask

_ROUNDING_MM = 1e-9


@dataclass(frozen=True)
class Agreement:
    """How well two masks agree.

    Parameters
    ----------
    dice : float
        Twice the number of common voxels, divided by the sum of both; 1 for two empty masks.
    surface_dice : float
        The fraction of the area of both surfaces that lies within the tolerance of the other; 1 for two empty masks.
    hd95_mm : float, mm
        95 % Hausdorff distance: the larger of the 95th percentiles of the distances from one surface to the other, by
        area. 0 for two empty masks, infinite if only one is empty.
    assd_mm : float, mm
        Average symmetric surface distance: the mean over the area of both surfaces; empty masks as for `hd95_mm`.
    """

    dice: float
    surface_dice: float
    hd95_mm: float
    assd_mm: float


def compare_masks(
    one: Mask, other: Mask, *, label: int | None = None, tolerance_mm: float = 2.0, workers: int = 0
) -> Agreement:
    """Compare two masks on one grid, or one label of both.

    Surfaces, their areas and distances are those of DeepMind's surface-distance; positions beyond the volume are
    outside.

    Parameters
    ----------
    one, other : Mask
        Their order does not matter.
    label : int, optional
        The label to compare; by default all labels count as one.
    tolerance_mm : float, mm
        For the surface Dice.
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
    S. Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", JMIR 23(7), 2021.
    L. Maier-Hein et al., "Metrics reloaded: recommendations for image analysis validation", Nature Methods 21, 2024.
    """
    if not one.geometry.isclose(other.geometry):
        raise GeometryError("the masks lie on different grids", do="resample both to one grid")
    check_tolerance(tolerance_mm)
    first, second = (mask.array > 0 if label is None else mask.array == label for mask in (one, other))
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    if not total:
        return Agreement(1.0, 1.0, 0.0, 0.0)
    dice = 2 * int(np.count_nonzero(first & second)) / total
    if not (first.any() and second.any()):
        return Agreement(dice, 0.0, math.inf, math.inf)
    parts = _surface_distances(first, second, one.spacing, workers)
    # Each sum is made of those of both sides, so that the order of the masks changes no bit.
    area, near, far = (
        sum(float(values.sum()) for values in sums)
        for sums in zip(*((a, a[d <= tolerance_mm + _ROUNDING_MM], d * a) for d, a in parts), strict=True)
    )
    return Agreement(dice, near / area, max(_percentile(d, a, 0.95) for d, a in parts), far / area)


def check_tolerance(tolerance_mm: float) -> None:
    """Refuse a tolerance of surfaces that is negative or not finite."""
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise InputError(f"tolerance_mm is {tolerance_mm}, expected a distance of 0 mm or more", code="option")


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
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Of the surface elements of each mask: their distances to the other's surface, mm, and their areas."""
    box = bounding_box(first | second)
    codes = [surface_codes(mask[box]) for mask in (first, second)]  # beyond the box there is no mask
    areas = element_areas(spacing)
    return [
        (np.sqrt(squared_distance(far > 0, spacing, workers=workers)[near > 0]), areas[near[near > 0]])
        for near, far in (codes, codes[::-1])
    ]


def _percentile(distances: NDArray[np.float64], areas: NDArray[np.float64], fraction: float) -> float:
    """The distance within which this fraction of an area lies."""
    order = np.argsort(distances, kind="stable")
    covered = np.cumsum(areas[order])
    reached = int(np.searchsorted(covered / covered[-1], fraction))
    return float(distances[order[min(reached, len(order) - 1)]])
