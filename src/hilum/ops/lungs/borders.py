"""What the border of a lung leaves out and takes in, on voxels and on half cells alike."""

from hilum._kernels.bitmask import morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.components import selection
from hilum.geometry import Vector

GROUND_GLASS_MAX_HU = -100
"""Voxels in cells of ground-glass up to this belong to a lung; closing adds the rest."""

WALL_MM = 2.5
"""The air of the trachea is dilated by this, to include its wall."""


def airway_walls(airway: BitMask, spacing: Vector, *, workers: int = 1) -> BitMask:
    """Dilate the air of the airways to include their walls, and at least a pixel of partial volume."""
    ball = morphology.ellipsoid(max(WALL_MM, *spacing[1:]), spacing, airway.shape)
    return morphology.dilate(airway, ball, workers=workers)


def close_dents(air: BitMask, radius: float, excluded: BitMask, spacing: Vector) -> BitMask:
    """Close dents of a lung by a ball, and fill the holes of its planes, but not with excluded voxels.

    Parameters
    ----------
    air, excluded : BitMask
        The lung, and the voxels that stay outside it.
    radius : float, mm
        Of the ball; at least a pixel.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.

    Returns
    -------
    BitMask
    """
    radius = max(radius, *spacing[1:])
    times = 2 if 6 * max(spacing[1:]) < radius else 1
    ball = morphology.ellipsoid(radius / times, spacing, air.shape)
    closed = air | (morphology.close(air, ball, times=times) & ~excluded)
    return closed | (selection.fill_planes(closed) & ~excluded)
