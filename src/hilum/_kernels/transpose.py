"""Transposing blocks of arrays in vector registers: rows of eight are loaded, exchanged pair by pair, and stored.

Element by element a transposition costs a load and a store for each, as much as the arithmetic of a cubic spline. A
block of eight by eight takes three rounds of exchanges between pairs of rows. Where the rows to be transposed are
themselves weighted sums of rows, these are made on the way, and never stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import Intrinsic, kernel
from hilum._kernels.registers import exchange, flat, load, multiply_add, spread, step, store

BLOCK = 8
"""Rows and columns of a block; eight float32 are one register of AVX2."""

_FAST = frozenset({"contract"})
_U = np.uint64
_BLOCK = np.uint64(BLOCK)


def _block(_context: Any, src: Any, at: Any, pitch: Any, dst: Any, to: Any, dst_pitch: Any) -> Any:
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 3))
        _, at, pitch, _, to, dst_pitch = arguments
        rows = [load(builder, source, step(builder, at, pitch, k), BLOCK) for k in range(BLOCK)]
        for k, row in enumerate(exchange(builder, rows)):
            store(builder, target, step(builder, to, dst_pitch, k), row)
        return context.get_dummy_value()

    return types.void(src, at, pitch, dst, to, dst_pitch), code


transpose_block = Intrinsic(_block)
"""``transpose_block(src, at, pitch, dst, to, dst_pitch)``: what `turn_over` does, of one block.

Places and pitches are uint64. int16 becomes float32, and whole numbers in float32 become int16, where the target is.
"""


def _weigh_two(
    _context: Any, src: Any, at: Any, pitch: Any, places: Any, weights: Any, apart: Any, first: Any, dst: Any, to: Any,
    dst_pitch: Any,
) -> Any:  # fmt: skip
    return _weigh(2, src, at, pitch, places, weights, apart, first, dst, to, dst_pitch)


def _weigh_four(
    _context: Any, src: Any, at: Any, pitch: Any, places: Any, weights: Any, apart: Any, first: Any, dst: Any, to: Any,
    dst_pitch: Any,
) -> Any:  # fmt: skip
    return _weigh(4, src, at, pitch, places, weights, apart, first, dst, to, dst_pitch)


def _weigh(taps: int, *operands: Any) -> Any:
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        src, places, weights, dst = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 3, 4, 7))
        _, at, pitch, _, _, apart, first, _, to, dst_pitch = arguments
        rows = []
        for k in range(BLOCK):
            index = builder.add(first, first.type(k))
            place = builder.add(at, builder.mul(builder.load(builder.gep(places.data, [index])), pitch))
            total = None
            for tap in range(taps):
                number = builder.load(builder.gep(weights.data, [step(builder, index, apart, tap)]))
                weight = spread(builder, number, BLOCK)
                row = load(builder, src, step(builder, place, pitch, tap), BLOCK)
                total = builder.fmul(weight, row) if total is None else multiply_add(builder, weight, row, total)
            rows.append(total)
        for k, row in enumerate(exchange(builder, rows)):
            store(builder, dst, step(builder, to, dst_pitch, k), row)
        return context.get_dummy_value()

    return types.void(*operands), code


weigh_two_block, weigh_four_block = Intrinsic(_weigh_two), Intrinsic(_weigh_four)
"""``(src, at, pitch, places, weights, apart, first, dst, to, dst_pitch)``: what `weigh_two` and `weigh_four` do, of the
block whose first row is `first`; the weights of one tap lie `apart`.
"""


@kernel()
def turn_over(src: Any, at: Any, pitch: Any, dst: Any, to: Any, dst_pitch: Any, rows: Any, columns: Any) -> None:
    """``dst[to + i * dst_pitch + j] = src[at + j * pitch + i]`` for so many rows and columns of flat arrays.

    The last block of a side that is no whole number of blocks lies across the one before.
    """
    if rows < _BLOCK or columns < _BLOCK:
        for i in range(columns):
            for j in range(rows):
                dst[to + i * dst_pitch + j] = src[at + j * pitch + i]
        return
    for block in range(_U(0), columns, _BLOCK):  # rows of a patch lie a power of two apart: one after the other
        i = min(block, columns - _BLOCK)
        for other in range(_U(0), rows, _BLOCK):
            j = min(other, rows - _BLOCK)
            transpose_block(src, at + j * pitch + i, pitch, dst, to + i * dst_pitch + j, dst_pitch)


@kernel(fastmath=_FAST)
def weigh_four(
    src: Any, at: Any, pitch: Any, places: Any, weights: Any, dst: Any, to: Any, dst_pitch: Any, rows: Any, columns: Any
) -> None:
    """Turn over rows that are weighted sums of four.

    ``dst[to + i * dst_pitch + j]`` is the sum of ``weights[k, j] * src[at + (places[j] + k) * pitch + i]``.
    """
    if rows < _BLOCK or columns < _BLOCK:
        for j in range(rows):
            for i in range(columns):
                total = np.float32(0)
                for k in range(_U(4)):
                    total += weights[k, j] * np.float32(src[at + (_U(places[j]) + k) * pitch + i])
                dst[to + i * dst_pitch + j] = total
        return
    apart = _U(weights.shape[1])
    for block in range(_U(0), columns, _BLOCK):
        i = min(block, columns - _BLOCK)
        for other in range(_U(0), rows, _BLOCK):
            j = min(other, rows - _BLOCK)
            weigh_four_block(src, at + i, pitch, places, weights, apart, j, dst, to + i * dst_pitch + j, dst_pitch)


@kernel(fastmath=_FAST)
def weigh_two(
    src: Any, at: Any, pitch: Any, places: Any, weights: Any, dst: Any, to: Any, dst_pitch: Any, rows: Any, columns: Any
) -> None:
    """What `weigh_four` does, with sums of two."""
    if rows < _BLOCK or columns < _BLOCK:
        for j in range(rows):
            for i in range(columns):
                place = at + _U(places[j]) * pitch + i
                total = weights[0, j] * np.float32(src[place]) + weights[1, j] * np.float32(src[place + pitch])
                dst[to + i * dst_pitch + j] = total
        return
    apart = _U(weights.shape[1])
    for block in range(_U(0), columns, _BLOCK):
        i = min(block, columns - _BLOCK)
        for other in range(_U(0), rows, _BLOCK):
            j = min(other, rows - _BLOCK)
            weigh_two_block(src, at + i, pitch, places, weights, apart, j, dst, to + i * dst_pitch + j, dst_pitch)
