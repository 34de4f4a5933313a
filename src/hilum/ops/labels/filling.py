"""Choose the voxels that a label fills, from the share of each that it covers.

A label fills the voxels with the greatest shares, as many as its volume needs. Of equal shares, those nearest to the
label's middle come first. This can move the centroid: a label that ends in planes between two slices fills one of the
planes that it covers partly, and not the other. Then shares count more toward where voxels are missing, and less away
from the middle, so that a plane is filled in part.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import read_only
from hilum._kernels.resample.label_shares import count_shares, list_parts
from hilum.ops.labels.shares import WHOLE

_CENTROID = 0.03  # voxels by which the centroid may be moved

_FIRST = 0.05  # the first slope that is tried: what it adds to the worth at the label's end

_TURNS, _DIRECTIONS = 10, 3  # in which the slope is sought; few labels need more than ten turns

_STEPS = 12_000  # of worth in 1: shares reach 1, and a slope may add as much again

_NEARNESS = 0.3  # how much more share the voxel farthest from the middle needs than one in the middle


class Filling(NamedTuple):
    """The voxels that a label fills: all that it covers completely, and some that it covers in part.

    Parameters
    ----------
    parts : ndarray of int64, shape (n,)
        The latter, as indices of the flat array of shares.
    whole : int
        The number of the former.
    volume : float
        The volume of the label in voxels: the exact one, or the sum of the shares.
    """

    parts: NDArray[np.int64]
    whole: int
    volume: float


def fill_greatest(
    shares: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    *,
    exact: tuple[float, NDArray[np.float64]] | None = None,
) -> Filling:
    """Choose the voxels that a label fills.

    Parameters
    ----------
    shares : ndarray of uint8, shape (z, y, x)
        The share of each voxel, `hilum.ops.labels.shares.WHOLE` for all of it.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.
    exact : tuple of float and ndarray, shape (3,), optional
        Volume in voxels and centroid (z, y, x) of the label, if the shares are only estimates.

    Returns
    -------
    Filling
    """
    source = read_only(np.ascontiguousarray(shares))
    by_slice, by_row, by_column = counts = tuple(np.zeros(size, np.int64) for size in shares.shape)
    partial = np.zeros(len(by_slice), np.int64)
    count_shares(source, WHOLE, by_slice, by_row, by_column, partial)
    whole = int(by_slice.sum())
    parts = np.empty(int(partial.sum()), np.int64)
    flat = source.reshape(-1)
    list_parts(flat, flat[: flat.size // 8 * 8].view(np.uint64), WHOLE, parts)
    values = flat[parts].astype(np.float64)
    total = whole + float(values.sum()) / WHOLE
    total = total if exact is None else exact[0]
    wanted = min(int(total + 0.5) - whole, len(parts))
    if wanted <= 0:
        return Filling(parts[:0], whole, total)
    middle = (np.array(shares.shape) - 1) / 2
    points = np.array(np.unravel_index(parts, shares.shape)) - middle[:, None]
    distance = _weighted_sum(points**2, np.square(spacing))
    distance *= 1 / max(float(distance.max()), 1.0)
    moment = _moment(counts)
    aim = (moment + (values * points).sum(axis=1) / WHOLE) / (whole + values.sum() / WHOLE)
    aim = aim if exact is None else exact[1] - middle
    goal, limit = aim * whole - moment, _CENTROID * total
    filled = _greatest(values / WHOLE - distance / (2 * WHOLE), wanted)
    points -= aim[:, None]
    if np.linalg.norm(goal - points[:, filled].sum(axis=1)) > limit:
        filled = _with_centroid(values / WHOLE - _NEARNESS * distance, points, wanted, goal, limit)
    return Filling(parts[filled], whole, total)


def _moment(counts: tuple[NDArray[np.int64], ...]) -> NDArray[np.float64]:
    """The sum of the positions of voxels, from the middle of their array, from their counts along each axis."""
    return np.array([float(count @ (np.arange(len(count)) - (len(count) - 1) / 2)) for count in counts])


def _with_centroid(
    worth: NDArray[np.float64], points: NDArray[np.float64], wanted: int, moment: NDArray[np.float64], limit: float
) -> NDArray[np.intp]:
    """Choose `wanted` points, shape (3, n), of the greatest worth whose sum is `moment`, if possible to `limit`.

    A slope over the label is added to the worth. It grows toward where chosen points are missing, in smaller steps when
    a step does not help. If that does not end, as where whole planes of points have one worth, the slope is doubled
    until points are missing on the other side, and then sought between.
    """
    scale = np.abs(points).max(axis=1) + 1.0

    def choose(slope: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64], float]:
        chosen = _greatest(worth + _weighted_sum(points, slope / scale), wanted)
        lacking = moment - points[:, chosen].sum(axis=1)
        return chosen, lacking, float(np.linalg.norm(lacking))

    slope, rate = np.zeros(3), 4.0
    best, missing, least = choose(slope)
    for _ in range(_TURNS):
        if least <= limit:
            return best
        tried = slope + rate * missing / scale / len(worth)
        chosen, now, length = choose(tried)
        if length < least:
            slope, best, missing, least = tried, chosen, now, length
        else:
            rate *= 0.7
    for _ in range(_DIRECTIONS):
        start, along = slope, missing / scale / max(float(np.abs(missing / scale).max()), 1e-9)
        low, high = 0.0, np.inf
        for turn in range(_TURNS):
            step = _FIRST * 2.0**turn if high == np.inf else (low + high) / 2
            chosen, now, length = choose(start + step * along)
            low, high = (step, high) if now @ along > 0 else (low, step)
            if length < least:
                slope, best, missing, least = start + step * along, chosen, now, length
            if least <= limit:
                return best
    return best


def _weighted_sum(points: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of three rows with weights, in an order that depends on no library."""
    z, y, x = points
    return np.asarray(weights[0] * z + weights[1] * y + weights[2] * x)


def _greatest(worth: NDArray[np.float64], wanted: int) -> NDArray[np.intp]:
    """The indices of the greatest values, to 16 bits, whose stable order is quick to find."""
    keys = np.rint(worth * -_STEPS).clip(-32768, 32767).astype(np.int16)
    return np.argsort(keys, kind="stable")[:wanted]
