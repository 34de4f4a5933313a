"""Nodules at the wall in thick slices, where a ball is seen as a few disks, faint where it fills a slice in part.

1. What the lung bridges is searched as in thin slices (`hilum.ops.lungs.fitted_balls.find_nodules`), in planes: as it
   is, and bridged once more by disks; by a small disk, and by a larger one that parts a nodule from the ridge beside
   it.
2. A disk that was found is looked for in the slices above and below, where it may be too faint to be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.bitmask import bits, morphology
from hilum.ops.lungs.fitted_balls import NODULES, Size, find_nodules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import BitMask

SEARCHES = tuple(NODULES._replace(radii=(1.5, 11.0), thin=thin) for thin in (NODULES.thin, 3.5))
"""What is larger is found on cells, or is the front of the mediastinum."""

AIR_UP_TO, FAINT_HU = -400, -560
"""HU of the boundary of a lung on voxels (as in `hilum.ops.lungs.hilum_method`), and of a nodule filling a third of a
slice: darker is lung, but for its vessels."""

RAISED = 0.45
"""The same disk in the next slice belongs to the nodule if it is brighter than lung by this share of the nodule."""

INNER, AROUND, AROUND_MM = 0.6, 1.6, 6.0
"""A disk's brightness is that of its inner part, that of lung is seen in a ring: as shares of the radius, and mm."""


def find_in_planes(
    lung: BitMask, air: BitMask, hu: NDArray[np.int16], spacing: Size, *, never: BitMask
) -> NDArray[np.float64]:
    """The disks of wall nodules in thick slices, as balls.

    Parameters
    ----------
    lung, air, never : BitMask
    hu : ndarray of int16, shape (z, y, x), HU
    spacing : tuple of float, (z, y, x), mm
        All as in `hilum.ops.lungs.wall_nodules.complete_nodules`.

    Returns
    -------
    ndarray of float64, shape (n, 4)
        Center z, y, x in mm from the first voxel, and radius, mm.
    """
    rods = morphology.ellipsoid(NODULES.close / 2, (np.inf, *spacing[1:]), hu.shape)
    bridged = lung | (morphology.close(lung, rods, times=2) & ~never)
    dark = air & ~bits.threshold(hu, FAINT_HU + 1, AIR_UP_TO)
    found = [
        find_nodules(closed, dark, spacing, search, never=never)[0] for closed in (lung, bridged) for search in SEARCHES
    ]
    disks = np.concatenate(found)
    return np.concatenate([disks, _in_next_slices(disks, lung, hu, spacing)])


def _in_next_slices(
    disks: NDArray[np.float64], lung: BitMask, hu: NDArray[np.int16], spacing: Size
) -> NDArray[np.float64]:
    """The disks, moved to those slices above and below them where they are brighter than lung."""
    moved = []
    for disk in disks:
        z = round(disk[0] / spacing[0])
        contrast = _contrast(disk, z, lung, hu, spacing)
        moved += [
            (k * spacing[0], *disk[1:])
            for k in (z - 1, z + 1)
            if 0 <= k < hu.shape[0] and _contrast(disk, k, lung, hu, spacing) >= RAISED * contrast > 0
        ]
    return np.array(moved).reshape(-1, 4)


def _contrast(disk: NDArray[np.float64], z: int, lung: BitMask, hu: NDArray[np.int16], spacing: Size) -> float:
    """Mean HU of the inner part of a disk in a plane over that of the lung around it; NaN where either is missing."""
    _, y, x, radius = disk
    reach = AROUND * radius + AROUND_MM
    rows, columns = (
        slice(max(0, int((middle - reach) / step)), int((middle + reach) / step) + 1)
        for middle, step in ((y, spacing[1]), (x, spacing[2]))
    )
    values = hu[z, rows, columns]
    down = np.arange(rows.start, rows.start + values.shape[0]) * spacing[1] - y
    across = np.arange(columns.start, columns.start + values.shape[1]) * spacing[2] - x
    far = np.hypot(down[:, None], across)
    words = lung.words[z, rows].view(np.uint8)
    inside = np.unpackbits(words, axis=1, count=hu.shape[2], bitorder="little")[:, columns] == 1
    inner, ring = inside & (far <= INNER * radius), inside & (far >= AROUND * radius) & (values <= AIR_UP_TO)
    return float(values[inner].mean() - values[ring].mean()) if inner.any() and ring.any() else float("nan")
