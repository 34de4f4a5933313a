"""Patches of a volume, turned about one of the axes and zoomed, by linear interpolation: two and four voxels a place.

The steps of `hilum._kernels.patches.rotate`, without its filter and the margin that the filter wants: one voxel
round the two, for a place that is rounded up to the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.patches.rotate import ends_of, find_spans, lay, settle
from hilum._kernels.resample.recursive_filter import LANES
from hilum._kernels.resample.weighted_sums import weigh
from hilum._kernels.simd.transpose import BLOCK, turn_over

BEFORE, AFTER = 1, 3
"""As in `hilum._kernels.patches.rotate`."""

_FAST = frozenset({"contract"})
_U = np.uint64
_LANES = np.uint64(LANES)


@kernel(fastmath=_FAST)
def _planes(
    src: Any, base: Any, strides: Any, counts: Any, line: Any, spans: Any, taps: Any, tile: Any, values: Any
) -> None:  # fmt: skip
    """Values across the axis, interpolated along it."""
    sa, sb, sc = _U(strides[0]), _U(strides[1]), _U(strides[2])
    na, nb, nc = _U(counts[0]), _U(counts[1]), _U(counts[2])
    place, step, count = line
    first, weights = taps
    for j in range(LANES):
        at = place + step * min(j, count - 1)
        first[j] = np.int64(np.floor(at))
        weights[1, j] = np.float32(at - np.floor(at))
        weights[0, j] = np.float32(1) - weights[1, j]
    for b in range(_U(0), nb):
        start, stop = _U(spans[b, 0]), _U(spans[b, 1])
        if start >= stop:
            continue
        wide = stop - start
        at, to = base + b * sb + start * sc, (b * nc + start) * _LANES
        under = at + sb * _U(b + _U(1) < nb)
        if sc == _U(1):
            ahead = (src, under, sa, na, wide)
            weigh(src, at, sa, first, weights, (0, 1), values, to, _LANES, _LANES, wide, ahead)
        else:
            ahead = (src, under, sc, wide, na)
            even = (wide + _U(15)) // _U(16) * _U(16)  # rows begin with a cache line
            turn_over(src, at, sc, tile, _U(0), even, wide, na)
            weigh(tile, _U(0), even, first, weights, (0, 1), values, to, _LANES, _LANES, wide, ahead)


@kernel()
def _places(plane: Any, j: Any, pitch: Any, at: Any, w: Any) -> None:
    """For every place of row `j` of the patch the first of its four voxels, and where between them it lies."""
    (bj, bk, b0, cj, ck, c0), _, wide = plane
    for k in range(_U(wide)):
        b = bj * j + (bk * np.float64(k) + b0)
        c = cj * j + (ck * np.float64(k) + c0)
        ib, ic = np.floor(b), np.floor(c)
        at[k] = np.int64(ib) * pitch + np.int64(ic) * LANES
        w[_U(0), k], w[_U(1), k] = np.float32(b - ib), np.float32(c - ic)


@kernel(fastmath=_FAST)
def _four(c: Any, at: Any, pitch: Any, w: Any, k: Any, ends: Any, out: Any, to: Any) -> None:
    """A row of lanes from two times two, brought to its range."""
    factor, offset, low, high, less = ends
    u, v = w[_U(0), k], w[_U(1), k]
    below = at + pitch
    for i in range(_LANES):
        here = c[at + i] + v * (c[at + _LANES + i] - c[at + i])
        there = c[below + i] + v * (c[below + _LANES + i] - c[below + i])
        r = here + u * (there - here)
        out[to + i] = min(max(r * factor - offset, low), high) - less


@kernel(fastmath=_FAST)
def turn_linear(
    src: Any, base: Any, strides: Any, counts: Any, line: Any, plane: Any, finish: Any, room: Any,
    out: Any, to: Any, out_strides: Any,
) -> None:  # fmt: skip
    """What `hilum._kernels.patches.rotate.turn` does, with the same arguments, linearly."""
    spans, taps, tile, _, values, row, places, weights = room
    find_spans(plane, counts, BEFORE, AFTER, BLOCK, spans)
    _planes(src, _U(base), strides, counts, line, spans, taps, tile, values)
    high, wide = _U(plane[1]), _U(plane[2])
    oa, ob, oc = _U(out_strides[0]), _U(out_strides[1]), _U(out_strides[2])
    pitch, ends = _U(counts[2]) * _LANES, ends_of(finish)
    for j in range(_U(0), high):
        _places(plane, np.float64(j), np.int64(pitch), places, weights)
        for k in range(_U(0), wide):
            _four(values, _U(places[k]), pitch, weights, k, ends, row, k * _LANES)
        settle(row, wide * _LANES, finish[0])
        lay(row, wide, _U(line[2]), out, _U(to) + j * ob, oa, oc)
