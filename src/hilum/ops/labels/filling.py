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
from hilum._kernels.resample.label_shares import count_shares, list_parts, rank_parts, sum_parts, take_parts
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
    rows, columns = shares.shape[1:]
    sums = np.zeros(4, np.int64)
    sum_parts(flat, parts, rows, columns, sums)
    total = whole + float(sums[0]) / WHOLE if exact is None else exact[0]
    wanted = min(int(total + 0.5) - whole, len(parts))
    if wanted <= 0:
        return Filling(parts[:0], whole, total)
    moment = np.array([float(count @ np.arange(len(count))) for count in counts])  # the sum of their positions
    aim = (moment + sums[1:] / WHOLE) / (whole + sums[0] / WHOLE) if exact is None else exact[1]
    candidates = _Candidates(flat, parts, shares.shape, wanted, aim * (whole + wanted) - moment)
    middle = candidates.middle
    curve = -np.square(spacing) / max(float((np.square(spacing) * middle**2).sum()), 1.0)
    chosen, missing = candidates.choose(curve / 2 / WHOLE, np.zeros(3))
    if np.linalg.norm(missing) > (limit := _CENTROID * total):
        scale = np.maximum(aim, 2 * middle - aim) + 1.0
        chosen = _with_centroid(candidates, _NEARNESS * curve, scale, limit)
    return Filling(chosen, whole, total)


class _Candidates(NamedTuple):
    """The voxels that a label covers in part, of which it fills `wanted` with a certain sum of their positions."""

    flat: NDArray[np.uint8]
    parts: NDArray[np.int64]
    shape: tuple[int, ...]
    wanted: int
    moment: NDArray[np.float64]

    @property
    def middle(self) -> NDArray[np.float64]:
        return (np.array(self.shape) - 1) / 2

    def choose(
        self, curve: NDArray[np.float64], slope: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Choose those of the greatest worth, to 16 bits; of equal ones the first. And what their positions lack.

        The worth is the share, plus a curve times the squared distance from the middle along each axis, plus a slope
        times the distance.
        """
        _, rows, columns = self.shape
        keys, counts = np.empty(len(self.parts), np.uint16), np.zeros(65536, np.int64)
        weights = _STEPS * curve, _STEPS * slope, _STEPS / WHOLE
        rank_parts(self.flat, self.parts, rows, columns, self.middle, *weights, keys, counts)
        before = np.cumsum(counts)
        last = int(np.searchsorted(before, self.wanted))
        left = self.wanted - int(before[last] - counts[last])
        chosen, sums = np.empty(self.wanted, np.int64), np.zeros(3, np.int64)
        take_parts(self.parts, keys, last, left, rows, columns, chosen, sums)
        return chosen, self.moment - sums


def _with_centroid(
    candidates: _Candidates, curve: NDArray[np.float64], scale: NDArray[np.float64], limit: float
) -> NDArray[np.int64]:
    """Choose voxels whose positions lack nothing, if possible to `limit`; `scale` is the label's size.

    A slope over the label is added to the worth. It grows toward where chosen voxels are missing, in smaller steps when
    a step does not help. If that does not end, as where whole planes of voxels have one worth, the slope is doubled
    until voxels are missing on the other side, and then sought between.
    """

    def choose(slope: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
        chosen, lacking = candidates.choose(curve, slope / scale)
        return chosen, lacking, float(np.linalg.norm(lacking))

    slope, rate = np.zeros(3), 4.0
    best, missing, least = choose(slope)
    for _ in range(_TURNS):
        if least <= limit:
            return best
        tried = slope + rate * missing / scale / len(candidates.parts)
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
