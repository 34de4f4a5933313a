"""Weighted sums of neighboring rows, turned over on the way: made in vector registers and never stored as they lie.

Between the blocks memory is asked for that will be wanted next. It lies in many short pieces, a row of each slice,
which no processor foresees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import Intrinsic, kernel
from hilum._kernels.prefetch import LINE, fetch_far
from hilum._kernels.registers import exchange, flat, load, multiply_add, spread, step, store, widest
from hilum._kernels.transpose import BLOCK

_FAST = frozenset({"contract"})
_U = np.uint64
_BLOCK, _LINE = np.uint64(BLOCK), np.uint64(LINE // 2)


def _two(
    _context: Any, src: Any, at: Any, pitch: Any, places: Any, weights: Any, apart: Any, first: Any, dst: Any, to: Any,
    dst_pitch: Any,
) -> Any:  # fmt: skip
    return _weigh(2, src, at, pitch, places, weights, apart, first, dst, to, dst_pitch)


def _four(
    _context: Any, src: Any, at: Any, pitch: Any, places: Any, weights: Any, apart: Any, first: Any, dst: Any, to: Any,
    dst_pitch: Any,
) -> Any:  # fmt: skip
    return _weigh(4, src, at, pitch, places, weights, apart, first, dst, to, dst_pitch)


def _weigh(taps: int, *operands: Any) -> Any:
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        src, places, weights, dst = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 3, 4, 7))
        _, at, pitch, _, _, apart, first, _, to, dst_pitch = arguments
        size = widest()

        def total(row: int, column: int) -> Any:
            index = builder.add(first, first.type(row))
            place = builder.add(at, builder.mul(builder.load(builder.gep(places.data, [index])), pitch))
            place, made = builder.add(place, place.type(column)), None
            for tap in range(taps):
                number = builder.load(builder.gep(weights.data, [step(builder, index, apart, tap)]))
                weight, values = (
                    spread(builder, number, size),
                    load(builder, src, step(builder, place, pitch, tap), size),
                )
                made = builder.fmul(weight, values) if made is None else multiply_add(builder, weight, values, made)
            return made

        for i in range(0, BLOCK, size):
            for j in range(0, BLOCK, size):
                end = builder.add(to, to.type(j))
                for k, row in enumerate(exchange(builder, [total(j + k, i) for k in range(size)])):
                    store(builder, dst, step(builder, end, dst_pitch, i + k), row)
        return context.get_dummy_value()

    return types.void(*operands), code


two_block, four_block = Intrinsic(_two), Intrinsic(_four)
"""``(src, at, pitch, places, weights, apart, first, dst, to, dst_pitch)``: what `weigh_two` and `weigh_four` do, of the
block whose first row is `first`; the weights of one tap lie `apart`.
"""


@kernel()
def _ask(ahead: Any, first: Any, count: Any) -> None:
    """Ask for some of the rows (array, place, pitch, rows, columns) that will be wanted after this."""
    src, at, pitch, rows, columns = ahead
    for k in range(first, min(first + count, rows)):
        row = at + k * pitch
        for i in range(_U(0), columns, _LINE):
            fetch_far(src, row + i)


@kernel()
def _blocks(rows: Any, columns: Any) -> Any:
    return ((rows + _BLOCK - _U(1)) // _BLOCK) * ((columns + _BLOCK - _U(1)) // _BLOCK)


@kernel(fastmath=_FAST)
def _plainly(
    src: Any, at: Any, pitch: Any, places: Any, weights: Any, dst: Any, to: Any, dst_pitch: Any, rows: Any,
    columns: Any, taps: Any,
) -> None:  # fmt: skip
    """The sums, where there is less than a block of them."""
    for j in range(rows):
        for i in range(columns):
            total = np.float32(0)
            for k in range(_U(taps)):
                total += weights[k, j] * np.float32(src[at + (_U(places[j]) + k) * pitch + i])
            dst[to + i * dst_pitch + j] = total


@kernel(fastmath=_FAST)
def weigh_four(
    src: Any, at: Any, pitch: Any, places: Any, weights: Any, dst: Any, to: Any, dst_pitch: Any, rows: Any,
    columns: Any, ahead: Any,
) -> None:  # fmt: skip
    """Turn over rows that are weighted sums of four, and ask for the rows `ahead` (array, place, pitch, rows, columns).

    ``dst[to + i * dst_pitch + j]`` is the sum of ``weights[k, j] * src[at + (places[j] + k) * pitch + i]``.
    """
    if rows < _BLOCK or columns < _BLOCK:
        _plainly(src, at, pitch, places, weights, dst, to, dst_pitch, rows, columns, 4)
        return
    apart, asked = _U(weights.shape[1]), _U(0)
    share = ahead[3] // _blocks(rows, columns) + _U(1)
    for block in range(_U(0), columns, _BLOCK):
        i = min(block, columns - _BLOCK)
        for other in range(_U(0), rows, _BLOCK):
            j = min(other, rows - _BLOCK)
            four_block(src, at + i, pitch, places, weights, apart, j, dst, to + i * dst_pitch + j, dst_pitch)
            _ask(ahead, asked, share)
            asked += share


@kernel(fastmath=_FAST)
def weigh_two(
    src: Any, at: Any, pitch: Any, places: Any, weights: Any, dst: Any, to: Any, dst_pitch: Any, rows: Any,
    columns: Any, ahead: Any,
) -> None:  # fmt: skip
    """What `weigh_four` does, with sums of two."""
    if rows < _BLOCK or columns < _BLOCK:
        _plainly(src, at, pitch, places, weights, dst, to, dst_pitch, rows, columns, 2)
        return
    apart, asked = _U(weights.shape[1]), _U(0)
    share = ahead[3] // _blocks(rows, columns) + _U(1)
    for block in range(_U(0), columns, _BLOCK):
        i = min(block, columns - _BLOCK)
        for other in range(_U(0), rows, _BLOCK):
            j = min(other, rows - _BLOCK)
            two_block(src, at + i, pitch, places, weights, apart, j, dst, to + i * dst_pitch + j, dst_pitch)
            _ask(ahead, asked, share)
            asked += share
