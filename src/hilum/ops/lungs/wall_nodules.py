"""Nodules at the wall: where the closed lung bridges a blob of tissue, the ball that the blob is part of is completed.

A ball that rolls along the wall (Pu et al., Comput Med Imaging Graph 2008;32(6):452-462 roll a disk) bridges a nodule,
but dips into it between its flanks, and knows nothing of the part of it that lies in the wall. Here it only finds the
blobs. What it has bridged and a small ball fits into is a nodule if

1. more of it lies bare in the lung than is grown together with the wall;
2. it is not too large;

and then the ball that fits its bare side best is added, with the part of it behind the wall, and a thin rim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import blobs, selection
from hilum.ops.lungs.fitted_balls import NODULES, Search, Size, find_nodules
from hilum.ops.lungs.thick_slices import find_in_planes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import BitMask, Shape


MASSES = (
    Search(20.0, 4.0, (6.0, 18.0), 1.15, 0.42, tight=False, thick=3.5),
    Search(34.0, 9.0, (14.0, 32.0), 1.6, 0.3, tight=False, thick=3.5),
)
"""On cells."""


RIM_MM, RIM_VOXELS, RIM_SLICES = 1.0, 1.25, 0.3
"""The completed ball is larger by this: the border of a nodule is drawn by the eye outside of its half height.
On coarse grids it is larger by these shares of a voxel in the plane, or of a slice, as the ball is known no better."""

WIDEST_RIM_MM = 1.6
BONE_HU = 300


def complete_nodules(lung: BitMask, air: BitMask, hu: NDArray[np.int16], spacing: Size, *, never: BitMask) -> None:
    """Add to a lung, in place, what belongs to the nodules that it bridges.

    Parameters
    ----------
    lung : BitMask
        The lung with holes and dents filled.
    air : BitMask
        The same without anything filled.
    hu : ndarray of int16, shape (z, y, x), HU
    spacing : tuple of float, (z, y, x), mm
    never : BitMask
        Where no nodule is looked for.
    """
    if spacing[0] > NODULES.thick:
        found = find_in_planes(lung, air, hu, spacing, never=never)
    else:
        found, _, _ = find_nodules(lung, air, spacing, NODULES, never=never)
    draw_nodules(lung, hu, found, spacing)


def find_masses(
    lungs: NDArray[np.uint8], domes: NDArray[np.uint8], size: Size, first: Size
) -> tuple[NDArray[np.uint8], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Nodules too large for the ball that closes dents of voxels, on cells.

    Parameters
    ----------
    lungs : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the air of the right and the left lung.
    domes : ndarray of uint8
        1 where no nodule is looked for.
    size : tuple of float, (z, y, x), mm
        Of a cell.
    first : tuple of float, (z, y, x), mm
        From the middle of the first voxel to that of the first cell.

    Returns
    -------
    masses : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the cells of nodules of the right and the left lung.
    balls : two ndarray of float64, shape (n, 4)
        As `find_nodules` gives them, of the right and of the left lung.
    """
    shape: Shape = lungs.shape
    masses = np.zeros(shape, np.uint8)
    never = bits.equal(domes, 1)
    balls = []
    for label in (1, 2):
        air, parts = bits.equal(lungs, label), []
        for search in MASSES:
            rods = morphology.ellipsoid(search.close / 2, size, shape)
            closed = morphology.close(air, rods, times=2)
            found, runs, fits = find_nodules(closed, air, size, search, never=never)
            if runs is not None:
                bits.write_label(selection.select(runs, fits), masses, label=label)
            found[:, :3] += first
            parts.append(found)
        balls.append(np.concatenate(parts))
    return masses, (balls[0], balls[1])


def draw_nodules(lung: BitMask, hu: NDArray[np.int16], found: NDArray[np.float64], spacing: Size) -> None:
    """Add balls, as `find_nodules` gives them, with a rim to a lung, in place; its outer half leaves out bone.

    What is as bright as bone further inside is a calcified nodule, or the edge of the rib that it lies on.
    """
    rim = max(RIM_MM, min(RIM_VOXELS * max(spacing[1:]), WIDEST_RIM_MM), RIM_SLICES * min(spacing[0], 8.0))
    for share, limit in ((0.5, int(np.iinfo(hu.dtype).max)), (1.0, BONE_HU)):
        wide = found.copy()
        wide[:, 3] += share * rim
        blobs.draw_balls(lung, hu, wide, spacing, limit=limit)
