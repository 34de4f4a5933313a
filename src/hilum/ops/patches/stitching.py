"""Stitch what a model answers to overlapping windows of a volume."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum._kernels.compile.kernel import read_only
from hilum._kernels.patches.stitching import add_window
from hilum.errors import InputError
from hilum.ops.patches.boxes import Box

Weights = Literal["gaussian", "constant"]

Starts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # first voxels of windows along z, y and x

_SIGMA = 1 / 8  # of the Gaussian, in widths of a window, as in nnU-Net and MONAI


def stitch(
    answers: Iterable[ArrayLike], shape: Box, size: Box, starts: Starts, *, weights: Weights
) -> NDArray[np.float32]:
    """Do what `hilum.ops.patches.windows.Windows.stitch` says.

    Parameters
    ----------
    answers, weights
        As there.
    shape, size : tuple of int, (z, y, x)
        Voxels of the volume and of a window.
    starts : three tuples of int
        First voxels of the windows.

    Returns
    -------
    ndarray of float32, shape (channel, z, y, x)
    """
    if weights not in ("gaussian", "constant"):
        raise InputError(f"weights are {weights!r}, expected gaussian or constant", code="option")
    tables = [_weight_tables(*axis, weights=weights) for axis in zip(starts, size, shape, strict=True)]
    corners, places = list(product(*starts)), list(product(*(range(len(along)) for along in starts)))
    total, buffer, count = np.zeros(0, np.float32), np.zeros(0, np.float32), 0
    for count, given in enumerate(answers, 1):
        if count > len(corners):
            raise InputError(f"more answers than the {len(corners)} windows", code="windows")
        answer = np.asarray(given)
        answer = answer[None] if answer.ndim == 3 else answer
        channels = len(total) if count > 1 else len(answer) if answer.ndim == 4 else 1
        if not channels or answer.shape != (channels, *size) or answer.dtype.kind not in "biuf":
            what = f"answer {count} is {answer.dtype} of shape {np.shape(given)}, expected numbers of shape"
            what = f"{what} {size}, or channels of it, as many as before"
            raise InputError(what, do="give one answer for each window, without a batch axis", code="windows")
        if count == 1:
            total, buffer = np.zeros((channels, *shape), np.float32), np.empty((channels, *size), np.float32)
        if answer.dtype != np.float32 or not answer.flags.c_contiguous:
            buffer[...] = answer
            answer = buffer
        start = corners[count - 1]
        low = tuple(max(-a, 0) for a in start)
        high = tuple(min(n, m - a) for a, n, m in zip(start, size, shape, strict=True))
        parts = tuple(table[k] for table, k in zip(tables, places[count - 1], strict=True))
        add_window(read_only(answer).reshape(-1), size, low, high, total.reshape(-1), shape, start, parts)
    if count < len(corners):
        raise InputError(f"{count} answers to {len(corners)} windows", do="answer every window", code="windows")
    if not np.isfinite([total.min(), total.max()]).all():
        voxel = tuple(np.argwhere(~np.isfinite(total))[0, 1:].tolist())
        raise InputError(f"an answer has NaN or infinity, at voxel {voxel} of the scan", code="not-finite")
    return total


def _weight_tables(starts: Sequence[int], size: int, length: int, *, weights: Weights) -> NDArray[np.float32]:
    """The tables of `add_window` along an axis, shape (windows, 4, size)."""
    away = (np.arange(size) - (size - 1) / 2) / (size * _SIGMA)
    own = np.exp(-0.5 * away**2) if weights == "gaussian" else np.ones(size)
    begin = max(-starts[0], 0)  # a window that is larger than the volume is the only one
    so_far = np.zeros(max(length, size))
    tables = np.empty((len(starts), 4, size))
    for table, start in zip(tables, starts, strict=True):
        part = slice(start + begin, start + begin + size)
        table[:3] = own, so_far[part], so_far[part] + own
        so_far[part] += own
    for table, start in zip(tables, starts, strict=True):
        table[3] = so_far[start + begin : start + begin + size]
    return tables.astype(np.float32)
