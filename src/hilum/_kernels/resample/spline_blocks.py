"""The cubic spline along one axis in vector registers: blocks of neighboring lines, forth in one pass, back in another.

Forth the filter writes what it comes to into a working buffer, a row for each sample. Back it reads them once: the
four coefficients that make an output stay in registers, and an output is summed when its foremost is there. Plain
loops over rows write the coefficients, too, and read four of them again for each output.

Beyond its ends a line goes on with its first and last sample. So forth the filter begins with what a constant comes to,
and back, two rows beyond the end, with what a constant and a rest that dies away come to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.simd.prefetch import LINE, ask
from hilum._kernels.simd.registers import flat, load, multiply_add, place, round_off, spread, store, widest

if TYPE_CHECKING:
    from hilum._kernels.simd.registers import Flat

PAD = 2
"""Coefficients kept beyond each end: four taps around a position up to half a voxel outside."""

TAPS = 4
"""Coefficients that make an output."""

WIDTH = 32
"""Lines of a block, and numbers in a row of the working buffer. Twice as many take a sixth longer."""

VECTOR = 8
"""Lines of a vector: the float64 in a register of AVX-512, or in two of AVX2."""


def _groups() -> list[list[int]]:
    """The lines of a block where vectors begin, those together that are done side by side.

    As many as have room in the registers with `TAPS` rows of each.
    """
    side = (4 if widest() == 16 else 1) * VECTOR
    return [list(range(begin, begin + side, VECTOR)) for begin in range(0, WIDTH, side)]


def _ask_beyond(builder: Any, array: Flat, at: Any, lanes: list[int], *, to_write: bool = False) -> None:
    """Ask for the same row of the next block, which no processor foresees: without it a seventh of the time is waiting.

    The last element of each cache line, for a block seldom begins with one: its first it shares with the one before.
    """
    held = min(LINE // array.size, WIDTH)
    for last in range(held - 1, WIDTH, held):
        if last in range(lanes[0], lanes[-1] + VECTOR):
            ask(builder, place(builder, array, builder.add(at, at.type(WIDTH + last))), to_write=to_write)


def _forth(_context: Any, src: Any, at: Any, pitch: Any, count: Any, work: Any, pole: Any, level: Any) -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as typed

    cgutils: Any = typed  # its functions have no types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, rows = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 4))
        _, at, pitch, count, _, pole, level = arguments
        number, one = at.type, pole.type(1)
        start = spread(builder, builder.fdiv(one, builder.fsub(one, pole)), VECTOR)
        tail = spread(builder, builder.fdiv(one, builder.fsub(one, builder.fmul(pole, pole))), VECTOR)
        pole, level = (spread(builder, value, VECTOR) for value in (pole, level))

        def sample(begin: Any, lane: int) -> Any:
            values = load(builder, source, builder.add(begin, number(lane)), VECTOR, ir.DoubleType())
            return builder.fsub(values, level)

        def keep(row: Any, lane: int, value: Any) -> None:
            store(builder, rows, builder.add(builder.mul(row, number(WIDTH)), number(lane)), value)

        for lanes in _groups():
            states = [cgutils.alloca_once(builder, pole.type) for _ in lanes]
            for state, lane in zip(states, lanes, strict=True):
                made = builder.fmul(start, sample(at, lane))
                builder.store(made, state)
                for row in range(PAD + 1):
                    keep(number(row), lane, made)
            with cgutils.for_range(builder, count, start=number(1)) as loop:
                begin = builder.add(at, builder.mul(pitch, loop.index))
                _ask_beyond(builder, source, begin, lanes)
                for state, lane in zip(states, lanes, strict=True):
                    made = multiply_add(builder, pole, builder.load(state), sample(begin, lane))
                    builder.store(made, state)
                    keep(builder.add(loop.index, number(PAD)), lane, made)
            final = builder.add(at, builder.mul(pitch, builder.sub(count, number(1))))
            for state, lane in zip(states, lanes, strict=True):
                value = sample(final, lane)
                near = multiply_add(builder, pole, builder.load(state), value)
                constant = builder.fmul(start, value)
                rest = builder.fsub(multiply_add(builder, pole, near, value), constant)
                keep(builder.add(count, number(PAD)), lane, near)
                far = multiply_add(builder, tail, rest, builder.fmul(start, constant))
                keep(builder.add(count, number(PAD + 1)), lane, far)
        return context.get_dummy_value()

    return types.void(src, at, pitch, count, work, pole, level), code


forth_block = Intrinsic(_forth)
"""``forth_block(src, at, pitch, count, work, pole, level)``: run the filter forth over `count` samples, less a level.

Samples lie `pitch` apart in a flat array. The working buffer gets ``count + 2 * PAD`` rows of `WIDTH`; the last is what
both runs of the filter come to.
"""


def _back(
    _context: Any, work: Any, rows: Any, first: Any, weights: Any, dst: Any, to: Any, pitch: Any, pole: Any, level: Any
) -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as typed

    cgutils: Any = typed  # its functions have no types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made, first, weights, target = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 2, 3, 4))
        outputs = context.make_array(signature.args[2])(context, builder, arguments[2]).nitems
        _, rows, _, _, _, to, pitch, pole, level = arguments
        number = to.type
        pole, level = (spread(builder, value, VECTOR) for value in (pole, level))

        def row(k: Any, lane: int) -> Any:
            begin = builder.add(builder.mul(k, number(WIDTH)), number(lane))
            return load(builder, made, begin, VECTOR, ir.DoubleType())

        def weight(j: Any, tap: int) -> Any:
            at = builder.add(builder.mul(j, number(TAPS)), number(tap))
            return spread(builder, builder.load(place(builder, weights, at)), VECTOR)

        for lanes in _groups():
            held = [[cgutils.alloca_once(builder, pole.type) for _ in range(TAPS)] for _ in lanes]
            last = builder.sub(rows, number(1))
            at = cgutils.alloca_once(builder, number)
            builder.store(last, at)
            for taps, lane in zip(held, lanes, strict=True):
                builder.store(row(last, lane), taps[0])
            with cgutils.for_range(builder, outputs) as loop:
                j = builder.sub(builder.sub(outputs, number(1)), loop.index)
                foremost = builder.load(place(builder, first, j))
                with cgutils.for_range(builder, builder.sub(builder.load(at), foremost)) as on:
                    k = builder.sub(builder.sub(builder.load(at), number(1)), on.index)
                    for taps, lane in zip(held, lanes, strict=True):
                        before = [builder.load(tap) for tap in taps[:-1]]
                        for value, tap in zip(
                            [multiply_add(builder, pole, before[0], row(k, lane)), *before], taps, strict=True
                        ):
                            builder.store(value, tap)
                builder.store(foremost, at)
                line, factors = builder.add(to, builder.mul(pitch, j)), [weight(j, tap) for tap in range(TAPS)]
                _ask_beyond(builder, target, line, lanes, to_write=True)
                for taps, lane in zip(held, lanes, strict=True):
                    total = level
                    for factor, tap in zip(factors, taps, strict=True):
                        total = multiply_add(builder, factor, builder.load(tap), total)
                    total = round_off(builder, target, total) if target.whole else total
                    store(builder, target, builder.add(line, number(lane)), total)
        return context.get_dummy_value()

    return types.void(work, rows, first, weights, dst, to, pitch, pole, level), code


back_block = Intrinsic(_back)
"""``back_block(work, rows, first, weights, dst, to, pitch, pole, level)``: run the filter back and make the outputs.

Each is a level more than the weighted sum of `TAPS` of the working buffer's rows from its `first` on. These ascend, and
the last is that of the last `TAPS` rows at most. Outputs lie `pitch` apart in a flat array; whole numbers are rounded
half away from zero and kept within their range.
"""
