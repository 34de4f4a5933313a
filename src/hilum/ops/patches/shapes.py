"""How many voxels a patch has, and how far apart they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import InputError
from hilum.geometry import Geometry, Vector
from hilum.ops.patches.boxes import Box, three_sizes
from hilum.ops.patches.poses import IDENTITY, Matrix, scaled
from hilum.ops.regrid import smoothed_steps

_MOST_MM, _MOST_VOXELS = 4096.0, 1e9


@dataclass(frozen=True)
class PatchShape:
    """The voxels of a patch, and its spacing.

    Parameters
    ----------
    size : tuple of int, (z, y, x)
        Voxels along each axis.
    size_mm : tuple of float, (z, y, x), mm, optional
        What they span, so that a voxel has ``size_mm / size``; without it, a voxel of a patch is one of its scan.
    """

    size: Box
    size_mm: Vector | None = None

    def spacing(self, grid: Geometry) -> Vector:
        """Distance between the voxels of a patch of a scan, (z, y, x), mm."""
        if self.size_mm is None:
            return grid.spacing
        return cast("Vector", tuple(np.divide(self.size_mm, self.size).tolist()))

    def steps(self, grid: Geometry) -> list[float]:
        """Voxels of a scan in one of a patch, (z, y, x)."""
        return [a / b for a, b in zip(self.spacing(grid), grid.spacing, strict=True)]

    def factors(self, grid: Geometry) -> Sequence[float]:
        """The steps of those axes on which a patch is smoothed as in `hilum.resample`, and 1 for the others."""
        if self.size_mm is None:
            return 1.0, 1.0, 1.0
        return smoothed_steps(self.steps(grid), grid.spacing, antialias=True)

    def matrix(self, grid: Geometry) -> Matrix:
        """The matrix of the pose of a patch that is not rotated."""
        return IDENTITY if self.size_mm is None else scaled(IDENTITY, self.steps(grid))

    def extent(self, grid: Geometry) -> Sequence[float]:
        """Voxels of a scan from the first voxel of a patch to its last, both included, (z, y, x)."""
        if self.size_mm is None:
            return self.size
        return [(n - 1) * step + 1 for n, step in zip(self.size, self.steps(grid), strict=True)]

    def check(self, grid: Geometry) -> None:
        """Refuse patches that span more than 1e9 voxels of a scan."""
        voxels = prod(self.extent(grid))
        if voxels > _MOST_VOXELS:
            what = f"a patch of {self.size_mm} mm spans {voxels:.3g} voxels of a scan; the limit is {_MOST_VOXELS:.0e}"
            raise InputError(what, do="use a smaller patch", code="option")

    def center(self, index: ArrayLike) -> NDArray[np.float64]:
        """Give the centers of patches around fractional voxel indices of their scan, shape (..., 3), (z, y, x).

        Without a spacing of its own, a patch is a box of whole voxels, so that its center is moved by up to half a one.
        """
        center = np.asarray(index, np.float64)
        if self.size_mm is not None:
            return center
        half = np.array(self.size) / 2 - 0.5
        return np.rint(center - half) + half


def make_shape(
    size: int | Sequence[int], size_mm: float | Sequence[float] | None = None, name: str = "size_mm"
) -> PatchShape:
    """Check a size in voxels, and one in millimetres.

    Parameters
    ----------
    size : int or sequence of three int, (z, y, x)
        One number stands for all axes.
    size_mm : float or sequence of three float, (z, y, x), mm, optional
        One number stands for all axes.
    name : str
        What `size_mm` is called in a message.

    Raises
    ------
    InputError
        If one of them is something else, or out of range.
    """
    return PatchShape(three_sizes(size), None if size_mm is None else _three_lengths(size_mm, name))


def _three_lengths(length: float | Sequence[float], name: str) -> Vector:
    try:
        lengths: list[float] = np.broadcast_to(np.asarray(length, np.float64), 3).tolist()
    except (TypeError, ValueError):
        lengths = []
    if len(lengths) != 3 or not all(0 < one <= _MOST_MM for one in lengths):
        expected = f"expected a number, or three (z, y, x), of more than 0 and at most {_MOST_MM:g} mm"
        raise InputError(f"{name} is {length!r}: {expected}", code="option")
    return lengths[0], lengths[1], lengths[2]
