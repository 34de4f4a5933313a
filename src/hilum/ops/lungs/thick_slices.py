"""Find nodules at the wall in thick slices, where a ball is a few disks, faint where it fills a slice only in part.

1. The lung is searched plane by plane (`hilum.ops.lungs.fitted_balls.fit_nodules`): as it is, and bridged again by
   disks; with a small disk, and with a larger one that separates a nodule from the ridge next to it.
2. Each disk is tried in the slices above and below, where it may be too faint for step 1.
"""

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum.geometry import Vector
from hilum.ops.lungs.fitted_balls import NODULES, fit_nodules
from hilum.ops.tissues import LUNG_AIR_MAX_HU

SEARCHES = tuple(NODULES._replace(radii=(1.5, 11.0), thin=thin) for thin in (NODULES.thin, 3.5))
"""Larger nodules are found on cells; other large blobs are the front of the mediastinum."""

FAINT_HU = -560
"""A nodule that fills a third of a slice; darker voxels are lung, except for its vessels."""

RAISED = 0.45
"""A disk belongs to a nodule if its contrast to the lung is at least this fraction of the nodule's."""

INNER, AROUND, AROUND_MM = 0.6, 1.6, 6.0
"""A disk's contrast compares its inner part with a ring around it: fractions of the radius, and the ring's width."""


def find_in_planes(
    lung: BitMask, air: BitMask, hu: NDArray[np.int16], spacing: Vector, *, excluded: BitMask
) -> NDArray[np.float64]:
    """Find the disks of wall nodules in thick slices.

    Parameters
    ----------
    lung, air, excluded : BitMask
    hu : ndarray of int16, shape (z, y, x), HU
    spacing : tuple of float, (z, y, x), mm
        As for `hilum.ops.lungs.wall_nodules.complete_nodules`.

    Returns
    -------
    ndarray of float64, shape (n, 4)
        Center z, y, x in mm from the first voxel, and radius, mm.
    """
    disk = morphology.ellipsoid(NODULES.close / 2, (np.inf, *spacing[1:]), hu.shape)
    bridged = lung | (morphology.close(lung, disk, times=2) & ~excluded)
    dark = air & ~bits.threshold(hu, FAINT_HU + 1, LUNG_AIR_MAX_HU)
    fitted = [
        fit_nodules(closed, dark, spacing, search, excluded=excluded)[0]
        for closed in (lung, bridged)
        for search in SEARCHES
    ]
    disks = np.concatenate(fitted)
    return np.concatenate([disks, _in_next_slices(disks, lung, hu, spacing)])


def _in_next_slices(
    disks: NDArray[np.float64], lung: BitMask, hu: NDArray[np.int16], spacing: Vector
) -> NDArray[np.float64]:
    """The disks, moved to those slices above and below them where they are brighter than lung."""
    moved = []
    for disk in disks:
        z = min(max(round(disk[0] / spacing[0]), 0), hu.shape[0] - 1)  # a fitted center may lie outside
        contrast = _contrast(disk, z, lung, hu, spacing)
        moved += [
            (k * spacing[0], *disk[1:])
            for k in (z - 1, z + 1)
            if 0 <= k < hu.shape[0] and _contrast(disk, k, lung, hu, spacing) >= RAISED * contrast > 0
        ]
    return np.array(moved).reshape(-1, 4)


def _contrast(disk: NDArray[np.float64], z: int, lung: BitMask, hu: NDArray[np.int16], spacing: Vector) -> float:
    """Mean HU of the inner part of a disk in a plane, minus that of the lung around it; NaN if either is empty."""
    _, y, x, radius = disk
    outer = AROUND * radius + AROUND_MM
    rows, columns = (
        slice(max(0, int((middle - outer) / step)), int((middle + outer) / step) + 1)
        for middle, step in ((y, spacing[1]), (x, spacing[2]))
    )
    values = hu[z, rows, columns]
    down = np.arange(rows.start, rows.start + values.shape[0]) * spacing[1] - y
    across = np.arange(columns.start, columns.start + values.shape[1]) * spacing[2] - x
    distance = np.hypot(down[:, None], across)
    words = lung.words[z, rows].view(np.uint8)
    inside = np.unpackbits(words, axis=1, count=hu.shape[2], bitorder="little")[:, columns] == 1
    inner = inside & (distance <= INNER * radius)
    ring = inside & (distance >= AROUND * radius) & (values <= LUNG_AIR_MAX_HU)
    return float(values[inner].mean() - values[ring].mean()) if inner.any() and ring.any() else float("nan")
