"""How often each int16 value occurs in a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLABS = 16
"""The volume is counted in this many parts, each in a row of its own: threads never write the same one."""


@kernel()
def _count(volume: Any, counts: Any, edges: Any, start: int, stop: int) -> None:
    for part in range(start, stop):
        mine = counts[part]
        for z in range(edges[part], edges[part + 1]):
            for y in range(volume.shape[1]):
                for x in range(volume.shape[2]):
                    mine[np.int64(volume[z, y, x]) + 32768] += 1


@kernel()
def _count_scaled(volume: Any, scale: Any, offset: Any, counts: Any, edges: Any, start: int, stop: int) -> None:
    for part in range(start, stop):
        mine = counts[part]
        for z in range(edges[part], edges[part + 1]):
            for y in range(volume.shape[1]):
                for x in range(volume.shape[2]):
                    place = np.int32(volume[z, y, x] * scale + offset)
                    mine[min(max(place, 0), 65535)] += 1


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
    volume = np.ascontiguousarray(volume, np.int16).view()
    volume.flags.writeable = False  # one compiled kernel, whoever calls
    edges, counts = _parts(volume.shape[0])
    run_slabs(lambda a, b: _count(volume, counts, edges, a, b), _SLABS, workers=workers)
    whole: NDArray[np.int64] = counts.sum(axis=0)
    return whole


def count_scaled(volume: NDArray[np.float32], *, scale: float, offset: float, workers: int = 1) -> NDArray[np.int64]:
    """Count the values of a volume after each is scaled, moved and rounded to the nearest whole number.

    Parameters
    ----------
    volume : ndarray of float32, shape (z, y, x)
        Finite.
    scale, offset : float
        What is counted is ``value * scale + offset`` in single precision, within 1/128 of the true value; beyond int16
        its ends. At most some 1e9 in size.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    ndarray of int64, shape (65536,)
        As `count_values` gives it.
    """
    volume = np.ascontiguousarray(volume, np.float32).view()
    volume.flags.writeable = False
    edges, counts = _parts(volume.shape[0])
    by, plus = np.float32(scale), np.float32(offset + 32768.5)  # what is above 0 is rounded by cutting it off
    run_slabs(lambda a, b: _count_scaled(volume, by, plus, counts, edges, a, b), _SLABS, workers=workers)
    whole: NDArray[np.int64] = counts.sum(axis=0)
    return whole


def _parts(planes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each part of the volume begins and ends, and a row of counts for each."""
    return np.array([planes * k // _SLABS for k in range(_SLABS + 1)]), np.zeros((_SLABS, 1 << 16), np.int64)
