"""Patches rotated about one axis of a volume and zoomed, sampled by linear interpolation.

The steps are those of `hilum._kernels.patches.rotate`, without the filter and its margin, with two voxels along the
axis and four across it. One more voxel on each side serves positions that rounding moves to the next voxel.
"""

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.patches.positions import (
    find_spans,
    lanes_of,
    locate_across,
    locate_along,
    value_range,
    write_row,
)
from hilum._kernels.resample.weighted_sums import weighted_sums
from hilum._kernels.simd.transpose import BLOCK, transpose

BEFORE, AFTER = 1, 3  # as in `hilum._kernels.patches.rotate`

_U = np.uint64


@kernel(contract=True)
def _planes(
    src: Any, base: Any, strides: Any, counts: Any, axis: Any, spans: Any, taps: Any, tile: Any, values: Any,
    vectors: Any,
) -> None:  # fmt: skip
    """Interpolate along the axis."""
    sa, sb, sc = _U(strides[0]), _U(strides[1]), _U(strides[2])
    na, nb, nc = _U(counts[0]), _U(counts[1]), _U(counts[2])
    first, weights = taps
    lanes = lanes_of(vectors)
    locate_along(axis, 0, first, weights[1], vectors)
    for j in range(lanes):
        weights[0, j] = np.float32(1) - weights[1, j]
    for b in range(_U(0), nb):
        start, stop = _U(spans[b, 0]), _U(spans[b, 1])
        if start >= stop:
            continue
        wide = stop - start
        at, to = base + b * sb + start * sc, (b * nc + start) * lanes
        under = at + sb * _U(b + _U(1) < nb)
        if sc == _U(1):
            ahead = (src, under, sa, na, wide)
            weighted_sums(src, at, sa, first, weights, (0, 1), values, to, lanes, lanes, wide, ahead)
        else:
            ahead = (src, under, sc, wide, na)
            even = (wide + _U(15)) // _U(16) * _U(16)  # rows begin with a cache line
            transpose(src, at, sc, tile, _U(0), even, wide, na)
            weighted_sums(tile, _U(0), even, first, weights, (0, 1), values, to, lanes, lanes, wide, ahead)


@kernel(contract=True)
def _sum_four(c: Any, at: Any, row_stride: Any, w: Any, k: Any, ends: Any, out: Any, to: Any, vectors: Any) -> None:
    """Interpolate a row of lanes between two by two rows, scale it and clip it."""
    factor, offset, low, high, less = ends
    u, v = w[_U(0), k], w[_U(1), k]
    below, lanes = at + row_stride, lanes_of(vectors)
    for i in range(lanes):
        here = c[at + i] + v * (c[at + lanes + i] - c[at + i])
        there = c[below + i] + v * (c[below + lanes + i] - c[below + i])
        r = here + u * (there - here)
        out[to + i] = min(max(r * factor - offset, low), high) - less


@kernel(contract=True)
def rotate_linear(
    src: Any, base: Any, strides: Any, counts: Any, axis: Any, plane: Any, finish: Any, buffers: Any,
    out: Any, to: Any, out_strides: Any, vectors: Any,
) -> None:  # fmt: skip
    """Do linearly, with the same arguments, what `hilum._kernels.patches.rotate.rotate_cubic` does."""
    spans, taps, tile, _, values, row, starts, weights = buffers
    lanes = lanes_of(vectors)
    find_spans(plane, counts, BEFORE, AFTER, BLOCK, spans)
    _planes(src, _U(base), strides, counts, axis, spans, taps, tile, values, vectors)
    high, wide = _U(plane[1]), _U(plane[2])
    oa, ob, oc = _U(out_strides[0]), _U(out_strides[1]), _U(out_strides[2])
    row_stride, ends = _U(counts[2]) * lanes, value_range(finish)
    for j in range(_U(0), high):
        locate_across(plane, np.float64(j), 0, np.int64(row_stride), starts, weights[_U(0)], weights[_U(1)], vectors)
        for k in range(_U(0), wide):
            _sum_four(values, _U(starts[k]), row_stride, weights, k, ends, row, k * lanes, vectors)
        write_row(row, wide, _U(axis[2]), finish[0], out, _U(to) + j * ob, oa, oc, vectors)
