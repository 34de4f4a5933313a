"""Select components, write them into arrays, and fill the holes between them."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.components.labeling import Runs, find_components, sizes, touching_sides
from hilum._kernels.threads import run_slabs

Value = TypeVar("Value", np.uint8, np.int32)


@kernel()
def _keep_largest(runs: Any, ny: int, sizes: Any, keep: int, wanted: Any) -> None:
    """Components are ordered by plane. Of several as large, `keep` 1 keeps the first, and `keep` 2 keeps all."""
    first, component, begin = runs[0], runs[3], 0
    for row in range(0, first.size - 1, ny):
        end, best, second = begin, begin, 0
        for run in range(first[row], first[row + ny]):
            end = max(end, component[run] + 1)
        for i in range(begin + 1, end):
            if sizes[i] > sizes[best]:
                second = sizes[best]
                best = i
            else:
                second = max(second, sizes[i])
        if keep == 1 and begin < end:
            wanted[best] = True
        elif keep != 1:
            for i in range(begin, end):
                wanted[i] = sizes[i] >= second
        begin = end


@kernel()
def _set_runs(runs: Any, wanted: Any, words: Any, begin: int, end: int) -> None:
    first, start, stop, component = runs
    ones = ~np.uint64(0)
    for row in range(begin, end):
        for run in range(first[row], first[row + 1]):
            if not wanted[component[run]]:
                continue
            a, b = start[run], stop[run] - 1
            low, high = a >> 6, b >> 6
            head = ones << np.uint64(a & 63)
            tail = ones >> np.uint64(63 - (b & 63))
            if low == high:
                words[row, low] |= head & tail
                continue
            words[row, low] |= head
            for j in range(low + 1, high):
                words[row, j] = ones
            words[row, high] |= tail


def select(runs: Runs, wanted: NDArray[np.bool_], *, workers: int = 1) -> BitMask:
    """Make a bit mask of some components.

    Parameters
    ----------
    runs : Runs
        The components, as `hilum._kernels.components.labeling.find_components` returns them.
    wanted : ndarray of bool, shape (number,)
        Which components to take, by their number.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    BitMask
    """
    nz, ny, _ = runs.shape
    mask = BitMask.empty(runs.shape)
    words = mask.words.reshape(nz * ny, -1)
    run_slabs(lambda a, b: _set_runs(runs.arrays, wanted, words, a * ny, b * ny), nz, workers=workers)
    return mask


def largest_by_plane(runs: Runs, *, keep: int, among: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Find the largest components of each plane.

    Parameters
    ----------
    runs : Runs
        Found with ``planes=True``.
    keep : int
        1 for the largest (of several, the first in raster order); 2 for the two largest and all others as large as
        the second.
    among : ndarray of bool, shape (number,), optional
        The components to consider.

    Returns
    -------
    ndarray of bool, shape (number,)
    """
    wanted, counts = np.zeros(runs.number, np.bool_), sizes(runs)
    _keep_largest(runs.arrays, runs.shape[1], counts if among is None else counts * among, keep, wanted)
    return wanted if among is None else wanted & among


def label_image(runs: Runs, *, only: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """Number the voxels of each component from 1; 0 elsewhere. Shape (z, y, x).

    With `only`, of shape (number,), just these components are numbered, without gaps.
    """
    numbers = np.arange(1, runs.number + 1) if only is None else np.cumsum(only) * only
    return value_image(runs, numbers.astype(np.int32))


def fill_planes(mask: BitMask, *, workers: int = 1) -> BitMask:
    """Fill the holes of each plane: the voxels that no path over faces connects to the border of the plane."""
    outside = find_components(~mask, corners=False, planes=True, workers=workers)
    return mask | select(outside, ~touching_sides(outside), workers=workers)


@kernel()
def _set_values(runs: Any, values: Any, out: Any) -> None:
    first, start, stop, component = runs
    for row in range(out.shape[0]):
        for run in range(first[row], first[row + 1]):
            out[row, start[run] : stop[run]] = values[component[run]]


def value_image(runs: Runs, values: NDArray[Value]) -> NDArray[Value]:
    """Write the value of each component to its voxels; shape (z, y, x), 0 elsewhere."""
    out = np.zeros((runs.first.size - 1, runs.shape[2]), values.dtype)
    _set_values(runs.arrays, values, out)
    return out.reshape(runs.shape)
