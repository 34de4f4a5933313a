"""How a patch lies in a volume: rotated, mirrored and zoomed about its center."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry, Vector
from hilum.ops.patches.boxes import Box

Matrix = tuple[Vector, ...]

IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def scaled(matrix: Matrix, factors: Sequence[float]) -> Matrix:
    """Multiply the columns of a matrix, which are the steps along the axes of a patch."""
    a, b, c = factors
    return tuple((row[0] * a, row[1] * b, row[2] * c) for row in matrix)


_AXIS_COMPONENTS = frozenset({0.0, 1.0, -1.0})


@dataclass(frozen=True)
class Pose:
    """Where a box of `size` voxels lies in a volume: its voxel o is at ``center + matrix @ (o - (size - 1) / 2)``.

    Parameters
    ----------
    center : tuple of float, (z, y, x)
        A fractional voxel index of the volume.
    size : tuple of int, (z, y, x)
        Voxels of the patch along each of its axes.
    matrix : three tuples of float
        Rows are the volume's axes z, y, x, columns the patch's. At least one axis of the patch is parallel to one of
        the volume's, and the other axes are perpendicular to it.
    """

    center: Vector
    size: Box
    matrix: Matrix = IDENTITY

    @cached_property
    def first(self) -> Vector:
        """Position of the patch's voxel (0, 0, 0): a fractional index, (z, y, x), of the volume."""
        a, b, c = self.size[0] / 2 - 0.5, self.size[1] / 2 - 0.5, self.size[2] / 2 - 0.5
        z, y, x = (m - (a * row[0] + b * row[1] + c * row[2]) for m, row in zip(self.center, self.matrix, strict=True))
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
        plain = self.matrix is IDENTITY or _AXIS_COMPONENTS.issuperset(z + y + x)
        return not (plain and all(map(float.is_integer, self.first)))

    def affine(self, grid: Geometry) -> NDArray[np.float64]:
        """Matrix, shape (4, 4), from a voxel of the patch, (z, y, x, 1), to the world, (x, y, z, 1), LPS mm."""
        rows = [(*row, first) for row, first in zip(self.matrix, self.first, strict=True)]
        placed: NDArray[np.float64] = grid.affine @ np.array([*rows, (0.0, 0.0, 0.0, 1.0)])
        return placed

    def box(self, margin: int) -> tuple[Box, Box]:
        """First voxel and size of the volume's box that contains the patch and `margin` voxels around it."""
        a, b, c = ((n - 1) / 2 for n in self.size)
        low, size = [], []
        for middle, row in zip(self.center, self.matrix, strict=True):
            extent = a * abs(row[0]) + b * abs(row[1]) + c * abs(row[2])
            low.append(floor(middle - extent) - margin)
            size.append(floor(middle + extent) + 1 + margin - low[-1] + 1)
        return (low[0], low[1], low[2]), (size[0], size[1], size[2])
