"""Find nodules and masses at the wall of the lungs: balls that fit the tissue that closing bridges.

A ball that rolls along the wall (Pu et al., Comput Med Imaging Graph 2008;32(6):452-462 roll a disk) bridges a nodule,
but cuts into it at its flanks and misses its part in the wall. So here closing only finds the blobs. A bridged
component that a small ball fits into is a nodule if

1. its bare surface in the lung is larger than its surface on the wall;
2. it is not too large.

The ball that fits its bare surface best is added, with its part behind the wall, and a thin rim. Nodules are found on
half cells, masses on cells, so that they are the same on every grid.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import canonical, coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.components import blobs, labeling, selection
from hilum._kernels.components.labeling import Runs
from hilum._kernels.threads import run_slabs
from hilum.geometry import Vector
from hilum.ops.bounding_box import bounding_box, expand_box
from hilum.ops.lungs.borders import GROUND_GLASS_MAX_HU, airway_walls, close_dents
from hilum.ops.lungs.cells import LungCells
from hilum.scan import LEFT_LUNG, RIGHT_LUNG


class NoduleSearch(NamedTuple):
    """The options of a search for nodules of a range of sizes.

    Parameters
    ----------
    close : float, mm
        Radius of the ball that bridges the nodules.
    thin : float, mm
        Radius of the ball that fits into the nodules; thinner tissue is vessel, fissure or rim.
    radii : tuple of float, mm
        The smallest and the largest radius.
    bare : float
        The smallest ratio of a nodule's bare surface, in the lung, to its foot, on the wall; a ridge has less than 1.
    behind : float
        The largest fraction of the ball behind the surface that bridges it.
    tight : bool
        Whether that surface follows the lung closely; if not, the blob itself must fill the ball.
    """

    close: float
    thin: float
    radii: tuple[float, float]
    bare: float
    behind: float
    tight: bool


NODULES = NoduleSearch(8.0, 1.7, (2.5, 11.0), 1.15, 0.55, tight=True)
MASSES = (
    NoduleSearch(20.0, 4.0, (6.0, 18.0), 1.15, 0.42, tight=False),
    NoduleSearch(34.0, 9.0, (14.0, 32.0), 1.6, 0.3, tight=False),
)

AIRWAY_SHARE = 0.5
"""A half cell belongs to the airways from this fraction of them on."""

FAINT_HU = -560
"""A nodule that fills a third of a slice; darker cells are lung, except for its vessels."""

SOFT_HU, SOFT_SHARE = (0, 150), 0.3
"""At least this fraction of a mass's cells are soft tissue; of fat and of contrast-enhanced vessels fewer are."""

SHORTEST_MM, LONGEST = 3.0, 2.5
"""The smallest length of a blob, and the largest one in radii of the largest ball."""

GAP_MM = 0.8
GAP_SHARE = 0.2
"""The largest distance of a nodule's bare surface from its ball, in mm and as a fraction of the ball's radius."""

RIM_MM, RIM_VOXELS, RIM_SLICES = 1.0, 1.25, 0.3
"""Width of the rim: readers draw the border of a nodule outside of its half height. On coarse grids the rim is a
multiple of a pixel, or a fraction of a slice, because the ball is less precise there."""

WIDEST_RIM_MM = 1.6
RIB_MIN_HU = 300


def find_nodules(hu: NDArray[np.int16], cells: LungCells, *, workers: int = 1) -> list[NDArray[np.float64]]:
    """Fit balls to the nodules at the walls of both lungs, up to the size that `find_masses` starts at.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x), HU
        Axes to the head, the back and the left.
    cells : LungCells
        Lungs, airways and organs on cells.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    list of two ndarray of float64, shape (n, 4)
        Of the right and of the left lung: center z, y, x from the first voxel, and radius, mm.
    """
    balls = [np.zeros((0, 4)), np.zeros((0, 4))]

    def find(first: int, stop: int) -> None:
        for i in range(first, stop):
            balls[i] = _find_on_side(hu, cells, (RIGHT_LUNG, LEFT_LUNG)[i])

    run_slabs(find, 2, workers=workers)
    return balls


def _find_on_side(hu: NDArray[np.int16], cells: LungCells, label: int) -> NDArray[np.float64]:
    """The balls of `find_nodules` of one lung."""
    box = bounding_box(cells.near == label)
    if box is None:
        return np.zeros((0, 4))
    box = expand_box(box, math.ceil(NODULES.close / cells.grid.cell_mm), cells.grid.shape)
    grid = cells.grid.crop(box).halve()
    halves = canonical.average(hu, grid)
    airway = bits.pack(canonical.filled_shares(cells.airway, grid) >= AIRWAY_SHARE)
    near, ground_glass, organs = (
        bits.pack(part[box].repeat(2, 0).repeat(2, 1).repeat(2, 2))
        for part in (cells.near == label, cells.ground_glass == label, cells.organs)
    )
    air = bits.at_most(halves, cells.border_hu) & near & ~airway_walls(airway, grid.size)
    air |= bits.at_most(halves, GROUND_GLASS_MAX_HU) & ground_glass
    bridged = close_dents(air, NODULES.close, organs, grid.size)
    balls, _, _ = _fit_balls(bridged, air & bits.at_most(halves, FAINT_HU), organs, grid.size, NODULES)
    balls[:, :3] += grid.first
    return balls


def find_masses(cells: LungCells) -> tuple[NDArray[np.uint8], list[NDArray[np.float64]]]:
    """Find nodules, on cells, that are too large for the ball that closes dents on voxels.

    Parameters
    ----------
    cells : LungCells
        Lungs, airways and organs on cells.

    Returns
    -------
    masses : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in the cells of masses at the right and the left lung.
    balls : list of two ndarray of float64, shape (n, 4)
        As of `find_nodules`.
    """
    masses, organs, size = np.zeros(cells.labels.shape, np.uint8), bits.pack(cells.organs), cells.grid.size
    soft = ((cells.hu >= SOFT_HU[0]) & (cells.hu <= SOFT_HU[1])) * np.int16(100)
    balls = []
    for label in (RIGHT_LUNG, LEFT_LUNG):
        air, parts = bits.equal(cells.labels, label), []
        for search in MASSES:
            closed = morphology.close(air, morphology.ellipsoid(search.close / 2, size, air.shape), times=2)
            fitted, runs, fits = _fit_balls(closed, air, organs, size, search)
            is_soft = coarse.component_means(runs, soft, 0.0)[fits, 3] >= 100 * SOFT_SHARE
            fits[fits] = is_soft
            bits.write_label(selection.select(runs, fits), masses, label=label)
            parts.append(fitted[is_soft])
        balls.append(np.concatenate(parts))
        balls[-1][:, :3] += cells.grid.first
    return masses, balls


def _fit_balls(
    lung: BitMask, air: BitMask, excluded: BitMask, size: Vector, search: NoduleSearch
) -> tuple[NDArray[np.float64], Runs, NDArray[np.bool_]]:
    """Fit balls to the nodules that a closed lung has more than its air.

    The balls have a center z, y, x from the first cell, and a radius, mm. Also returns all components that a small
    ball fits into, and which of them are nodules.
    """
    solid = morphology.open_(lung & ~air & ~excluded, morphology.ellipsoid(search.thin, size, lung.shape))
    runs = labeling.find_components(solid, corners=False)
    boxes = labeling.boxes(runs)
    sums = blobs.surface_sums(runs, boxes, air, lung, size)
    length = ((boxes[:, 3:] - boxes[:, :3]) * np.array(size)).max(axis=1, initial=0.0)
    fits = sums[:, blobs.FOOT] > 0
    fits &= sums[:, blobs.BARE] >= search.bare * sums[:, blobs.FOOT]
    fits &= (length >= SHORTEST_MM) & (length <= LONGEST * search.radii[1] + size[0])
    balls = blobs.fit_balls(sums, boxes, size)
    gap = np.maximum(GAP_MM, GAP_SHARE * balls[:, 3])
    fits &= (balls[:, 3] >= search.radii[0]) & (balls[:, 3] <= search.radii[1]) & (balls[:, 4] <= gap)
    fits[fits] = blobs.share_outside(lung if search.tight else air | solid, balls[fits], size) <= search.behind
    return balls[fits, :4], runs, fits


def draw_nodules(lung: BitMask, hu: NDArray[np.int16], balls: NDArray[np.float64], spacing: Vector) -> None:
    """Add balls, with a rim, to a lung, in place. The outer half of the rim leaves out bone.

    Voxels further inside that are as bright as bone are a calcified nodule, or the edge of the rib next to it.
    """
    rim = max(RIM_MM, min(RIM_VOXELS * max(spacing[1:]), WIDEST_RIM_MM), RIM_SLICES * min(spacing[0], 8.0))
    for fraction, limit in ((0.5, int(np.iinfo(hu.dtype).max)), (1.0, RIB_MIN_HU)):
        wide = balls.copy()
        wide[:, 3] += fraction * rim
        blobs.draw_balls(lung, hu, wide, spacing, limit=limit)
