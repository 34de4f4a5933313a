"""Patches of a volume for training: cut and scaled in one pass, and the labels of turned ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import kernel
from hilum._kernels.prefetch import fetch_flat

_U = np.uint64
_AHEAD = 12
"""Rows of labels asked for before they are looked at."""


@kernel()
def cut_scaled(src: Any, start: Any, out: Any, lower: Any, width: Any, mean: Any) -> None:
    """Copy the box that starts at a voxel; `lower` becomes 0, and what is `width` above 1, less `mean`."""
    low, wide, less = np.float32(lower), np.float32(width), np.float32(mean)
    zero, one = np.float32(0), np.float32(1)
    z0, y0, x0 = _U(start[0]), _U(start[1]), _U(start[2])
    for z in range(_U(0), _U(out.shape[0])):
        for y in range(_U(0), _U(out.shape[1])):
            for x in range(_U(0), _U(out.shape[2])):
                v = (np.float32(src[z0 + z, y0 + y, x0 + x]) - low) / wide
                out[z, y, x] = min(max(v, zero), one) - less


@kernel()
def arrange(src: Any, base: Any, steps: Any, out: Any) -> None:
    """Copy a flat cube with its axes swapped and mirrored: so many voxels on for each step along the axes of `out`."""
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            at = base + z * steps[0] + y * steps[1]
            row = out[z, y]
            if steps[2] == 1:
                for x in range(out.shape[2]):
                    row[x] = src[_U(at) + _U(x)]
            else:
                for x in range(out.shape[2]):
                    row[x] = src[_U(at + x * steps[2])]


@kernel()
def arrange_scaled(src: Any, base: Any, steps: Any, out: Any, lower: Any, width: Any, mean: Any) -> None:
    """What `arrange` copies, brought to the range of `cut_scaled`."""
    low, wide, less = np.float32(lower), np.float32(width), np.float32(mean)
    zero, one = np.float32(0), np.float32(1)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            at = base + z * steps[0] + y * steps[1]
            row = out[z, y]
            for x in range(out.shape[2]):
                v = (np.float32(src[_U(at + x * steps[2])]) - low) / wide
                row[x] = min(max(v, zero), one) - less


@kernel()
def reach_of(words: Any, base: Any, strides: Any, counts: Any, reach: Any) -> None:
    """First and one past the last voxel (z, y, x) of a box between which labels may be; eight are looked at at once.

    Words that reach beyond the box are looked at whole, and of the volume's last voxels those that fill no word are
    taken for labels: what is found is never too little.
    """
    for axis in range(3):
        reach[axis, 0], reach[axis, 1] = counts[axis], 0
    total, eight = _U(words.size), _U(3)
    for z in range(counts[0]):
        for y in range(counts[1]):
            at = _U(base + z * strides[0] + y * strides[1])
            ahead = min((at + _U(_AHEAD * strides[1])) >> eight, total - _U(1))
            fetch_flat(words, ahead)
            fetch_flat(words, min(ahead + _U(8), total - _U(1)))
            first, last = at >> eight, ((at + _U(counts[2]) - _U(1)) >> eight) + _U(1)
            found = _U(last > total)
            for k in range(first, min(last, total)):
                found |= words[k]
            if not found:
                continue
            reach[0, 0], reach[0, 1] = min(reach[0, 0], z), max(reach[0, 1], z + 1)
            reach[1, 0], reach[1, 1] = min(reach[1, 0], y), max(reach[1, 1], y + 1)
            for word in range(first, last):
                if word >= total or words[word]:
                    start = np.int64(word << eight) - np.int64(at)
                    reach[2, 0] = min(reach[2, 0], max(start, 0))
                    reach[2, 1] = max(reach[2, 1], min(start + 8, counts[2]))


@kernel()
def turn_labels(src: Any, base: Any, strides: Any, reach: Any, lines: Any, offset: Any, part: Any, out: Any) -> None:
    """Take for every voxel of a part of a patch the nearest of a flat volume's box, where that is within `reach`.

    `lines` (z, y, x by the patch's z, y, x) and `offset`, which is half a voxel more, map the patch to the box.
    """
    z_first, z_last, y_first, y_last = reach[0, 0], reach[0, 1], reach[1, 0], reach[1, 1]
    x_first, x_last = reach[2, 0], reach[2, 1]
    (zz, zy, zx), (yz, yy, yx), (xz, xy, xx) = lines
    (i_first, i_last), (j_first, j_last), (k_first, k_last) = part
    for i in range(i_first, i_last):
        for j in range(j_first, j_last):
            z0, y0, x0 = zz * i + zy * j + offset[0], yz * i + yy * j + offset[1], xz * i + xy * j + offset[2]
            row = out[i, j]
            for k in range(k_first, k_last):
                z, y, x = int(np.floor(z0 + zx * k)), int(np.floor(y0 + yx * k)), int(np.floor(x0 + xx * k))
                if z_first <= z < z_last and y_first <= y < y_last and x_first <= x < x_last:
                    row[k] = src[base + z * strides[0] + y * strides[1] + x]
