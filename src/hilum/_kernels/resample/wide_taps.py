"""The weights of `hilum._kernels.resample.wide_sums`: kernels as wide as the voxels of a coarser grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.resample.spline_blocks import TAPS

_NOTHING = 1e-12  # a smaller weight is rounding at the end of a kernel


@dataclass(frozen=True, eq=False)
class WideTaps:
    """The samples of each output along one axis of a coarser grid, and their weights.

    Parameters
    ----------
    size : int
        Number of input samples.
    first : ndarray of int64, shape (n,)
        First sample of each output; ascending.
    weights : ndarray of float64, shape (n, k)
        Of it and the next ones. A sample has weights other than 0 for at most `TAPS` outputs.
    """

    size: int
    first: NDArray[np.int64]
    weights: NDArray[np.float64]

    def part(self, start: int, stop: int) -> tuple[int, int, tuple[Any, ...]]:
        """The samples that the outputs `start` to `stop` need, first and one past the last; and their taps."""
        begin, end = int(self.first[start]), int(self.first[stop - 1]) + self.weights.shape[1]
        return begin, end, self.table(slice(start, stop), begin, end)

    def table(self, outputs: slice, begin: int, end: int) -> tuple[Any, ...]:
        """The last sample of some outputs, and for each sample from `begin` to `end` its weights, in that order."""
        weights = self.weights[outputs]
        samples = self.first[outputs, None] - begin + np.arange(weights.shape[1])
        last = np.maximum.accumulate(np.where(weights != 0, samples, 0).max(axis=1))
        complete = np.searchsorted(last, np.arange(end - begin))  # outputs before a sample
        slots = np.arange(len(weights))[:, None] - complete[samples]
        used = weights != 0
        table = np.zeros((end - begin, TAPS))
        table[samples[used], slots[used]] = weights[used]
        return last, table.reshape(-1), 0.0


def make_wide_taps(positions: NDArray[np.float64], *, size: int, step: float, order: int) -> WideTaps:
    """Tabulate one axis of a coarser grid: sums over all samples that an output's kernel covers, so that none aliases.

    The kernel is the cubic convolution of Keys (order 3) or a triangle (order 1), as wide as the new grid's voxels ask;
    its weights are normalized to a sum of 1. Beyond its ends a line continues with its first and last sample.

    Parameters
    ----------
    positions : ndarray, shape (n,), ascending
        Centers of the outputs, in input voxels.
    size : int
        Number of input samples.
    step : float
        Distance between outputs in input voxels, more than 1.
    order : int
        3 or 1.

    Returns
    -------
    WideTaps

    Notes
    -----
    Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics, Speech and
    Signal Processing 29(6):1153-1160, 1981.
    """
    reach = step * (2 if order == 3 else 1)
    count = int(2 * reach) + 1
    start = np.ceil(positions - reach).astype(np.int64)
    away = np.abs(start[:, None] + np.arange(count) - positions[:, None]) / step
    if order == 3:
        near, far = (1.5 * away - 2.5) * away**2 + 1, ((2.5 - 0.5 * away) * away - 4) * away + 2
        weights = np.where(away < 1, near, np.where(away < 2, far, 0.0))
    else:
        weights = np.maximum(1 - away, 0.0)
    weights[np.abs(weights) < _NOTHING] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    wide = min(count, size)
    first = start.clip(0, size - wide)
    inside = np.zeros((len(positions), wide))
    at = (start[:, None] + np.arange(count)).clip(0, size - 1) - first[:, None]
    np.add.at(inside, (np.arange(len(positions))[:, None], at), weights)
    return WideTaps(size, first, inside)
