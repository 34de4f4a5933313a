"""Complete nodules at the wall: fit a ball to each blob of tissue that the closed lung bridges, and add the ball.

A ball that rolls along the wall (Pu et al., Comput Med Imaging Graph 2008;32(6):452-462 roll a disk) bridges a nodule,
but cuts into it at its flanks and misses its part in the wall. So here closing only finds the blobs. A bridged
component that a small ball fits into is a nodule if

1. its bare surface in the lung is larger than its surface on the wall;
2. it is not too large.

The ball that fits its bare surface best is added, with its part behind the wall, and a thin rim.
"""

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask, Shape
from hilum._kernels.components import blobs, selection
from hilum.geometry import Vector
from hilum.ops.lungs.fitted_balls import NODULES, NoduleSearch, fit_nodules
from hilum.ops.lungs.thick_slices import find_in_planes
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

MASSES = (
    NoduleSearch(20.0, 4.0, (6.0, 18.0), 1.15, 0.42, tight=False, thick=3.5),
    NoduleSearch(34.0, 9.0, (14.0, 32.0), 1.6, 0.3, tight=False, thick=3.5),
)
"""The searches on cells."""


RIM_MM, RIM_VOXELS, RIM_SLICES = 1.0, 1.25, 0.3
"""Width of the rim: readers draw the border of a nodule outside of its half height. On coarse grids the rim is a
multiple of a pixel, or a fraction of a slice, because the ball is less precise there."""

WIDEST_RIM_MM = 1.6
RIB_MIN_HU = 300


def complete_nodules(
    lung: BitMask, bridged: BitMask, air: BitMask, hu: NDArray[np.int16], spacing: Vector, *, excluded: BitMask
) -> None:
    """Add the nodules that a bridged lung has more than its air to the lung, in place.

    Parameters
    ----------
    lung : BitMask
        The lung with holes and small dents filled.
    bridged : BitMask
        The lung with holes and all dents filled.
    air : BitMask
        The lung before filling.
    hu : ndarray of int16, shape (z, y, x), HU
    spacing : tuple of float, (z, y, x), mm
    excluded : BitMask
        Voxels that do not belong to a nodule.
    """
    if spacing[0] > NODULES.thick:
        balls = find_in_planes(bridged, air, hu, spacing, excluded=excluded)
    else:
        balls, _, _ = fit_nodules(bridged, air, spacing, NODULES, excluded=excluded)
    draw_nodules(lung, hu, balls, spacing)


def find_masses(
    lungs: NDArray[np.uint8], organs: BitMask, size: Vector, first: Vector
) -> tuple[NDArray[np.uint8], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Find nodules, on cells, that are too large for the ball that closes dents on voxels.

    Parameters
    ----------
    lungs : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the air of the right and the left lung.
    organs : BitMask
        Cells that do not belong to a nodule.
    size : tuple of float, (z, y, x), mm
        Size of a cell.
    first : tuple of float, (z, y, x), mm
        From the center of the first voxel to the center of the first cell.

    Returns
    -------
    masses : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the cells of nodules of the right and the left lung.
    balls : two ndarray of float64, shape (n, 4)
        The balls of `fit_nodules`, of the right and of the left lung.
    """
    shape: Shape = lungs.shape
    masses = np.zeros(shape, np.uint8)
    balls = []
    for label in (RIGHT_LUNG, LEFT_LUNG):
        air, parts = bits.equal(lungs, label), []
        for search in MASSES:
            ball = morphology.ellipsoid(search.close / 2, size, shape)
            closed = morphology.close(air, ball, times=2)
            fitted, runs, fits = fit_nodules(closed, air, size, search, excluded=organs)
            if runs is not None:
                bits.write_label(selection.select(runs, fits), masses, label=label)
            fitted[:, :3] += first
            parts.append(fitted)
        balls.append(np.concatenate(parts))
    return masses, (balls[0], balls[1])


def draw_nodules(lung: BitMask, hu: NDArray[np.int16], balls: NDArray[np.float64], spacing: Vector) -> None:
    """Add the balls of `fit_nodules`, with a rim, to a lung, in place. The outer half of the rim leaves out bone.

    Voxels further inside that are as bright as bone are a calcified nodule, or the edge of the rib next to it.
    """
    rim = max(RIM_MM, min(RIM_VOXELS * max(spacing[1:]), WIDEST_RIM_MM), RIM_SLICES * min(spacing[0], 8.0))
    for fraction, limit in ((0.5, int(np.iinfo(hu.dtype).max)), (1.0, RIB_MIN_HU)):
        wide = balls.copy()
        wide[:, 3] += fraction * rim
        blobs.draw_balls(lung, hu, wide, spacing, limit=limit)
