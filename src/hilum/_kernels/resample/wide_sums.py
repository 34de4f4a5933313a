"""Weighted sums of many neighboring samples along one axis in vector registers, for blocks of neighboring lines.

Where a grid gets coarser, an output is the sum of all samples that its kernel covers, and a sample belongs to at most
`TAPS` outputs. Each sample is read once and added to all of them; their sums stay in registers until they are complete.
"""

from typing import Any

from hilum._kernels.resample.spline_blocks import TAPS, VECTOR, WIDTH, prefetch_next_block
from hilum._kernels.simd.registers import (
    broadcast,
    element_pointer,
    load,
    multiply_add,
    repeat,
    round_to_integer,
    store,
    variables,
    vector_intrinsic,
    widest,
)

_VECTOR = 16  # lines of a vector of single precision


def _block(
    builder: Any, source: Any, at: Any, stride: Any, last: Any, weights: Any, level: Any, target: Any, to: Any,
    to_stride: Any, added: Any,
) -> None:  # fmt: skip
    """Emit ``wide_sums_block(src, at, stride, last, weights, level, dst, to, to_stride, added)`` for `WIDTH` lines.

    `last` is the last sample of each output. A sample, less a level, is added with its `TAPS` weights to the first
    output that is not complete, and to the next ones. Outputs get `added`, too. Samples are `stride` apart in a flat
    array, outputs `to_stride`; integers are rounded half away from zero and clipped to the range of their type.
    """
    from llvmlite import ir

    single, number = ir.FloatType(), at.type
    level, added = (broadcast(builder, builder.fptrunc(value, single), _VECTOR) for value in (level, added))
    side = WIDTH if widest() == 16 else _VECTOR  # as many sums as there are registers for
    for lanes in (range(begin, begin + side, _VECTOR) for begin in range(0, WIDTH, side)):
        steps = range(lanes[0], lanes[-1] + _VECTOR, VECTOR)
        sums = [variables(builder, level.type, TAPS) for _ in lanes]
        (row,) = variables(builder, number, 1)
        builder.store(number(0), row)
        for total in (one for several in sums for one in several):
            builder.store(added, total)
        with repeat(builder, last.length) as outputs:
            end = builder.add(builder.load(element_pointer(builder, last, outputs.index)), number(1))
            with repeat(builder, end, start=builder.load(row)) as loop:
                begin = builder.add(at, builder.mul(loop.index, stride))
                prefetch_next_block(builder, source, begin, steps)
                first = builder.mul(loop.index, number(TAPS))
                factors = [
                    builder.load(element_pointer(builder, weights, builder.add(first, number(k)))) for k in range(TAPS)
                ]
                factors = [broadcast(builder, builder.fptrunc(factor, single), _VECTOR) for factor in factors]
                for several, lane in zip(sums, lanes, strict=True):
                    values = load(builder, source, builder.add(begin, number(lane)), _VECTOR)
                    values = builder.fsub(values, level)
                    for factor, total in zip(factors, several, strict=True):
                        builder.store(multiply_add(builder, factor, values, builder.load(total)), total)
            builder.store(end, row)
            line = builder.add(to, builder.mul(to_stride, outputs.index))
            prefetch_next_block(builder, target, line, steps, to_write=True)
            for several, lane in zip(sums, lanes, strict=True):
                result, *others = [builder.load(total) for total in several]
                if target.integer:
                    result = builder.fpext(result, ir.VectorType(ir.DoubleType(), _VECTOR))
                    result = round_to_integer(builder, target, result)
                store(builder, target, builder.add(line, number(lane)), result)
                for total, value in zip(several, [*others, added], strict=True):
                    builder.store(value, total)


wide_sums_block = vector_intrinsic(_block)
