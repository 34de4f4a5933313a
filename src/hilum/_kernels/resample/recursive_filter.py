"""The recursive filter of the cubic B-spline, run over rows in vector registers.

Each row is the pole times the row before it, plus its own: first forth, then back. Column by column the rows follow one
another in a register each and are written once on the way; plain loops over rows, one row at a time, would read what
they have just written. Where rows lie in the rows of a plane, the way back along them and the way forth across them
are one pass: most of the time goes into writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.simd.registers import flat, load, multiply_add, spread, store

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, VECTOR = 32, 16
"""Columns that are done side by side, of which each vector holds so many: no row waits for the one before alone."""

LANES = 64
"""Numbers that lie side by side in a row of those whose filter runs from row to row, `run_forth` and `back_rows`."""

POLE = np.float32(3.0**0.5 - 2.0)
START = np.float32(1 / (3.0 - 3.0**0.5))
"""What a constant becomes in one run of the filter: 1 / (1 - pole)."""

GAIN = (3.0 - 3.0**0.5) ** 2
"""Of both runs, which the weights of the spline make good."""

_U = np.uint64
_WIDTH, _VECTOR = np.uint64(WIDTH), np.uint64(VECTOR)


def _of_width(width: int) -> Callable[..., Any]:
    def block(_context: Any, src: Any, at: Any, stride: Any, dst: Any, to: Any, pitch: Any, count: Any) -> Any:
        from llvmlite import ir
        from numba import types
        from numba.core import cgutils as typed

        cgutils: Any = typed  # its functions have no types

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, target = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 3))
            _, at, stride, _, to, pitch, count = arguments
            number, single = at.type, ir.FloatType()
            pole, start = (spread(builder, ir.Constant(single, float(value)), VECTOR) for value in (POLE, START))
            states = [cgutils.alloca_once(builder, pole.type) for _ in range(width // VECTOR)]

            def row(read: Any, begin: Any, lay: Any, *, first: bool) -> None:
                for k, state in enumerate(states):
                    values = load(builder, read, builder.add(begin, number(k * VECTOR)), VECTOR)
                    before = builder.load(state)
                    made = builder.fmul(start, values) if first else multiply_add(builder, pole, before, values)
                    builder.store(made, state)
                    store(builder, target, builder.add(lay, number(k * VECTOR)), made)

            last = builder.sub(count, number(1))
            row(source, at, to, first=True)
            with cgutils.for_range(builder, last) as loop:
                k = builder.add(loop.index, number(1))
                row(
                    source, builder.add(at, builder.mul(k, stride)), builder.add(to, builder.mul(k, pitch)), first=False
                )
            end = builder.add(to, builder.mul(last, pitch))
            row(target, end, end, first=True)
            with cgutils.for_range(builder, last) as loop:
                place = builder.sub(end, builder.mul(builder.add(loop.index, number(1)), pitch))
                row(target, place, place, first=False)
            return context.get_dummy_value()

        return types.void(src, at, stride, dst, to, pitch, count), code

    return block


filter_block = Intrinsic(_of_width(WIDTH))
"""``filter_block(src, at, stride, dst, to, pitch, count)``: what `run_filter` does, of `WIDTH` columns."""

filter_wide_block = Intrinsic(_of_width(WIDTH + VECTOR))
"""The same of half as many columns more."""


def _forth(_context: Any, rows: Any, at: Any, count: Any) -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as typed

    cgutils: Any = typed  # its functions have no types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        work = flat(context, builder, signature.args[0], arguments[0])
        _, at, count = arguments
        pole, start = (spread(builder, ir.Constant(ir.FloatType(), float(value)), VECTOR) for value in (POLE, START))
        states = [cgutils.alloca_once(builder, pole.type) for _ in range(LANES // VECTOR)]
        places = [builder.add(at, at.type(k * VECTOR)) for k in range(len(states))]
        for state, place in zip(states, places, strict=True):
            made = builder.fmul(start, load(builder, work, place, VECTOR))
            builder.store(made, state)
            store(builder, work, place, made)
        with cgutils.for_range(builder, builder.sub(count, at.type(1))) as loop:
            on = builder.mul(builder.add(loop.index, at.type(1)), at.type(LANES))
            for state, first in zip(states, places, strict=True):
                place = builder.add(first, on)
                made = multiply_add(builder, pole, builder.load(state), load(builder, work, place, VECTOR))
                builder.store(made, state)
                store(builder, work, place, made)
        return context.get_dummy_value()

    return types.void(rows, at, count), code


run_forth = Intrinsic(_forth)
"""``run_forth(rows, at, count)``: run the filter forth over so many rows of `LANES`, one after the other, in place."""


def _back(_context: Any, rows: Any, at: Any, count: Any, other: Any, states: Any) -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as typed

    cgutils: Any = typed  # its functions have no types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        work, held = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 4))
        _, at, count, other, _ = arguments
        pole, start = (spread(builder, ir.Constant(ir.FloatType(), float(value)), VECTOR) for value in (POLE, START))
        states = [cgutils.alloca_once(builder, pole.type) for _ in range(LANES // VECTOR)]
        lanes = [at.type(k * VECTOR) for k in range(len(states))]
        for state, lane in zip(states, lanes, strict=True):
            builder.store(load(builder, held, lane, VECTOR), state)
        with cgutils.for_range(builder, count) as loop:
            row = builder.sub(at, builder.mul(loop.index, at.type(LANES)))
            for state, lane in zip(states, lanes, strict=True):
                place = builder.add(row, lane)
                made = multiply_add(builder, pole, builder.load(state), load(builder, work, place, VECTOR))
                builder.store(made, state)
                if alone:
                    made = builder.fmul(start, made)
                else:
                    beside = load(builder, work, builder.add(place, other), VECTOR)
                    made = multiply_add(builder, pole, beside, made)
                store(builder, work, place, made)
        for state, lane in zip(states, lanes, strict=True):
            store(builder, held, lane, builder.load(state))
        return context.get_dummy_value()

    alone = isinstance(other, types.NoneType)
    return types.void(rows, at, count, other, states), code


back_rows = Intrinsic(_back)
"""``back_rows(rows, at, count, other, states)``: run the filter back over so many rows of `LANES`, that at `at` first,
and across them at once: forth from the rows that lie `other` on, or anew where that is None.

`states`, `LANES` numbers, are what the filter back has come to, before and after.
"""


@kernel(fastmath=frozenset({"contract"}))
def run_filter(src: Any, at: Any, stride: Any, dst: Any, to: Any, pitch: Any, count: Any, columns: Any) -> None:
    """Filter `count` rows, `stride` apart in a flat array of int16 or float32, into rows of float32 `pitch` apart.

    The last block of columns lies across the one before; in place, columns have to be a whole number of blocks.
    """
    if columns >= _WIDTH:
        begin = _U(0)
        if columns >= _WIDTH + _VECTOR and _U(0) < columns % _WIDTH <= _VECTOR:  # so that less is done twice
            filter_wide_block(src, at, stride, dst, to, pitch, count)
            begin = _WIDTH + _VECTOR
        for block in range(begin, columns, _WIDTH):
            i = min(block, columns - _WIDTH)
            filter_block(src, at + i, stride, dst, to + i, pitch, count)
        return
    for i in range(columns):
        state = START * np.float32(src[at + i])
        dst[to + i] = state
        for k in range(_U(1), count):
            state = POLE * state + np.float32(src[at + k * stride + i])
            dst[to + k * pitch + i] = state
        state *= START
        dst[to + (count - _U(1)) * pitch + i] = state
        for k in range(_U(2), count + _U(1)):
            state = POLE * state + dst[to + (count - k) * pitch + i]
            dst[to + (count - k) * pitch + i] = state
