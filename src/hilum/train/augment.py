"""Other views of a patch that know where it lies: mirrored, turned, zoomed, its nodules moved along."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, radians, sin
from typing import TYPE_CHECKING, get_args

import numpy as np

from hilum.errors import InputError
from hilum.ops.patches.poses import IDENTITY, Matrix, Pose
from hilum.ops.patches.sampling import Order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from hilum.geometry import Geometry, Vector
    from hilum.train.runs import RunScan

_EVEN = 1e-3
"""Relative difference of the spacings in a plane that may be turned by 90 degrees."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How a data set varies its patches; what is drawn depends on seed, epoch and index alone.

    Parameters
    ----------
    flip : str
        Of the array's axes, by the letters of "zyx", those along which a patch is mirrored, each half of the times.
        "x" swaps left and right of a scan that lies as hilum stores it.
    turn90 : bool
        Whether a patch is turned in its slices' plane by 0, 90, 180 or 270 degrees. Refused where the pixels of a
        slice are not square.
    rotate_degrees : float
        A patch is turned by up to this, either way, about one array axis through its center; at most 45. Angles are
        those of the patient: a grid with other spacings along z turns truly.
    rotate_about : str
        The axes, by the letters of "zyx", of which each patch takes one by lot.
    scale : tuple of float
        A patch is zoomed by a factor between these; 1.1 makes a nodule appear a tenth larger. From 0.5 to 2.
    share : float
        The part of the patches that are rotated and zoomed; the others cost no interpolation.
    order : {3, 1}
        How rotated and zoomed patches are sampled: by the interpolating cubic spline, or linearly, which is sooner
        done and blurs a little, as most frameworks do. Labels are those of the nearest voxels either way.

    Raises
    ------
    InputError
        If an option is out of range.

    Examples
    --------
    >>> Augment(flip="x", rotate_degrees=15, scale=(0.9, 1.1)).share
    1.0
    """

    flip: str = ""
    turn90: bool = False
    rotate_degrees: float = 0.0
    rotate_about: str = "zyx"
    scale: tuple[float, float] = (1.0, 1.0)
    share: float = 1.0
    order: Order = 3

    def __post_init__(self) -> None:
        if isinstance(self.order, bool) or self.order not in get_args(Order):
            raise InputError(f"order is {self.order!r}, expected 3 (cubic) or 1 (linear)", code="option")
        for name, axes in (("flip", self.flip), ("rotate_about", self.rotate_about)):
            if set(axes) - set("zyx") or len(set(axes)) != len(axes):
                raise InputError(f"{name} is {axes!r}", do='use some letters of "zyx"', code="option")
        low, high = self.scale
        if not (0 <= self.rotate_degrees <= 45 and 0.5 <= low <= high <= 2 and 0 <= self.share <= 1):
            what = f"rotation by {self.rotate_degrees} degrees, scale {self.scale} or share {self.share}: out of range"
            raise InputError(what, do="use at most 45 degrees, 0.5 to 2, 0 to 1", code="option")
        if self.rotate_degrees and not self.rotate_about:
            raise InputError("a rotation about no axis", do="name axes in rotate_about", code="option")

    @property
    def reach(self) -> float:
        """How much farther from the center of its patch a nodule may come to lie along an axis, as a factor."""
        angle = radians(self.rotate_degrees)
        return (cos(angle) + sin(angle)) * self.scale[1] if self.share else 1.0

    def check(self, scans: Iterable[RunScan]) -> None:
        """Refuse to turn pixels by 90 degrees that are not square.

        Parameters
        ----------
        scans : iterable of RunScan

        Raises
        ------
        InputError
            If a scan has such.
        """
        for scan in scans if self.turn90 else ():
            _, y, x = scan.geometry.spacing
            if abs(y - x) > _EVEN * x:
                what = f"its pixels are {y:g} by {x:g} mm, which a turn by 90 degrees would swap"
                do = "leave turn90 out, or run with one spacing in the plane"
                raise InputError(what, where=scan.folder, do=do, code="option")

    def draw(self, grid: Geometry, center: Vector, size: int, generator: np.random.Generator) -> Pose:
        """Draw how one patch lies in its scan.

        Parameters
        ----------
        grid : Geometry
            Of the scan.
        center : tuple of float, (z, y, x)
            The patch's center, in voxels of the scan.
        size : int
        generator : numpy.random.Generator

        Returns
        -------
        Pose
        """
        chance = generator.random(8).tolist()  # always as many, so that one option does not change what another draws
        matrix = IDENTITY
        if (self.rotate_degrees or self.scale != (1.0, 1.0)) and chance[4] < self.share:
            degrees = (2 * chance[5] - 1) * self.rotate_degrees
            about = "zyx".index(self.rotate_about[int(chance[6] * len(self.rotate_about))]) if degrees else 0
            low, high = self.scale
            matrix = _rotation(about, radians(degrees), 1 / (low + chance[7] * (high - low)), grid.spacing)
        if self.turn90:
            matrix = _times_turn(matrix, int(4 * chance[3]))
        signs = [-1.0 if "zyx"[k] in self.flip and chance[k] < 0.5 else 1.0 for k in range(3)]
        if signs != [1.0, 1.0, 1.0]:
            z, y, x = ((row[0] * signs[0], row[1] * signs[1], row[2] * signs[2]) for row in matrix)
            matrix = (z, y, x)
        return Pose(center, size, matrix)


def boxes_of(
    pose: Pose, spacing: Vector, centers: NDArray[np.float64], diameters: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The boxes of the nodules whose centers lie in a patch.

    Parameters
    ----------
    pose : Pose
    spacing : tuple of float, (z, y, x), mm
        Of the scan.
    centers : ndarray, shape (n, 3), (z, y, x)
        In voxels of the scan.
    diameters : ndarray, shape (n,), mm

    Returns
    -------
    which : ndarray of int, shape (m,)
    boxes : ndarray of float32, shape (m, 6)
        First and last corner, (z, y, x, z, y, x), in voxels of the patch, whose centers are whole numbers. A nodule
        is a sphere: turned, it fills the same box. Not clipped at the patch's border.
    """
    offset = centers - pose.center
    if pose.matrix == IDENTITY:
        placed, widths = offset, np.divide(1.0, spacing)
    else:
        placed = offset @ np.array(pose.inverse).T
        dz, dy, dx = spacing
        widths = np.array([hypot(z / dz, y / dy, x / dx) for z, y, x in pose.inverse])
    which = np.flatnonzero((np.abs(placed) <= pose.size / 2).all(axis=1))
    middle = placed[which] + (pose.size - 1) / 2
    half = diameters[which, None] / 2 * widths
    return which, np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)


def _rotation(about: int, angle: float, step: float, spacing: Vector) -> Matrix:
    """Turn about an axis in mm, in steps of so much of a voxel."""
    first, second = (axis for axis in range(3) if axis != about)
    rows = [[step if r == c else 0.0 for c in range(3)] for r in range(3)]
    rows[first][first] = rows[second][second] = step * cos(angle)
    rows[first][second] = -step * sin(angle) * spacing[second] / spacing[first]
    rows[second][first] = step * sin(angle) * spacing[first] / spacing[second]
    z, y, x = ((row[0], row[1], row[2]) for row in rows)
    return z, y, x


def _times_turn(matrix: Matrix, quarters: int) -> Matrix:
    """The matrix of a patch that is turned in its plane by so many times 90 degrees first."""
    for _ in range(quarters):
        z, y, x = ((row[0], row[2], -row[1]) for row in matrix)
        matrix = (z, y, x)
    return matrix
