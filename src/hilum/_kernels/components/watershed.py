"""Watershed: labels grow through an image from dark to bright, and meet on its ridges."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import FACE_STEPS
from hilum._kernels.compile.kernel import kernel

LEVEL_HU = 8  # width of a height step: values in the same step count as equally high


@kernel()
def _append(first: Any, last: Any, after: Any, level: int, index: int) -> None:
    if first[level] < 0:
        first[level] = index
    else:
        after[last[level]] = index
    last[level] = index
    after[index] = -1


@kernel()
def _flood(high: Any, labels: Any, flat: Any, first: Any, last: Any, after: Any) -> None:
    """Labels 0 can be reached, 255 is a wall; `flat` is `labels` in one dimension.

    Each height has a queue of flat indices, a linked list: its first and last, and what comes `after` each.
    """
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if labels[z, y, x] != 0 and labels[z, y, x] != 255:
                    edge = False
                    for dz, dy, dx in FACE_STEPS:
                        k, j, i = z + dz, y + dy, x + dx
                        if 0 <= k < nz and 0 <= j < ny and 0 <= i < nx and labels[k, j, i] == 0:
                            edge = True
                    if edge:
                        index = (z * ny + y) * nx + x
                        _append(first, last, after, high[index], index)
    level = 0
    while level < first.size:
        index = first[level]
        if index < 0:
            level += 1
            continue
        first[level] = after[index]
        z, y, x = index // (ny * nx), index // nx % ny, index % nx
        for dz, dy, dx in FACE_STEPS:
            k, j, i = z + dz, y + dy, x + dx
            if 0 <= k < nz and 0 <= j < ny and 0 <= i < nx and labels[k, j, i] == 0:
                other = (k * ny + j) * nx + i
                flat[other] = flat[index]
                _append(first, last, after, max(level, high[other]), other)


def flood(hu: NDArray[np.int16], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grow labels over faces into the voxels without a label, the darkest first.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x), HU
        The volume, whose dark voxels are flooded first.
    labels : ndarray of uint8, shape (z, y, x)
        1 and more where labels start, 0 where they may grow, 255 where they may not.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        0 where no label arrived. Voxels of the same height are reached in the order of a queue that starts in raster
        order, so the same input gives the same result.
    """
    heights = np.clip((hu.astype(np.int32) + 1024) // LEVEL_HU, 0, 255).astype(np.uint8)
    grown = labels.copy()
    first, last = np.full(256, -1, np.int64), np.full(256, -1, np.int64)
    _flood(heights.reshape(-1), grown, grown.reshape(-1), first, last, np.empty(grown.size, np.int64))
    grown[grown == 255] = 0
    return grown
