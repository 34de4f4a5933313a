"""Hounsfield units to what a network takes, patch by patch, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.errors import InputError
from hilum.outputs.store import HU

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Scaling(NamedTuple):
    """What becomes 0 and 1, HU, and what is subtracted then."""

    lower: float
    upper: float
    mean: float


def choose_scaling(window: tuple[float, float] | None, mean: float, units: set[str], where: Path) -> Scaling | None:
    """Check a window for voxels in one unit; None where they stay as stored.

    Parameters
    ----------
    window : tuple of float, HU, or None
    mean : float
    units : set of str
        Of all the scans.
    where : Path
        For messages.

    Returns
    -------
    Scaling or None

    Raises
    ------
    InputError
        If the units differ, the window is empty, the mean is not finite, or a window is asked for where voxels are
        in no HU.
    """
    if len(units) > 1:
        raise InputError(f"scans in different units: {', '.join(sorted(units))}", where=where, do="use one recipe")
    if window is None:
        return None
    if units != {HU}:
        what = "a window is for Hounsfield units, and these voxels are in the unit range already"
        raise InputError(what, where=where, do="leave the window out", code="option")
    lower, upper = window
    if not (np.isfinite([lower, upper, mean]).all() and lower < upper):
        what = f"window from {lower} to {upper} HU, mean {mean}: expected finite numbers, lower < upper"
        raise InputError(what, code="option")
    return Scaling(float(lower), float(upper), float(mean))


def scale(hu: NDArray[np.int16], to: Scaling) -> NDArray[np.float32]:
    """What `hilum.normalize` and then `hilum.zero_center` make of voxels, in float32 all the way.

    Parameters
    ----------
    hu : ndarray of int16
    to : Scaling

    Returns
    -------
    ndarray of float32, of the same shape
        Equal to the two functions' for whole numbers as bounds, to 1e-6 for others.
    """
    unit: NDArray[np.float32] = np.subtract(hu, np.float32(to.lower), dtype=np.float32)
    np.divide(unit, np.float32(to.upper - to.lower), out=unit)
    np.maximum(unit, 0, out=unit)
    np.minimum(unit, 1, out=unit)
    if to.mean:
        np.subtract(unit, np.float32(to.mean), out=unit)
    return unit
