"""Compiled loops of the spline: filter and weigh many neighboring lines at once.

Each kernel is serial, releases the interpreter lock and keeps to the slab it is given. Arrays are flat, and places in
them unsigned: so nothing is wrapped around, and a block of lines is worked on in vector registers
(`hilum._kernels.resample.spline_blocks`). Beside it stands a plain loop, for what is narrower than a block.

`taps` is (first row, weights, pole) of one axis; `finish` is (level to add, lowest, highest, half): what a value is
rounded by, half or zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.resample.spline_blocks import PAD, TAPS, WIDTH, back_block, forth_block
from hilum._kernels.simd.transpose import turn_over

_FAST = frozenset({"contract"})
"""Fused multiply-adds only; the order of a sum stays as written, so the bytes depend on nothing else."""

_U = np.uint64
_PAD, _TAPS, _WIDTH = np.uint64(PAD), np.uint64(TAPS), np.uint64(WIDTH)
_ONE = np.uint64(1)


@kernel(fastmath=_FAST)
def _put(dst: Any, at: Any, value: Any, finish: Any) -> None:
    """Store a value as the output wants it: moved by a level, rounded half away from zero, within bounds."""
    level, low, high, half = finish
    value += level
    value += half if value > 0 else -half
    dst[at] = min(max(value, low), high)


@kernel(fastmath=_FAST)
def _line(src: Any, at: Any, pitch: Any, count: Any, taps: Any, level: Any, work: Any) -> None:
    """Filter one line forth and back, into the working buffer: what the blocks do."""
    pole = taps[2]
    start = 1 / (1 - pole)
    state = (np.float64(src[at]) - level) * start
    for k in range(_PAD + _ONE):
        work[k] = state
    for k in range(_ONE, count):
        state = pole * state + (np.float64(src[at + k * pitch]) - level)
        work[k + _PAD] = state
    last = np.float64(src[at + (count - _ONE) * pitch]) - level
    for k in range(count, count + _PAD):
        state = pole * state + last
        work[k + _PAD] = state
    end = count + _PAD + _PAD - _ONE
    constant = last * start
    work[end] = constant * start + (state - constant) / (1 - pole * pole)
    for k in range(end):
        work[end - k - _ONE] += pole * work[end - k]


@kernel(fastmath=_FAST)
def lines(
    src: Any, at: Any, pitch: Any, count: Any, columns: Any, taps: Any, level: Any, dst: Any, to: Any, apart: Any,
    finish: Any, work: Any,
) -> None:  # fmt: skip
    """Interpolate, less `level`, so many columns of `count` rows into rows that lie `apart`.

    The last block of columns lies across the one before.
    """
    first, weights, pole = taps
    if columns >= _WIDTH:
        for block in range(_U(0), columns, _WIDTH):
            i = min(block, columns - _WIDTH)
            forth_block(src, at + i, pitch, count, work, pole, level)
            back_block(work, count + _PAD + _PAD, first, weights, dst, to + i, apart, pole, finish[0])
        return
    for i in range(columns):
        _line(src, at + i, pitch, count, taps, level, work)
        for j in range(_U(first.size)):
            total = 0.0
            for k in range(_TAPS):
                total += weights[j * _TAPS + k] * work[_U(first[j]) + k]
            _put(dst, to + j * apart + i, total, finish)


@kernel(fastmath=_FAST)
def planes(
    src: Any, shape: Any, rows: Any, dst: Any, made: Any, y_taps: Any, x_taps: Any, level: Any, room: Any
) -> None:
    """Interpolate the rows from the first to one before the second of every slice along y, then x, less `level`.

    `shape` is that of the slices, `made` the rows and columns of each that come of it. No taps skip an axis.
    """
    depth, height, columns = shape
    top, bottom = rows
    high, wide = made
    plane, work, x_in, x_out = room
    keep = (0.0, -np.inf, np.inf, 0.0)
    for z in range(depth):
        at, to = _U((z * height + top) * columns), _U(z * high * wide)
        if y_taps[0].size:
            count = _U(bottom - top)
            lines(src, at, _U(columns), count, _U(columns), y_taps, level, plane, _U(0), _U(columns), keep, work)
        else:
            for k in range(_U(high * columns)):
                plane[k] = np.float64(src[at + k]) - level
        if not x_taps[0].size:
            for k in range(_U(high * columns)):
                dst[to + k] = plane[k]
            continue
        for line in range(_U(0), _U(high), _WIDTH):  # turned over; of the last block some lines are nobody's
            count = min(_WIDTH, _U(high) - line)
            turn_over(plane, line * _U(columns), _U(columns), x_in, _U(0), _WIDTH, count, _U(columns))
            lines(x_in, _U(0), _WIDTH, _U(columns), _WIDTH, x_taps, 0.0, x_out, _U(0), _WIDTH, keep, work)
            turn_over(x_out, _U(0), _WIDTH, dst, to + line * _U(wide), _U(wide), _U(wide), count)


@kernel()
def settle(src: Any, dst: Any, to: Any, finish: Any) -> None:
    """Store values from a place on as the output wants them."""
    for k in range(_U(src.size)):
        _put(dst, _U(to) + k, np.float64(src[k]), finish)


@kernel(fastmath=_FAST)
def stack(src: Any, dst: Any, begin: Any, end: Any, sizes: Any, taps: Any, level: Any, finish: Any, work: Any) -> None:
    """Interpolate along z the columns `begin` to `end` of slices.

    `sizes` is the number of slices, how far apart they lie before and after, and where the first column goes.
    """
    depth, pitch, apart, shift = sizes
    to = _U(shift + begin)
    lines(src, _U(begin), _U(pitch), _U(depth), _U(end - begin), taps, level, dst, to, _U(apart), finish, work)


@kernel()
def pick(src: Any, dst: Any, begin: Any, end: Any, z_index: Any, y_index: Any, x_index: Any) -> None:
    """Copy single voxels: ``dst[z, y, x] = src[z_index[z], y_index[y], x_index[x]]`` for z from `begin` to `end`."""
    for z in range(begin, end):
        for y in range(y_index.size):
            s, d = src[z_index[z], y_index[y]], dst[z, y]
            for x in range(x_index.size):
                d[x] = s[x_index[x]]
