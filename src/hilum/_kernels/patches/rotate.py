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

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.resample.recursive_filter import (
    GAIN,
    LANES,
    POLE,
    START,
    VECTOR,
    WIDTH,
    back_rows,
    run_filter,
    run_forth,
)
from hilum._kernels.resample.weighted_sums import weigh
from hilum._kernels.simd.registers import flat, load, multiply_add, spread, step, store
from hilum._kernels.simd.transpose import turn_over

MARGIN = 6
"""Of a step of 4095 HU all round the box 0.13 HU are seen within; with one voxel less 0.49, with two less 1.8."""

BEFORE, AFTER = 1 + MARGIN, 3 + MARGIN
"""How many voxels a place wants before the one it lies in, and from that one on."""

WEIGHTS = 24
"""Of a place: four along each axis and sixteen products."""

_FAST = frozenset({"contract"})
_U = np.uint64
_LANES = np.uint64(LANES)
_PRODUCTS = np.uint64(8)
"""Where in a column of weights the products begin."""


@kernel()
def _weights(w: Any, at: Any, count: Any) -> None:
    """Four rows of weights of places, the filter's gain made good.

    The first row says how far beyond their second coefficient the places lie.
    """
    sixth, third = np.float32(GAIN / 6), np.float32(GAIN * 2 / 3)
    one, half = np.float32(GAIN), np.float32(GAIN / 2)
    for k in range(count):
        t = w[at, k]
        s = np.float32(1) - t
        w[at, k] = sixth * s * s * s
        w[at + _U(1), k] = third - t * t * (one - half * t)
        w[at + _U(2), k] = third - s * s * (one - half * s)
        w[at + _U(3), k] = sixth * t * t * t


@kernel()
def _places(plane: Any, j: Any, pitch: Any, at: Any, w: Any) -> None:
    """For every place of row `j` of the patch its first coefficient and a column of weights.

    Those of the spline along both axes, four and four, and then their products, sixteen.
    """
    (bj, bk, b0, cj, ck, c0), _, wide = plane
    for k in range(_U(wide)):
        b = bj * j + (bk * np.float64(k) + b0)
        c = cj * j + (ck * np.float64(k) + c0)
        ib, ic = np.floor(b), np.floor(c)
        at[k] = (np.int64(ib) - 1) * pitch + (np.int64(ic) - 1) * LANES
        w[_U(0), k], w[_U(4), k] = np.float32(b - ib), np.float32(c - ic)
    _weights(w, _U(0), _U(wide))
    _weights(w, _U(4), _U(wide))
    for m in range(_U(4)):
        for n in range(_U(4)):
            for k in range(_U(wide)):
                w[_PRODUCTS + m * _U(4) + n, k] = w[m, k] * w[_U(4) + n, k]


@kernel()
def find_spans(plane: Any, counts: Any, before: Any, after: Any, least: Any, spans: Any) -> None:
    """Which coefficients of each row of the plane are needed, as first and one past the last: a turned square.

    A place wants so many voxels before the one it lies in, and so many from that one on. Rows of which any is needed
    get at least so many, where the box holds them: what has to be done in parts of a vector is done slowly.
    """
    (bj, bk, b0, cj, ck, c0), high, wide = plane
    rows, columns = counts[1], counts[2]
    for b in range(rows):
        spans[b, 2], spans[b, 3] = columns, 0
    for n in range(2 * (high + wide)):  # the edges of the square
        if n < 2 * wide:
            j, k = (n % 2) * (high - 1), n // 2
        else:
            j, k = (n - 2 * wide) // 2, (n % 2) * (wide - 1)
        b, c = int(np.floor(bj * j + (bk * k + b0))), int(np.floor(cj * j + (ck * k + c0)))
        row = min(max(b, 0), rows - 1)
        spans[row, 2], spans[row, 3] = min(spans[row, 2], c - before), max(spans[row, 3], c + after)
    for b in range(rows):
        first, last = columns, 0
        for row in range(max(b - after + 1, 0), min(b + before + 1, rows)):
            first, last = min(first, spans[row, 2]), max(last, spans[row, 3])
        if first < last:
            last = max(min(last, columns), min(max(first, 0) + least, columns))
            first = max(min(first, last - least), 0)
        spans[b, 0], spans[b, 1] = first, last


@kernel()
def _core(spans: Any, b: Any, rows: Any) -> Any:
    """Of the coefficients of a row those that are summed: others are only there for the filter along it to begin."""
    if b < 0 or b >= rows or spans[b, 0] >= spans[b, 1]:
        return _U(0), _U(0)
    return _U(spans[b, 0] + MARGIN), _U(spans[b, 1] - MARGIN)


@kernel(fastmath=_FAST)
def _along(work: Any, row: Any, pitch: Any, span: Any, core: Any, above: Any, states: Any) -> None:
    """Run the filter along a row of the plane, forth and back, and from the row above, where that one reached."""
    first, last = _U(span[0]), _U(span[1])
    left = min(max(above[0], core[0]), core[1])
    right = max(min(above[1], core[1]), left)
    run_forth(work, row + first * _LANES, last - first)
    before = row - _LANES
    for i in range(_LANES):
        states[i] = START * work[before + last * _LANES + i]
    back_rows(work, before + last * _LANES, last - right, None, states)
    back_rows(work, before + right * _LANES, right - left, _U(0) - pitch, states)
    back_rows(work, before + left * _LANES, left - core[0], None, states)


@kernel(fastmath=_FAST)
def _planes(
    src: Any, base: Any, strides: Any, counts: Any, line: Any, spans: Any, taps: Any, tile: Any, other: Any,
    coefficients: Any, states: Any,
) -> None:  # fmt: skip
    """Step 1, and 2 but for the filter back across the rows: coefficients of values interpolated along the axis."""
    sa, sb, sc = _U(strides[0]), _U(strides[1]), _U(strides[2])
    na, nb, nc = _U(counts[0]), _U(counts[1]), _U(counts[2])
    origin, apart, count = line
    first, weights = taps
    for j in range(_LANES):
        at = origin + apart * min(np.float64(j), np.float64(count - 1))
        first[j] = np.int64(np.floor(at)) - 1
        weights[_U(0), j] = np.float32(at - np.floor(at))
    _weights(weights, _U(0), _LANES)
    for b in range(_U(0), nb):
        start, stop = _U(spans[b, 0]), _U(spans[b, 1])
        row = b * nc * _LANES
        if start >= stop:
            continue
        wide = stop - start
        even = (wide + _U(15)) // _U(16) * _U(16)  # rows begin with a cache line
        at = base + b * sb + start * sc
        if sc == _U(1):
            run_filter(src, at, sa, tile, _U(0), even, na, wide)
        else:
            turn_over(src, at, sc, other, _U(0), even, wide, na)
            run_filter(other, _U(0), even, tile, _U(0), even, na, wide)
        place = row + start * _LANES
        under = at + sb * _U(b + _U(1) < nb)
        ahead = (src, under, sa, na, wide) if sc == _U(1) else (src, under, sc, wide, na)
        weigh(tile, _U(0), even, first, weights, (0, 1, 2, 3), coefficients, place, _LANES, _LANES, wide, ahead)
        core, above = _core(spans, np.int64(b), counts[1]), _core(spans, np.int64(b) - 1, counts[1])
        _along(coefficients, row, nc * _LANES, (start, stop), core, above, states)


@kernel(fastmath=_FAST)
def _up(work: Any, counts: Any, spans: Any, last: Any, first: Any) -> None:
    """Run the filter back across the rows of the plane, from the one before `last` to `first`; anew where none lies."""
    pitch = _U(counts[2]) * _LANES
    for k in range(last - first):
        b = last - k - 1
        core, below = _core(spans, b, counts[1]), _core(spans, b + 1, counts[1])
        row, begin, end = _U(b) * pitch, core[0] * _LANES, core[1] * _LANES
        left = min(max(below[0] * _LANES, begin), end)
        right = max(min(below[1] * _LANES, end), left)
        for i in range(begin, left):
            work[row + i] *= START
        for i in range(left, right):
            work[row + i] += POLE * work[row + pitch + i]
        for i in range(right, end):
            work[row + i] *= START


def _sum_sixteen(
    _context: Any, c: Any, at: Any, pitch: Any, w: Any, apart: Any, k: Any, ends: Any, out: Any, to: Any
) -> Any:
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        coefficients, weights, target = (flat(context, builder, signature.args[n], arguments[n]) for n in (0, 3, 7))
        _, at, pitch, _, apart, k, ends, _, to = arguments

        def weight(row: int) -> Any:
            return builder.load(builder.gep(weights.data, [step(builder, k, apart, row)]))

        factor, offset, low, high, less = (spread(builder, builder.extract_value(ends, n), VECTOR) for n in range(5))
        numbers = [[spread(builder, weight(int(_PRODUCTS) + 4 * m + n), VECTOR) for n in range(4)] for m in range(4)]
        rows = [step(builder, at, pitch, n) for n in range(4)]
        lanes, totals = range(0, LANES, VECTOR), list[Any]()
        for row, four in zip(rows, numbers, strict=True):
            for n, number in enumerate(four):
                columns = [
                    load(builder, coefficients, builder.add(row, row.type(n * LANES + k)), VECTOR) for k in lanes
                ]
                totals = [
                    multiply_add(builder, number, column, total)
                    for column, total in zip(columns, totals, strict=True)
                ] if totals else [builder.fmul(number, column) for column in columns]  # fmt: skip
        for lane, total in zip(lanes, totals, strict=True):
            value = builder.fsub(builder.fmul(total, factor, flags=["contract"]), offset, flags=["contract"])
            value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
            value = builder.select(builder.fcmp_ordered(">", value, high), high, value)
            store(builder, target, builder.add(to, to.type(lane)), builder.fsub(value, less))
        return context.get_dummy_value()

    return types.void(c, at, pitch, w, apart, k, ends, out, to), code


_sixteen = Intrinsic(_sum_sixteen)
"""A row of lanes from four times four rows of coefficients, brought to its range."""


@kernel()
def ends_of(finish: Any) -> Any:
    """What makes sums into values: factor and offset, lowest and highest, and what is subtracted at last."""
    mode, lower, width, mean = finish
    if mode == 1:
        factor, low, high = 1 / width, np.float32(0), np.float32(1)
    else:
        factor, low, high = 1.0, np.float32(-np.inf), np.float32(np.inf)
    return np.float32(factor), np.float32(lower * factor), low, high, np.float32(mean)


@kernel()
def settle(row: Any, size: Any, mode: Any) -> None:
    """Round a row half away from zero where that is asked for, within the range of int16."""
    if mode == 2:
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
    spans, taps, tile, other, coefficients, row, places, weights = room
    find_spans(plane, counts, BEFORE, AFTER, WIDTH, spans)
    _planes(src, _U(base), strides, counts, line, spans, taps, tile, other, coefficients, row)
    high, wide = _U(plane[1]), _U(plane[2])
    oa, ob, oc = _U(out_strides[0]), _U(out_strides[1]), _U(out_strides[2])
    lanes = _U(line[2])
    pitch, ends = _U(counts[2]) * _LANES, ends_of(finish)
    (bj, bk, b0, _, _, _), last = plane[0], counts[1]
    for n in range(_U(0), high):
        j = high - _U(1) - n if bj > 0 else n
        first = max(int(np.floor(bj * np.float64(j) + b0 + min(bk * (np.float64(wide) - 1), 0.0))) - 2, 0)
        _up(coefficients, counts, spans, last, first)
        last = min(last, first)
        _places(plane, np.float64(j), np.int64(pitch), places, weights)
        for k in range(_U(0), wide):
            _sixteen(coefficients, _U(places[k]), pitch, weights, _U(weights.shape[1]), k, ends, row, k * _LANES)
        settle(row, wide * _LANES, finish[0])
        lay(row, wide, lanes, out, _U(to) + j * ob, oa, oc)
