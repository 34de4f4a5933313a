"""Find the regions of a stack whose slices have different spacings, and a grid for all of them.

A region is a run of equal steps, as where a scanner makes 1 mm slices of the lungs and 5 mm slices of the abdomen in
one series. Arrays in, numbers out.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORTEST_RUN = 3  # so many equal steps in a row are a spacing of their own

_SAME_STEP = 0.1  # largest difference of two steps of one region, relative to its spacing

_MOST_PLANES = 10  # planes of the grid for each slice; more means that one of the positions is wrong

_HALF = 0.5 + 1e-9  # a plane half way beyond the last slice is not added, despite rounding errors

Heights = NDArray[np.float64]


class Region(NamedTuple):
    """A run of slices with one spacing.

    Parameters
    ----------
    first, last : int
        Its slices; neighboring regions can share one.
    spacing : float, mm
        Distance of neighboring slices.
    """

    first: int
    last: int
    spacing: float


def find_regions(heights: Heights) -> list[Region]:
    """Split a stack into regions of equal spacing.

    Parameters
    ----------
    heights : ndarray, shape (slice,), ascending, mm
        Positions of the slices along the normal.

    Returns
    -------
    list of Region
        In order; at least two, with at least two spacings. Empty if the slices do not form such regions, each of at
        least `SHORTEST_RUN` steps and with at most one step between two of them.
    """
    steps = np.diff(heights)
    regions, start = [], 0
    for k in range(1, len(steps) + 1):
        if k < len(steps) and abs(steps[k] - steps[start]) <= _SAME_STEP * steps[start]:
            continue
        if k - start >= SHORTEST_RUN:
            regions.append(Region(start, k, float(heights[k] - heights[start]) / (k - start)))
        elif k - start > 1 or start == 0 or k == len(steps):
            return []
        start = k
    spacings = [r.spacing for r in regions]
    if len(regions) < 2 or max(spacings) - min(spacings) <= _SAME_STEP * min(spacings):
        return []
    adjacent = all(after.first - before.last <= 1 for before, after in pairwise(regions))
    return regions if adjacent and all(_is_regular(heights, r) for r in regions) else []


def _is_regular(heights: Heights, region: Region) -> bool:
    own = heights[region.first : region.last + 1]
    off = own - own[0] - region.spacing * np.arange(len(own))
    return bool(np.abs(off).max() <= _SAME_STEP * region.spacing)


def place_on_finest(heights: Heights, regions: list[Region]) -> tuple[Heights, float]:
    """Place the slices of all regions on the grid of the finest one.

    Parameters
    ----------
    heights : ndarray, shape (slice,), ascending, mm
        Positions of the slices along the normal.
    regions : list of Region
        The regions of equal spacing, in order.

    Returns
    -------
    places : ndarray, shape (slice,), planes of the grid
        Whole numbers for slices on a plane: those of the finest region, and others within a tenth of the spacing. The
        first plane is the one nearest to the first slice. Empty if the grid has far more planes than there are slices.
    spacing : float, mm
        Of the grid.
    """
    finest = min(regions, key=lambda r: (r.spacing, r.first - r.last))
    places = (heights - heights[finest.first]) / finest.spacing
    places -= -np.floor(-places[0] + _HALF)
    if places[-1] > _MOST_PLANES * len(heights):
        return np.empty(0), finest.spacing
    on_plane = np.where(np.abs(places - np.rint(places)) <= _SAME_STEP, np.rint(places), places)
    return (on_plane if (np.diff(on_plane) > 0).all() else places), finest.spacing


def plane_count(places: Heights) -> int:
    """The number of planes, up to the one nearest to the last slice."""
    return int(np.floor(places[-1] + _HALF)) + 1


def widest_unseen(heights: Heights, thickness: Heights, regions: list[Region]) -> float:
    """The widest step over tissue that no slice shows, mm.

    Parameters
    ----------
    heights : ndarray, shape (slice,), ascending, mm
        Positions of the slices along the normal.
    thickness : ndarray, shape (slice,), mm
        SliceThickness; nan where unknown.
    regions : list of Region
        The regions of equal spacing, in order.

    Returns
    -------
    float
        The finest region does not count: its slices are taken as they are. A region whose slices are as thick as they
        are far apart does not count either: they show everything in between.
    """
    finest = min(r.spacing for r in regions)
    unseen = [0.0]
    for region in regions:
        thinnest = np.min(thickness[region.first + 1 : region.last])  # nan if one is unknown
        if region.spacing > (1 + _SAME_STEP) * finest and not thinnest >= 0.95 * region.spacing:
            unseen.append(region.spacing)
    for before, after in pairwise(regions):
        step = heights[after.first] - heights[before.last]
        if step > (1 + _SAME_STEP) * max(before.spacing, after.spacing):
            unseen.append(float(step))
    return max(unseen)
