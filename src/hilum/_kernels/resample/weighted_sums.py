"""Weighted sums of neighboring rows, turned over on the way: made in vector registers and never stored as they lie.

Between the blocks memory is asked for that will be wanted next. It lies in many short pieces, a row of each slice,
which no processor foresees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.resample.recursive_filter import LANES
from hilum._kernels.simd.prefetch import LINE, fetch_far
from hilum._kernels.simd.registers import exchange, flat, load, multiply_add, spread, step, store, widest
from hilum._kernels.simd.transpose import BLOCK

_FAST = frozenset({"contract"})
_U = np.uint64
_BLOCK, _LINE = np.uint64(BLOCK), np.uint64(LINE // 2)


def _block(
    _context: Any, src: Any, at: Any, pitch: Any, places: Any, weights: Any, taps: Any, first: Any, dst: Any, to: Any,
    dst_pitch: Any,
) -> Any:  # fmt: skip
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        src, places, weights, dst = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 3, 4, 7))
        _, at, pitch, _, _, _, first, _, to, dst_pitch = arguments
        size, apart = widest(), first.type(LANES)

        def total(row: int, column: int) -> Any:
            index = builder.add(first, first.type(row))
            place = builder.add(at, builder.mul(builder.load(builder.gep(places.data, [index])), pitch))
            place, made = builder.add(place, place.type(column)), None
            for tap in range(len(signature.args[5])):
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

    return types.void(src, at, pitch, places, weights, taps, first, dst, to, dst_pitch), code


weigh_block = Intrinsic(_block)
"""``(src, at, pitch, places, weights, taps, first, dst, to, dst_pitch)``: what `weigh` does, of the block whose first
row is `first`.
"""


@kernel()
def _ask(ahead: Any, first: Any, count: Any) -> None:
    """Ask for some of the rows (array, place, pitch, rows, columns) that will be wanted after this."""
    src, at, pitch, rows, columns = ahead
    for k in range(first, min(first + count, rows)):
        row = at + k * pitch
        for i in range(_U(0), columns, _LINE):
            fetch_far(src, row + i)


@kernel(fastmath=_FAST)
def weigh(
    src: Any, at: Any, pitch: Any, places: Any, weights: Any, taps: Any, dst: Any, to: Any, dst_pitch: Any, rows: Any,
    columns: Any, ahead: Any,
) -> None:  # fmt: skip
    """Turn over weighted sums of neighboring rows, and ask for the rows `ahead` (array, place, pitch, rows, columns).

    ``dst[to + i * dst_pitch + j]`` is the sum of ``weights[k, j] * src[at + (places[j] + k) * pitch + i]`` over k of
    `taps`, a tuple of whole numbers from 0 on. A row of weights holds `LANES`.
    """
    if rows < _BLOCK or columns < _BLOCK:
        for j in range(rows):
            for i in range(columns):
                total = np.float32(0)
                for k in range(_U(len(taps))):
                    total += weights[k, j] * np.float32(src[at + (_U(places[j]) + k) * pitch + i])
                dst[to + i * dst_pitch + j] = total
        return
    share, asked = ahead[3] // ((columns + _BLOCK - _U(1)) // _BLOCK) + _U(1), _U(0)
    for block in range(_U(0), columns, _BLOCK):
        i = min(block, columns - _BLOCK)
        for other in range(_U(0), rows, _BLOCK):
            j = min(other, rows - _BLOCK)
            weigh_block(src, at + i, pitch, places, weights, taps, j, dst, to + i * dst_pitch + j, dst_pitch)
        _ask(ahead, asked, share)
        asked += share
