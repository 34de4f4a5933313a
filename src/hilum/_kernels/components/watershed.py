"""Labels that grow through an image in the order of its values, and meet on its ridges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL_HU = 8
"""Values that differ by less count as the same height."""


@kernel()
def _append(first: Any, last: Any, after: Any, level: int, place: int) -> None:
    if first[level] < 0:
        first[level] = place
    else:
        after[last[level]] = place
    last[level] = place
    after[place] = -1


@kernel()
def _flood(high: Any, labels: Any, flat: Any, first: Any, last: Any, after: Any) -> None:
    """Labels 0 are to be reached, 255 is a wall; `flat` is `labels` anew. Queues are lists of places, one a height."""
    nz, ny, nx = labels.shape
    moves = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if labels[z, y, x] != 0 and labels[z, y, x] != 255:
                    edge = False
                    for dz, dy, dx in moves:
                        k, j, i = z + dz, y + dy, x + dx
                        if 0 <= k < nz and 0 <= j < ny and 0 <= i < nx and labels[k, j, i] == 0:
                            edge = True
                    if edge:
                        place = (z * ny + y) * nx + x
                        _append(first, last, after, high[place], place)
    level = 0
    while level < first.size:
        place = first[level]
        if place < 0:
            level += 1
            continue
        first[level] = after[place]
        z, y, x = place // (ny * nx), place // nx % ny, place % nx
        for dz, dy, dx in moves:
            k, j, i = z + dz, y + dy, x + dx
            if 0 <= k < nz and 0 <= j < ny and 0 <= i < nx and labels[k, j, i] == 0:
                other = (k * ny + j) * nx + i
                flat[other] = flat[place]
                _append(first, last, after, max(level, high[other]), other)


def flood(hu: NDArray[np.int16], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grow labels over faces into the voxels without one, the darkest first.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x), HU
    labels : ndarray of uint8, shape (z, y, x)
        1 and more where labels start, 0 where they may grow, 255 where they may not.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        0 where no label came. Of voxels of the same height the one found first goes first, from the first voxel
        in raster order on; hence the same for the same input.
    """
    heights = np.clip((hu.astype(np.int32) + 1024) // LEVEL_HU, 0, 255).astype(np.uint8)
    grown = labels.copy()
    first, last = np.full(256, -1, np.int64), np.full(256, -1, np.int64)
    _flood(heights.reshape(-1), grown, grown.reshape(-1), first, last, np.empty(grown.size, np.int64))
    grown[grown == 255] = 0
    return grown
