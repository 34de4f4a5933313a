"""Stored values of a frame to Hounsfield units, where nothing about them is odd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel()
def _shift(stored: Any, low: int, high: int, by: int, out: Any, ends: Any) -> None:
    """Two passes, the second over what the first left in the cache; `out` may be the memory of `stored`."""
    first, last = stored[0, 0], stored[0, 0]
    for y in range(stored.shape[0]):
        row = stored[y]
        for x in range(stored.shape[1]):
            first = min(first, row[x])
            last = max(last, row[x])
    ends[0], ends[1] = first, last
    if first < low or last > high:
        return
    step = np.int16(by)
    for y in range(stored.shape[0]):
        row, target = stored[y], out[y]
        for x in range(stored.shape[1]):
            target[x] = np.int16(row[x]) + step


def shift(stored: NDArray[Any], low: int, high: int, *, by: int, out: NDArray[np.int16]) -> tuple[int, int]:
    """Add a whole number to every value of a frame, provided that all of them lie within bounds.

    Parameters
    ----------
    stored : ndarray of int16 or uint16, shape (row, column)
    low, high : int
        Bounds, both included.
    by : int
        Such that the sums fit int16.
    out : ndarray of int16, shape (row, column)
        Filled where all values lie within the bounds, left alone otherwise; may be the memory of `stored`.

    Returns
    -------
    tuple of int
        The smallest and the largest value.
    """
    ends = np.empty(2, np.int64)
    _shift(stored, low, high, by, out, ends)
    return int(ends[0]), int(ends[1])
