"""How a cubic patch lies in a volume: rotated, mirrored and zoomed about its center."""

from dataclasses import dataclass
from functools import cached_property
from math import floor

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry, Vector
from hilum.ops.patches.boxes import Box

Matrix = tuple[Vector, ...]

IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

_AXIS_COMPONENTS = frozenset({0.0, 1.0, -1.0})


@dataclass(frozen=True)
class Pose:
    """Where a cube of `size` voxels lies in a volume: its voxel o is at ``center + matrix @ (o - (size - 1) / 2)``.

    Parameters
    ----------
    center : tuple of float, (z, y, x)
        A fractional voxel index of the volume.
    size : int
        Voxels along each edge.
    matrix : three tuples of float
        Rows are the volume's axes z, y, x, columns the patch's. At least one axis of the patch is parallel to one of
        the volume's, and the other axes are perpendicular to it.
    """

    center: Vector
    size: int
    matrix: Matrix = IDENTITY

    @cached_property
    def first(self) -> Vector:
        """Position of the patch's voxel (0, 0, 0): a fractional index, (z, y, x), of the volume."""
        half = (self.size - 1) / 2
        z, y, x = (c - half * (row[0] + row[1] + row[2]) for c, row in zip(self.center, self.matrix, strict=True))
        return z, y, x

    @cached_property
    def inverse(self) -> Matrix:
        """Inverse of `matrix`: rows are the patch's axes z, y, x, columns the volume's."""
        (a, b, c), (d, e, f), (g, h, i) = self.matrix
        one = 1.0 / (a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
        return (
            (one * (e * i - f * h), one * (c * h - b * i), one * (b * f - c * e)),
            (one * (f * g - d * i), one * (a * i - c * g), one * (c * d - a * f)),
            (one * (d * h - e * g), one * (b * g - a * h), one * (a * e - b * d)),
        )

    @property
    def resampled(self) -> bool:
        """Whether the patch's voxels lie between those of the volume."""
        z, y, x = self.matrix
        return not (_AXIS_COMPONENTS.issuperset(z + y + x) and all(map(float.is_integer, self.first)))

    def affine(self, grid: Geometry) -> NDArray[np.float64]:
        """Matrix, shape (4, 4), from a voxel of the patch, (z, y, x, 1), to the world, (x, y, z, 1), LPS mm."""
        to_volume = np.eye(4)
        to_volume[:3, :3], to_volume[:3, 3] = self.matrix, self.first
        return grid.affine @ to_volume

    def box(self, margin: int) -> tuple[Box, Box]:
        """First voxel and size of the volume's box that contains the patch and `margin` voxels around it."""
        half = (self.size - 1) / 2
        low, size = [], []
        for c, row in zip(self.center, self.matrix, strict=True):
            extent = half * (abs(row[0]) + abs(row[1]) + abs(row[2]))
            low.append(floor(c - extent) - margin)
            size.append(floor(c + extent) + 1 + margin - low[-1] + 1)
        return (low[0], low[1], low[2]), (size[0], size[1], size[2])
