"""Choose the voxels that a label fills, from the share of each that it covers.

A label fills the voxels with the greatest shares, as many as its volume needs. Of equal shares, those nearest to the
label's middle come first. This can move the centroid: a label that ends in planes between two slices fills one of the
planes that it covers partly, and not the other. Then shares count more toward where voxels are missing, and less away
from the middle, so that a plane is filled in part.
"""

import numpy as np
from numpy.typing import NDArray

from hilum.ops.labels.shares import WHOLE

_CENTROID = 0.01  # voxels by which the centroid may be moved

_TURNS = 40  # in which the slope is sought; few labels need more than ten

_NEARNESS = 0.3  # how much more share the voxel farthest from the middle needs than one in the middle


def fill_greatest(shares: NDArray[np.uint8], spacing: tuple[float, float, float]) -> tuple[NDArray[np.bool_], float]:
    """Mark the voxels that a label fills.

    Parameters
    ----------
    shares : ndarray of uint8, shape (z, y, x)
        The share of each voxel, `hilum.ops.labels.shares.WHOLE` for all of it.
    spacing : tuple of float, (z, y, x), mm

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    float
        The sum of the shares, in voxels.
    """
    chosen = shares == WHOLE
    whole = int(np.count_nonzero(chosen))
    parts = np.flatnonzero((shares > 0) & ~chosen)
    values = shares.reshape(-1)[parts].astype(np.int64)
    total = whole + float(values.sum()) / WHOLE
    if not (wanted := int(total + 0.5) - whole):
        return chosen, total
    points = np.stack(np.unravel_index(parts, shares.shape), axis=1) - (np.array(shares.shape) - 1) / 2
    distance = ((points * spacing) ** 2).sum(axis=1)
    distance *= 1 / max(float(distance.max()), 1.0)
    moment = _moment(chosen)
    aim = (moment + (values[:, None] * points).sum(axis=0) / WHOLE) / total
    goal, limit = aim * whole - moment, _CENTROID * total
    filled = _greatest(values - distance * 1e-6, wanted)
    if np.linalg.norm(goal - (filled @ points - wanted * aim)) > limit:
        filled = _with_centroid(values / WHOLE - _NEARNESS * distance, points - aim, wanted, goal, limit)
    chosen.reshape(-1)[parts[filled]] = True
    return chosen, total


def _moment(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The sum of the positions of marked voxels, from the middle of the array."""
    counts = (np.count_nonzero(chosen, axis=others) for others in ((1, 2), (0, 2), (0, 1)))
    return np.array([float(count @ (np.arange(len(count)) - (len(count) - 1) / 2)) for count in counts])


def _greatest(worth: NDArray[np.float64], wanted: int) -> NDArray[np.bool_]:
    """Mark the `wanted` greatest values; of equal ones those that come first."""
    least = np.partition(worth, len(worth) - wanted)[len(worth) - wanted]
    marked = worth > least
    marked[np.flatnonzero(worth == least)[: wanted - np.count_nonzero(marked)]] = True
    return marked


def _with_centroid(
    worth: NDArray[np.float64], points: NDArray[np.float64], wanted: int, moment: NDArray[np.float64], limit: float
) -> NDArray[np.bool_]:
    """Choose `wanted` points of the greatest worth whose positions have the sum `moment`, if possible to `limit`.

    A slope over the label is added to the worth. It grows toward where chosen points are missing.
    """
    scale = np.abs(points).max(axis=0) + 1.0
    slope, best, least = np.zeros(3), np.empty(0, np.bool_), np.inf
    for turn in range(_TURNS):
        chosen = _greatest(worth + points @ (slope / scale), wanted)
        missing = moment - chosen @ points
        if (length := float(np.linalg.norm(missing))) < least:
            best, least = chosen, length
        if least <= limit:
            break
        slope += missing / scale / len(points) * (4 / (1 + turn / 8))
    return best
