"""Refuse volumes that contain NaN or infinity, before anything is computed from them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError


def check_finite(array: NDArray[Any]) -> None:
    """Refuse an array of floats that contains NaN or infinity.

    Parameters
    ----------
    array : ndarray
        Of any type; integers pass without a check.

    Raises
    ------
    InputError
        If a value is NaN or infinite.
    """
    if array.dtype.kind == "f" and array.size and not np.isfinite([array.min(), array.max()]).all():
        what = f"the volume has NaN or infinity in {np.count_nonzero(~np.isfinite(array))} of {array.size} voxels"
        raise InputError(what, do="replace them by the value of air first", code="not-finite")


def as_hu(array: NDArray[Any]) -> NDArray[np.int16]:
    """Convert Hounsfield units of any type to int16, rounded and clipped to its range.

    Parameters
    ----------
    array : ndarray, HU
        The values; NaN is refused.

    Returns
    -------
    ndarray of int16
        The array itself if it is int16.

    Raises
    ------
    InputError
        If a value is NaN or infinite.
    """
    if array.dtype == np.int16:
        return array
    check_finite(array)
    hu: NDArray[np.int16] = np.clip(np.rint(array), -32768, 32767).astype(np.int16)
    return hu
