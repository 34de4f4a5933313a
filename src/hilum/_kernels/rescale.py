"""Stored values of a frame to Hounsfield units, where nothing about them is odd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel()
def _shift(stored: Any, by: int, out: Any, ends: Any) -> None:
    """One pass over a frame that was read a moment ago and is in the cache."""
    first, last = stored[0, 0], stored[0, 0]
    step = np.int16(by)
    for y in range(stored.shape[0]):
        row, target = stored[y], out[y]
        for x in range(stored.shape[1]):
            value = row[x]
            first = min(first, value)
            last = max(last, value)
            target[x] = np.int16(value) + step
    ends[0], ends[1] = first, last


def shift(stored: NDArray[Any], *, by: int, out: NDArray[np.int16]) -> tuple[int, int]:
    """Add a whole number to every value of a frame, and find its ends.

    Parameters
    ----------
    stored : ndarray of int16 or uint16, shape (row, column)
    by : int
        What to add, within int16.
    out : ndarray of int16, shape (row, column)
        Filled; sums that int16 cannot hold wrap around, which the ends tell. Never the memory of `stored`.

    Returns
    -------
    tuple of int
        The smallest and the largest value of `stored`.
    """
    ends = np.empty(2, np.int64)
    _shift(stored, by, out, ends)
    return int(ends[0]), int(ends[1])
