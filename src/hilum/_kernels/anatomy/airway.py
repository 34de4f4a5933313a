"""The air of the trachea and bronchi, grown from a few seeds with a rising threshold.

The voxels are kept in the order in which they are reached, with a count for each threshold. So the caller can stop
before the threshold at which the growth leaks into the lungs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import FACE_STEPS, BitMask, Shape
from hilum._kernels.compile.kernel import kernel, read_only


@kernel()
def _box_mean(volume: Any, z: int, y: int, x: int, half_box: tuple[int, int, int]) -> Any:
    nz, ny, nx = volume.shape
    z0, z1 = max(0, z - half_box[0]), min(nz, z + half_box[0] + 1)
    y0, y1 = max(0, y - half_box[1]), min(ny, y + half_box[1] + 1)
    x0, x1 = max(0, x - half_box[2]), min(nx, x + half_box[2] + 1)
    total = 0
    for k in range(z0, z1):
        for j in range(y0, y1):
            for i in range(x0, x1):
                total += volume[k, j, i]
    return total // ((z1 - z0) * (y1 - y0) * (x1 - x0))


@kernel()
def _grow_airway(
    volume: Any, seeds: Any, thresholds: Any, half_box: Any, seen: Any, counts: Any, order: Any, waiting: Any
) -> int:
    """Store voxels in the order in which they are reached, ``counts[i]`` of them up to threshold i.

    `waiting` holds neighbors that are kept too bright: z, y, x and their mean.
    """
    nz, ny, nx = volume.shape
    limit = order.shape[0]
    waits = 0
    for s in range(seeds.shape[0]):
        z, y, x = seeds[s, 0], seeds[s, 1], seeds[s, 2]
        bit = np.uint64(1) << np.uint64(x & 63)
        if not seen[z, y, x >> 6] & bit:
            seen[z, y, x >> 6] |= bit
            waiting[waits, 0], waiting[waits, 1], waiting[waits, 2] = z, y, x
            waiting[waits, 3] = _box_mean(volume, z, y, x, half_box)
            waits += 1
    done, count = 0, 0
    for t in range(thresholds.size):
        kept = 0
        for w in range(waits):  # those up to this threshold are reached, the others go on waiting
            if waiting[w, 3] <= thresholds[t]:
                if count == limit:
                    return count
                order[count, 0], order[count, 1], order[count, 2] = waiting[w, 0], waiting[w, 1], waiting[w, 2]
                count += 1
            else:
                for k in range(4):
                    waiting[kept, k] = waiting[w, k]
                kept += 1
        waits = kept
        while done < count:
            for dz, dy, dx in FACE_STEPS:
                z, y, x = order[done, 0] + dz, order[done, 1] + dy, order[done, 2] + dx
                if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                    continue
                bit = np.uint64(1) << np.uint64(x & 63)
                if seen[z, y, x >> 6] & bit:
                    continue
                seen[z, y, x >> 6] |= bit
                value = _box_mean(volume, z, y, x, half_box)
                if value <= thresholds[t]:
                    if count == limit:
                        return count
                    order[count, 0], order[count, 1], order[count, 2] = z, y, x
                    count += 1
                elif value <= thresholds[-1]:
                    waiting[waits, 0], waiting[waits, 1], waiting[waits, 2], waiting[waits, 3] = z, y, x, value
                    waits += 1
            done += 1
        counts[t] = count
    return count


def grow_airway(
    volume: NDArray[np.int16], seeds: NDArray[np.int64], thresholds: NDArray[np.int64], *, half_box: Shape, limit: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Grow from seeds over faces into dark voxels, with one threshold after the other.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
        The mean of the box around a voxel is compared with the threshold.
    seeds : ndarray of int64, shape (n, 3)
        The voxels to start from, (z, y, x).
    thresholds : ndarray of int64, shape (m,), HU
        Ascending.
    half_box : tuple of int, (z, y, x)
        Half the size of the box, without the voxel.
    limit : int
        The growth stops at this number of voxels.

    Returns
    -------
    order : ndarray of int32, shape (n, 3)
        The voxels in the order in which they were reached.
    counts : ndarray of int64, shape (m,)
        How many of them were reached up to each threshold; -1 from where the limit stopped the growth.
    """
    volume = read_only(volume)
    counts = np.full(len(thresholds), -1, np.int64)
    seen = BitMask.empty(volume.shape).words
    order = np.empty((max(limit, len(seeds)), 3), np.int32)
    waiting = np.empty((6 * len(order) + len(seeds), 4), np.int32)  # each reached voxel adds at most 6
    count = _grow_airway(volume, seeds, thresholds, half_box, seen, counts, order, waiting)
    return order[:count], counts
