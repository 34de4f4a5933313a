"""From Hounsfield units to the values that a network takes, and the value of air."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.io.folders import RECIPE
from hilum.io.padding_values import AIR
from hilum.ops.intensity import UnitRange
from hilum.outputs.store import HU
from hilum.recipes import recipe, recipe_fingerprint
from hilum.train.runs import ListedScan


def choose_scaling(window: tuple[float, float] | None, mean: float, units: set[str], where: Path) -> UnitRange | None:
    """Check the window of a data set.

    Parameters
    ----------
    window : tuple of float, HU, or None
        The range that becomes [0, 1]; None leaves voxels as stored.
    mean : float
        What is subtracted after scaling.
    units : set of str
        The units of all scans.
    where : Path
        Named in error messages.

    Returns
    -------
    UnitRange or None
        None without a window: voxels stay as stored.

    Raises
    ------
    InputError
        If the units differ, the window is empty, the mean is not finite, or there is a window and voxels are not in
        HU.
    """
    if len(units) > 1:
        raise InputError(f"scans in different units: {', '.join(sorted(units))}", where=where, do="use one recipe")
    if window is None:
        return None
    if units != {HU}:
        what = "a window needs voxels in HU, and these are in the unit range"
        raise InputError(what, where=where, do="leave the window out", code="option")
    lower, upper = window
    if not (np.isfinite([lower, upper, mean]).all() and lower < upper):
        what = f"window from {lower} to {upper} HU, mean {mean}: expected finite numbers, lower < upper"
        raise InputError(what, code="option")
    return UnitRange(float(lower), float(upper), float(mean))


def scale(hu: NDArray[np.int16], to: UnitRange) -> NDArray[np.float32]:
    """Scale voxels as `hilum.normalize` and `hilum.zero_center` do, computed in float32.

    The values are those of the two functions if the bounds are whole numbers, else within 1e-6 of them.
    """
    unit: NDArray[np.float32] = np.subtract(hu, np.float32(to.lower), dtype=np.float32)
    np.divide(unit, np.float32(to.width), out=unit)
    np.maximum(unit, 0, out=unit)
    np.minimum(unit, 1, out=unit)
    if to.mean:
        np.subtract(unit, np.float32(to.mean), out=unit)
    return unit


def air_value(scan: ListedScan, folder: Path) -> float:
    """Give the value of air in a scan's unit: -1024 in HU, the lowest value of the recipe's range otherwise.

    Refuses a scan that was made with another recipe than that of its run's folder.
    """
    if scan.record.unit == HU:
        return float(AIR)
    run_recipe = recipe(folder / RECIPE)
    if recipe_fingerprint(run_recipe) != scan.record.recipe_sha256:
        what = "was made with another recipe than recipe.toml, so its value of air is unknown"
        raise InputError(what, where=scan.folder, do="run it again", code="unknown-air")
    return -run_recipe.intensity.mean
