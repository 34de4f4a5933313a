"""Find nodules among the blobs of tissue that the closed lung bridges, and fit a ball to each."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.components import blobs, labeling
from hilum._kernels.components.labeling import Runs
from hilum.geometry import Vector


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
    thick : float, mm
        In slices thicker than this, the ball is fitted to the outlines within the slices.
    """

    close: float
    thin: float
    radii: tuple[float, float]
    bare: float
    behind: float
    tight: bool
    thick: float


NODULES = NoduleSearch(14.0, 1.7, (1.5, 18.0), 1.15, 0.45, tight=True, thick=2.8)
"""The search on voxels."""

SHORTEST_MM, LONGEST = 3.0, 2.5
"""The smallest length of a blob, and the largest one in radii of the largest ball."""

GAP_MM = 0.8
GAP_SHARE = 0.2
"""The largest distance of a nodule's bare surface from its ball, in mm and as a fraction of the ball's radius."""


def fit_nodules(
    lung: BitMask, air: BitMask, spacing: Vector, search: NoduleSearch, *, excluded: BitMask
) -> tuple[NDArray[np.float64], Runs | None, NDArray[np.bool_]]:
    """Fit balls to the nodules that a closed lung bridges.

    Parameters
    ----------
    lung, air, excluded : BitMask
        As in `hilum.ops.lungs.wall_nodules.complete_nodules`.
    spacing : tuple of float, (z, y, x), mm
    search : NoduleSearch

    Returns
    -------
    balls : ndarray of float64, shape (n, 4)
        Center z, y, x in mm from the first voxel, and radius, mm.
    blobs : Runs or None
        All components that a small ball fits into.
    fits : ndarray of bool
        Which of the components are nodules.
    """
    flat = spacing[0] > search.thick
    ball = morphology.ellipsoid(search.thin, (np.inf if flat else spacing[0], *spacing[1:]), lung.shape)
    solid = morphology.open_(lung & ~air & ~excluded, ball)
    runs = labeling.find_components(solid, corners=False)
    if not runs.number:
        return np.zeros((0, 4)), None, np.zeros(0, np.bool_)
    boxes = labeling.boxes(runs)
    sums = blobs.surface_sums(runs, boxes, air, lung, spacing, flat=flat)
    length = ((boxes[:, 3:] - boxes[:, :3]) * np.array(spacing)).max(axis=1)
    fits = sums[:, blobs.FOOT] > 0
    fits &= sums[:, blobs.BARE] >= search.bare * sums[:, blobs.FOOT]
    fits &= (length >= SHORTEST_MM) & (length <= LONGEST * search.radii[1] + spacing[0])
    balls = blobs.fit_balls(sums, boxes, spacing, flat=flat)
    if not flat:  # a ball in a single plane extends half way into the next planes
        single = boxes[:, 3] - boxes[:, 0] == 1
        balls[single, 3] = np.hypot(balls[single, 3], 0.5 * spacing[0])
    gap = np.maximum(GAP_MM, GAP_SHARE * balls[:, 3])
    fits &= (balls[:, 3] >= search.radii[0]) & (balls[:, 3] <= search.radii[1]) & (balls[:, 4] <= gap)
    fits[fits] = blobs.share_outside(lung if search.tight else air | solid, balls[fits], spacing) <= search.behind
    return balls[fits, :4], runs, fits
