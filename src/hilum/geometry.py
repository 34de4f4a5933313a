"""The geometry of a voxel grid in the patient.

One rule holds everywhere: voxel indices are (z, y, x); world points are (x, y, z) in LPS millimeters
(x grows to the patient's left, y to the back, z to the head), as in DICOM and ITK.

Libraries built on NIfTI (nibabel, MONAI, TorchIO) index voxels (x, y, z) and measure RAS millimeters: x to the right,
y to the front. `Geometry.affine_ras` and `Geometry.from_affine_ras` are the door to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import EllipsisType
from typing import Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import GeometryError, InputError, one_line

Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]
"""First voxel and one past the last along z, y, x."""

IDENTITY_DIRECTION: tuple[Vector, Vector, Vector] = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Array axes z, y, x along the patient's head, back and left: a plain supine axial scan."""

_UNIT_TOLERANCE = 1e-3  # for the length of a direction vector: direction cosines may be text with only four digits

_ORTHOGONAL_TOLERANCE = 2e-3  # the largest cosine of the angle between two axes; beyond it the grid is sheared


_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # between LPS and RAS, both ways

_REVERSE = np.eye(4)[[2, 1, 0, 3]]  # between an index (z, y, x, 1) and (x, y, z, 1), both ways


@dataclass(frozen=True, repr=False)
class Geometry:
    """A regular grid in the patient.

    Parameters
    ----------
    shape : tuple of int, (z, y, x)
        Number of voxels along each array axis.
    spacing : tuple of float, (z, y, x), mm
        Distance between neighboring voxel centers along each array axis.
    origin : tuple of float, (x, y, z), LPS mm, default (0.0, 0.0, 0.0)
        World position of the center of voxel (0, 0, 0).
    direction : three unit vectors (x, y, z), LPS
        The world direction of each array axis, in the order z, y, x.

    Raises
    ------
    GeometryError
        If a size is below one, a spacing is not positive and finite, the origin is not finite, or the
        directions are not unit vectors at right angles.

    Examples
    --------
    >>> import hilum
    >>> grid = hilum.Geometry((100, 512, 512), (2.5, 0.7, 0.7), origin=(-180.0, -170.0, 40.0))
    >>> grid.index_to_world((10, 0, 0))
    array([-180., -170.,   65.])
    >>> grid.affine.shape, round(grid.voxel_volume, 3)
    ((4, 4), 1.225)
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[Vector, Vector, Vector] = IDENTITY_DIRECTION

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "spacing", _vector(self.spacing, "spacing"))
        object.__setattr__(self, "origin", _vector(self.origin, "origin"))
        object.__setattr__(self, "direction", tuple(_vector(v, "direction") for v in self.direction))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"shape (z, y, x) is {self.shape}, expected three sizes of at least 1")
        if min(self.spacing) <= 0:
            raise GeometryError(f"spacing (z, y, x) is {self.spacing} mm, expected three positive numbers")
        axes = np.array(self.direction)
        if axes.shape != (3, 3) or np.abs(np.linalg.norm(axes, axis=1) - 1).max() > _UNIT_TOLERANCE:
            raise GeometryError(f"direction {self.direction} is not three unit vectors")
        if np.abs((axes @ axes.T)[np.triu_indices(3, 1)]).max() > _ORTHOGONAL_TOLERANCE:
            raise GeometryError(f"direction {self.direction} is not at right angles: the grid is sheared")

    def __repr__(self) -> str:
        return f"Geometry(shape={self.shape}, {self.place})"

    @property
    def place(self) -> str:
        """Spacing, origin and axes in one line; ``SPL`` are array axes to the head, the back and the left."""
        axes = np.array(self.direction)
        letters = "".join("RAILPS"[np.argmax(np.abs(axis)) + 3 * (axis[np.argmax(np.abs(axis))] > 0)] for axis in axes)
        oblique = " oblique" if np.abs(axes).max(axis=1).min() < 1 - 1e-6 else ""
        spacing, origin = (", ".join(f"{v:.6g}" for v in values) for values in (self.spacing, self.origin))
        return f"spacing=({spacing}) mm, origin=({origin}), axes={letters}{oblique}"

    @classmethod
    def from_affine_ras(cls, affine: ArrayLike, shape: Sequence[int]) -> Self:
        """Make the grid of an affine as NIfTI has it.

        Parameters
        ----------
        affine : array_like, shape (4, 4)
            From a voxel index (x, y, z, 1) to the world (x, y, z, 1), RAS mm.
        shape : sequence of int, (x, y, z)
            Number of voxels along each axis of the affine.

        Returns
        -------
        Geometry
            The same grid in hilum's order: indices (z, y, x), world LPS.

        Raises
        ------
        GeometryError
            If the affine is not a regular grid: its axes are zero, not finite or not at right angles.

        Examples
        --------
        >>> import hilum
        >>> hilum.Geometry.from_affine_ras([[-2, 0, 0, 9], [0, -2, 0, 8], [0, 0, 5, 7], [0, 0, 0, 1]], (6, 5, 4))
        Geometry(shape=(4, 5, 6), spacing=(5, 2, 2) mm, origin=(-9, -8, 7), axes=SPL)
        """
        given = _numbers(affine, "affine")
        if given.shape != (4, 4) or not np.isfinite(given).all():
            raise GeometryError(f"an affine of shape {given.shape} is not a finite 4 x 4 matrix")
        matrix = _RAS @ given @ _REVERSE + 0.0  # no negative zeros
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if not spacing.all():
            raise GeometryError("the affine has an axis of length zero", do="set the spacing in the header")
        z, y, x = (matrix[:3, :3] / spacing).T.tolist()
        return cls(cast("tuple[int, int, int]", tuple(shape)[::-1]), spacing, matrix[:3, 3], (z, y, x))  # type: ignore[arg-type]  # three of each

    @cached_property
    def affine(self) -> NDArray[np.float64]:
        """Matrix from a voxel index to the world, shape (4, 4): (z, y, x, 1) to (x, y, z, 1), LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(self.direction).T * self.spacing
        matrix[:3, 3] = self.origin
        matrix.flags.writeable = False
        return matrix

    @cached_property
    def affine_ras(self) -> NDArray[np.float64]:
        """Matrix as NIfTI has it, shape (4, 4): from a voxel index (x, y, z, 1) to the world (x, y, z, 1), RAS mm."""
        matrix: NDArray[np.float64] = _RAS @ self.affine @ _REVERSE + 0.0  # no negative zeros
        matrix.flags.writeable = False
        return matrix

    @cached_property
    def inverse_affine(self) -> NDArray[np.float64]:
        """Matrix from the world to a voxel index, shape (4, 4): (x, y, z, 1), LPS mm, to (z, y, x, 1)."""
        matrix: NDArray[np.float64] = np.linalg.inv(self.affine).astype(np.float64)
        matrix.flags.writeable = False
        return matrix

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in cubic millimeters."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def center(self) -> tuple[float, float, float]:
        """World position of the grid's center, (x, y, z), LPS mm."""
        return cast("Vector", tuple(self.index_to_world((np.array(self.shape) - 1) / 2).tolist()))

    def index_to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """World position of (fractional) voxel indices.

        Parameters
        ----------
        index : array_like, shape (..., 3), (z, y, x)
            Voxel indices; integers are voxel centers.

        Returns
        -------
        ndarray, shape (..., 3), (x, y, z), LPS mm

        Examples
        --------
        >>> import hilum
        >>> hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5), (-7.0, -5.0, 100.0)).index_to_world((1, 0, 2))
        array([ -6.,  -5., 102.])
        """
        return _apply(self.affine, index)

    def world_to_index(self, world: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel index of world positions; the inverse of `index_to_world`.

        Parameters
        ----------
        world : array_like, shape (..., 3), (x, y, z), LPS mm
            World positions in millimeters; one or many.

        Returns
        -------
        ndarray, shape (..., 3), (z, y, x)
            Not rounded and not clipped: a position outside the grid gives an index outside it.

        Examples
        --------
        >>> import hilum
        >>> hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5), (-7.0, -5.0, 100.0)).world_to_index((-6.0, -5.0, 103.0))
        array([1.5, 0. , 2. ])
        """
        return _apply(self.inverse_affine, world)

    def contains(self, world: ArrayLike) -> NDArray[np.bool_]:
        """Whether world positions lie in the grid, including the outer half of the edge voxels.

        Parameters
        ----------
        world : array_like, shape (..., 3), (x, y, z), LPS mm
            World positions in millimeters; one or many.

        Returns
        -------
        ndarray of bool, shape (...)

        Examples
        --------
        >>> import hilum
        >>> hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5)).contains([(0.0, 0.0, 0.0), (0.0, 0.0, 20.0)])
        array([ True, False])
        """
        index = self.world_to_index(world)
        return cast("NDArray[np.bool_]", np.all((index >= -0.5) & (index <= np.array(self.shape) - 0.5), axis=-1))

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> "Geometry":
        """The grid of a box of voxels.

        Parameters
        ----------
        start, stop : sequence of int, (z, y, x)
            First voxel, and one past the last, as in a Python slice. The box may reach beyond the grid (padding).

        Returns
        -------
        Geometry
            Every voxel keeps its world position.

        Examples
        --------
        >>> import hilum
        >>> hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5)).crop((5, 0, 4), (10, 20, 24)).origin
        (2.0, 0.0, 10.0)
        """
        origin = self.index_to_world(np.asarray(start, float))
        shape = tuple(int(b) - int(a) for a, b in zip(start, stop, strict=True))
        return Geometry(cast("tuple[int, int, int]", shape), self.spacing, _vector(origin, "origin"), self.direction)

    def __getitem__(self, index: slice | EllipsisType | tuple[slice | EllipsisType, ...]) -> "Geometry":
        """The grid of the voxels that slices choose, as numpy chooses them; each keeps its world position.

        Parameters
        ----------
        index : slice or tuple of slice, (z, y, x)
            Also with steps, negative ones, too.

        Returns
        -------
        Geometry

        Raises
        ------
        InputError
            If an index is not a slice.
        GeometryError
            If the slices choose no voxel.

        Examples
        --------
        >>> import hilum
        >>> hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5))[9:3:-2, 5:]
        Geometry(shape=(3, 15, 30), spacing=(4, 0.5, 0.5) mm, origin=(0, 2.5, 18), axes=IPL)
        """
        chosen = [range(n)[part] for n, part in zip(self.shape, as_box(index), strict=True)]
        if not all(chosen):
            raise GeometryError(f"the slices {index} choose no voxel of a grid of shape {self.shape}")
        steps = [part.step for part in chosen]
        return Geometry(
            cast("tuple[int, int, int]", tuple(map(len, chosen))),
            cast("Vector", tuple(size * abs(step) for size, step in zip(self.spacing, steps, strict=True))),
            _vector(self.index_to_world([part.start for part in chosen]), "origin"),
            cast("tuple[Vector, Vector, Vector]", (np.array(self.direction) * np.sign(steps)[:, None] + 0.0).tolist()),
        )

    def isclose(self, other: "Geometry", *, tolerance: float = 1e-3) -> bool:
        """Whether two grids have every voxel at the same position.

        Parameters
        ----------
        other : Geometry
            The grid to compare with.
        tolerance : float, voxels, default 0.001
            Largest distance allowed between corresponding corners, as a fraction of a voxel.

        Returns
        -------
        bool

        Examples
        --------
        >>> import hilum
        >>> grid = hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5))
        >>> grid.isclose(hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5), origin=(0.0001, 0.0, 0.0)))
        True
        """
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        moved = self.world_to_index(other.index_to_world(corners)) - corners
        along = self.world_to_index(other.index_to_world(corners + np.eye(3)[:, None])) - corners - np.eye(3)[:, None]
        return bool(max(np.abs(moved).max(), np.abs(along).max()) <= tolerance)


def as_box(index: object) -> Box:
    """Complete an index to three slices, (z, y, x), as numpy does.

    Raises
    ------
    InputError
        If it is no slice, or there are more than three.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    dots = [k for k, part in enumerate(parts) if part is ...]
    if len(dots) == 1:
        parts[dots[0] : dots[0] + 1] = [slice(None)] * (4 - len(parts))
    parts += [slice(None)] * (3 - len(parts))
    if len(parts) != 3 or not all(isinstance(part, slice) for part in parts):
        what = "a volume is indexed by at most three slices (z, y, x), which keep its three axes and its place"
        raise InputError(what, do="volume.array[...] takes any index of numpy; volume[3:4] is slice 3", code="index")
    z, y, x = cast("list[slice]", parts)
    return z, y, x


def _numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise GeometryError(f"{name} is {one_line(values, limit=60)}, expected numbers") from None


def _vector(values: ArrayLike, name: str) -> tuple[float, float, float]:
    flat = _numbers(values, name).ravel()
    if flat.size != 3 or not np.isfinite(flat).all():
        raise GeometryError(f"{name} is {flat.tolist()}, expected three finite numbers")
    return cast("Vector", tuple(flat.tolist()))


def _apply(matrix: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(points, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
