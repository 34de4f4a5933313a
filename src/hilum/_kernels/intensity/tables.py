"""Tables with an entry for each value of a volume: how often each occurs, and what to replace it by."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.threads import run_slabs


@kernel()
def _count(counts: Any, start: int, stop: int, volume: Any) -> None:
    for z in range(start, stop):
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                counts[np.int64(volume[z, y, x]) + 32768] += 1


@kernel()
def _count_scaled(counts: Any, start: int, stop: int, volume: Any, scale: Any, offset: Any) -> None:
    for z in range(start, stop):
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                bin_index = np.int32(volume[z, y, x] * scale + offset)
                counts[min(max(bin_index, 0), 65535)] += 1


def count_values(volume: NDArray[np.int16], *, workers: int = 1) -> NDArray[np.int64]:
    """Count the values of a volume.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x)
        The voxels to count.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    ndarray of int64, shape (65536,)
        ``counts[v + 32768]`` is the number of voxels of value v.
    """
    volume = read_only(np.ascontiguousarray(volume, np.int16))
    return _sum_slabs(_count, volume, workers=workers)


def count_scaled(volume: NDArray[np.float32], *, scale: float, offset: float, workers: int = 1) -> NDArray[np.int64]:
    """Count the values of a volume after scaling, shifting and rounding them to integers.

    Parameters
    ----------
    volume : ndarray of float32, shape (z, y, x)
        Finite.
    scale, offset : float
        ``value * scale + offset`` is counted: in single precision, within 1/128 of the true value, clipped to int16. It
        must not exceed some 1e9.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    ndarray of int64, shape (65536,)
        As `count_values` gives it.
    """
    volume = read_only(np.ascontiguousarray(volume, np.float32))
    plus = np.float32(offset + 32768.5)  # so that truncation rounds
    return _sum_slabs(_count_scaled, volume, np.float32(scale), plus, workers=workers)


def _sum_slabs(count: Callable[..., None], volume: NDArray[Any], *args: Any, workers: int) -> NDArray[np.int64]:
    """Count every slab of a volume separately, so that threads do not write to the same counts, and add them."""
    slabs: list[NDArray[np.int64]] = []

    def work(start: int, stop: int) -> None:
        counts = np.zeros(1 << 16, np.int64)
        count(counts, start, stop, volume, *args)
        slabs.append(counts)

    run_slabs(work, len(volume), workers=workers)
    return sum(slabs, np.zeros(1 << 16, np.int64))


@kernel()
def _look_up(values: NDArray[Any], table: NDArray[Any], low: int, out: NDArray[Any]) -> None:
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            out[y, x] = table[np.int64(values[y, x]) - low]


def look_up(values: NDArray[Any], table: NDArray[Any], low: int, *, workers: int = 1) -> NDArray[Any]:
    """Replace every value by its entry of a table.

    Parameters
    ----------
    values : ndarray of integers of at most 16 bits, shape (z, y, x)
        The voxels to replace.
    table : ndarray, shape (n,)
        The entry of `low` first; every value must have one.
    low : int
        The value that the first entry of the table stands for.
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
