"""What two recipes make of one scan, in numbers: both results in HU, their difference, the lungs that both mark."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.ops.intensity import UnitRange
from hilum.pictures.planes import cut, upright
from hilum.pipeline import preprocess
from hilum.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.pictures.planes import Plane
    from hilum.recipes import Recipe
    from hilum.scan import Scan

_EVERY = 3
"""Lungs are compared on every third voxel along each axis."""


class Comparison(NamedTuple):
    """Two results of one scan, both in HU, on their own grids; and how much of the lungs both mark."""

    first: Scan
    second: Scan
    limits: tuple[float, float]
    dice: float | None


def compare_results(scan: Scan, first: Recipe, second: Recipe) -> Comparison:
    """Apply two recipes and bring the results to HU, within the range that both keep.

    Parameters
    ----------
    scan : Scan
    first, second : Recipe

    Returns
    -------
    Comparison
        Axes to the head, the back and the left; ``dice`` is None where a recipe finds no lungs at all.
    """
    results = [upright(_in_hu(preprocess(scan, chosen), chosen)) for chosen in (first, second)]
    ranges = [(r.intensity.lower, r.intensity.upper) for r in (first, second) if r.intensity.output == "unit"]
    limits = (max([-32768.0, *(low for low, _ in ranges)]), min([32767.0, *(high for _, high in ranges)]))
    return Comparison(results[0], results[1], limits, _dice(*results))


def difference(found: Comparison, plane: Plane, place: int) -> NDArray[np.float64]:
    """The second result less the first, on a slice of the first's grid.

    Parameters
    ----------
    found : Comparison
    plane : Plane
    place : int

    Returns
    -------
    ndarray, shape (rows, columns), HU
        NaN where the second has no voxel.
    """
    one = found.first.ct
    index = _plane_index(one.shape, plane, place)
    other = sample(found.second.ct, one.geometry.index_to_world(index))
    own = cut(one.array, plane, place).astype(np.float64)
    low, high = found.limits
    gap: NDArray[np.float64] = np.clip(other, low, high) - np.clip(own, low, high)
    return gap


def sample(volume: Volume, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a volume between its voxels, linearly.

    Parameters
    ----------
    volume : Volume
    world : ndarray, shape (..., 3), (x, y, z), LPS mm

    Returns
    -------
    ndarray, shape (...)
        NaN outside the volume.
    """
    index = volume.geometry.world_to_index(world)
    inside = ((index >= -0.5) & (index <= np.array(volume.shape) - 0.5)).all(axis=-1)
    index = np.clip(index, 0, np.array(volume.shape) - 1)
    low = np.minimum(np.floor(index).astype(int), np.maximum(np.array(volume.shape) - 2, 0))
    part = index - low
    values = np.zeros(index.shape[:-1])
    for corner in np.ndindex(2, 2, 2):
        at = np.minimum(low + corner, np.array(volume.shape) - 1)
        weight = np.prod(np.where(np.array(corner) == 1, part, 1 - part), axis=-1)
        values += weight * volume.array[at[..., 0], at[..., 1], at[..., 2]]
    return np.where(inside, values, np.nan)


def _plane_index(shape: tuple[int, ...], plane: Plane, place: int) -> NDArray[np.float64]:
    rows, columns = np.meshgrid(np.arange(shape[plane.rows]), np.arange(shape[plane.columns]), indexing="ij")
    index = np.empty((*rows.shape, 3))
    index[..., plane.axis], index[..., plane.rows], index[..., plane.columns] = place, rows, columns
    return index if plane.axis == 0 else index[::-1]


def _in_hu(result: Scan, chosen: Recipe) -> Scan:
    step = chosen.intensity
    if step.output == "hu":
        return result
    hu = UnitRange(step.lower, step.upper, step.mean).to_hu(result.ct.array)
    return replace(result, ct=Volume(hu, result.ct.geometry))


def _dice(first: Scan, second: Scan) -> float | None:
    """Overlap of the lungs of both, whatever their labels; on every third voxel of the first."""
    if first.lungs is None or second.lungs is None:
        return None
    axes = [np.arange(0, n, _EVERY) for n in first.lungs.shape]
    own = first.lungs.array[np.ix_(*axes)] > 0
    affine = second.lungs.geometry.inverse_affine @ first.lungs.geometry.affine
    z, y, x = np.ix_(*axes)
    at = [np.rint(row[0] * z + row[1] * y + row[2] * x + row[3]).astype(np.int64) for row in affine[:3]]
    there = np.ones(own.shape, np.bool_)
    for a, n in zip(at, second.lungs.shape, strict=True):
        there &= (a >= 0) & (a < n)
    clipped = [np.clip(a, 0, n - 1) for a, n in zip(at, second.lungs.shape, strict=True)]
    other = (second.lungs.array[clipped[0], clipped[1], clipped[2]] > 0) & there
    both = int(own.sum()) + int(other.sum())
    return 2 * int((own & other).sum()) / both if both else None
