"""The recursive filter of the cubic B-spline, run over rows in vector registers.

Each row becomes the pole times the row before it plus itself, first forward, then backward. A block of columns keeps
its state in registers and writes each row once; plain loops over rows would read again what they have just written.
Most of the time goes into writing, so in a plane of rows one pass filters backward along a row and forward across rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.simd.registers import constant, load, multiply_add, repeat, store, variables, vector_intrinsic

WIDTH, VECTOR = 32, 16  # columns of a block and of a vector; with several vectors the processor does not wait for one

LANES = 64  # most numbers in a row of `filter_forward` and `filter_backward`, which filter from row to row

POLE = np.float32(3.0**0.5 - 2.0)
START = np.float32(1 / (3.0 - 3.0**0.5))  # gain of one run of the filter for a constant: 1 / (1 - pole)

GAIN = (3.0 - 3.0**0.5) ** 2  # factor by which the weights of the spline make up for the gain of both runs

_U = np.uint64
_WIDTH, _VECTOR = np.uint64(WIDTH), np.uint64(VECTOR)


def _pass(
    builder: Any, states: list[Any], source: Any, at: Any, src_stride: Any, target: Any, to: Any, dst_stride: Any,
    count: Any,
) -> None:  # fmt: skip
    """Filter `count` rows of a vector for each state, from the row at `at` on."""
    pole, start = (constant(builder, value, VECTOR) for value in (POLE, START))

    def row(begin: Any, target_row: Any, *, first: bool) -> None:
        for k, state in enumerate(states):
            values = load(builder, source, builder.add(begin, begin.type(k * VECTOR)), VECTOR)
            before = builder.load(state)
            filtered = builder.fmul(start, values) if first else multiply_add(builder, pole, before, values)
            builder.store(filtered, state)
            store(builder, target, builder.add(target_row, begin.type(k * VECTOR)), filtered)

    row(at, to, first=True)
    with repeat(builder, builder.sub(count, at.type(1))) as loop:
        k = builder.add(loop.index, at.type(1))
        row(builder.add(at, builder.mul(k, src_stride)), builder.add(to, builder.mul(k, dst_stride)), first=False)


def _states(builder: Any, columns: int) -> list[Any]:
    """The state of the filter for each vector of columns."""
    return variables(builder, constant(builder, POLE, VECTOR).type, columns // VECTOR)


def _of_width(width: int) -> Callable[..., Any]:
    def block(
        builder: Any, source: Any, at: Any, src_stride: Any, target: Any, to: Any, dst_stride: Any, count: Any
    ) -> None:
        states = _states(builder, width)
        _pass(builder, states, source, at, src_stride, target, to, dst_stride, count)
        end = builder.add(to, builder.mul(builder.sub(count, at.type(1)), dst_stride))
        back = builder.neg(dst_stride)
        _pass(builder, states, target, end, back, target, end, back, count)

    return block


filter_block = vector_intrinsic(_of_width(WIDTH))  # `filter_rows` of `WIDTH` columns, without its last argument

filter_wide_block = vector_intrinsic(_of_width(WIDTH + VECTOR))  # the same with one vector of columns more


def _forward(builder: Any, work: Any, at: Any, count: Any, vectors: Any) -> None:
    width = len(vectors) * VECTOR
    stride = at.type(width)
    _pass(builder, _states(builder, width), work, at, stride, work, at, stride, count)


filter_forward = vector_intrinsic(_forward)  # (rows, at, count, vectors): filter rows of vectors forward, in place


def _backward(builder: Any, work: Any, at: Any, count: Any, other: Any, saved: Any, vectors: Any) -> None:
    """Emit ``filter_backward(rows, at, count, other, states, vectors)``: filter `count` rows of vectors in place.

    It filters in two directions: backward along the rows, from the row at `at` on, and forward across them. Across,
    each row continues from the row `other` numbers away; the filter begins anew where `other` is None. `states` holds
    the numbers of the backward filter's state, before and after.
    """
    pole, start = (constant(builder, value, VECTOR) for value in (POLE, START))
    width = len(vectors) * VECTOR
    states = _states(builder, width)
    lanes = [at.type(k * VECTOR) for k in range(len(states))]
    for state, lane in zip(states, lanes, strict=True):
        builder.store(load(builder, saved, lane, VECTOR), state)
    with repeat(builder, count) as loop:
        row = builder.sub(at, builder.mul(loop.index, at.type(width)))
        for state, lane in zip(states, lanes, strict=True):
            element = builder.add(row, lane)
            filtered = multiply_add(builder, pole, builder.load(state), load(builder, work, element, VECTOR))
            builder.store(filtered, state)
            if other is None:
                filtered = builder.fmul(start, filtered)
            else:
                across = load(builder, work, builder.add(element, other), VECTOR)
                filtered = multiply_add(builder, pole, across, filtered)
            store(builder, work, element, filtered)
    for state, lane in zip(states, lanes, strict=True):
        store(builder, saved, lane, builder.load(state))


filter_backward = vector_intrinsic(_backward)


@kernel(contract=True)
def filter_rows(
    src: Any, at: Any, src_stride: Any, dst: Any, to: Any, dst_stride: Any, count: Any, columns: Any
) -> None:
    """Filter `count` rows of a flat array of int16 or float32 into rows of a flat array of float32.

    The last block of columns overlaps the one before. To work in place, columns must be a multiple of the block.
    """
    if columns >= _WIDTH:
        begin = _U(0)
        if columns >= _WIDTH + _VECTOR and _U(0) < columns % _WIDTH <= _VECTOR:  # leaves less overlap
            filter_wide_block(src, at, src_stride, dst, to, dst_stride, count)
            begin = _WIDTH + _VECTOR
        for block in range(begin, columns, _WIDTH):
            i = min(block, columns - _WIDTH)
            filter_block(src, at + i, src_stride, dst, to + i, dst_stride, count)
        return
    for i in range(columns):
        state = START * np.float32(src[at + i])
        dst[to + i] = state
        for k in range(_U(1), count):
            state = POLE * state + np.float32(src[at + k * src_stride + i])
            dst[to + k * dst_stride + i] = state
        state *= START
        dst[to + (count - _U(1)) * dst_stride + i] = state
        for k in range(_U(2), count + _U(1)):
            state = POLE * state + dst[to + (count - k) * dst_stride + i]
            dst[to + (count - k) * dst_stride + i] = state
