"""The air of the windpipe, grown from a few voxels by falling darkness, and stopped before it leaks into the lungs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.bits import Bits, Shape


@kernel()
def _smooth(volume: Any, z: int, y: int, x: int, reach: tuple[int, int, int]) -> Any:
    nz, ny, nx = volume.shape
    z0, z1 = max(0, z - reach[0]), min(nz, z + reach[0] + 1)
    y0, y1 = max(0, y - reach[1]), min(ny, y + reach[1] + 1)
    x0, x1 = max(0, x - reach[2]), min(nx, x + reach[2] + 1)
    total = 0
    for k in range(z0, z1):
        for j in range(y0, y1):
            for i in range(x0, x1):
                total += volume[k, j, i]
    return total // ((z1 - z0) * (y1 - y0) * (x1 - x0))


@kernel()
def _flood(
    volume: Any, seeds: Any, thresholds: Any, reach: Any, seen: Any, counts: Any, order: Any, waiting: Any
) -> int:
    """Store voxels in the order in which the rising threshold lets them in, counts[i] of them at threshold i."""
    nz, ny, nx = volume.shape
    limit = order.shape[0]
    waits = 0
    for s in range(seeds.shape[0]):
        z, y, x = seeds[s, 0], seeds[s, 1], seeds[s, 2]
        bit = np.uint64(1) << np.uint64(x & 63)
        if not seen[z, y, x >> 6] & bit:
            seen[z, y, x >> 6] |= bit
            waiting[waits, 0], waiting[waits, 1], waiting[waits, 2] = z, y, x
            waiting[waits, 3] = _smooth(volume, z, y, x, reach)
            waits += 1
    moves = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
    done, found = 0, 0
    for t in range(thresholds.size):
        still = 0
        for w in range(waits):  # those whom this threshold lets in, the others wait on
            if waiting[w, 3] <= thresholds[t]:
                if found == limit:
                    return found
                order[found, 0], order[found, 1], order[found, 2] = waiting[w, 0], waiting[w, 1], waiting[w, 2]
                found += 1
            else:
                for k in range(4):
                    waiting[still, k] = waiting[w, k]
                still += 1
        waits = still
        while done < found:
            for dz, dy, dx in moves:
                z, y, x = order[done, 0] + dz, order[done, 1] + dy, order[done, 2] + dx
                if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                    continue
                bit = np.uint64(1) << np.uint64(x & 63)
                if seen[z, y, x >> 6] & bit:
                    continue
                seen[z, y, x >> 6] |= bit
                value = _smooth(volume, z, y, x, reach)
                if value <= thresholds[t]:
                    if found == limit:
                        return found
                    order[found, 0], order[found, 1], order[found, 2] = z, y, x
                    found += 1
                elif value <= thresholds[-1]:
                    waiting[waits, 0], waiting[waits, 1], waiting[waits, 2], waiting[waits, 3] = z, y, x, value
                    waits += 1
            done += 1
        counts[t] = found
    return found


def flood(
    volume: NDArray[np.int16],
    seeds: NDArray[np.int64],
    thresholds: NDArray[np.int64],
    *,
    reach: Shape,
    limit: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Grow from seeds over faces into dark voxels, again and again with a higher threshold.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
        A voxel counts with the mean of the box around it.
    seeds : ndarray of int64, shape (n, 3)
    thresholds : ndarray of int64, shape (m,), HU
        Ascending.
    reach : tuple of int, (z, y, x)
        Half the size of the box.
    limit : int
        Growth stops at this many voxels.

    Returns
    -------
    order : ndarray of int32, shape (found, 3)
        The voxels in the order of their discovery.
    counts : ndarray of int64, shape (m,)
        How many of them the growth with each threshold had reached at its end; -1 where the limit stopped it.
    """
    volume = volume.view()
    volume.flags.writeable = False
    counts = np.full(len(thresholds), -1, np.int64)
    seen: Bits = np.zeros((*volume.shape[:2], (volume.shape[2] + 63) // 64), np.uint64)
    order = np.empty((max(limit, len(seeds)), 3), np.int32)
    waiting = np.empty((6 * len(order) + len(seeds), 4), np.int32)  # a voxel is seen once, from one of 6 sides
    found = _flood(volume, seeds, thresholds, reach, seen, counts, order, waiting)
    return order[:found], counts


@kernel()
def _mark(places: Any, bits: Any) -> None:
    for i in range(places.shape[0]):
        bits[places[i, 0], places[i, 1], places[i, 2] >> 6] |= np.uint64(1) << np.uint64(places[i, 2] & 63)


def mark(places: NDArray[np.int32], shape: Shape) -> Bits:
    """Voxels, shape (n, 3), as a set; shape (z, y, ceil(x / 64))."""
    bits = np.zeros((*shape[:2], (shape[2] + 63) // 64), np.uint64)
    _mark(places, bits)
    return bits
