"""Histograms: how often each int16 value occurs in a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLABS = 16
"""Number of parts of the volume that are counted separately, so that threads do not write to the same counts."""


@kernel()
def _count(volume: Any, counts: Any, edges: Any, start: int, stop: int) -> None:
    for part in range(start, stop):
        part_counts = counts[part]
        for z in range(edges[part], edges[part + 1]):
            for y in range(volume.shape[1]):
                for x in range(volume.shape[2]):
                    part_counts[np.int64(volume[z, y, x]) + 32768] += 1


@kernel()
def _count_scaled(volume: Any, scale: Any, offset: Any, counts: Any, edges: Any, start: int, stop: int) -> None:
    for part in range(start, stop):
        part_counts = counts[part]
        for z in range(edges[part], edges[part + 1]):
            for y in range(volume.shape[1]):
                for x in range(volume.shape[2]):
                    bin_index = np.int32(volume[z, y, x] * scale + offset)
                    part_counts[min(max(bin_index, 0), 65535)] += 1


def count_values(volume: NDArray[np.int16], *, workers: int = 1) -> NDArray[np.int64]:
    """Count the values of a volume.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x)
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    ndarray of int64, shape (65536,)
        ``counts[v + 32768]`` is the number of voxels of value v.
    """
    volume = read_only(np.ascontiguousarray(volume, np.int16))
    edges, counts = _parts(volume.shape[0])
    run_slabs(lambda a, b: _count(volume, counts, edges, a, b), _SLABS, workers=workers)
    total: NDArray[np.int64] = counts.sum(axis=0)
    return total


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
    edges, counts = _parts(volume.shape[0])
    by, plus = np.float32(scale), np.float32(offset + 32768.5)  # so that truncation rounds
    run_slabs(lambda a, b: _count_scaled(volume, by, plus, counts, edges, a, b), _SLABS, workers=workers)
    total: NDArray[np.int64] = counts.sum(axis=0)
    return total


def _parts(planes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The planes where each part begins and the last one ends, and a row of counts for each part."""
    return np.array([planes * k // _SLABS for k in range(_SLABS + 1)]), np.zeros((_SLABS, 1 << 16), np.int64)
