"""Replace values by entries of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs


def look_up(values: NDArray[Any], table: NDArray[Any], low: int, *, workers: int = 1) -> NDArray[Any]:
    """Replace every value by its entry of a table.

    Parameters
    ----------
    values : ndarray of integers of at most 16 bits, shape (z, y, x)
    table : ndarray, shape (n,)
        The entry of `low` first; every value must have one.
    low : int
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray
        ``table[values - low]``, of the table's type.
    """
    out = np.empty(values.shape, table.dtype)
    native = values.dtype.newbyteorder("=")  # numba assumes the byte order of the machine

    def work(start: int, stop: int) -> None:
        for z in range(start, stop):
            _look_up(np.ascontiguousarray(values[z], native), table, low, out[z])

    run_slabs(work, len(values), workers=workers)
    return out


@kernel()
def _look_up(values: NDArray[Any], table: NDArray[Any], low: int, out: NDArray[Any]) -> None:
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            out[y, x] = table[np.int64(values[y, x]) - low]
