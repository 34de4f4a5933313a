"""Blobs that the closed lung bridges, and the ball that each is part of, if it is a nodule."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum._kernels.bitmask import morphology
from hilum._kernels.components import blobs, labeling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import BitMask
    from hilum._kernels.components.labeling import Runs

Size = tuple[float, float, float]


class Search(NamedTuple):
    """How nodules of one order of size are looked for.

    Parameters
    ----------
    close : float, mm
        Radius of the ball that bridges them.
    thin : float, mm
        Radius of the ball that fits into them; what is thinner is vessel, fissure or rim.
    radii : tuple of float, mm
        Of the smallest and the largest.
    bare : float
        Their bare surface over that of their foot is at least this; a ridge or a corner has less than 1.
    behind : float
        No more than this share of the ball lies behind the surface that bridges it.
    tight : bool
        Whether that surface follows the lung closely; if not, the blob itself must fill the ball.
    thick : float, mm
        In slices thicker than this the ball is laid through the outlines in the slices alone.
    """

    close: float
    thin: float
    radii: tuple[float, float]
    bare: float
    behind: float
    tight: bool
    thick: float


NODULES = Search(14.0, 1.7, (1.5, 18.0), 1.15, 0.45, tight=True, thick=2.8)
"""On voxels: bridged when the lung was closed, and in thick slices again."""

SHORTEST_MM, LONGEST = 3.0, 2.5
"""A blob is at least so long, and at most so many radii of the largest ball."""

GAP_MM = 0.8
GAP_SHARE = 0.2
"""The bare side of a nodule lies so close to a ball, in mm and as a share of the ball's radius; else it is no ball."""


def find_nodules(
    lung: BitMask, air: BitMask, spacing: Size, search: Search, *, never: BitMask
) -> tuple[NDArray[np.float64], Runs | None, NDArray[np.bool_]]:
    """The balls that bridged nodules are part of.

    Parameters
    ----------
    lung, air, never : BitMask
        As in `hilum.ops.lungs.wall_nodules.complete_nodules`.
    spacing : tuple of float, (z, y, x), mm
    search : Search

    Returns
    -------
    found : ndarray of float64, shape (n, 4)
        Center z, y, x in mm from the first voxel, and radius, mm.
    blobs : Runs or None
        All that a small ball fits into.
    fits : ndarray of bool
        Which of them are nodules.
    """
    flat = spacing[0] > search.thick
    ball = morphology.ellipsoid(search.thin, (np.inf if flat else spacing[0], *spacing[1:]), lung.shape)
    solid = morphology.open_(lung & ~air & ~never, ball)
    runs = labeling.find_components(solid, corners=False)
    if not runs.number:
        return np.zeros((0, 4)), None, np.zeros(0, np.bool_)
    boxes = labeling.boxes(runs)
    sums = blobs.surface_sums(runs, boxes, air, lung, spacing, flat=flat)
    long = ((boxes[:, 3:] - boxes[:, :3]) * np.array(spacing)).max(axis=1)
    fits = sums[:, blobs.FOOT] > 0
    fits &= sums[:, blobs.BARE] >= search.bare * sums[:, blobs.FOOT]
    fits &= (long >= SHORTEST_MM) & (long <= LONGEST * search.radii[1] + spacing[0])
    found = blobs.fit_balls(sums, boxes, spacing, flat=flat)
    if not flat:  # a ball seen in a single plane ends somewhere in the next ones
        single = boxes[:, 3] - boxes[:, 0] == 1
        found[single, 3] = np.hypot(found[single, 3], 0.5 * spacing[0])
    gap = np.maximum(GAP_MM, GAP_SHARE * found[:, 3])
    fits &= (found[:, 3] >= search.radii[0]) & (found[:, 3] <= search.radii[1]) & (found[:, 4] <= gap)
    fits[fits] = blobs.share_outside(lung if search.tight else air | solid, found[fits], spacing) <= search.behind
    return found[fits, :4], runs, fits
