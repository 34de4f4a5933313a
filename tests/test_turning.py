"""What turned patches are made of: the part of a plane that is filtered, and the filter along and across its rows."""

from __future__ import annotations

from math import cos, floor, radians, sin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.patches.positions import find_spans
from hilum._kernels.patches.rotate import AFTER, BEFORE
from hilum._kernels.resample.recursive_filter import POLE, START, VECTOR, filter_backward, filter_forward

u = np.uint64


@kernel()
def forth(rows, at, count, vectors):
    filter_forward(rows, at, count, vectors)


@kernel()
def back(rows, at, count, other, states, vectors):
    filter_backward(rows, at, count, other, states, vectors)


@kernel()
def back_alone(rows, at, count, states, vectors):
    filter_backward(rows, at, count, None, states, vectors)


several = st.sampled_from([(0,), (0, 0), (0, 0, 0, 0)])


def filled(seed, rows, vectors):
    return np.random.default_rng(seed).normal(0, 500, (rows, len(vectors) * VECTOR)).astype(np.float32)


def recursion(rows, states):
    """Each row plus the pole times what came before, in double precision."""
    made = []
    for row in rows.astype(np.float64):
        states = float(POLE) * states + row
        made.append(states)
    return np.array(made).reshape(-1, rows.shape[1])


@given(st.integers(0), st.integers(1, 20), st.integers(0, 3), several)
def test_the_filter_runs_forth_over_rows_of_lanes_and_touches_no_other(seed, count, spare, vectors):
    rows = filled(seed, count + 2 * spare, vectors)
    want = recursion(rows[spare : spare + count], float(START) * rows[spare])
    got = rows.reshape(-1).copy()
    forth(got, u(spare * rows.shape[1]), u(count), vectors)
    np.testing.assert_allclose(got.reshape(rows.shape)[spare : spare + count], want, atol=2e-3)
    for part in (slice(spare), slice(spare + count, None)):
        np.testing.assert_array_equal(got.reshape(rows.shape)[part], rows[part])


@given(st.integers(0), st.integers(0, 20), st.integers(0, 3), several)
def test_it_runs_back_and_at_once_on_from_the_rows_beside(seed, count, spare, vectors):
    rows, states = filled(seed, 2 * count + spare, vectors), filled(seed + 1, 1, vectors)[0]
    lanes = rows.shape[1]
    along = recursion(rows[:count][::-1], states.astype(np.float64))[::-1]
    want = along + float(POLE) * rows[count + spare :]
    got, held = rows.reshape(-1).copy(), states.copy()
    back(got, u(max(count - 1, 0) * lanes), u(count), u((count + spare) * lanes), held, vectors)
    np.testing.assert_allclose(got.reshape(rows.shape)[:count], want, atol=2e-3)
    np.testing.assert_array_equal(got.reshape(rows.shape)[count:], rows[count:])
    np.testing.assert_allclose(held, along[0] if count else states, atol=2e-3)

    got, held = rows.reshape(-1).copy(), states.copy()
    back_alone(got, u(max(count - 1, 0) * lanes), u(count), held, vectors)
    np.testing.assert_allclose(got.reshape(rows.shape)[:count], float(START) * along, atol=2e-3)
    np.testing.assert_allclose(held, along[0] if count else states, atol=2e-3)


@pytest.mark.parametrize("least", [1, 32])
@given(
    angle=st.floats(-180, 180), zoom=st.floats(0.5, 2), high=st.integers(1, 40), wide=st.integers(1, 40),
    shift=st.floats(0, 1),
)  # fmt: skip
def test_spans_hold_what_every_place_wants_and_little_more(least, angle, zoom, high, wide, shift):
    bj, bk, cj, ck = (zoom * f(radians(angle)) for f in (cos, lambda a: -sin(a), sin, cos))
    ends = [(j, k) for j in (0, high - 1) for k in (0, wide - 1)]
    b0 = BEFORE - min(floor(bj * j + bk * k) for j, k in ends) + shift
    c0 = BEFORE - min(floor(cj * j + ck * k) for j, k in ends) + shift
    rows = max(floor(bj * j + bk * k + b0) for j, k in ends) + AFTER
    columns = max(floor(cj * j + ck * k + c0) for j, k in ends) + AFTER
    spans = np.empty((rows, 4), np.int64)
    find_spans(((bj, bk, b0, cj, ck, c0), high, wide), (1, rows, columns), BEFORE, AFTER, least, spans)
    wanted = np.zeros((rows, columns), bool)
    for j in range(high):
        for k in range(wide):
            b, c = floor(bj * j + (bk * k + b0)), floor(cj * j + (ck * k + c0))
            assert b >= BEFORE
            assert c >= BEFORE
            wanted[b - BEFORE : b + AFTER, c - BEFORE : c + AFTER] = True
    for row, (first, last, *_) in zip(wanted, spans, strict=True):
        places = np.flatnonzero(row)
        if not len(places):
            assert first >= last
            continue
        assert 0 <= first <= places[0]
        assert places[-1] < last <= columns
        assert last - first >= min(least, columns)
        assert last - first <= max(places[-1] - places[0] + 1, least)
