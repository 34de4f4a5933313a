"""Patches of a volume for training: cropped, or with swapped and mirrored axes, and scaled in the same pass."""

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.simd.transpose import transpose

_U = np.uint64


@kernel()
def crop_scaled(src: Any, start: Any, out: Any, lower: Any, width: Any, mean: Any) -> None:
    """Copy the box from voxel `start` on; map `lower` to 0 and `lower` + `width` to 1, clip, and subtract `mean`."""
    low, wide, less = np.float32(lower), np.float32(width), np.float32(mean)
    zero, one = np.float32(0), np.float32(1)
    z0, y0, x0 = _U(start[0]), _U(start[1]), _U(start[2])
    for z in range(_U(0), _U(out.shape[0])):
        for y in range(_U(0), _U(out.shape[1])):
            for x in range(_U(0), _U(out.shape[2])):
                v = (np.float32(src[z0 + z, y0 + y, x0 + x]) - low) / wide
                out[z, y, x] = min(max(v, zero), one) - less


@kernel()
def _copy_row(src: Any, at: Any, forth: Any, out: Any, to: Any, size: Any) -> None:
    """Copy a row, forward or mirrored."""
    if forth:
        for x in range(size):
            out[to + x] = src[at + x]
    else:
        for x in range(size):
            out[to + x] = src[at - x]


@kernel()
def permute_axes(src: Any, base: Any, steps: Any, out: Any, size: Any, finish: Any) -> None:
    """Copy a flat box with swapped and mirrored axes; in mode 1 also scale it as `crop_scaled` does.

    `steps` are the strides in `src`, negative for mirrored axes, of the axes of `out`, a flat int16 or float32 array of
    `size` voxels.
    """
    rows, n, along, across = _U(size[1]), _U(size[2]), steps[2], _U(steps[2])
    mode, lower, width, mean = finish
    low, wide, less = np.float32(lower), np.float32(width), np.float32(mean)
    for z in range(_U(size[0])):
        at, to = _U(base) + z * _U(steps[0]), z * rows * n
        if abs(steps[1]) == 1 and abs(along) != 1:
            # Rows of the patch are columns of the volume. A mirrored axis is read forward, into the last row first.
            forth = steps[1] == 1
            first, last = (at, to) if forth else (at - (rows - _U(1)), to + (rows - _U(1)) * n)
            transpose(src, first, across, out, last, n if forth else _U(0) - n, n, rows)
        else:
            for y in range(rows):
                row = at + y * _U(steps[1])
                if abs(along) == 1:
                    _copy_row(src, row, along == 1, out, to + y * n, n)
                else:
                    for x in range(n):
                        out[to + y * n + x] = src[row + x * across]
        if mode == 1:
            for i in range(to, to + rows * n):
                out[i] = min(max((np.float32(out[i]) - low) / wide, np.float32(0)), np.float32(1)) - less
