"""Rows of a cubic spline in vector registers: the recursive filter and the weighted sums, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import spline_filter1d

from hilum._kernels.resample.recursive_filter import GAIN, LANES, POLE, START, WIDTH, filter_rows
from hilum._kernels.resample.weighted_sums import weighted_sums
from hilum._kernels.simd.transpose import BLOCK

u = np.uint64


@pytest.mark.parametrize("source", ["i2", "f4"])
@given(rows=st.integers(1, 40), columns=st.integers(1, 3 * WIDTH), spare=st.integers(0, 5), seed=st.integers(0))
def test_the_filter_runs_forth_and_back(source, rows, columns, spare, seed):
    pitch, other = columns + spare, columns + 2 * spare
    src = np.random.default_rng(seed).integers(-1024, 3072, spare + rows * pitch).astype(source)
    dst = np.full(spare + rows * other, 77, np.float32)
    filter_rows(src, u(spare), u(pitch), dst, u(spare), u(other), u(rows), u(columns))
    want = src[spare:].reshape(rows, pitch)[:, :columns].astype(np.float64)
    want[0] *= START
    for k in range(1, rows):
        want[k] += float(POLE) * want[k - 1]
    want[-1] *= START
    for k in range(rows - 2, -1, -1):
        want[k] += float(POLE) * want[k + 1]
    got = dst[spare:].reshape(rows, other)
    np.testing.assert_allclose(got[:, :columns], want, atol=2e-3)
    assert (dst[:spare] == 77).all()
    assert (got[:, columns:] == 77).all()


def test_it_filters_in_place_what_is_whole_blocks():
    rows = np.random.default_rng(0).normal(0, 500, (30, 2 * WIDTH)).astype(np.float32)
    work, want = rows.reshape(-1).copy(), np.empty(rows.size, np.float32)
    filter_rows(rows.reshape(-1), u(0), u(2 * WIDTH), want, u(0), u(2 * WIDTH), u(30), u(2 * WIDTH))
    filter_rows(work, u(0), u(2 * WIDTH), work, u(0), u(2 * WIDTH), u(30), u(2 * WIDTH))
    np.testing.assert_array_equal(work, want)


def test_far_from_the_ends_it_gives_the_coefficients_of_scipy():
    rows = np.random.default_rng(1).integers(-1024, 3072, (60, WIDTH)).astype(np.int16)
    got = np.empty(rows.size, np.float32)
    filter_rows(rows.reshape(-1), u(0), u(WIDTH), got, u(0), u(WIDTH), u(60), u(WIDTH))
    want = spline_filter1d(rows.astype(np.float64), order=3, axis=0)
    np.testing.assert_allclose(got.reshape(rows.shape)[16:-16] * GAIN, want[16:-16], atol=0.01)


@pytest.mark.parametrize("source", ["i2", "f4"])
@pytest.mark.parametrize("taps", [(0, 1), (0, 1, 2, 3)])
@given(rows=st.integers(1, 3 * BLOCK), columns=st.integers(1, 3 * BLOCK), spare=st.integers(0, 5), seed=st.integers(0))
def test_sums_of_neighboring_rows_come_to_their_places_and_no_other_is_touched(
    source, taps, rows, columns, spare, seed
):
    generator = np.random.default_rng(seed)
    pitch, other, lines = columns + spare, rows + spare, 12
    src = generator.integers(-1024, 3072, spare + lines * pitch).astype(source)
    places = generator.integers(0, lines - len(taps) + 1, rows + 3)
    weights = generator.uniform(0, 1, (4, LANES)).astype(np.float32)
    dst = np.full(spare + columns * other, 77, np.float32)
    ahead = (src, u(spare), u(pitch), u(lines), u(columns))
    weighted_sums(src, u(spare), u(pitch), places, weights, taps, dst, u(spare), u(other), u(rows), u(columns), ahead)
    table = src[spare:].reshape(lines, pitch)[:, :columns].astype(np.float64)
    want = sum(weights[k, :rows, None] * table[places[:rows] + k] for k in taps)
    got = dst[spare:].reshape(columns, other)
    np.testing.assert_allclose(got[:, :rows], want.T, atol=2e-3)
    assert (dst[:spare] == 77).all()
    assert (got[:, rows:] == 77).all()
