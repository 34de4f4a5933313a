"""Components chosen, painted and filled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hilum._kernels.bitmask.bits import complement
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.components.labeling import at_side, find_components, sizes_by_plane
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.bits import Bits, Shape
    from hilum._kernels.components.labeling import Runs


Name = TypeVar("Name", np.uint8, np.int32)


@kernel()
def _keep_largest(sizes: Any, planes: Any, keep: int, wanted: Any) -> None:
    """Components come plane by plane; ties go to the first for keep 1, and are all kept for keep 2."""
    begin = 0
    while begin < sizes.size:
        end, best, second = begin, begin, 0
        while end < sizes.size and planes[end] == planes[begin]:
            if sizes[end] > sizes[best]:
                second = sizes[best]
                best = end
            elif end != best:
                second = max(second, sizes[end])
            end += 1
        if keep == 1:
            wanted[best] = True
        else:
            for i in range(begin, end):
                wanted[i] = sizes[i] >= second
        begin = end


@kernel()
def _set_runs(first: Any, start: Any, stop: Any, component: Any, wanted: Any, bits: Any, begin: int, end: int) -> None:
    every = ~np.uint64(0)
    for row in range(begin, end):
        for run in range(first[row], first[row + 1]):
            if not wanted[component[run]]:
                continue
            a, b = start[run], stop[run] - 1
            low, high = a >> 6, b >> 6
            head = every << np.uint64(a & 63)
            tail = every >> np.uint64(63 - (b & 63))
            if low == high:
                bits[row, low] |= head & tail
                continue
            bits[row, low] |= head
            for j in range(low + 1, high):
                bits[row, j] = every
            bits[row, high] |= tail


def select(runs: Runs, wanted: NDArray[np.bool_], *, workers: int = 0) -> Bits:
    """The voxels of some components, as a set.

    Parameters
    ----------
    runs : Runs
    wanted : ndarray of bool, shape (number,)
    workers : int

    Returns
    -------
    ndarray of uint64, shape (z, y, ceil(x / 64))
    """
    nz, ny, nx = runs.shape
    bits = np.zeros((nz * ny, (nx + 63) // 64), np.uint64)
    parts = (runs.first, runs.start, runs.stop, runs.component)
    run_slabs(lambda a, b: _set_runs(*parts, wanted, bits, a * ny, b * ny), nz, workers=workers)
    return bits.reshape(nz, ny, -1)


def largest_by_plane(runs: Runs, *, keep: int, among: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Which components are the largest of their plane.

    Parameters
    ----------
    runs : Runs
        Found with ``planes=True``.
    keep : int
        1 for the largest, of several the first in raster order; 2 for the two largest, and others as large as the
        second.
    among : ndarray of bool, shape (number,), optional
        Those that count.

    Returns
    -------
    ndarray of bool, shape (number,)
    """
    counts, planes = sizes_by_plane(runs)
    wanted = np.zeros(runs.number, np.bool_)
    _keep_largest(counts if among is None else counts * among, planes, keep, wanted)
    return wanted if among is None else wanted & among


def label_image(runs: Runs, *, only: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """The component of each voxel, from 1; 0 where there is none. Shape (z, y, x).

    With `only`, of shape (number,), those components alone count, and are numbered without gaps.
    """
    names = np.arange(1, runs.number + 1) if only is None else np.cumsum(only) * only
    return named_image(runs, names.astype(np.int32))


def fill_planes(bits: Bits, shape: Shape, *, workers: int = 0) -> Bits:
    """The set with the holes of each plane filled: what no path over faces joins to the border of the plane.

    Parameters
    ----------
    bits : ndarray of uint64, shape (z, y, ceil(x / 64))
    shape : tuple of int, (z, y, x)
    workers : int

    Returns
    -------
    ndarray of uint64
    """
    outside = find_components(complement(bits, shape[2]), shape, corners=False, planes=True, workers=workers)
    return bits | select(outside, ~at_side(outside), workers=workers)


@kernel()
def _set_names(first: Any, start: Any, stop: Any, component: Any, names: Any, out: Any) -> None:
    for row in range(out.shape[0]):
        for run in range(first[row], first[row + 1]):
            out[row, start[run] : stop[run]] = names[component[run]]


def named_image(runs: Runs, names: NDArray[Name]) -> NDArray[Name]:
    """The name of each component painted on its cells, shape (z, y, x); `names` has one a component."""
    out = np.zeros((runs.first.size - 1, runs.shape[2]), names.dtype)
    _set_names(runs.first, runs.start, runs.stop, runs.component, names, out)
    return out.reshape(runs.shape)
