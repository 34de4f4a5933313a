"""Grids whose planes are shifted against each other: small shears are tolerated, others straightened plane by plane."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hilum.errors import GeometryError
from hilum.geometry import Geometry
from hilum.ops.planes import place_planes
from hilum.scan import Note
from hilum.volume import Volume

_RIGHT_ANGLE = 2e-3  # the largest cosine of the angle between two axes; as `Geometry` takes it

_TOLERATED = 0.5  # largest shift over the whole volume that is not corrected, in voxels

_LARGEST_SHEAR = 45.0  # degrees; as for DICOM

_WIDEST = 4.0  # largest shift over the whole volume, relative to the size of a plane; beyond it the header is damaged

_SMALLEST_MM, _LARGEST_MM = 1e-6, 1e5  # steps beyond them are no voxels of a patient

Steps = NDArray[np.float64]


@dataclass(frozen=True)
class Shear:
    """Planes that are each shifted within themselves.

    Parameters
    ----------
    axis : int
        The array axis along which the planes follow one another.
    per_plane : tuple of float
        Shift from one plane to the next along the other two axes, in order, in voxels.
    """

    axis: int
    per_plane: tuple[float, float]


def straighten(
    shape: tuple[int, ...], steps: Steps, origin: Steps, path: Path
) -> tuple[Steps, Steps, Shear | None, tuple[Note, ...]]:
    """Find the straight grid of a sheared one.

    Parameters
    ----------
    shape : tuple of int, (z, y, x)
        Number of voxels of the sheared grid.
    steps : ndarray, shape (3, 3), LPS mm
        One row (x, y, z) for each array axis, in the order z, y, x; finite and not zero.
    origin : ndarray, shape (3,), LPS mm
        Position of the first voxel of the sheared grid.
    path : Path
        For messages.

    Returns
    -------
    steps, origin : ndarray
        As given if the axes are at right angles, or if the shear is not one between slices. Else those of the straight
        grid; a tolerated shear leaves the center where it is.
    shear : Shear or None
        How the planes have to be shifted on the straight grid; None if they need no shift.
    notes : tuple of Note

    Raises
    ------
    GeometryError
        If the shear is far larger than that of any scanner.
    """
    sizes = [math.hypot(*row) for row in steps.tolist()]
    if not all(_SMALLEST_MM < size < _LARGEST_MM for size in sizes):
        return steps, origin, None, ()  # refused for its size
    units = steps / np.array(sizes)[:, None]
    cosines = np.abs(units @ units.T)
    if max(cosines[0, 1], cosines[0, 2], cosines[1, 2]) <= _RIGHT_ANGLE:
        return steps, origin, None, ()
    # Slices follow one another along the file's last axis or along the table: another shear is a damaged header.
    stacked = (0, int(np.argmax(np.abs(units[:, 2]))))
    axis = next((k for k in stacked if cosines[k - 1, k - 2] <= _RIGHT_ANGLE), None)
    if axis is None:
        return steps, origin, None, ()
    a, b = (k for k in range(3) if k != axis)
    normal = np.cross(units[a], units[b])
    normal /= np.linalg.norm(normal)
    across = (steps[axis] @ normal) * normal
    shift = steps[axis] - across
    angle = math.degrees(math.atan2(float(np.linalg.norm(shift)), float(np.linalg.norm(across))))
    per_plane = tuple(float(shift @ units[k] / sizes[k]) for k in (a, b))
    moved = [abs(share) * (shape[axis] - 1) for share in per_plane]
    if angle > _LARGEST_SHEAR or moved[0] > _WIDEST * shape[a] or moved[1] > _WIDEST * shape[b]:
        what = f"the axes are sheared by {angle:.1f} degrees, farther than a tilted gantry does"
        raise GeometryError(what, where=path, do="correct the file's header")
    whole = float(np.linalg.norm(shift)) * (shape[axis] - 1)
    straight = steps.copy()
    straight[axis] = across
    if max(moved) <= _TOLERATED:
        what = f"the axes are sheared by {angle:.2g} degrees, {whole:.2g} mm over the whole volume: less than half a "
        center = origin + shift * (shape[axis] - 1) / 2
        return straight, center, None, (Note("small-shear", f"{what}voxel, so they are read as straight"),)
    what = f"the axes are sheared by {angle:.1f} degrees (tilted gantry): each plane is shifted within itself by up to "
    notes = (Note("gantry-tilt", f"{what}{whole:.4g} mm, onto a straight grid"),)
    return straight, origin, Shear(axis, cast("tuple[float, float]", per_plane)), notes


def unshear(volume: Volume, shear: Shear, *, fill: float, order: int) -> Volume:
    """Shift the planes of a volume onto its straight grid, which is widened so that nothing is cut.

    Parameters
    ----------
    volume : Volume
        On the straight grid, with the planes not yet shifted.
    shear : Shear
        How far each plane is shifted, and the straight grid.
    fill : float
        The value beside a plane.
    order : {3, 0}
        Cubic convolution, or nearest voxel.
    """
    array, grid = np.moveaxis(volume.array, shear.axis, 0), volume.geometry
    ranks = np.arange(len(array), dtype=np.float64)
    shifts = np.outer(ranks, shear.per_plane)
    low, high = np.floor(shifts.min(axis=0) + 0.5), np.floor(shifts.max(axis=0) + 0.5)
    shape = (len(array), *(np.array(array.shape[1:]) + (high - low).astype(int)).tolist())
    out = place_planes(array, np.column_stack((ranks, shifts - low)), cast("Any", shape), fill=fill, order=order)
    straight = np.ascontiguousarray(np.moveaxis(out, 0, shear.axis))
    start = np.insert(low, shear.axis, 0.0)
    origin = cast("tuple[float, float, float]", tuple(grid.index_to_world(start).tolist()))
    return Volume(straight, Geometry(cast("Any", straight.shape), grid.spacing, origin, grid.direction))
