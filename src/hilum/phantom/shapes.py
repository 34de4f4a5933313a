"""The positions of the phantom's voxels, and the shapes that it is made of.

A shape is a function of position that gives a signed distance in millimetres, negative inside. It is exact near the
surface and approximate far away. Positions are three float32 arrays that broadcast against each other, so on a grid
along the patient's axes most shapes are computed in one or two dimensions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry, Vector

Floats = NDArray[np.float32]
Points = tuple[Floats, Floats, Floats]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Sampler:
    """The positions of a grid's voxels in the patient's frame: relative to the patient's center, divided by the scale.

    Parameters
    ----------
    geometry : Geometry
        The grid of the scan.
    center : tuple of float, (x, y, z), LPS mm
        World position of the patient's center.
    scale : float
        Size of the patient, relative to the measures in `hilum.phantom.anatomy`.
    """

    geometry: Geometry
    center: Vector
    scale: float

    @property
    def widths(self) -> NDArray[np.float64]:
        """Extent of a voxel along the world's x, y and z, over which edges are blurred."""
        steps = np.abs(np.array(self.geometry.direction)) * np.array(self.geometry.spacing)[:, None]
        return np.asarray(steps.sum(axis=0) / self.scale, np.float64)

    def points(self, box: Box) -> Points:
        """Give the positions of the voxels in a box.

        Parameters
        ----------
        box : three slices, (z, y, x)
            The voxels to take.

        Returns
        -------
        three ndarray of float32, x, y and z
            They broadcast to the box's shape; an axis along which a coordinate is constant has length 1.
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
        """Give the positions of single voxels, from three index arrays z, y and x of one shape."""
        steps = self.geometry.affine[:3, :3] / self.scale
        first = (np.array(self.geometry.origin) - self.center) / self.scale
        x, y, z = (
            f + sum(n * s for n, s in zip(index, row, strict=True) if abs(s) > 1e-9)
            for f, row in zip(first.tolist(), steps.tolist(), strict=True)
        )
        return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)

    def index_bounds(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the index ranges of boxes in the patient's frame, not clipped to the grid.

        Parameters
        ----------
        low, high : ndarray, shape (n, 3), (x, y, z)
            The corners of the boxes.

        Returns
        -------
        ndarray of int, shape (n, 3, 2)
            First index and one past the last along each array axis, with a margin for a blurred edge.
        """
        inverse = self.geometry.inverse_affine
        middle = ((low + high) / 2 * self.scale + self.center) @ inverse[:3, :3].T + inverse[:3, 3]
        # A round edge is blurred over half a voxel, along a diagonal over 0.69 of one.
        half = (high - low) / 2 * self.scale @ np.abs(inverse[:3, :3]).T + 0.7
        return np.stack([np.ceil(middle - half), np.floor(middle + half) + 1], axis=-1).astype(np.int64)


def clip_box(bounds: NDArray[np.int64], box: Box) -> Box | None:
    """Intersect an index range, shape (3, 2), with a box; None if they do not overlap."""
    spans = zip(bounds.tolist(), box, strict=True)
    z, y, x = (slice(max(start, outer.start), min(stop, outer.stop)) for (start, stop), outer in spans)
    return None if any(part.start >= part.stop for part in (z, y, x)) else (z, y, x)


def inner_box(box: Box, outer: Box) -> Box:
    """Give a box of the grid relative to the start of the box `outer`."""
    a, b, c = (slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))
    return a, b, c


def voxel_fraction(distance: Floats, width: float | Floats) -> Floats:
    """Give the fraction of a voxel that is inside a surface, from the signed distance of the voxel's center.

    Parameters
    ----------
    distance : ndarray, mm
        Signed distance to the surface, negative inside.
    width : float or ndarray, mm
        The voxel's extent across the surface.

    Returns
    -------
    ndarray of float32 in [0, 1]
    """
    return np.asarray(np.clip(np.float32(0.5) - distance / width, 0, 1), np.float32)


def blend(hu: Floats, fraction: Floats, value: float | Floats) -> None:
    """Blend a tissue into voxels, in place, by the fraction of each voxel that it fills."""
    hu += fraction * (value - hu)


def blend_denser(hu: Floats, fraction: Floats, value: float) -> None:
    """As `blend`, but leave voxels that are denser, such as a vessel in a ground-glass nodule."""
    hu += fraction * np.maximum(np.float32(value) - hu, np.float32(0))


def fill(hu: Floats, distance: Floats, width: float | Floats, value: float) -> None:
    """Blend a tissue into the voxels inside a surface, in place; see `voxel_fraction`."""
    blend(hu, voxel_fraction(distance, width), value)


def ellipse(u: Floats, v: Floats, a: float | Floats, b: float | Floats) -> Floats:
    """Signed distance to an ellipse with half-axes a and b, along the ray from its center."""
    far = np.sqrt(u * u + v * v)
    return np.asarray(far - far / np.maximum(np.sqrt((u / a) ** 2 + (v / b) ** 2), np.float32(1e-6)), np.float32)


def ellipsoid(points: Points, center: Vector, radii: Vector) -> Floats:
    """Signed distance to an ellipsoid along the patient's axes, scaled by its mean radius."""
    terms = [((p - np.float32(c)) / np.float32(r)) ** 2 for p, c, r in zip(points, center, radii, strict=True)]
    return np.asarray((np.sqrt(terms[0] + terms[1] + terms[2]) - 1) * np.float32(sum(radii) / 3), np.float32)


def smooth_min(a: Floats, b: Floats, radius: float) -> Floats:
    """Signed distance to the union of two shapes, with the corner between them rounded over `radius` mm."""
    overlap = np.maximum(np.float32(radius) - np.abs(a - b), np.float32(0))
    return np.asarray(np.minimum(a, b) - overlap * overlap * np.float32(0.25 / radius), np.float32)


@dataclass(frozen=True, eq=False)
class Tubes:
    """Straight tapering tubes with round ends.

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
        """Give the lower and upper corners of the tubes' boxes, each shape (n, 3)."""
        extent = self.radii.max(axis=1, initial=0, keepdims=True) + margin
        return np.minimum(self.start, self.stop) - extent, np.maximum(self.start, self.stop) + extent

    def split(self, length: float) -> "Tubes":
        """Split the tubes into parts of at most `length` mm, whose boxes are smaller in sum."""
        counts = np.maximum(np.ceil(np.linalg.norm(self.stop - self.start, axis=1) / length), 1).astype(np.int64)
        owner = np.repeat(np.arange(len(counts)), counts)
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        low, high = ((rank + k) / counts[owner] for k in (0, 1))
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
        """Give the signed distance to a tube, and the offset from its axis.

        Parameters
        ----------
        tube : int or ndarray of int
            A tube, or one for each point.
        points : three ndarray, x, y and z
            Positions in the patient's frame, mm.
        end : float
            The end of the tube, as a fraction of its length.
        extra : float, mm
            Added to the radius, such as the wall of an airway.

        Returns
        -------
        tuple of four ndarray of float32
            The signed distance, and x, y, z of the vector from the nearest point of the axis.
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
    """Give the extent of a voxel along the direction of each offset, over which a round edge is blurred."""
    wx, wy, wz = widths.astype(np.float32)
    x, y, z = (np.abs(o) for o in offsets)
    far = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
    return np.asarray((x * wx + y * wy + z * wz + np.float32(1e-3) * widths.mean()) / far, np.float32)
