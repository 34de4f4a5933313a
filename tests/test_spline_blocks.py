"""Lines of a spline in blocks of vector registers: against scipy, against one line alone, and where they may write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from hilum._kernels.resample.spline import make_taps
from hilum._kernels.resample.spline_blocks import PAD, VECTOR, WIDTH
from hilum._kernels.resample.spline_lines import interpolate_lines

u = np.uint64
KINDS = [("i2", "f4"), ("i2", "i2"), ("u1", "f4"), ("u1", "u1"), ("f4", "f4"), ("f4", "i2"), ("f4", "u1")]


def interpolated(src, taps, target, *, level=0.0, extra=0.0, spare=0):
    """The kernel on columns of a flat array, `spare` elements before and beside what it may write, which hold 77."""
    rows, columns = src.shape
    flat = np.concatenate([np.full(spare, 99, src.dtype), np.pad(src, ((0, 0), (0, spare)), mode="edge").reshape(-1)])
    apart = columns + spare
    dst = np.full(spare + len(taps.first) * apart, 77, target)
    work = np.full((rows + 2 * PAD) * WIDTH, np.nan)
    bounds = np.iinfo(target) if dst.dtype.kind in "iu" else None
    finish = (extra, float(bounds.min), float(bounds.max), 0.5) if bounds else (extra, -np.inf, np.inf, 0.0)
    interpolate_lines(
        flat, u(spare), u(columns + spare), u(rows), u(columns), (taps.first, taps.weights, taps.pole), level,
        dst, u(spare), u(apart), finish, work,
    )  # fmt: skip
    got = dst[spare:].reshape(-1, apart)
    assert (dst[:spare] == 77).all()
    assert (got[:, columns:] == 77).all()
    return got[:, :columns]


def oracle(src, places, order):
    grid = np.meshgrid(places, np.arange(src.shape[1]), indexing="ij")
    return map_coordinates(src.astype(np.float64), grid, order=order, mode="nearest")


def rounded(values, target):
    if np.dtype(target).kind == "f":
        return values
    ends = np.iinfo(target)
    return np.clip(np.trunc(values + np.copysign(0.5, values)), ends.min, ends.max)


@pytest.mark.parametrize(("source", "target"), KINDS)
@pytest.mark.parametrize("order", [1, 3])
@given(
    rows=st.integers(1, 40),
    columns=st.sampled_from([1, VECTOR, WIDTH - 1, WIDTH, WIDTH + 1, 2 * WIDTH, 3 * WIDTH - 5]),
    places=st.lists(st.floats(-0.5, 0.499), min_size=1, max_size=50),
    spare=st.integers(0, 5),
    seed=st.integers(0),
)
def test_lines_go_through_the_samples_as_scipy_s_do_and_touch_no_others(
    source, target, order, rows, columns, places, spare, seed
):
    generator = np.random.default_rng(seed)
    low, high = (0, 256) if source == "u1" else (-1024, 3072)
    src = generator.integers(low, high, (rows, columns)).astype(source)
    where = np.sort(generator.integers(0, rows, len(places)) + np.array(places))
    taps = make_taps(where, size=rows, order=order)
    assume(taps is not None)
    got = interpolated(src, taps, target, level=50.0, extra=50.0, spare=spare)
    want = oracle(src, where, order)
    if np.dtype(target).kind == "f":
        np.testing.assert_allclose(got, want, atol=2e-3)
    else:
        near_a_tie = np.abs(np.abs(want % 1) - 0.5) < 1e-3
        np.testing.assert_array_equal(got[~near_a_tie], rounded(want, target)[~near_a_tie])


@pytest.mark.parametrize(("source", "target"), KINDS)
def test_a_line_does_not_depend_on_those_beside_it(source, target):
    generator = np.random.default_rng(5)
    src = generator.integers(0, 256, (37, 2 * WIDTH + 7)).astype(source)
    taps = make_taps(np.linspace(-0.4, 36.4, 61), size=37, order=3)
    whole = interpolated(src, taps, target)
    np.testing.assert_array_equal(interpolated(src[:, 3 : WIDTH + 3].copy(), taps, target), whole[:, 3 : WIDTH + 3])
    alone = np.hstack([interpolated(src[:, k : k + 1].copy(), taps, target) for k in range(src.shape[1])])
    np.testing.assert_allclose(alone.astype(float), whole.astype(float), atol=1e-4)
    other = src.copy()
    other[:, 11] = 0
    changed = interpolated(other, taps, target) != whole
    assert changed[:, 11].any()
    assert not np.delete(changed, 11, axis=1).any()


@pytest.mark.parametrize("columns", [3, WIDTH])
@pytest.mark.parametrize("target", ["i2", "u1"])
def test_whole_numbers_are_rounded_half_away_from_zero_and_kept_within_their_range(target, columns):
    values = np.array(
        [-1e6, -32769.0, -300.0, -2.5, -1.5, -0.5, -0.49, 0.0, 0.49, 0.5, 1.5, 255.4, 255.5, 40000.0, 1e6]
    )
    src = np.tile(values[:, None], (1, columns)).astype(np.float32)
    # In the middle of two like samples a line, order 1, is what both are.
    taps = make_taps(np.arange(0.5, 2 * len(values), 2.0), size=2 * len(values), order=1)
    got = interpolated(np.repeat(src, 2, axis=0), taps, target)
    np.testing.assert_array_equal(got, rounded(src.astype(float), target))


def test_the_oracle_would_see_a_line_that_is_shifted():
    src = np.random.default_rng(6).integers(-1024, 3072, (20, WIDTH)).astype(np.int16)
    taps = make_taps(np.linspace(0.3, 18.7, 30), size=20, order=3)
    assert np.abs(interpolated(src, taps, "f4") - oracle(src, np.linspace(0.31, 18.71, 30), 3)).max() > 1
