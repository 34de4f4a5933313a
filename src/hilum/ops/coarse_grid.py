"""The coarse grid: a volume in cells of about a given size."""

from hilum._kernels.bitmask.mask import Shape
from hilum.geometry import Vector


def voxels_per_cell(spacing: Vector, cell_mm: float) -> Shape:
    """Number of voxels in a cell along each axis, at least 1.

    Parameters
    ----------
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.
    cell_mm : float
        The cell size to come close to.

    Returns
    -------
    tuple of int, (z, y, x)
    """
    z, y, x = (max(1, round(cell_mm / s)) for s in spacing)
    return z, y, x


def cell_size(spacing: Vector, factors: Shape) -> Vector:
    """Size of a cell of `factors` voxels, (z, y, x), mm."""
    z, y, x = (s * f for s, f in zip(spacing, factors, strict=True))
    return z, y, x
