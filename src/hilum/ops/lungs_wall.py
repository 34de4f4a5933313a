"""Nodules at the wall: where the closed lung bridges a blob of tissue, the ball that the blob is part of is completed.

A ball that rolls along the wall (Pu et al., Comput Med Imaging Graph 2008;32(6):452-462 roll a disk) bridges a nodule,
but dips into it between its flanks, and knows nothing of the part of it that lies in the wall. Here it only finds the
blobs. What it has bridged and a small ball fits into is a nodule if

1. more of it lies bare in the lung than is grown together with the wall;
2. it is not too large;

and then the ball that fits its bare side best is added, with the part of it behind the wall, and a thin rim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bits import Bits, Shape
    from hilum._kernels.components import Runs

Size = tuple[float, float, float]

THIN_MM = 1.7
"""Radius of the ball that must fit into a nodule; what is thinner is vessel, fissure or rim."""

SIZE_MM = (3.0, 45.0)
"""A nodule with its vicinity is at least and at most so long."""

BARE_SHARE = 1.15
"""The bare surface of a nodule over that of its foot; a ridge or a corner has less than 1."""

RADIUS_MM = (1.5, 18.0)
MASS_CLOSE_MM = 20.0
MASS_THIN_MM = 4.0
MASS_RADIUS_MM = (6.0, 18.0)
GAP_MM = 0.8
GAP_SHARE = 0.2
"""The bare side of a nodule lies so close to a ball, in mm and as a share of the ball's radius; else it is no ball."""

RIM_MM, RIM_VOXELS, RIM_SLICES = 1.0, 0.9, 0.3
"""The completed ball is larger by this: the border of a nodule is drawn by the eye outside of its half height.
On coarse grids it is larger by these shares of a voxel in the plane, or of a slice, as the ball is known no better."""

BONE_HU = 300

THICK_SLICE_MM = 3.5
"""In slices thicker than this the ball is laid through the outlines in the slices alone."""

FLAT_CLOSE_MM = 14.0
BEHIND = 0.45
MASS_BEHIND = 0.36
"""No more than these shares of a ball lie behind the surface that bridges it; a mass is bridged by a larger ball."""


def complete_nodules(lung: Bits, air: Bits, hu: NDArray[np.int16], spacing: Size, *, never: Bits) -> None:
    """Add to a lung, in place, what belongs to the nodules that it bridges.

    Parameters
    ----------
    lung : ndarray of uint64, shape (z, y, ceil(x / 64))
        The lung with holes and dents filled.
    air : ndarray of uint64
        The same without anything filled.
    hu : ndarray of int16, shape (z, y, x), HU
    spacing : tuple of float, (z, y, x), mm
    never : ndarray of uint64
        Where no nodule is looked for.
    """
    from hilum._kernels import morphology

    bridged = lung
    if spacing[0] > THICK_SLICE_MM:  # planes of a ball bridge less than the ball
        rods = morphology.ellipsoid(FLAT_CLOSE_MM / 2, (np.inf, *spacing[1:]), hu.shape)
        bridged = lung | (morphology.close(lung, hu.shape[2], rods, times=2, workers=1) & ~never)
    found, _, _ = find_nodules(
        bridged, air, hu.shape, spacing, never=never, thin=THIN_MM, radii=RADIUS_MM, behind=BEHIND
    )
    draw_nodules(lung, hu, found, spacing)


def find_masses(
    lungs: NDArray[np.uint8], domes: NDArray[np.uint8], size: Size, first: Size
) -> tuple[NDArray[np.uint8], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Nodules too large for the ball that closes dents of voxels, on cells.

    Parameters
    ----------
    lungs : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the air of the right and the left lung.
    domes : ndarray of uint8
        1 where no nodule is looked for.
    size : tuple of float, (z, y, x), mm
        Of a cell.
    first : tuple of float, (z, y, x), mm
        From the middle of the first voxel to that of the first cell.

    Returns
    -------
    masses : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the cells of nodules of the right and the left lung.
    balls : two ndarray of float64, shape (n, 4)
        As `find_nodules` gives them, of the right and of the left lung.
    """
    from hilum._kernels import bits, morphology, selection

    shape: Shape = lungs.shape
    masses = np.zeros(shape, np.uint8)
    never = bits.between(domes, 1, 1, workers=1)
    balls = []
    for label in (1, 2):
        air = bits.between(lungs, label, label, workers=1)
        rods = morphology.ellipsoid(MASS_CLOSE_MM / 2, size, shape)
        closed = morphology.close(air, shape[2], rods, times=2, workers=1)
        found, runs, fits = find_nodules(
            closed, air, shape, size, never=never, thin=MASS_THIN_MM, radii=MASS_RADIUS_MM, behind=MASS_BEHIND
        )
        if runs is not None:
            bits.paint(selection.select(runs, fits, workers=1), masses, label=label, workers=1)
        found[:, :3] += first
        balls.append(found)
    return masses, (balls[0], balls[1])


def find_nodules(
    lung: Bits,
    air: Bits,
    shape: Shape,
    spacing: Size,
    *,
    never: Bits,
    thin: float,
    radii: tuple[float, float],
    behind: float,
) -> tuple[NDArray[np.float64], Runs | None, NDArray[np.bool_]]:
    """The balls that bridged nodules are part of.

    Parameters
    ----------
    lung, air, never : ndarray of uint64, shape (z, y, ceil(x / 64))
        As in `complete_nodules`.
    shape : tuple of int, (z, y, x)
    spacing : tuple of float, (z, y, x), mm
    thin : float, mm
        Radius of the ball that must fit into a nodule.
    radii : tuple of float, mm
        The smallest and largest nodule.
    behind : float
        The largest share of a ball that may lie outside of `lung`.

    Returns
    -------
    found : ndarray of float64, shape (n, 4)
        Center z, y, x in mm from the first voxel, and radius, mm.
    blobs : Runs or None
        All that a small ball fits into.
    fits : ndarray of bool
        Which of them are nodules.
    """
    from hilum._kernels import blobs, components, morphology

    flat = spacing[0] > THICK_SLICE_MM
    ball = morphology.ellipsoid(thin, (np.inf if flat else spacing[0], *spacing[1:]), shape)
    solid = morphology.open_(lung & ~air & ~never, shape[2], ball, workers=1)
    runs = components.find_components(solid, shape, corners=False, workers=1)
    if not runs.number:
        return np.zeros((0, 4)), None, np.zeros(0, np.bool_)
    boxes = components.boxes(runs)
    sums = blobs.surfaces(runs, boxes, air, lung, spacing, flat=flat)
    long = ((boxes[:, 3:] - boxes[:, :3]) * np.array(spacing)).max(axis=1)
    fits = (sums[:, blobs.FOOT] > 0) & (sums[:, blobs.BARE] >= BARE_SHARE * sums[:, blobs.FOOT])
    fits &= (long >= SIZE_MM[0]) & (long <= SIZE_MM[1] + spacing[0])
    found = blobs.balls(sums, boxes, spacing, flat=flat)
    if not flat:  # a ball seen in a single plane ends somewhere in the next ones
        single = boxes[:, 3] - boxes[:, 0] == 1
        found[single, 3] = np.hypot(found[single, 3], 0.5 * spacing[0])
    gap = np.maximum(GAP_MM, GAP_SHARE * found[:, 3])
    fits &= (found[:, 3] >= radii[0]) & (found[:, 3] <= radii[1]) & (found[:, 4] <= gap)
    fits[fits] = blobs.outside(lung, found[fits], spacing, shape) <= behind
    return found[fits, :4], runs, fits


def draw_nodules(lung: Bits, hu: NDArray[np.int16], found: NDArray[np.float64], spacing: Size) -> None:
    """Add balls, as `find_nodules` gives them, with a rim to a lung, in place; bone is left out."""
    from hilum._kernels import blobs

    wide = found.copy()
    wide[:, 3] += max(RIM_MM, RIM_VOXELS * max(spacing[1:]), RIM_SLICES * spacing[0])
    blobs.draw(lung, hu, wide, spacing, limit=BONE_HU)
