"""Transposing blocks of arrays in vector registers: rows of eight are loaded, exchanged pair by pair, and stored.

Element by element a transposition costs a load and a store for each, as much as the arithmetic of a cubic spline. A
block of eight by eight takes three rounds of exchanges between pairs of rows, each row one instruction: in the round of
distance d rows k and k + d swap the parts of d elements that lie across their diagonal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import Intrinsic, kernel

BLOCK = 8
"""Rows and columns of a block; eight float32 are one register of AVX2."""

_U = np.uint64
_BLOCK = np.uint64(BLOCK)


def _block(_context: Any, src: Any, at: Any, pitch: Any, dst: Any, to: Any, dst_pitch: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 3))
        kinds = [context.get_data_type(signature.args[k].dtype) for k in (0, 3)]
        vectors = [ir.VectorType(kind, BLOCK) for kind in kinds]

        whole = [isinstance(signature.args[k].dtype, types.Integer) for k in (0, 3)]
        convert = None if kinds[0] == kinds[1] else "sitofp" if whole[0] else "fptosi"

        def place(view: Any, kind: int, start: Any, step: Any, row: int) -> Any:
            index = builder.add(start, builder.mul(step, ir.Constant(step.type, row)))
            return builder.bitcast(builder.gep(view.data, [index]), vectors[kind].as_pointer())

        def pick(a: Any, b: Any, lanes: list[int]) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), lanes))

        rows = []
        for k in range(BLOCK):
            row = builder.load(place(source, 0, arguments[1], arguments[2], k), align=_bytes(signature.args[0]))
            rows.append(row if convert is None else getattr(builder, convert)(row, vectors[1]))
        distance = 1
        while distance < BLOCK:
            for k in range(BLOCK):
                if not k & distance:
                    a, b = rows[k], rows[k + distance]
                    low = [lane if not lane & distance else BLOCK + lane - distance for lane in range(BLOCK)]
                    high = [lane + distance if not lane & distance else BLOCK + lane for lane in range(BLOCK)]
                    rows[k], rows[k + distance] = pick(a, b, low), pick(a, b, high)
            distance *= 2
        for k, row in enumerate(rows):
            builder.store(row, place(target, 1, arguments[4], arguments[5], k), align=_bytes(signature.args[3]))
        return context.get_dummy_value()

    return types.void(src, at, pitch, dst, to, dst_pitch), code


def _bytes(array: Any) -> int:
    """Bytes of an element: rows of a block begin anywhere."""
    return int(array.dtype.bitwidth // 8)


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
