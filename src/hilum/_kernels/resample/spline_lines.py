"""Compiled loops of the spline: filter many neighboring lines at once and sum their coefficients to outputs.

Each kernel is serial, releases the interpreter lock and keeps to the slab it is given. Arrays are flat and indices are
unsigned, so that numba adds no code for negative indices. Blocks of lines are processed in vector registers
(`hilum._kernels.resample.spline_blocks`); a plain loop handles what is narrower than a block.

`taps` is (first row, weights, pole) of one axis. `finish` is (level to add, lowest, highest, half): the last is 0.5 to
round to integers, or 0.
"""

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.resample.spline_blocks import PAD, TAPS, WIDTH, filter_backward_block, filter_forward_block
from hilum._kernels.resample.wide_sums import wide_sums_block
from hilum._kernels.simd.transpose import transpose

_U = np.uint64
_PAD, _TAPS, _WIDTH = np.uint64(PAD), np.uint64(TAPS), np.uint64(WIDTH)
_ONE = np.uint64(1)


@kernel(contract=True)
def _store(dst: Any, at: Any, value: Any, finish: Any) -> None:
    """Add the level, round half away from zero, clip and store a value."""
    level, low, high, half = finish
    value += level
    value += half if value > 0 else -half
    dst[at] = min(max(value, low), high)


@kernel(contract=True)
def _line(src: Any, at: Any, src_stride: Any, count: Any, taps: Any, level: Any, work: Any) -> None:
    """Filter one line forward and backward into the work buffer, as the blocks do."""
    pole = taps[2]
    start = 1 / (1 - pole)
    state = (np.float64(src[at]) - level) * start
    for k in range(_PAD + _ONE):
        work[k] = state
    for k in range(_ONE, count):
        state = pole * state + (np.float64(src[at + k * src_stride]) - level)
        work[k + _PAD] = state
    last = np.float64(src[at + (count - _ONE) * src_stride]) - level
    for k in range(count, count + _PAD):
        state = pole * state + last
        work[k + _PAD] = state
    end = count + _PAD + _PAD - _ONE
    constant = last * start
    work[end] = constant * start + (state - constant) / (1 - pole * pole)
    for k in range(end):
        work[end - k - _ONE] += pole * work[end - k]


@kernel(contract=True)
def _sum_lines(
    src: Any, at: Any, src_stride: Any, columns: Any, last: Any, weights: Any, level: Any, dst: Any, to: Any,
    dst_stride: Any, finish: Any,
) -> None:  # fmt: skip
    """As `interpolate_lines` for an axis without a filter; see `hilum._kernels.resample.wide_sums`."""
    if columns >= _WIDTH:
        for block in range(_U(0), columns, _WIDTH):
            i = min(block, columns - _WIDTH)
            wide_sums_block(src, at + i, src_stride, last, weights, level, dst, to + i, dst_stride, finish[0])
        return
    for i in range(columns):
        begin, a, b, c, d = _U(0), 0.0, 0.0, 0.0, 0.0
        for j in range(_U(last.size)):
            for k in range(begin, _U(last[j]) + _ONE):
                value = np.float64(src[at + k * src_stride + i]) - level
                a += weights[_TAPS * k] * value
                b += weights[_TAPS * k + _ONE] * value
                c += weights[_TAPS * k + _ONE + _ONE] * value
                d += weights[_TAPS * k + _TAPS - _ONE] * value
            begin = _U(last[j]) + _ONE
            _store(dst, to + j * dst_stride + i, a, finish)
            a, b, c, d = b, c, d, 0.0


@kernel(contract=True)
def interpolate_lines(
    src: Any, at: Any, src_stride: Any, count: Any, columns: Any, taps: Any, level: Any, dst: Any, to: Any,
    dst_stride: Any, finish: Any, work: Any,
) -> None:  # fmt: skip
    """Interpolate, less `level`, columns of `count` rows into rows that are `dst_stride` apart.

    An axis with `TAPS` weights for each of its samples, more than for each output, has no filter.
    The last block of columns overlaps the one before.
    """
    first, weights, pole = taps
    if _U(weights.size) > _TAPS * _U(first.size):
        _sum_lines(src, at, src_stride, columns, first, weights, level, dst, to, dst_stride, finish)
        return
    if columns >= _WIDTH:
        for block in range(_U(0), columns, _WIDTH):
            i = min(block, columns - _WIDTH)
            filter_forward_block(src, at + i, src_stride, count, work, pole, level)
            filter_backward_block(work, count + _PAD + _PAD, first, weights, dst, to + i, dst_stride, pole, finish[0])
        return
    for i in range(columns):
        _line(src, at + i, src_stride, count, taps, level, work)
        for j in range(_U(first.size)):
            total = 0.0
            for k in range(_TAPS):
                total += weights[j * _TAPS + k] * work[_U(first[j]) + k]
            _store(dst, to + j * dst_stride + i, total, finish)


@kernel(contract=True)
def interpolate_planes(
    src: Any, shape: Any, rows: Any, dst: Any, out_shape: Any, y_taps: Any, x_taps: Any, level: Any, buffers: Any
) -> None:
    """Interpolate some rows of every slice, less `level`, along y, then x.

    `rows` is the first row and one past the last, `shape` that of the slices, and `out_shape` that of each result. An
    axis without taps stays as it is.
    """
    depth, height, columns = shape
    top, bottom = rows
    high, wide = out_shape
    plane, work, x_in, x_out = buffers
    unchanged = (0.0, -np.inf, np.inf, 0.0)
    for z in range(depth):
        at, to = _U((z * height + top) * columns), _U(z * high * wide)
        if y_taps[0].size:
            count = _U(bottom - top)
            interpolate_lines(
                src, at, _U(columns), count, _U(columns), y_taps, level, plane, _U(0), _U(columns), unchanged, work
            )
        else:
            for k in range(_U(high * columns)):
                plane[k] = np.float64(src[at + k]) - level
        if not x_taps[0].size:
            for k in range(_U(high * columns)):
                dst[to + k] = plane[k]
            continue
        for line in range(_U(0), _U(high), _WIDTH):  # transposed; the last block may have unused lines
            count = min(_WIDTH, _U(high) - line)
            transpose(plane, line * _U(columns), _U(columns), x_in, _U(0), _WIDTH, count, _U(columns))
            interpolate_lines(
                x_in, _U(0), _WIDTH, _U(columns), _WIDTH, x_taps, 0.0, x_out, _U(0), _WIDTH, unchanged, work
            )
            transpose(x_out, _U(0), _WIDTH, dst, to + line * _U(wide), _U(wide), _U(wide), count)


@kernel()
def round_values(src: Any, dst: Any, to: Any, finish: Any) -> None:
    """Add the level to values, round, clip and store them from index `to` on."""
    for k in range(_U(src.size)):
        _store(dst, _U(to) + k, np.float64(src[k]), finish)


@kernel()
def copy_voxels(src: Any, dst: Any, begin: Any, end: Any, z_index: Any, y_index: Any, x_index: Any) -> None:
    """Copy single voxels: ``dst[z, y, x] = src[z_index[z], y_index[y], x_index[x]]`` for z from `begin` to `end`."""
    for z in range(begin, end):
        for y in range(y_index.size):
            s, d = src[z_index[z], y_index[y]], dst[z, y]
            for x in range(x_index.size):
                d[x] = s[x_index[x]]
