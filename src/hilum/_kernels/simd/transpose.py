"""Transposition of flat arrays in vector registers, block by block.

Element by element it would take as long as the arithmetic of a cubic spline. In registers a block of 8 x 8 takes three
rounds of exchanges between pairs of rows, one of 16 x 16 takes four.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.simd.registers import advance, load, store, transpose_square, vector_intrinsic, widest

BLOCK = 16  # rows and columns of a block: sixteen float32 are one register of AVX-512, and a cache line

_U = np.uint64
_BLOCK = np.uint64(BLOCK)


def store_transposed(
    builder: Any, part_of_row: Callable[[int, int], Any], target: Any, to: Any, dst_stride: Any
) -> None:
    """Emit code that stores a block transposed; `part_of_row` emits the vector at a row and a column of the block."""
    size = widest()
    for i in range(0, BLOCK, size):
        for j in range(0, BLOCK, size):
            end, rows = builder.add(to, to.type(j)), [part_of_row(j + k, i) for k in range(size)]
            for k, row in enumerate(transpose_square(builder, rows)):
                store(builder, target, advance(builder, end, dst_stride, i + k), row)


def _block(builder: Any, source: Any, at: Any, src_stride: Any, target: Any, to: Any, dst_stride: Any) -> None:
    """Emit ``transpose_block(src, at, src_stride, dst, to, dst_stride)``: `transpose` of one block.

    Indices and strides are uint64. int16 is converted to float32 for a float32 target; float32 without fractions to
    int16 for an int16 target.
    """

    def part_of_row(row: int, column: int) -> Any:
        return load(builder, source, advance(builder, builder.add(at, at.type(column)), src_stride, row), widest())

    store_transposed(builder, part_of_row, target, to, dst_stride)


transpose_block = vector_intrinsic(_block)


@kernel()
def transpose(src: Any, at: Any, src_stride: Any, dst: Any, to: Any, dst_stride: Any, rows: Any, columns: Any) -> None:
    """``dst[to + i * dst_stride + j] = src[at + j * src_stride + i]`` for all rows and columns of flat arrays.

    Where a side is not a multiple of the block, its last block overlaps the one before.
    """
    if rows < _BLOCK or columns < _BLOCK:
        for i in range(columns):
            for j in range(rows):
                dst[to + i * dst_stride + j] = src[at + j * src_stride + i]
        return
    for block in range(_U(0), columns, _BLOCK):  # row by row: rows of a patch are often a power of two apart
        i = min(block, columns - _BLOCK)
        for other in range(_U(0), rows, _BLOCK):
            j = min(other, rows - _BLOCK)
            transpose_block(src, at + j * src_stride + i, src_stride, dst, to + i * dst_stride + j, dst_stride)
