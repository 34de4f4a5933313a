"""Where patches are cut: at nodules, at a detector's false alarms, in the lungs far from every nodule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import InputError
from hilum.ops.patches.boxes import Box, patch_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from hilum.geometry import Geometry, Vector
    from hilum.train.runs import RunScan

    Points = Sequence[tuple[str, Vector]]

_BATCH, _TRIES = 64, 4096
"""Voxels tried at a time, and in all, before a place in the lungs is given up."""


@dataclass(frozen=True)
class Place:
    """A patch to be cut.

    Parameters
    ----------
    kind : {"nodule", "candidate", "excluded", "lung", "uniform"}
    start : tuple of int, (z, y, x)
        First voxel; may lie outside the volume.
    target : tuple of float, (x, y, z), LPS mm
        What the patch is about: the nodule's center, the candidate, the voxel drawn.
    nodule : int
        Label of the nodule, 0 where it is none.
    """

    kind: str
    start: Box
    target: Vector
    nodule: int = 0

    def center(self, size: Box) -> NDArray[np.float64]:
        """The patch's center as a fractional voxel index, (z, y, x)."""
        return np.asarray(self.start) + (np.asarray(size) - 1) / 2


@dataclass(frozen=True, eq=False)
class Nodules:
    """Centers, shape (n, 3), LPS mm, and radii, shape (n,), of a scan's nodules, to keep away from."""

    centers: NDArray[np.float64]
    radii: NDArray[np.float64]

    def clear(self, world: ArrayLike, distance_mm: float) -> NDArray[np.bool_]:
        """Which positions, shape (m, 3), LPS mm, are at least this far from the surface of every nodule's sphere."""
        apart = np.asarray(world, np.float64)[:, None] - self.centers
        clear: NDArray[np.bool_] = (np.linalg.norm(apart, axis=2) - self.radii >= distance_mm).all(axis=1)
        return clear


def nodules_of(scan: RunScan) -> Nodules:
    """The nodules of a finished scan as arrays.

    Parameters
    ----------
    scan : RunScan

    Returns
    -------
    Nodules
    """
    found = scan.record.nodules
    centers = np.array([one.world for one in found], np.float64).reshape(-1, 3)
    return Nodules(centers, np.array([one.diameter_mm / 2 for one in found], np.float64))


def check_jitter(grid: Geometry, size: Box, jitter_mm: float, *, reach: float = 1.0) -> None:
    """Refuse a jitter that could move a nodule's center out of its patch.

    Parameters
    ----------
    grid : Geometry
    size : tuple of int, (z, y, x)
    jitter_mm : float
    reach : float
        By how much augmentation may move it farther.

    Raises
    ------
    InputError
        If it is negative, or half the patch or more along an axis.
    """
    room = min((n / 2 - 1) * s for n, s in zip(size, grid.spacing, strict=True)) / reach
    if not 0 <= jitter_mm <= max(room, 0.0):
        what = f"jitter of {jitter_mm:g} mm, but a nodule stays inside such a patch up to {max(room, 0.0):g} mm"
        raise InputError(what, do="use less jitter or larger patches", code="option")


def nodule_place(
    scan: RunScan, number: int, grid: Geometry, size: Box, jitter_mm: float, generator: np.random.Generator
) -> Place:
    """A patch round a nodule, moved by up to `jitter_mm` along each array axis.

    Parameters
    ----------
    scan : RunScan
    number : int
        Position of the nodule in the scan's record.
    grid : Geometry
        Of the scan's volumes.
    size : tuple of int, (z, y, x)
    jitter_mm : float
    generator : numpy.random.Generator

    Returns
    -------
    Place
    """
    nodule = scan.record.nodules[number]
    moved = generator.uniform(-jitter_mm, jitter_mm, 3) / grid.spacing
    start = patch_start(grid.world_to_index(nodule.world) + moved, size)
    return Place("nodule", start, nodule.world, nodule.label)


def lung_place(
    grid: Geometry,
    lungs: NDArray[np.uint8] | None,
    nodules: Nodules,
    size: Box,
    distance_mm: float,
    generator: np.random.Generator,
) -> Place | None:
    """A patch at a random voxel of the lungs (of the scan, where none are given), far from every nodule.

    Parameters
    ----------
    grid : Geometry
    lungs : ndarray of uint8, shape (z, y, x), or None
        May be memory-mapped: only the voxels tried are read.
    nodules : Nodules
    size : tuple of int, (z, y, x)
    distance_mm : float
        From the patch's center to the surface of every nodule's sphere, at least.
    generator : numpy.random.Generator

    Returns
    -------
    Place or None
        None where 4096 random voxels held no such place.
    """
    half = (np.asarray(size) - 1) / 2
    for _ in range(_TRIES // _BATCH):
        voxels = generator.integers(0, grid.shape, size=(_BATCH, 3))
        if lungs is not None:
            voxels = voxels[lungs[tuple(voxels.T)] > 0]
        starts = np.rint(voxels - half).astype(int)
        good = np.flatnonzero(nodules.clear(grid.index_to_world(starts + half), distance_mm))
        if len(good):
            voxel, start = voxels[good[0]], starts[good[0]]
            x, y, z = grid.index_to_world(voxel).tolist()
            place = int(start[0]), int(start[1]), int(start[2])
            return Place("lung" if lungs is not None else "uniform", place, (x, y, z))
    return None


def candidate_places(
    grid: Geometry, points: Points, nodules: Nodules, size: Box, distance_mm: float
) -> tuple[list[Place], int, int]:
    """Patches at a table's points that lie in the scan and far from every nodule.

    Parameters
    ----------
    grid : Geometry
    points : sequence of pairs
        Of a kind of place and a position (x, y, z), LPS mm.
    nodules : Nodules
    size : tuple of int, (z, y, x)
    distance_mm : float
        From the patch's center to the surface of every nodule's sphere, at least.

    Returns
    -------
    places : list of Place
        In the order of the points.
    outside, near : int
        How many points are outside the scan, and how many of the others too near to a nodule.
    """
    kept, outside, near = [], 0, 0
    for kind, (x, y, z) in points:
        if not grid.contains((x, y, z)):
            outside += 1
            continue
        start = patch_start(grid.world_to_index((x, y, z)), size)
        center = grid.index_to_world(np.asarray(start) + (np.asarray(size) - 1) / 2)
        if nodules.clear(center[None], distance_mm)[0]:
            kept.append(Place(kind, start, (x, y, z)))
        else:
            near += 1
    return kept, outside, near
