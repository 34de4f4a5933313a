"""Where the phantom's voxels lie, and the few shapes that it is made of.

A shape is a function of position that gives a signed distance in millimetres, negative inside, right near its
surface and no more than a guess far from it. Positions are three float32 arrays that broadcast against each other:
on a grid along the patient's axes most shapes then cost one or two dimensions, not three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hilum.geometry import Geometry, Vector

Floats = NDArray[np.float32]
Points = tuple[Floats, Floats, Floats]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Sampler:
    """A grid seen from the patient: positions relative to the patient's center, in units of the patient's size.

    Parameters
    ----------
    geometry : Geometry
    center : tuple of float, (x, y, z), LPS mm
        World position of the patient's center.
    scale : float
        Size of this patient against the patient whose measures the anatomy is written in.
    """

    geometry: Geometry
    center: Vector
    scale: float

    @property
    def widths(self) -> NDArray[np.float64]:
        """Extent of one voxel along the world's x, y and z, as edges are blurred by it."""
        steps = np.abs(np.array(self.geometry.direction)) * np.array(self.geometry.spacing)[:, None]
        return np.asarray(steps.sum(axis=0) / self.scale, np.float64)

    def points(self, box: Box) -> Points:
        """Positions of the voxels in a box.

        Parameters
        ----------
        box : three slices, (z, y, x)

        Returns
        -------
        three ndarray of float32, x, y and z
            They broadcast to the box's shape; an axis along which a coordinate does not change has length 1.
        """
        steps = self.geometry.affine[:3, :3] / self.scale
        first = (np.array(self.geometry.origin) - self.center) / self.scale
        parts = []
        for world in range(3):
            total = np.full((1, 1, 1), first[world])
            for axis in range(3):
                if abs(steps[world, axis]) > 1e-9:
                    index = np.arange(box[axis].start, box[axis].stop)
                    total = total + steps[world, axis] * index.reshape([-1 if k == axis else 1 for k in range(3)])
            parts.append(total.astype(np.float32))
        return parts[0], parts[1], parts[2]

    def scattered(self, index: tuple[NDArray[np.int64], ...]) -> Points:
        """Positions of single voxels, given by three arrays of indices z, y and x of one shape."""
        steps = self.geometry.affine[:3, :3] / self.scale
        first = (np.array(self.geometry.origin) - self.center) / self.scale
        x, y, z = (
            f + sum(n * s for n, s in zip(index, row, strict=True) if abs(s) > 1e-9)
            for f, row in zip(first.tolist(), steps.tolist(), strict=True)
        )
        return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)

    def index_bounds(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index ranges that hold boxes given in the patient's frame, not clipped to the grid.

        Parameters
        ----------
        low, high : ndarray, shape (n, 3), (x, y, z)

        Returns
        -------
        ndarray of int, shape (n, 3, 2)
            First index and one past the last along each array axis, with room for a blurred edge.
        """
        inverse = self.geometry.inverse_affine
        middle = ((low + high) / 2 * self.scale + self.center) @ inverse[:3, :3].T + inverse[:3, 3]
        # A round edge is blurred over half a voxel, along a diagonal 0.69 of one.
        reach = (high - low) / 2 * self.scale @ np.abs(inverse[:3, :3]).T + 0.7
        return np.stack([np.ceil(middle - reach), np.floor(middle + reach) + 1], axis=-1).astype(np.int64)


def clip_box(bounds: NDArray[np.int64], box: Box) -> Box | None:
    """The part of an index range that lies in a box, or None where they do not meet.

    Parameters
    ----------
    bounds : ndarray of int, shape (3, 2)
    box : three slices, (z, y, x)

    Returns
    -------
    three slices or None
    """
    parts = []
    for (start, stop), whole in zip(bounds.tolist(), box, strict=True):
        low, high = max(start, whole.start), min(stop, whole.stop)
        if low >= high:
            return None
        parts.append(slice(low, high))
    return parts[0], parts[1], parts[2]


def inner_box(part: Box, whole: Box) -> Box:
    """A box of the grid as a box of an array that starts where `whole` does."""
    a, b, c = (slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True))
    return a, b, c


def cover(distance: Floats, width: float | Floats) -> Floats:
    """Share of a voxel that a half-space takes up, by the signed distance of the voxel's center.

    Parameters
    ----------
    distance : ndarray, mm
    width : float or ndarray, mm
        The voxel's extent across the edge; two edges closer than that leave their share only.

    Returns
    -------
    ndarray of float32 in [0, 1]
    """
    return np.asarray(np.clip(np.float32(0.5) - distance / width, 0, 1), np.float32)


def paint(hu: Floats, share: Floats, value: float | Floats) -> None:
    """Mix a tissue into voxels, in place, by the share of each voxel that it takes up."""
    hu += share * (value - hu)


def paint_denser(hu: Floats, share: Floats, value: float) -> None:
    """As `paint`, and leave alone what is denser already (a vessel in a ground-glass nodule)."""
    hu += share * np.maximum(np.float32(value) - hu, np.float32(0))


def ellipse(u: Floats, v: Floats, a: float | Floats, b: float | Floats) -> Floats:
    """Signed distance along the ray from the center of an ellipse with half-axes a and b."""
    far = np.sqrt(u * u + v * v)
    ratio = np.sqrt((u / a) ** 2 + (v / b) ** 2)
    return np.asarray(far - far / np.maximum(ratio, np.float32(1e-6)), np.float32)


def ellipsoid(points: Points, center: Vector, radii: Vector) -> Floats:
    """Signed distance of an ellipsoid along the patient's axes, scaled by its mean radius."""
    terms = [((p - np.float32(c)) / np.float32(r)) ** 2 for p, c, r in zip(points, center, radii, strict=True)]
    return np.asarray((np.sqrt(terms[0] + terms[1] + terms[2]) - 1) * np.float32(sum(radii) / 3), np.float32)


def smooth_min(a: Floats, b: Floats, reach: float) -> Floats:
    """Union of two shapes with the corner between them rounded over `reach` millimetres."""
    blend = np.maximum(np.float32(reach) - np.abs(a - b), np.float32(0))
    return np.asarray(np.minimum(a, b) - blend * blend * np.float32(0.25 / reach), np.float32)


@dataclass(frozen=True, eq=False)
class Tubes:
    """Straight tapering tubes with round ends, many at once.

    Parameters
    ----------
    start, stop : ndarray, shape (n, 3), (x, y, z), mm
        Ends of the axes.
    radii : ndarray, shape (n, 2), mm
        At the start and at the stop.
    """

    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    radii: NDArray[np.float64]

    def bounds(self, margin: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper corners of the boxes that hold the tubes, each shape (n, 3)."""
        reach = self.radii.max(axis=1, initial=0, keepdims=True) + margin
        return np.minimum(self.start, self.stop) - reach, np.maximum(self.start, self.stop) + reach

    def split(self, length: float) -> Tubes:
        """The same tubes in pieces of at most `length` millimetres, whose boxes waste less."""
        pieces = np.maximum(np.ceil(np.linalg.norm(self.stop - self.start, axis=1) / length), 1).astype(np.int64)
        owner = np.repeat(np.arange(len(pieces)), pieces)
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        low, high = ((rank + k) / pieces[owner] for k in (0, 1))
        along, taper = self.stop[owner] - self.start[owner], np.diff(self.radii[owner], axis=1)[:, 0]
        first = self.radii[owner, 0]
        return Tubes(
            self.start[owner] + low[:, None] * along,
            self.start[owner] + high[:, None] * along,
            np.stack([first + low * taper, first + high * taper], axis=1),
        )

    def distance(
        self, tube: int | NDArray[np.int64], points: Points, *, end: float = 1.0, extra: float = 0.0
    ) -> tuple[Floats, ...]:
        """Signed distance of a tube, and the offsets from its axis.

        Parameters
        ----------
        tube : int or ndarray of int
            One tube, or one for each point.
        points : three ndarray, x, y and z
        end : float
            Where along the axis the tube stops, as a share of its length.
        extra : float, mm
            Added to the radius: the wall of an airway.

        Returns
        -------
        tuple of four ndarray of float32
            The signed distance, and x, y and z of the vector from the nearest point of the axis.
        """
        a = self.start[tube].T.astype(np.float32)
        along = (self.stop[tube] - self.start[tube]).T.astype(np.float32)
        rel = [p - c for p, c in zip(points, a, strict=True)]
        length2 = np.maximum((along * along).sum(axis=0), np.float32(1e-6))
        h = np.clip((rel[0] * along[0] + rel[1] * along[1] + rel[2] * along[2]) / length2, 0, np.float32(end))
        off = [r - h * c for r, c in zip(rel, along, strict=True)]
        r0, r1 = self.radii[tube].T.astype(np.float32)
        radius = r0 + np.float32(extra) + h * (r1 - r0)
        return np.sqrt(off[0] ** 2 + off[1] ** 2 + off[2] ** 2) - radius, *off


def width_along(offsets: tuple[Floats, ...], widths: NDArray[np.float64]) -> Floats:
    """Extent of a voxel along the direction of each offset: the width of a round edge on a coarse grid."""
    wx, wy, wz = widths.astype(np.float32)
    x, y, z = (np.abs(o) for o in offsets)
    far = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
    return np.asarray((x * wx + y * wy + z * wz + np.float32(1e-3) * widths.mean()) / far, np.float32)
