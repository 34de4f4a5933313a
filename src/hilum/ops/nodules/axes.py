"""The axes of a table's positions: their conversion to the world, and which of them a table probably uses.

Voxels count from 0 on the scan's own grid, whole numbers at voxel centers. x runs along the columns of a slice, y along
its rows, z along the slices: (x, y, z) is the index (i, j, k) of a file, (z, y, x) that of its array in numpy. A file
that stores its axes flipped is counted as it is stored; its header says where its voxels lie. The slices of a DICOM
series are counted along the normal of its slices (row direction x column direction), upward in an axial scan.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import AnnotationError
from hilum.geometry import Geometry
from hilum.ops.reorient import body_axes
from hilum.scan import Axes, Nodule, Note, Scan
from hilum.scan_ref import Marks
from hilum.volume import Mask, Volume

Points = NDArray[np.float64]

AXES: tuple[Axes, ...] = get_args(Axes)

PROBABLY = ": the table's axes are probably "
"""What the note ``wrong-axes`` says before the name of the convention that fits."""

_TO_RAS = np.array([-1.0, -1.0, 1.0])

_TISSUE_HU, _TISSUE_MM = -300, 5.0  # what lies on every side of a position inside the body, and how much of it at least
_AIR_HU = -950  # beside the body

_NEAR_MM, _FAR_MM = 3.0, 10.0  # a nodule this near to the lung mask may be of the lung; beyond the other it is not


_LONG_BOX = 1.5  # beyond this ratio of its edges a box is noted: a sphere is a poor picture of what it holds


def to_world(points: ArrayLike, axes: Axes, geometry: Geometry | None = None) -> Points:
    """Convert positions of a table to the world.

    Parameters
    ----------
    points : array_like, shape (n, 3)
        In the order of the table's columns.
    axes : Axes
        The axes of the positions.
    geometry : Geometry, optional
        The scan's own grid, for voxels.

    Returns
    -------
    ndarray, shape (n, 3), (x, y, z), LPS mm
    """
    table = np.asarray(points, np.float64).reshape(-1, 3)
    if axes in {"lps", "ras"}:
        return table * _TO_RAS if axes == "ras" else table
    if geometry is None:
        raise AnnotationError(f"positions in {axes} need the scan's grid", do="give the scan")
    return geometry.index_to_world(table if axes == "voxel-zyx" else table[:, ::-1])


def from_world(points: ArrayLike, axes: Axes, geometry: Geometry) -> Points:
    """Convert positions in the world to those of a table; the inverse of `to_world`."""
    world = np.asarray(points, np.float64).reshape(-1, 3)
    if axes in {"lps", "ras"}:
        return world * _TO_RAS if axes == "ras" else world
    index = geometry.world_to_index(world)
    return index if axes == "voxel-zyx" else index[:, ::-1]


def place_marks(
    marks: Sequence[Marks], geometry: Geometry | None = None
) -> tuple[tuple[Nodule, ...], dict[str, NDArray[np.float64]], tuple[Note, ...]]:
    """Place the marks of a table in the world.

    A box becomes the sphere that has the volume of the ellipsoid in the box: its diameter is the cube root of the
    product of the edges in mm.

    Parameters
    ----------
    marks : sequence of Marks
        What the rows of tables say.
    geometry : Geometry, optional
        The scan's own grid, for voxels.

    Returns
    -------
    nodules : tuple of Nodule
    locations : dict of str to ndarray, each shape (n, 4)
        As `hilum.Scan` has them.
    notes : tuple of Note
        Code ``"long-boxes"``.
    """
    nodules: list[Nodule] = []
    locations, long_boxes = {}, 0
    for one in marks:
        world = to_world(one.centers, one.axes, geometry)
        if one.kind != "nodules":
            locations[one.kind] = np.column_stack([world, one.sizes])
            continue
        mm = np.ones(3)
        if one.sizes.shape[1] == 3 and one.axes.startswith("voxel") and geometry is not None:
            mm = np.array(geometry.spacing if one.axes == "voxel-zyx" else geometry.spacing[::-1])
        edges = one.sizes * mm if one.sizes.shape[1] == 3 else np.repeat(one.sizes, 3, axis=1)
        long_boxes += int((edges.max(axis=1) > _LONG_BOX * edges.min(axis=1)).sum())
        diameters = [float(row[0]) if row[0] == row[1] == row[2] else float(np.cbrt(row.prod())) for row in edges]
        scores = one.scores or ({},) * len(diameters)
        for (x, y, z), diameter, score in zip(world.tolist(), diameters, scores, strict=True):
            nodules.append(Nodule((x, y, z), diameter, scores=dict(score)))
    what = f"{long_boxes} boxes are over {_LONG_BOX:g} times as long as wide: each becomes a sphere"
    return tuple(nodules), locations, (Note("long-boxes", what),) if long_boxes else ()


def inside_body(ct: Volume, points: ArrayLike) -> NDArray[np.bool_]:
    """Tell which world positions lie in the body: in the volume, with no open way to air at a side of their slice.

    A way is open if it meets less than 5 mm of tissue and ends in air: where the field of view cuts a lung, it is not.

    Parameters
    ----------
    ct : Volume
        HU.
    points : array_like, shape (n, 3), (x, y, z), LPS mm
        The positions to judge.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    world = np.asarray(points, np.float64).reshape(-1, 3)
    inside = ct.geometry.contains(world)
    index = np.clip(np.rint(ct.geometry.world_to_index(world)), 0, np.array(ct.shape) - 1).astype(int)
    across = body_axes(ct.geometry)[0][1:]
    for number in np.flatnonzero(inside):
        for axis in across:
            line: list[int | slice] = index[number].tolist()
            at, line[axis] = int(index[number, axis]), slice(None)
            values = ct.array[tuple(line)]
            least = _TISSUE_MM / ct.geometry.spacing[axis]
            for way in (values[at::-1], values[at:]):
                inside[number] &= way[-1] > _AIR_HU or (way > _TISSUE_HU).sum() >= least
    return inside


def note_axes(scan: Scan, ct: Volume, lungs: Mask | None = None) -> tuple[Note, ...]:
    """Note that the nodules of a scan are probably in other axes or units than their table is said to have.

    Marks without a size count, too; outlines do not: they are placed by their slices.

    ``wrong-axes``: at least half of the nodules do not fit, and all fit in exactly one other convention. Nodules fit in
    the body; two or more have to be near the lungs, if there is a lung mask that can be trusted. ``mixed-axes``: some
    nodules lie outside the body, and these fit in exactly one other convention, which is not that of all.

    Parameters
    ----------
    scan : Scan
        On its own grid.
    ct : Volume
        HU, the same or resampled.
    lungs : Mask, optional
        On the grid of `ct`; both lungs, without doubts.

    Returns
    -------
    tuple of Note
        Usually empty.
    """
    spheres = [(*nodule.center, nodule.diameter_mm / 2) for nodule in scan.nodules if not nodule.readings]
    spheres += [(x, y, z, 0.0) for x, y, z, _ in scan.locations.get("marks", np.empty((0, 4))).tolist()]
    if not spheres:
        return ()
    centers, reach = np.array(spheres)[:, :3], np.array(spheres)[:, 3]
    near = inside = inside_body(ct, centers)
    if lungs is not None:
        near = ct.geometry.contains(centers) & _near(lungs, centers, reach + _FAR_MM)
        inside = inside | near
    by_lungs = lungs if len(centers) > 1 else None
    fits = inside if by_lungs is None else near
    if fits.all() and inside.all():
        return ()
    raw = from_world(centers, scan.mark_axes, scan.ct.geometry)
    readings: dict[str, Points] = {"lps with x and z swapped": raw[:, ::-1], "lps in cm": raw * 10}
    readings |= {axes: to_world(raw, axes, scan.ct.geometry) for axes in AXES if axes != scan.mark_axes}
    others = {name: inside_body(ct, points) for name, points in readings.items()}
    if by_lungs is not None:
        others = {name: fit & _near(by_lungs, readings[name], reach + _NEAR_MM) for name, fit in others.items()}
    said, count = scan.mark_axes, len(centers)
    every = [name for name, found in others.items() if found.all()]
    if 2 * (misfits := int((~fits).sum())) >= count and len(every) == 1:
        which = "no nodule fits" if misfits == count else f"{misfits} of {count} nodules do not fit"
        return (Note("wrong-axes", f"{which} as {said}, and all {count} fit as {every[0]}{PROBABLY}{every[0]}"),)
    some = [name for name, found in others.items() if found[~inside].all()]
    if not inside.all() and len(some) == 1 and not every:
        what = f"{int((~inside).sum())} of {count} nodules do not fit as {said}, but as {some[0]}"
        return (Note("mixed-axes", f"{what}: the table probably mixes axes"),)
    return ()


def _near(lungs: Mask, points: Points, reach_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which world positions have a lung voxel within a distance, along each axis of the grid."""
    index, shape = lungs.geometry.world_to_index(points), np.array(lungs.shape)
    steps = reach_mm[:, np.newaxis] / np.array(lungs.geometry.spacing)
    low = np.clip(np.floor(index - steps), 0, shape).astype(int)
    high = np.clip(np.ceil(index + steps) + 1, 0, shape).astype(int)
    return np.array([bool(lungs.array[tuple(map(slice, a, b))].any()) for a, b in zip(low, high, strict=True)])
