"""Compiled loops of the spline: filter and weigh many neighboring lines at once.

Each kernel is serial, releases the interpreter lock and keeps to the slab it is given. Rows of the working buffer
lie `WIDTH` apart, a constant, and are addressed with unsigned numbers: so the compiler sees that they do not overlap
and need no wrap-around, and makes vector instructions of every inner loop. Four rows are done in one go, for a row
read from the buffer costs more than the two multiply-adds it is read for. What is read from a slice, and written to a
transposed one, is asked for a step ahead: without that a seventh of the time is waiting.

`taps` is (first row, weights, pole) of one axis, `finish` is (level to add, lowest, highest, whether to round).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import kernel
from hilum._kernels.prefetch import LINE, fetch, fetch_to_write

PAD = 2
"""Coefficients kept beyond each end: four taps around a position up to half a voxel outside."""

WIDTH = 128
"""Lines filtered side by side. Half as many take a tenth longer, a quarter as many half as long again."""

_FAST = frozenset({"contract"})
"""Fused multiply-adds only; the order of a sum stays as written, so the bytes depend on nothing else."""

_U = np.uint64
_W1, _W2, _W3, _W4 = (np.uint64(k * WIDTH) for k in (1, 2, 3, 4))


@kernel(fastmath=_FAST)
def _forward(src: Any, k: Any, left: Any, count: Any, work: Any, row: Any, pole: Any, level: Any) -> None:
    """Run the filter over four samples from `k` on, into the four rows after `row`."""
    for i in range(count):
        v = pole * work[row + i] + (np.float64(src[k, left + i]) - level)
        work[row + _W1 + i] = v
        v = pole * v + (np.float64(src[k + _U(1), left + i]) - level)
        work[row + _W2 + i] = v
        v = pole * v + (np.float64(src[k + _U(2), left + i]) - level)
        work[row + _W3 + i] = v
        v = pole * v + (np.float64(src[k + _U(3), left + i]) - level)
        work[row + _W4 + i] = v


@kernel(fastmath=_FAST)
def _backward(work: Any, row: Any, count: Any, pole: Any) -> None:
    """Run the filter back over the four rows from `row` on."""
    for i in range(count):
        v = pole * work[row + _W4 + i] + work[row + _W3 + i]
        work[row + _W3 + i] = v
        v = pole * v + work[row + _W2 + i]
        work[row + _W2 + i] = v
        v = pole * v + work[row + _W1 + i]
        work[row + _W1 + i] = v
        work[row + i] = pole * v + work[row + i]


@kernel(fastmath=_FAST)
def _emit(work: Any, row: Any, weight: Any, dst: Any, j: Any, left: Any, count: Any, finish: Any) -> None:
    """Store the weighted sum of four rows from `row` on; rounding is half away from zero."""
    level, low, high, rounds = finish
    w0, w1, w2, w3 = weight[0], weight[1], weight[2], weight[3]
    if not rounds:
        for i in range(count):
            v = w0 * work[row + i] + w3 * work[row + _W3 + i] + w1 * work[row + _W1 + i] + w2 * work[row + _W2 + i]
            dst[j, left + i] = v + level
        return
    for i in range(count):
        v = w0 * work[row + i] + w3 * work[row + _W3 + i] + w1 * work[row + _W1 + i] + w2 * work[row + _W2 + i]
        v += level
        v += 0.5 if v > 0 else -0.5
        dst[j, left + i] = min(max(v, low), high)


@kernel(fastmath=_FAST)
def _lines(src: Any, dst: Any, begin: Any, end: Any, shift: Any, work: Any, taps: Any, level: Any, finish: Any) -> None:
    """Interpolate the columns `begin` to `end` of `src` along axis 0 into those of `dst`, `shift` to the right."""
    first, weights, pole = taps
    n = src.shape[0]
    start = 1 / (1 - pole)
    tail = 1 / (1 - pole * pole)
    top, last, step = _U(0), _U(n - 1), _U(LINE // src.itemsize)
    for left in range(_U(begin), _U(end), _U(WIDTH)):
        count = min(_U(WIDTH), _U(end) - left)
        for i in range(count):
            work[_W2 + i] = (np.float64(src[top, left + i]) - level) * start
        k = 1
        while k + 4 <= n:
            if k + 8 <= n:
                for ahead in range(_U(k + 4), _U(k + 8)):
                    for i in range(_U(0), count, step):
                        fetch(src, ahead, left + i)
            _forward(src, _U(k), left, count, work, _U((PAD + k - 1) * WIDTH), pole, level)
            k += 4
        while k < n:
            row = _U((PAD + k - 1) * WIDTH)
            for i in range(count):
                work[row + _W1 + i] = pole * work[row + i] + (np.float64(src[_U(k), left + i]) - level)
            k += 1
        # Beyond the last sample both filters see a constant, for which their sums have a closed form.
        row = _U((PAD + n - 1) * WIDTH)
        for i in range(count):
            flat = (np.float64(src[last, left + i]) - level) * start
            rest = (work[row + i] - flat) * tail
            flat *= start
            work[row + i] = flat + rest
            work[row + _W1 + i] = flat + rest * pole
            work[row + _W2 + i] = flat + rest * pole * pole
        # Back to front, an output is summed as soon as its foremost coefficient is there.
        j = first.size - 1
        k = PAD + n - 1
        while j >= 0:
            if k - 4 >= PAD:
                k -= 4
                _backward(work, _U(k * WIDTH), count, pole)
            elif k > PAD:
                k -= 1
                row = _U(k * WIDTH)
                for i in range(count):
                    work[row + i] += pole * work[row + _W1 + i]
            else:
                k = 0
                for i in range(count):
                    flat = (np.float64(src[top, left + i]) - level) * start * start
                    rest = work[_W2 + i] - flat
                    work[_W1 + i] = flat + rest * pole
                    work[i] = flat + rest * pole * pole
            while j >= 0 and first[j] >= k:
                _emit(work, _U(first[j] * WIDTH), weights[j], dst, _U(j), left + _U(shift), count, finish)
                j -= 1


@kernel()
def _transpose(src: Any, dst: Any, rows: Any, columns: Any) -> None:
    """``dst[i, j] = src[j, i]``, four by four: all read before any is written, which the compiler makes shuffles of."""
    one, two, three = _U(1), _U(2), _U(3)
    whole_rows, whole_columns = _U(rows - rows % 4), _U(columns - columns % 4)
    for left in range(_U(0), whole_columns, _U(16)):  # a cache line of the source, sixteen of the copy
        for j in range(_U(0), whole_rows, _U(4)):
            if left + _U(32) <= whole_columns:  # the next sixteen rows of the copy, four at a step, where they begin
                for i in range(_U(4)):
                    fetch_to_write(dst, left + _U(16) + j % _U(16) + i, j)
            for i in range(left, min(left + _U(16), whole_columns), _U(4)):
                a0, a1, a2, a3 = src[j, i], src[j, i + one], src[j, i + two], src[j, i + three]
                b0, b1, b2, b3 = src[j + one, i], src[j + one, i + one], src[j + one, i + two], src[j + one, i + three]
                c0, c1, c2, c3 = src[j + two, i], src[j + two, i + one], src[j + two, i + two], src[j + two, i + three]
                d0, d1, d2, d3 = (
                    src[j + three, i], src[j + three, i + one], src[j + three, i + two], src[j + three, i + three]
                )  # fmt: skip
                dst[i, j], dst[i, j + one], dst[i, j + two], dst[i, j + three] = a0, b0, c0, d0
                dst[i + one, j], dst[i + one, j + one], dst[i + one, j + two], dst[i + one, j + three] = a1, b1, c1, d1
                dst[i + two, j], dst[i + two, j + one], dst[i + two, j + two], dst[i + two, j + three] = a2, b2, c2, d2
                dst[i + three, j], dst[i + three, j + one], dst[i + three, j + two], dst[i + three, j + three] = (
                    a3, b3, c3, d3
                )  # fmt: skip
    for j in range(rows):
        for i in range(whole_columns if j < whole_rows else _U(0), columns):
            dst[i, j] = src[j, i]


@kernel(fastmath=_FAST)
def planes(src: Any, dst: Any, top: Any, bottom: Any, y_taps: Any, x_taps: Any, level: Any, room: Any) -> None:
    """Interpolate the rows `top` to `bottom` of every slice, less `level`, along y, then x; no taps skip an axis."""
    columns = src.shape[2]
    depth, high, wide = dst.shape
    plane, work, x_in, x_out = room
    keep = (0.0, 0.0, 0.0, False)
    for z in range(depth):
        if y_taps[0].size:
            _lines(src[z, top:bottom], plane, 0, columns, 0, work, y_taps, level, keep)
        else:
            for y in range(high):
                for x in range(columns):
                    plane[y, x] = np.float64(src[z, top + y, x]) - level
        if not x_taps[0].size:
            for y in range(high):
                for x in range(columns):
                    dst[z, y, x] = plane[y, x]
            continue
        for at in range(0, high, WIDTH):
            count = min(WIDTH, high - at)
            _transpose(plane[at : at + count], x_in, count, columns)
            _lines(x_in, x_out, 0, count, 0, work, x_taps, 0.0, keep)
            _transpose(x_out, dst[z, at : at + count], wide, count)


@kernel()
def settle(src: Any, dst: Any, finish: Any) -> None:
    """Store values as the output wants them: moved by a level, rounded half away from zero, within bounds."""
    level, low, high, rounds = finish
    half = 0.5 if rounds else 0.0
    for y in range(src.shape[0]):
        for x in range(src.shape[1]):
            v = src[y, x] + level
            v += half if v > 0 else -half
            dst[y, x] = min(max(v, low), high)


@kernel(fastmath=_FAST)
def stack(src: Any, dst: Any, begin: Any, end: Any, shift: Any, taps: Any, level: Any, finish: Any, work: Any) -> None:
    """Interpolate along z the columns `begin` to `end` of slices laid out flat; `work` has PAD rows at both ends."""
    _lines(src, dst, begin, end, shift, work, taps, level, finish)


@kernel()
def pick(src: Any, dst: Any, begin: Any, end: Any, z_index: Any, y_index: Any, x_index: Any) -> None:
    """Copy single voxels: ``dst[z, y, x] = src[z_index[z], y_index[y], x_index[x]]`` for z from `begin` to `end`."""
    for z in range(begin, end):
        for y in range(y_index.size):
            s, d = src[z_index[z], y_index[y]], dst[z, y]
            for x in range(x_index.size):
                d[x] = s[x_index[x]]
