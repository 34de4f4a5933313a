"""Voxels that are numbers: a volume with NaN or infinity is refused before anything is computed from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_finite(array: NDArray[Any]) -> None:
    """Refuse floats that hold NaN or infinity.

    Parameters
    ----------
    array : ndarray
        Of any type; integers always pass, and cost nothing.

    Raises
    ------
    InputError
        If a value is NaN or infinite.
    """
    if array.dtype.kind == "f" and array.size and not np.isfinite([array.min(), array.max()]).all():
        what = f"the volume holds NaN or infinity in {np.count_nonzero(~np.isfinite(array))} of {array.size} voxels"
        do = "replace them by the value of air first"
        raise InputError(what, do=do, code="not-finite")


def as_hu(array: NDArray[Any]) -> NDArray[np.int16]:
    """Bring Hounsfield units of any type to int16: rounded, and cut off at the ends of the range.

    Parameters
    ----------
    array : ndarray, HU

    Returns
    -------
    ndarray of int16
        The array itself where it is int16 already.

    Raises
    ------
    InputError
        As `check_finite`.
    """
    if array.dtype == np.int16:
        return array
    check_finite(array)
    whole: NDArray[np.int16] = np.clip(np.rint(array), -32768, 32767).astype(np.int16)
    return whole
