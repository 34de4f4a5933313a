"""The results of two recipes on one scan: both in HU, their difference, and the overlap of their lung masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.ops.intensity import UnitRange
from hilum.pictures.planes import reorient_scan, slice_pixels
from hilum.pipeline import preprocess
from hilum.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.pictures.planes import Plane
    from hilum.recipes import Recipe
    from hilum.scan import Scan


class RecipeResults(NamedTuple):
    """Two results of one scan in HU, each on its own grid, the HU range that both keep, and the lungs' Dice.

    The Dice is None if a recipe makes no lung mask.
    """

    first: Scan
    second: Scan
    limits: tuple[float, float]
    dice: float | None


def apply_recipes(scan: Scan, first: Recipe, second: Recipe) -> RecipeResults:
    """Apply two recipes and convert the results to HU, with axes to the head, the back and the left."""
    results = [reorient_scan(_to_hu_scan(preprocess(scan, recipe), recipe)) for recipe in (first, second)]
    ranges = [(r.intensity.lower, r.intensity.upper) for r in (first, second) if r.intensity.output == "unit"]
    limits = (max([-32768.0, *(low for low, _ in ranges)]), min([32767.0, *(high for _, high in ranges)]))
    return RecipeResults(results[0], results[1], limits, _dice(*results))


def hu_difference(results: RecipeResults, plane: Plane, index: int) -> NDArray[np.float64]:
    """Subtract the first result from the second, HU, on a slice of the first's grid; NaN outside the second."""
    first = results.first.ct
    voxels = _slice_voxels(first.shape, plane, index)
    other = interpolate(results.second.ct, first.geometry.index_to_world(voxels))
    own = slice_pixels(first.array, plane, index).astype(np.float64)
    return np.clip(other, *results.limits) - np.clip(own, *results.limits)


def interpolate(volume: Volume, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate a volume linearly at points (x, y, z), LPS mm; NaN outside the volume."""
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


def _slice_voxels(shape: tuple[int, ...], plane: Plane, index: int) -> NDArray[np.float64]:
    """The voxel indices of a slice, shape (rows, columns, 3), in the order of `slice_pixels`."""
    rows, columns = np.meshgrid(np.arange(shape[plane.rows]), np.arange(shape[plane.columns]), indexing="ij")
    voxels = np.empty((*rows.shape, 3))
    voxels[..., plane.axis], voxels[..., plane.rows], voxels[..., plane.columns] = index, rows, columns
    return voxels if plane.axis == 0 else voxels[::-1]


def _to_hu_scan(result: Scan, recipe: Recipe) -> Scan:
    step = recipe.intensity
    if step.output == "hu":
        return result
    hu = UnitRange(step.lower, step.upper, step.mean).to_hu(result.ct.array)
    return replace(result, ct=Volume(hu, result.ct.geometry))


def _dice(first: Scan, second: Scan) -> float | None:
    """The overlap of both lung masks, without regard to labels, at every third voxel of the first."""
    if first.lungs is None or second.lungs is None:
        return None
    axes = [np.arange(0, n, 3) for n in first.lungs.shape]
    own = first.lungs.array[np.ix_(*axes)] > 0
    affine = second.lungs.geometry.inverse_affine @ first.lungs.geometry.affine
    z, y, x = np.ix_(*axes)
    index = [np.rint(row[0] * z + row[1] * y + row[2] * x + row[3]).astype(np.int64) for row in affine[:3]]
    clipped = [np.clip(i, 0, n - 1) for i, n in zip(index, second.lungs.shape, strict=True)]
    inside = np.logical_and.reduce([i == c for i, c in zip(index, clipped, strict=True)])
    other = (second.lungs.array[clipped[0], clipped[1], clipped[2]] > 0) & inside
    total = int(own.sum()) + int(other.sum())
    return 2 * int((own & other).sum()) / total if total else None
