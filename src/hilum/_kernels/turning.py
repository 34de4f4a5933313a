"""Patches of a volume, turned about one of the axes and zoomed, by one cubic B-spline.

Such a patch needs no 64 coefficients a voxel: along that axis lines stay lines (four), and every plane across it is
turned alike (sixteen, whose places and weights all planes share).

1. Planes that hold the axis and one other, one after the other: the spline's filter runs along the axis, and the
   outputs' weighted sums are taken at once. They are turned over, so that from here on the `LANES` outputs along the
   axis lie side by side: every inner loop has their fixed number, and neither gathers nor remainders.
2. The filter runs along the other two axes.
3. Each place across the axis is a weighted sum of sixteen rows of lanes, brought to its range before it is stored.

The box handed in reaches `MARGIN` voxels beyond the coefficients that are used; there the filter has forgotten how it
was begun.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import kernel
from hilum._kernels.transpose import turn_over

LANES = 64
"""Outputs along the axis that are done side by side."""

MARGIN = 6
"""Of a step of 4095 HU all round the box 0.13 HU are seen within; with one voxel less 0.49, with two less 1.8."""

BEFORE, AFTER = 1 + MARGIN, 3 + MARGIN
"""How many voxels a place wants before the one it lies in, and from that one on."""

_FAST = frozenset({"contract"})
_U = np.uint64
_LANES = np.uint64(LANES)
_W2, _W3 = (np.uint64(k * LANES) for k in (2, 3))

_POLE = np.float32(3.0**0.5 - 2.0)
_START = np.float32(1 / (3.0 - 3.0**0.5))
"""What a constant becomes in one run of the filter: 1 / (1 - pole)."""

_GAIN = (3.0 - 3.0**0.5) ** 2
"""Of both runs, which the weights make good."""


@kernel(fastmath=_FAST)
def _back(work: Any, row: Any, pitch: Any, count: Any, wide: Any) -> None:
    """The filter's second half: back over the rows that the first has run over."""
    p2, p3, p4 = pitch + pitch, pitch * _U(3), pitch * _U(4)
    row += (count - _U(1)) * pitch
    for i in range(wide):
        work[row + i] *= _START
    k = _U(1)
    while k + _U(4) <= count:
        row -= p4
        for i in range(wide):
            v = _POLE * work[row + p4 + i] + work[row + p3 + i]
            work[row + p3 + i] = v
            v = _POLE * v + work[row + p2 + i]
            work[row + p2 + i] = v
            v = _POLE * v + work[row + pitch + i]
            work[row + pitch + i] = v
            work[row + i] += _POLE * v
        k += _U(4)
    while k < count:
        row -= pitch
        for i in range(wide):
            work[row + i] += _POLE * work[row + pitch + i]
        k += _U(1)


@kernel(fastmath=_FAST)
def _load(src: Any, at: Any, stride: Any, count: Any, wide: Any, work: Any, pitch: Any) -> None:
    """The filter's first half over rows of a volume, `stride` apart, into the working rows."""
    p2, p3, p4 = pitch + pitch, pitch * _U(3), pitch * _U(4)
    for i in range(wide):
        work[i] = _START * np.float32(src[at + i])
    row, k = _U(0), _U(1)
    s2, s3 = stride + stride, stride * _U(3)
    while k + _U(4) <= count:
        at += stride
        for i in range(wide):
            v = _POLE * work[row + i] + np.float32(src[at + i])
            work[row + pitch + i] = v
            v = _POLE * v + np.float32(src[at + stride + i])
            work[row + p2 + i] = v
            v = _POLE * v + np.float32(src[at + s2 + i])
            work[row + p3 + i] = v
            work[row + p4 + i] = _POLE * v + np.float32(src[at + s3 + i])
        at += s3
        row += p4
        k += _U(4)
    while k < count:
        at += stride
        for i in range(wide):
            work[row + pitch + i] = _POLE * work[row + i] + np.float32(src[at + i])
        row += pitch
        k += _U(1)


@kernel(fastmath=_FAST)
def _filter(work: Any, row: Any, pitch: Any, count: Any, wide: Any) -> None:
    """Run the filter forth and back over `count` rows of `wide` values, `pitch` apart, from `row` on.

    Four rows are done in one go, for a row read costs more than the multiply-add it is read for.
    """
    p2, p3, p4 = pitch + pitch, pitch * _U(3), pitch * _U(4)
    start = row
    for i in range(wide):
        work[row + i] *= _START
    k = _U(1)
    while k + _U(4) <= count:
        for i in range(wide):
            v = _POLE * work[row + i] + work[row + pitch + i]
            work[row + pitch + i] = v
            v = _POLE * v + work[row + p2 + i]
            work[row + p2 + i] = v
            v = _POLE * v + work[row + p3 + i]
            work[row + p3 + i] = v
            work[row + p4 + i] += _POLE * v
        row += p4
        k += _U(4)
    while k < count:
        for i in range(wide):
            work[row + pitch + i] += _POLE * work[row + i]
        row += pitch
        k += _U(1)
    _back(work, start, pitch, count, wide)


@kernel(fastmath=_FAST)
def _weigh(work: Any, row: Any, pitch: Any, w: Any, at: Any, wide: Any, out: Any, to: Any) -> None:
    """``out[to + i]`` from four rows of `work`, `pitch` apart."""
    w0, w1, w2, w3 = w[at, _U(0)], w[at, _U(1)], w[at, _U(2)], w[at, _U(3)]
    p1, p2, p3 = pitch, pitch + pitch, pitch * _U(3)
    for i in range(wide):
        out[to + i] = w0 * work[row + i] + w1 * work[row + p1 + i] + w2 * work[row + p2 + i] + w3 * work[row + p3 + i]


@kernel()
def _weights(t: Any, w: Any, k: Any, at: Any) -> None:
    """The four weights of a place `t` beyond the second coefficient, the filter's gain made good."""
    s = 1.0 - t
    w[k, at] = np.float32(_GAIN * (s * s * s / 6.0))
    w[k, at + 1] = np.float32(_GAIN * (2.0 / 3.0 - t * t * (2.0 - t) / 2.0))
    w[k, at + 2] = np.float32(_GAIN * (2.0 / 3.0 - s * s * (2.0 - s) / 2.0))
    w[k, at + 3] = np.float32(_GAIN * (t * t * t / 6.0))


@kernel()
def _places(plane: Any, j: Any, pitch: Any, at: Any, w: Any) -> None:
    """For every place of row `j` of the patch its first coefficient and eight weights."""
    (bj, bk, b0, cj, ck, c0), _, wide = plane
    for k in range(wide):
        b = bj * j + bk * k + b0
        c = cj * j + ck * k + c0
        ib, ic = np.floor(b), np.floor(c)
        at[k] = (np.int64(ib) - 1) * pitch + (np.int64(ic) - 1) * LANES
        _weights(b - ib, w, k, 0)
        _weights(c - ic, w, k, 4)


@kernel()
def find_spans(plane: Any, counts: Any, before: Any, after: Any, spans: Any) -> None:
    """Which coefficients of each row of the plane are needed, as first and one past the last: a turned square.

    A place wants so many voxels before the one it lies in, and so many from that one on.
    """
    (bj, bk, b0, cj, ck, c0), high, wide = plane
    for b in range(counts[1]):
        spans[b, 0], spans[b, 1] = counts[2], 0
    for n in range(2 * (high + wide)):
        if n < 2 * wide:
            j, k = (n % 2) * (high - 1), n // 2
        else:
            j, k = (n - 2 * wide) // 2, (n % 2) * (wide - 1)
        b, c = int(np.floor(bj * j + bk * k + b0)), int(np.floor(cj * j + ck * k + c0))
        for row in range(max(b - before, 0), min(b + after, counts[1])):
            spans[row, 0] = min(spans[row, 0], max(c - before, 0))
            spans[row, 1] = max(spans[row, 1], min(c + after, counts[2]))


@kernel(fastmath=_FAST)
def _down(work: Any, row: Any, other: Any, span: Any, beside: Any) -> None:
    """Run the filter from one row of the plane to the next, which begins anew where the one did not reach."""
    first, last = _U(span[0]) * _LANES, _U(span[1]) * _LANES
    left = min(max(_U(beside[0]) * _LANES, first), last)
    right = max(min(_U(beside[1]) * _LANES, last), left)
    for i in range(first, left):
        work[row + i] *= _START
    for i in range(left, right):
        work[row + i] += _POLE * work[other + i]
    for i in range(right, last):
        work[row + i] *= _START


@kernel(fastmath=_FAST)
def _planes(
    src: Any, base: Any, strides: Any, counts: Any, line: Any, spans: Any, taps: Any, tile: Any, sums: Any,
    coefficients: Any,
) -> None:  # fmt: skip
    """Steps 1 and 2: coefficients across the axis, of values interpolated along it."""
    sa, sb, sc = _U(strides[0]), _U(strides[1]), _U(strides[2])
    na, nb, nc = _U(counts[0]), _U(counts[1]), _U(counts[2])
    place, step, count = line
    first, weights = taps
    for j in range(count):
        at = place + step * j
        first[j] = np.int64(np.floor(at)) - 1
        _weights(at - np.floor(at), weights, j, 0)
    lanes, none = _U(count), (0, 0)
    for b in range(_U(0), nb):
        start, stop = _U(spans[b, 0]), _U(spans[b, 1])
        row = b * nc * _LANES
        if start >= stop:
            continue
        wide = stop - start
        even = (wide + _U(15)) // _U(16) * _U(16)  # whole vectors; what is in the others, nobody reads
        at = base + b * sb + start * sc
        if sc == _U(1):
            _load(src, at, sa, na, wide, tile, even)
            _back(tile, _U(0), even, na, even)
        else:
            turn_over(src, at, sc, tile, _U(0), even, wide, na)
            _filter(tile, _U(0), even, na, even)
        for j in range(lanes):
            _weigh(tile, _U(first[j]) * even, even, weights, j, even, sums, j * even)
        turn_over(sums, _U(0), even, coefficients, row + start * _LANES, _LANES, lanes, wide)
        _filter(coefficients, row + start * _LANES, _LANES, wide, _LANES)
        above = (spans[b - _U(1), 0], spans[b - _U(1), 1]) if b > _U(0) else none
        _down(coefficients, row, row - nc * _LANES, (spans[b, 0], spans[b, 1]), above)
    for k in range(_U(1), nb + _U(1)):
        last = nb - k
        row = last * nc * _LANES
        below = (spans[last + _U(1), 0], spans[last + _U(1), 1]) if k > _U(1) else none
        _down(coefficients, row, row + nc * _LANES, (spans[last, 0], spans[last, 1]), below)


@kernel(fastmath=_FAST)
def _sixteen(c: Any, at: Any, pitch: Any, w: Any, k: Any, out: Any, to: Any) -> None:
    """A row of lanes from four times four rows of coefficients."""
    u0, u1, u2, u3 = w[k, _U(0)], w[k, _U(1)], w[k, _U(2)], w[k, _U(3)]
    v0, v1, v2, v3 = w[k, _U(4)], w[k, _U(5)], w[k, _U(6)], w[k, _U(7)]
    e, f, g = at + pitch, at + pitch + pitch, at + pitch * _U(3)
    for i in range(_LANES):
        r = u0 * (v0 * c[at + i] + v1 * c[at + _LANES + i] + v2 * c[at + _W2 + i] + v3 * c[at + _W3 + i])
        r += u1 * (v0 * c[e + i] + v1 * c[e + _LANES + i] + v2 * c[e + _W2 + i] + v3 * c[e + _W3 + i])
        r += u2 * (v0 * c[f + i] + v1 * c[f + _LANES + i] + v2 * c[f + _W2 + i] + v3 * c[f + _W3 + i])
        r += u3 * (v0 * c[g + i] + v1 * c[g + _LANES + i] + v2 * c[g + _W2 + i] + v3 * c[g + _W3 + i])
        out[to + i] = r


@kernel()
def settle(row: Any, size: Any, finish: Any) -> None:
    """Bring the sums of a row to their range: scaled, or rounded half away from zero."""
    mode, lower, width, mean = finish
    low, wide, less = np.float32(lower), np.float32(width), np.float32(mean)
    if mode == 1:
        for i in range(size):
            row[i] = min(max((row[i] - low) / wide, np.float32(0)), np.float32(1)) - less
    elif mode == 2:
        for i in range(size):
            v = row[i]
            v += np.float32(0.5) if v > np.float32(0) else np.float32(-0.5)
            row[i] = min(max(v, np.float32(-32768)), np.float32(32767))


@kernel()
def lay(row: Any, wide: Any, lanes: Any, out: Any, to: Any, along: Any, across: Any) -> None:
    """Lay a row of the plane, `LANES` values for each of its places, into the patch, where one of two strides is 1."""
    if across == _U(1):
        turn_over(row, _U(0), _LANES, out, to, along, wide, lanes)
        return
    for k in range(_U(0), wide):
        for i in range(lanes):
            out[to + k * across + i] = row[k * _LANES + i]


@kernel(fastmath=_FAST)
def turn(
    src: Any, base: Any, strides: Any, counts: Any, line: Any, plane: Any, finish: Any, room: Any,
    out: Any, to: Any, out_strides: Any,
) -> None:  # fmt: skip
    """Sample a box of a flat volume, turned about one of its axes, into a block of a flat patch.

    Of the other triples the first belongs to the axis, the rest to the plane across it. `line` says where along the
    axis the first place of the block lies, how far apart they are, and how many there are. `plane` maps place (j, k)
    of the patch to the box: (bj, bk, b0, cj, ck, c0), and its numbers of places; one of the patch's strides is 1.
    """
    spans, taps, tile, sums, coefficients, row, places, weights = room
    find_spans(plane, counts, BEFORE, AFTER, spans)
    _planes(src, _U(base), strides, counts, line, spans, taps, tile, sums, coefficients)
    high, wide = _U(plane[1]), _U(plane[2])
    oa, ob, oc = _U(out_strides[0]), _U(out_strides[1]), _U(out_strides[2])
    lanes = _U(line[2])
    pitch = _U(counts[2]) * _LANES
    for j in range(_U(0), high):
        _places(plane, np.float64(j), np.int64(pitch), places, weights)
        for k in range(_U(0), wide):
            _sixteen(coefficients, _U(places[k]), pitch, weights, k, row, k * _LANES)
        settle(row, wide * _LANES, finish)
        lay(row, wide, lanes, out, _U(to) + j * ob, oa, oc)
