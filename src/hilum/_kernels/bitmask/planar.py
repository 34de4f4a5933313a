"""Dilations and erosions of each plane on its own: all steps of one plane run while it lies in the nearest cache.

The result is that of `hilum._kernels.bitmask.morphology.dilate` and `erode` with a structuring element that is flat
along z. Those two work on whole volumes, and one call of them takes longer than all steps of a plane here.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.bitmask.morphology import widen
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

Step = tuple[Literal["dilate", "erode"], NDArray[np.int64]]


@kernel()
def _rows(plane: Any, bounds: Any) -> None:
    """Find the first row that holds a voxel, and one past the last; both are equal where there is none."""
    low, high = 0, plane.shape[0]
    while low < high and not _any(plane[low]):
        low += 1
    while high > low and not _any(plane[high - 1]):
        high -= 1
    bounds[0], bounds[1] = low, high


@kernel()
def _any(row: Any) -> Any:
    union = np.uint64(0)
    for word in row:
        union |= word
    return union != np.uint64(0)


@kernel()
def _step(flat: Any, element: Any, wide: Any, spare: Any, nw: Any, rows: Any, flip: Any, tail: Any) -> None:
    """Dilate some `rows` of a plane, one flat row of words, in place; erode them if `flip` is all ones."""
    low, high = rows
    length = (high - low) * nw
    source, scratch = wide[:length], spare[:length]
    for k in range(length):
        source[k] = flat[low * nw + k] ^ flip
        flat[low * nw + k] = np.uint64(0)
    for k in range(nw - 1, length, nw):
        source[k] &= tail
    widened = 0
    for i in range(element.shape[0]):
        dy, half = element[i, 1], element[i, 2]
        if half > widened:
            widen(source, half - widened, tail, scratch, nw)
            widened = half
        first, end = max(low, low + dy), min(high, high + dy)
        target = flat[(first - dy) * nw : (end - dy) * nw]
        moved = source[(first - low) * nw : (end - low) * nw]
        for k in range(target.size):
            target[k] |= moved[k]
    for k in range(low * nw, high * nw):
        flat[k] ^= flip
    for k in range(low * nw + nw - 1, high * nw, nw):
        flat[k] &= tail


@kernel()
def _planes(
    words: Any, out: Any, elements: Any, steps: Any, wide: Any, spare: Any, bounds: Any, tail: Any, start: int,
    stop: int,
) -> None:  # fmt: skip
    """Apply all steps to the planes ``start:stop``.

    A step is (first row of its element in `elements`, one past the last, largest dy, whether to erode).
    """
    ny, nw = words.shape[1], words.shape[2]
    for z in range(start, stop):
        _rows(words[z], bounds)
        low, high = bounds[0], bounds[1]
        flat = out[z]
        for y in range(low, high):
            for j in range(nw):
                flat[y * nw + j] = words[z, y, j]
        for i in range(steps.shape[0]):
            if low == high:
                break
            # A dilation sets no rows farther away. To an erosion rows beyond them are empty; beyond the plane is set.
            first, end = max(0, low - steps[i, 2]), min(ny, high + steps[i, 2])
            flip = ~np.uint64(0) if steps[i, 3] else np.uint64(0)
            _step(flat, elements[steps[i, 0] : steps[i, 1]], wide, spare, nw, (first, end), flip, tail)
            if not steps[i, 3]:
                low, high = first, end


def apply_steps(mask: BitMask, steps: Sequence[Step], *, workers: int = 1) -> BitMask:
    """Dilate and erode every plane, step after step.

    Parameters
    ----------
    mask : BitMask
        The voxels to start from.
    steps : sequence of ("dilate" or "erode", ndarray of int64, shape (n, 3))
        Each with its structuring element, as `morphology.ellipsoid` makes it, flat along z. Outside the plane nothing
        is set for a dilation, and everything for an erosion.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    BitMask
    """
    nz, ny, nw = mask.words.shape
    ends = np.cumsum([0, *(len(element) for _, element in steps)])
    elements = np.concatenate([element for _, element in steps])
    table = np.array([
        (first, end, np.abs(element[:, 1]).max(initial=0), kind == "erode")
        for first, end, (kind, element) in zip(ends[:-1], ends[1:], steps, strict=True)
    ])  # fmt: skip
    out = BitMask.empty(mask.shape)
    flat, words = out.words.reshape(nz, ny * nw), np.ascontiguousarray(mask.words)

    def work(start: int, stop: int) -> None:
        wide, spare = np.empty((2, ny * nw), np.uint64)
        _planes(words, flat, elements, table, wide, spare, np.empty(2, np.int64), mask.tail, start, stop)

    run_slabs(work, nz, workers=workers)
    return out
