"""Hounsfield units to what a network takes, patch by patch: a table of all int16 values, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import InputError
from hilum.geometry import Geometry
from hilum.io.store import HU
from hilum.ops.intensity import normalize, zero_center
from hilum.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def unit_table(window: tuple[float, float], mean: float) -> NDArray[np.float32]:
    """What `hilum.normalize` and then `hilum.zero_center` make of each int16 value.

    Parameters
    ----------
    window : tuple of float, HU
        What becomes 0 and 1, before the mean is subtracted.
    mean : float

    Returns
    -------
    ndarray of float32, shape (65536,)
        At the value's bits read as uint16, as `apply_table` looks them up.

    Raises
    ------
    InputError
        If the window is empty or the mean is not finite.
    """
    values = np.arange(65536, dtype=np.uint16).view(np.int16).reshape(16, 64, 64)
    made = normalize(Volume(values, Geometry(values.shape, (1.0, 1.0, 1.0))), lower=window[0], upper=window[1])
    return np.array(zero_center(made, mean=mean).array.ravel(), np.float32)


def apply_table(table: NDArray[np.float32], hu: NDArray[np.int16]) -> NDArray[np.float32]:
    """Look every voxel up.

    Parameters
    ----------
    table : ndarray of float32, shape (65536,)
    hu : ndarray of int16, C-contiguous

    Returns
    -------
    ndarray of float32, of the same shape
    """
    return table[hu.view(np.uint16)]


def choose_table(
    window: tuple[float, float] | None, mean: float, units: set[str], where: Path
) -> NDArray[np.float32] | None:
    """The table for voxels in one unit; None where they stay as stored.

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
    ndarray of float32, shape (65536,), or None

    Raises
    ------
    InputError
        If the units differ, or a window is asked for where voxels are in no HU.
    """
    if len(units) > 1:
        raise InputError(f"scans in different units: {', '.join(sorted(units))}", where=where, do="use one recipe")
    if window is None:
        return None
    if units != {HU}:
        what = "a window is for Hounsfield units, and these voxels are in the unit range already"
        raise InputError(what, where=where, do="leave the window out", code="option")
    return unit_table(window, mean)
