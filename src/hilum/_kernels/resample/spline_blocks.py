"""Spline interpolation along one axis in vector registers, for blocks of neighboring lines.

The forward pass of the filter writes a row for each sample into a work buffer. The backward pass reads them once and
keeps the four coefficients of an output in registers; it sums an output when its first coefficient is there. Plain
loops over rows would store the coefficients, and read four of them again for each output.

Beyond its ends a line continues with its first and last sample. So the forward pass starts with the filter's response
to a constant. The backward pass starts two rows beyond the end, with the response to a constant plus a decaying rest.
"""

from collections.abc import Sequence
from typing import Any

from hilum._kernels.simd.prefetch import LINE, emit_prefetch
from hilum._kernels.simd.registers import (
    FlatArray,
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
)  # fmt: skip

PAD = 2  # coefficients beyond each end: the four taps of a position lie up to half a voxel outside

TAPS = 4  # coefficients of an output

WIDTH = 32  # lines of a block, and numbers in a row of the work buffer; with twice as many it takes a sixth longer

VECTOR = 8  # lines of a vector: the float64 in one register of AVX-512 or in two of AVX2


def _lane_groups() -> list[list[int]]:
    """The first lines of the vectors of a block, in groups whose `TAPS` rows fit into the registers together."""
    side = (4 if widest() == 16 else 1) * VECTOR
    return [list(range(begin, begin + side, VECTOR)) for begin in range(0, WIDTH, side)]


def prefetch_next_block(
    builder: Any, array: FlatArray, at: Any, lanes: Sequence[int], *, to_write: bool = False
) -> None:
    """Prefetch the same row of the next block, which no processor predicts: saves a seventh of the time.

    A block rarely begins with a cache line, so the last element of each line is prefetched: the first one may lie in a
    line of the block before.
    """
    per_line = min(LINE // array.size, WIDTH)
    for last in range(per_line - 1, WIDTH, per_line):
        if last in range(lanes[0], lanes[-1] + VECTOR):
            element = element_pointer(builder, array, builder.add(at, at.type(WIDTH + last)))
            emit_prefetch(builder, element, to_write=to_write)


def _forward(builder: Any, source: Any, at: Any, stride: Any, count: Any, rows: Any, pole: Any, level: Any) -> None:
    """Emit ``filter_forward_block(src, at, stride, count, work, pole, level)``: filter `count` samples forward.

    A level is subtracted from the samples, which are `stride` apart in a flat array. The work buffer gets
    ``count + 2 * PAD`` rows of `WIDTH`; the last one holds the result of both passes.
    """
    from llvmlite import ir

    number, one = at.type, pole.type(1)
    start = broadcast(builder, builder.fdiv(one, builder.fsub(one, pole)), VECTOR)
    tail = broadcast(builder, builder.fdiv(one, builder.fsub(one, builder.fmul(pole, pole))), VECTOR)
    pole, level = (broadcast(builder, value, VECTOR) for value in (pole, level))

    def sample(begin: Any, lane: int) -> Any:
        values = load(builder, source, builder.add(begin, number(lane)), VECTOR, ir.DoubleType())
        return builder.fsub(values, level)

    def write(row: Any, lane: int, value: Any) -> None:
        store(builder, rows, builder.add(builder.mul(row, number(WIDTH)), number(lane)), value)

    for lanes in _lane_groups():
        states = variables(builder, pole.type, len(lanes))
        for state, lane in zip(states, lanes, strict=True):
            filtered = builder.fmul(start, sample(at, lane))
            builder.store(filtered, state)
            for row in range(PAD + 1):
                write(number(row), lane, filtered)
        with repeat(builder, count, start=number(1)) as loop:
            begin = builder.add(at, builder.mul(stride, loop.index))
            prefetch_next_block(builder, source, begin, lanes)
            for state, lane in zip(states, lanes, strict=True):
                filtered = multiply_add(builder, pole, builder.load(state), sample(begin, lane))
                builder.store(filtered, state)
                write(builder.add(loop.index, number(PAD)), lane, filtered)
        final = builder.add(at, builder.mul(stride, builder.sub(count, number(1))))
        for state, lane in zip(states, lanes, strict=True):
            value = sample(final, lane)
            near = multiply_add(builder, pole, builder.load(state), value)
            constant = builder.fmul(start, value)
            rest = builder.fsub(multiply_add(builder, pole, near, value), constant)
            write(builder.add(count, number(PAD)), lane, near)
            far = multiply_add(builder, tail, rest, builder.fmul(start, constant))
            write(builder.add(count, number(PAD + 1)), lane, far)


filter_forward_block = vector_intrinsic(_forward)


def _backward(
    builder: Any, coefficients: Any, rows: Any, first: Any, weights: Any, target: Any, to: Any, stride: Any, pole: Any,
    level: Any,
) -> None:  # fmt: skip
    """Emit ``filter_backward_block(work, rows, first, weights, dst, to, stride, pole, level)``.

    It filters backward and writes the outputs. An output is a level plus the weighted sum of `TAPS` rows of the work
    buffer, from the row in `first` on. The rows in `first` ascend, and the last output ends with the last row at most.
    Outputs are `stride` apart in a flat array; integers are rounded half away from zero and clipped to the range of
    their type.
    """
    from llvmlite import ir

    number, outputs = to.type, first.length
    pole, level = (broadcast(builder, value, VECTOR) for value in (pole, level))

    def row(k: Any, lane: int) -> Any:
        begin = builder.add(builder.mul(k, number(WIDTH)), number(lane))
        return load(builder, coefficients, begin, VECTOR, ir.DoubleType())

    def weight(j: Any, tap: int) -> Any:
        at = builder.add(builder.mul(j, number(TAPS)), number(tap))
        return broadcast(builder, builder.load(element_pointer(builder, weights, at)), VECTOR)

    for lanes in _lane_groups():
        tap_states = [variables(builder, pole.type, TAPS) for _ in lanes]
        last = builder.sub(rows, number(1))
        (at,) = variables(builder, number, 1)
        builder.store(last, at)
        for taps, lane in zip(tap_states, lanes, strict=True):
            builder.store(row(last, lane), taps[0])
        with repeat(builder, outputs) as loop:
            j = builder.sub(builder.sub(outputs, number(1)), loop.index)
            foremost = builder.load(element_pointer(builder, first, j))
            with repeat(builder, builder.sub(builder.load(at), foremost)) as on:
                k = builder.sub(builder.sub(builder.load(at), number(1)), on.index)
                for taps, lane in zip(tap_states, lanes, strict=True):
                    before = [builder.load(tap) for tap in taps[:-1]]
                    newest = multiply_add(builder, pole, before[0], row(k, lane))
                    for value, tap in zip([newest, *before], taps, strict=True):
                        builder.store(value, tap)
            builder.store(foremost, at)
            line, factors = builder.add(to, builder.mul(stride, j)), [weight(j, tap) for tap in range(TAPS)]
            prefetch_next_block(builder, target, line, lanes, to_write=True)
            for taps, lane in zip(tap_states, lanes, strict=True):
                total = level
                for factor, tap in zip(factors, taps, strict=True):
                    total = multiply_add(builder, factor, builder.load(tap), total)
                total = round_to_integer(builder, target, total) if target.integer else total
                store(builder, target, builder.add(line, number(lane)), total)


filter_backward_block = vector_intrinsic(_backward)
