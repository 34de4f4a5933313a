"""Weighted sums of neighboring rows, transposed in vector registers before they are stored.

Between the blocks the rows of the next call are prefetched. They lie in many short pieces, a row of each slice, which
no processor predicts.
"""

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.resample.recursive_filter import LANES
from hilum._kernels.simd.prefetch import LINE, prefetch_l2
from hilum._kernels.simd.registers import advance, broadcast, load, multiply_add, vector_intrinsic, widest
from hilum._kernels.simd.transpose import BLOCK, store_transposed

_U = np.uint64
_BLOCK, _LINE = np.uint64(BLOCK), np.uint64(LINE // 2)


def _block(
    builder: Any, src: Any, at: Any, src_stride: Any, first_rows: Any, weights: Any, taps: Any, first: Any, dst: Any,
    to: Any, dst_stride: Any,
) -> None:  # fmt: skip
    """Emit `weighted_sums` of the block whose first output is `first`."""
    size, weight_stride = widest(), first.type(LANES)

    def total(row: int, column: int) -> Any:
        index = builder.add(first, first.type(row))
        start = builder.add(at, builder.mul(builder.load(builder.gep(first_rows.data, [index])), src_stride))
        start, result = builder.add(start, start.type(column)), None
        for tap in range(len(taps)):
            number = builder.load(builder.gep(weights.data, [advance(builder, index, weight_stride, tap)]))
            weight = broadcast(builder, number, size)
            values = load(builder, src, advance(builder, start, src_stride, tap), size)
            result = builder.fmul(weight, values) if result is None else multiply_add(builder, weight, values, result)
        return result

    store_transposed(builder, total, dst, to, dst_stride)


weighted_sums_block = vector_intrinsic(_block)


@kernel()
def _prefetch_rows(next_rows: Any, first: Any, count: Any) -> None:
    """Prefetch some of the rows (array, start, stride, rows, columns) of the next call."""
    src, at, src_stride, rows, columns = next_rows
    for k in range(first, min(first + count, rows)):
        row = at + k * src_stride
        for i in range(_U(0), columns, _LINE):
            prefetch_l2(src, row + i)


@kernel(contract=True)
def weighted_sums(
    src: Any, at: Any, src_stride: Any, first_rows: Any, weights: Any, taps: Any, dst: Any, to: Any, dst_stride: Any,
    rows: Any, columns: Any, next_rows: Any,
) -> None:  # fmt: skip
    """Store weighted sums of neighboring rows transposed; prefetch `next_rows` (array, start, stride, rows, columns).

    ``dst[to + i * dst_stride + j]`` is the sum of ``weights[k, j] * src[at + (first_rows[j] + k) * src_stride + i]``
    over the k in `taps`, a tuple (0, 1, ...). A row of weights has `LANES` numbers.
    """
    if rows < _BLOCK or columns < _BLOCK:
        for j in range(rows):
            for i in range(columns):
                total = np.float32(0)
                for k in range(_U(len(taps))):
                    total += weights[k, j] * np.float32(src[at + (_U(first_rows[j]) + k) * src_stride + i])
                dst[to + i * dst_stride + j] = total
        return
    share, prefetched = next_rows[3] // ((columns + _BLOCK - _U(1)) // _BLOCK) + _U(1), _U(0)
    for block in range(_U(0), columns, _BLOCK):
        i = min(block, columns - _BLOCK)
        for other in range(_U(0), rows, _BLOCK):
            j = min(other, rows - _BLOCK)
            weighted_sums_block(
                src, at + i, src_stride, first_rows, weights, taps, j, dst, to + i * dst_stride + j, dst_stride
            )
        _prefetch_rows(next_rows, prefetched, share)
        prefetched += share
