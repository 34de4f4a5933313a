"""Patches of a volume, turned about one of the axes and zoomed, by linear interpolation: two and four voxels a place.

The steps of `hilum._kernels.turning`, without its filter and the margin that the filter wants: one voxel
round the two, for a place that is rounded up to the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import kernel
from hilum._kernels.transpose import turn_over
from hilum._kernels.turning import LANES, find_spans, lay, settle

BEFORE, AFTER = 1, 3
"""As in `hilum._kernels.turning`."""

_FAST = frozenset({"contract"})
_U = np.uint64
_LANES = np.uint64(LANES)


@kernel(fastmath=_FAST)
def _between(work: Any, row: Any, pitch: Any, w: Any, at: Any, wide: Any, out: Any, to: Any) -> None:
    """``out[to + i]`` from two rows, `pitch` apart."""
    w0, w1 = w[at, _U(0)], w[at, _U(1)]
    for i in range(wide):
        out[to + i] = w0 * np.float32(work[row + i]) + w1 * np.float32(work[row + pitch + i])


@kernel(fastmath=_FAST)
def _planes(
    src: Any, base: Any, strides: Any, counts: Any, line: Any, spans: Any, taps: Any, tile: Any, sums: Any,
    values: Any,
) -> None:  # fmt: skip
    """Values across the axis, interpolated along it."""
    sa, sb, sc = _U(strides[0]), _U(strides[1]), _U(strides[2])
    na, nb, nc = _U(counts[0]), _U(counts[1]), _U(counts[2])
    place, step, count = line
    first, weights = taps
    for j in range(count):
        at = place + step * j
        first[j] = np.int64(np.floor(at))
        weights[j, 1] = np.float32(at - np.floor(at))
        weights[j, 0] = np.float32(1) - weights[j, 1]
    lanes = _U(count)
    for b in range(_U(0), nb):
        start, stop = _U(spans[b, 0]), _U(spans[b, 1])
        if start >= stop:
            continue
        wide = stop - start
        even = (wide + _U(15)) // _U(16) * _U(16)  # whole vectors; what is in the others, nobody reads
        at = base + b * sb + start * sc
        if sc == _U(1):
            for j in range(lanes):
                _between(src, at + _U(first[j]) * sa, sa, weights, j, wide, sums, j * even)
        else:
            turn_over(src, at, sc, tile, _U(0), even, wide, na)
            for j in range(lanes):
                _between(tile, _U(first[j]) * even, even, weights, j, even, sums, j * even)
        turn_over(sums, _U(0), even, values, (b * nc + start) * _LANES, _LANES, lanes, wide)


@kernel()
def _places(plane: Any, j: Any, pitch: Any, at: Any, w: Any) -> None:
    """For every place of row `j` of the patch the first of its four voxels, and where between them it lies."""
    (bj, bk, b0, cj, ck, c0), _, wide = plane
    for k in range(wide):
        b = bj * j + bk * k + b0
        c = cj * j + ck * k + c0
        ib, ic = np.floor(b), np.floor(c)
        at[k] = np.int64(ib) * pitch + np.int64(ic) * LANES
        w[k, 0], w[k, 1] = np.float32(b - ib), np.float32(c - ic)


@kernel(fastmath=_FAST)
def _four(c: Any, at: Any, pitch: Any, w: Any, k: Any, out: Any, to: Any) -> None:
    """A row of lanes from two times two."""
    u, v = w[k, _U(0)], w[k, _U(1)]
    below = at + pitch
    for i in range(_LANES):
        here = c[at + i] + v * (c[at + _LANES + i] - c[at + i])
        there = c[below + i] + v * (c[below + _LANES + i] - c[below + i])
        out[to + i] = here + u * (there - here)


@kernel(fastmath=_FAST)
def turn_linear(
    src: Any, base: Any, strides: Any, counts: Any, line: Any, plane: Any, finish: Any, room: Any,
    out: Any, to: Any, out_strides: Any,
) -> None:  # fmt: skip
    """What `hilum._kernels.turning.turn` does, with the same arguments, linearly."""
    spans, taps, tile, sums, values, row, places, weights = room
    find_spans(plane, counts, BEFORE, AFTER, spans)
    _planes(src, _U(base), strides, counts, line, spans, taps, tile, sums, values)
    high, wide = _U(plane[1]), _U(plane[2])
    oa, ob, oc = _U(out_strides[0]), _U(out_strides[1]), _U(out_strides[2])
    pitch = _U(counts[2]) * _LANES
    for j in range(_U(0), high):
        _places(plane, np.float64(j), np.int64(pitch), places, weights)
        for k in range(_U(0), wide):
            _four(values, _U(places[k]), pitch, weights, k, row, k * _LANES)
        settle(row, wide * _LANES, finish)
        lay(row, wide, _U(line[2]), out, _U(to) + j * ob, oa, oc)
