"""Dilation and erosion of every plane for itself: all steps of one plane while it lies in the nearest cache.

The result is that of `hilum._kernels.bitmask.morphology.dilate` and `erode` with rods that have no reach along z. Those
work through whole volumes; a plane of bits is smaller than what one of their calls costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hilum._kernels.bitmask.bits import tail_mask
from hilum._kernels.bitmask.morphology import widen
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum._kernels.bitmask.bits import Bits

    Step = tuple[Literal["dilate", "erode"], NDArray[np.int64]]


@kernel()
def _rows(plane: Any, bounds: Any) -> None:
    """The first row that holds a voxel, and one past the last; both 0 where there is none."""
    low, high = 0, plane.shape[0]
    while low < high and not _any(plane[low]):
        low += 1
    while high > low and not _any(plane[high - 1]):
        high -= 1
    bounds[0], bounds[1] = low, high


@kernel()
def _any(row: Any) -> Any:
    every = np.uint64(0)
    for word in row:
        every |= word
    return every != np.uint64(0)


@kernel()
def _step(flat: Any, rods: Any, wide: Any, room: Any, nw: Any, rows: Any, flip: Any, last: Any) -> None:
    """Dilate the rows `rows` of a plane, given as one row of words, in place; with `flip` erode them."""
    low, high = rows
    length = (high - low) * nw
    source, spare = wide[:length], room[:length]
    for k in range(length):
        source[k] = flat[low * nw + k] ^ flip
        flat[low * nw + k] = np.uint64(0)
    for k in range(nw - 1, length, nw):
        source[k] &= last
    reached = 0
    for i in range(rods.shape[0]):
        dy, half = rods[i, 1], rods[i, 2]
        if half > reached:
            widen(source, half - reached, last, spare, nw)
            reached = half
        first, end = max(low, low + dy), min(high, high + dy)
        target = flat[(first - dy) * nw : (end - dy) * nw]
        moved = source[(first - low) * nw : (end - low) * nw]
        for k in range(target.size):
            target[k] |= moved[k]
    for k in range(low * nw, high * nw):
        flat[k] ^= flip
    for k in range(low * nw + nw - 1, high * nw, nw):
        flat[k] &= last


@kernel()
def _planes(
    bits: Any, out: Any, rods: Any, steps: Any, wide: Any, room: Any, bounds: Any, last: Any, start: int, stop: int
) -> None:
    """Do all steps, each (first rod, one past the last, reach, whether to erode), to the planes ``start:stop``."""
    ny, nw = bits.shape[1], bits.shape[2]
    for z in range(start, stop):
        _rows(bits[z], bounds)
        low, high = bounds[0], bounds[1]
        flat = out[z]
        for y in range(low, high):
            for j in range(nw):
                flat[y * nw + j] = bits[z, y, j]
        for i in range(steps.shape[0]):
            if low == high:
                break
            reach = steps[i, 2]
            # An erosion sees what is not set as far as the rods reach; beyond the plane there is nothing of that.
            first, end = max(0, low - reach), min(ny, high + reach)
            flip = ~np.uint64(0) if steps[i, 3] else np.uint64(0)
            _step(flat, rods[steps[i, 0] : steps[i, 1]], wide, room, nw, (first, end), flip, last)
            if not steps[i, 3]:
                low, high = first, end


def change(bits: Bits, nx: int, steps: Sequence[Step], *, workers: int = 0) -> Bits:
    """Dilate and erode every plane, step after step.

    Parameters
    ----------
    bits : ndarray of uint64, shape (z, y, ceil(x / 64))
    nx : int
        Length of a row, in voxels.
    steps : sequence of ("dilate" or "erode", ndarray of int64, shape (n, 3))
        What is done, and the rods it is done with, as `morphology.ellipsoid` gives them; all with dz = 0. Outside the
        plane there is nothing for a dilation, and all is set for an erosion.
    workers : int

    Returns
    -------
    ndarray of uint64
    """
    nz, ny, nw = bits.shape
    ends = np.cumsum([0, *(len(rods) for _, rods in steps)])
    every = np.concatenate([rods for _, rods in steps])
    told = np.array([
        (first, end, np.abs(rods[:, 1]).max(initial=0), kind == "erode")
        for first, end, (kind, rods) in zip(ends[:-1], ends[1:], steps, strict=True)
    ])  # fmt: skip
    out = np.zeros((nz, ny * nw), np.uint64)
    bits = np.ascontiguousarray(bits)

    def work(start: int, stop: int) -> None:
        wide, room = np.empty((2, ny * nw), np.uint64)
        _planes(bits, out, every, told, wide, room, np.empty(2, np.int64), tail_mask(nx), start, stop)

    run_slabs(work, nz, workers=workers)
    return out.reshape(bits.shape)
