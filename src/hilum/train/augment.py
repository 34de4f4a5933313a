"""Random poses of a patch: mirrored, rotated, zoomed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import get_args

import numpy as np

from hilum.errors import InputError
from hilum.geometry import Geometry, Vector
from hilum.ops.patches import poses, sampling
from hilum.ops.patches.boxes import three_sizes
from hilum.runs.run_scan import RunScan


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How a data set varies its patches. The draw depends only on seed, epoch and index.

    Parameters
    ----------
    flip : str
        The array axes, as letters of "zyx", along which a patch is mirrored, each with probability 1/2.
        "x" swaps left and right in the orientation that hilum stores.
    turn90 : bool, default False
        Rotate a patch in the plane of its slices by 0, 90, 180 or 270 degrees; one that is not square there, in voxels
        or mm, by 0 or 180 degrees, so that all patches have one shape. Needs square pixels.
    rotate_degrees : float, default 0.0
        The largest rotation, in either direction, about one array axis through the patch's center; at most 45.
        Angles are measured in millimetres, so a rotation stays one on grids with unequal spacings.
    rotate_about : str, default "zyx"
        The axes, as letters of "zyx", from which each patch draws one.
    scale : tuple of float, default (1.0, 1.0)
        The least and greatest zoom, from 0.5 to 2; 1.1 makes a nodule appear a tenth larger.
    share : float, default 1.0
        The fraction of patches that are rotated and zoomed; the others need no interpolation.
    order : {3, 1}, default 3
        The interpolation of rotated and zoomed patches: 3 for the interpolating cubic spline, 1 for linear, which
        is faster and blurs a little, as in most frameworks. Labels always come from the nearest voxel.

    Raises
    ------
    InputError
        If an option is out of range.

    Examples
    --------
    >>> import hilum
    >>> hilum.Augment(flip="x", rotate_degrees=15, scale=(0.9, 1.1)).share
    1.0
    """

    flip: str = ""
    turn90: bool = False
    rotate_degrees: float = 0.0
    rotate_about: str = "zyx"
    scale: tuple[float, float] = (1.0, 1.0)
    share: float = 1.0
    order: sampling.Order = 3

    def __post_init__(self) -> None:
        if isinstance(self.order, bool) or self.order not in get_args(sampling.Order):
            raise InputError(f"order is {self.order!r}, expected 3 (cubic) or 1 (linear)", code="option")
        for name, axes in (("flip", self.flip), ("rotate_about", self.rotate_about)):
            if set(axes) - set("zyx") or len(set(axes)) != len(axes):
                raise InputError(f"{name} is {axes!r}", do='use some letters of "zyx"', code="option")
        low, high = self.scale
        if not (0 <= self.rotate_degrees <= 45 and 0.5 <= low <= high <= 2 and 0 <= self.share <= 1):
            what = f"rotation by {self.rotate_degrees} degrees, scale {self.scale} or share {self.share}: out of range"
            raise InputError(what, do="use at most 45 degrees, 0.5 to 2, 0 to 1", code="option")
        if self.rotate_degrees and not self.rotate_about:
            raise InputError("rotate_about names no axis", do="name one or more", code="option")

    @property
    def reach(self) -> float:
        """The factor by which a nodule may move away from the center of its patch along an axis."""
        angle = radians(self.rotate_degrees)
        return (cos(angle) + sin(angle)) * self.scale[1] if self.share else 1.0

    def check(self, scans: Iterable[RunScan]) -> None:
        """Refuse ``turn90`` for scans whose pixels are not square.

        Parameters
        ----------
        scans : iterable of RunScan
            The scans of the run that patches come from.

        Raises
        ------
        InputError
            If ``turn90`` is on and the spacings in the plane of a scan differ.

        Examples
        --------
        >>> import hilum
        >>> data = hilum.PatchDataset("OUT", size=32)
        >>> hilum.Augment(turn90=True).check(data.scans)
        """
        for scan in scans if self.turn90 else ():
            _, y, x = scan.geometry.spacing
            if abs(y - x) > 1e-3 * x:
                what = f"its pixels are {y:g} by {x:g} mm, and turn90 needs square ones"
                do = "leave turn90 out, or run with one spacing in the plane"
                raise InputError(what, where=scan.folder, do=do, code="option")

    def draw(
        self,
        grid: Geometry,
        center: Vector,
        size: int | Sequence[int],
        generator: np.random.Generator,
        *,
        spacing: Vector | None = None,
    ) -> poses.Pose:
        """Draw how one patch lies in its scan.

        Parameters
        ----------
        grid : Geometry
            The grid of the scan.
        center : tuple of float, (z, y, x)
            The middle of the patch, in voxels of the grid.
        size : int or sequence of three int, (z, y, x)
            Voxels along each axis of the patch; one number stands for all.
        generator : numpy.random.Generator
            Gives the random numbers; the same state gives the same pose.
        spacing : tuple of float, (z, y, x), mm, optional
            The patch's own, by default that of the grid.

        Returns
        -------
        Pose
            Position, size and matrix of the patch.

        Examples
        --------
        >>> import hilum
        >>> import numpy as np
        >>> grid = hilum.Geometry((50, 50, 50), (1.0, 1.0, 1.0))
        >>> hilum.Augment(flip="zyx").draw(grid, (20.0, 20.0, 20.0), 16, np.random.default_rng(0)).size
        (16, 16, 16)
        """
        box = three_sizes(size)
        steps = None if spacing is None else np.divide(spacing, grid.spacing).tolist()
        chance = generator.random(8).tolist()  # always eight: an option does not change the draws of the others
        matrix = poses.IDENTITY
        if (self.rotate_degrees or self.scale != (1.0, 1.0)) and chance[4] < self.share:
            degrees = (2 * chance[5] - 1) * self.rotate_degrees
            about = "zyx".index(self.rotate_about[int(chance[6] * len(self.rotate_about))]) if degrees else 0
            low, high = self.scale
            matrix = _rotation(about, radians(degrees), 1 / (low + chance[7] * (high - low)), grid.spacing)
        turns = int(4 * chance[3]) if self.turn90 else 0
        if box[1] != box[2] or (spacing is not None and box[1] * spacing[1] != box[2] * spacing[2]):
            turns = turns // 2 * 2
        for _ in range(turns):  # first a quarter turn in the plane
            matrix = tuple((row[0], row[2], -row[1]) for row in matrix)
        signs = [-1.0 if "zyx"[k] in self.flip and chance[k] < 0.5 else 1.0 for k in range(3)]
        if signs != [1.0, 1.0, 1.0]:
            matrix = poses.scaled(matrix, signs)
        return poses.Pose(center, box, matrix if steps is None else poses.scaled(matrix, steps))


def _rotation(about: int, angle: float, step: float, spacing: Vector) -> poses.Matrix:
    """The matrix of a rotation about an axis, measured in mm, with voxel steps scaled by `step`."""
    first, second = (axis for axis in range(3) if axis != about)
    rows = [[step if r == c else 0.0 for c in range(3)] for r in range(3)]
    rows[first][first] = rows[second][second] = step * cos(angle)
    rows[first][second] = -step * sin(angle) * spacing[second] / spacing[first]
    rows[second][first] = step * sin(angle) * spacing[first] / spacing[second]
    return tuple((row[0], row[1], row[2]) for row in rows)
