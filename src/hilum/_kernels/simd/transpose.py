"""Transposing blocks of arrays in vector registers: rows are loaded, exchanged pair by pair, and stored.

Element by element a transposition costs a load and a store for each, as much as the arithmetic of a cubic spline. A
block of eight by eight takes three rounds of exchanges between pairs of rows, one of sixteen by sixteen four.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.simd.registers import exchange, flat, load, step, store, widest

BLOCK = 16
"""Rows and columns of a block: sixteen float32 are one register of AVX-512, and a cache line."""

_U = np.uint64
_BLOCK = np.uint64(BLOCK)


def _block(_context: Any, src: Any, at: Any, pitch: Any, dst: Any, to: Any, dst_pitch: Any) -> Any:
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 3))
        _, at, pitch, _, to, dst_pitch = arguments
        size = widest()
        for i in range(0, BLOCK, size):
            for j in range(0, BLOCK, size):
                begin, end = builder.add(at, at.type(i)), builder.add(to, to.type(j))
                rows = [load(builder, source, step(builder, begin, pitch, j + k), size) for k in range(size)]
                for k, row in enumerate(exchange(builder, rows)):
                    store(builder, target, step(builder, end, dst_pitch, i + k), row)
        return context.get_dummy_value()

    return types.void(src, at, pitch, dst, to, dst_pitch), code


transpose_block = Intrinsic(_block)
"""``transpose_block(src, at, pitch, dst, to, dst_pitch)``: what `turn_over` does, of one block.

Places and pitches are uint64. int16 becomes float32, and whole numbers in float32 become int16, where the target is.
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
