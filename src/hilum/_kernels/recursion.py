"""The recursive filter of the cubic B-spline, run over rows in vector registers.

Each row is the pole times the row before it, plus its own: first forth, then back. Column by column the rows follow one
another in a register each and are written once on the way; plain loops over rows, one row at a time, would read what
they have just written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import Intrinsic, kernel
from hilum._kernels.registers import flat, load, multiply_add, spread, store

WIDTH, VECTOR = 32, 16
"""Columns that are done side by side, of which each vector holds so many: no row waits for the one before alone."""

POLE = np.float32(3.0**0.5 - 2.0)
START = np.float32(1 / (3.0 - 3.0**0.5))
"""What a constant becomes in one run of the filter: 1 / (1 - pole)."""

GAIN = (3.0 - 3.0**0.5) ** 2
"""Of both runs, which the weights of the spline make good."""

_U = np.uint64
_WIDTH = np.uint64(WIDTH)


def _block(_context: Any, src: Any, at: Any, stride: Any, dst: Any, to: Any, pitch: Any, count: Any) -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as typed

    cgutils: Any = typed  # its functions have no types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (flat(context, builder, signature.args[k], arguments[k]) for k in (0, 3))
        _, at, stride, _, to, pitch, count = arguments
        number, single = at.type, ir.FloatType()
        pole, start = (spread(builder, ir.Constant(single, float(value)), VECTOR) for value in (POLE, START))
        states = [cgutils.alloca_once(builder, pole.type) for _ in range(WIDTH // VECTOR)]

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
            row(source, builder.add(at, builder.mul(k, stride)), builder.add(to, builder.mul(k, pitch)), first=False)
        end = builder.add(to, builder.mul(last, pitch))
        row(target, end, end, first=True)
        with cgutils.for_range(builder, last) as loop:
            place = builder.sub(end, builder.mul(builder.add(loop.index, number(1)), pitch))
            row(target, place, place, first=False)
        return context.get_dummy_value()

    return types.void(src, at, stride, dst, to, pitch, count), code


filter_block = Intrinsic(_block)
"""``filter_block(src, at, stride, dst, to, pitch, count)``: what `run_filter` does, of `WIDTH` columns."""


@kernel(fastmath=frozenset({"contract"}))
def run_filter(src: Any, at: Any, stride: Any, dst: Any, to: Any, pitch: Any, count: Any, columns: Any) -> None:
    """Filter `count` rows, `stride` apart in a flat array of int16 or float32, into rows of float32 `pitch` apart.

    The last block of columns lies across the one before; in place, columns have to be a whole number of blocks.
    """
    if columns >= _WIDTH:
        for block in range(_U(0), columns, _WIDTH):
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
