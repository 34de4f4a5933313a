"""Coarser grids: noise and fine structures are smoothed, not folded into patterns; against scipy and plain sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import hilum
from hilum._kernels.resample.spline import interpolate, make_taps
from hilum._kernels.resample.spline_blocks import TAPS
from hilum._kernels.resample.wide_taps import make_wide_taps
from hilum.errors import InputError, RecipeError
from hilum.recipes import recipe_fingerprint


def keys(away):
    away = np.abs(away)
    near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    return np.where(away <= 1, near, np.where(away < 2, far, 0))


def by_sums(array, positions, steps, kernel=keys):
    """Every output as the plain sum over a line that continues with its edge samples."""
    out = array.astype(float)
    for axis, (where, step) in enumerate(zip(positions, steps, strict=True)):
        reach = int(3 * step) + 2
        line = np.arange(-reach, out.shape[axis] + reach)
        weights = kernel((line - where[:, None]) / step)
        weights /= weights.sum(axis=1, keepdims=True)
        padded = np.take(out, line.clip(0, out.shape[axis] - 1), axis=axis)
        out = np.moveaxis(np.tensordot(weights, padded, (1, axis)), 0, axis)
    return out


def places(size, step):
    count = max(1, int(size / step))
    return (size - 1) / 2 + (np.arange(count) - (count - 1) / 2) * step


@pytest.mark.parametrize("shape", [(7, 40, 50), (40, 5, 33), (3, 2, 70), (1, 64, 100), (20, 30, 31)])
@pytest.mark.parametrize("step", [1.01, 2.0, 3.3333333333, 6.67])
@pytest.mark.parametrize("kind", ["int16", "uint8", "float32"])
def test_wide_sums_are_plain_sums(shape, step, kind):
    rng = np.random.default_rng(1)
    array = rng.integers(0, 250, shape).astype(kind)
    for order, kernel in ((3, keys), (1, lambda away: np.maximum(1 - np.abs(away), 0))):
        where = [places(size, step) for size in shape]
        taps = [make_wide_taps(p, size=n, step=step, order=order) for p, n in zip(where, shape, strict=True)]
        expected = by_sums(array, where, [step] * 3, kernel)
        out = interpolate(array, *taps, workers=2)
        assert out.dtype == array.dtype
        if kind == "float32":
            np.testing.assert_allclose(out, expected, atol=2e-3)
        else:
            low, high = np.iinfo(kind).min, np.iinfo(kind).max
            assert np.abs(out - expected.clip(low, high)).max() <= 0.502
        assert (out == interpolate(array, *taps, workers=1)).all()


@given(st.integers(1, 60), st.floats(1.001, 20), st.floats(0, 1), st.sampled_from([1, 3]))
@settings(max_examples=200, deadline=None)
def test_a_sample_belongs_to_four_outputs_at_most_and_weights_sum_to_one(size, step, shift, order):
    where = (shift * min(step, size) + step * np.arange(max(1, int(size / step)))).clip(-0.5, size - 0.5)
    where = np.unique(where)
    taps = make_wide_taps(where, size=size, step=step, order=order)
    np.testing.assert_allclose(taps.weights.sum(axis=1), 1, atol=1e-12)
    _, table, _ = taps.table(slice(None), 0, size)
    np.testing.assert_allclose(table.sum(), len(where), atol=1e-9)
    assert table.size == TAPS * size


def test_bands_of_a_large_volume_are_as_the_whole():
    array = np.random.default_rng(0).integers(-1000, 1000, (400, 520, 200)).astype(np.int16)
    steps = (2.5, 2.1, 1.0)
    where = [places(n, s) for n, s in zip(array.shape, steps, strict=True)]
    taps = [
        make_wide_taps(p, size=n, step=s, order=3) if s > 1 else make_taps(p, size=n, order=3)
        for p, n, s in zip(where, array.shape, steps, strict=True)
    ]
    out = interpolate(array, *taps, workers=2)
    few = interpolate(np.ascontiguousarray(array[:, :, :40]), *taps[:2], None, workers=1)  # of another number of bands
    differ = np.abs(out[:, :, :40].astype(int) - few)  # the level that the sums leave out differs, too
    assert differ.max() <= 1
    assert np.count_nonzero(differ) < 1e-4 * differ.size


def test_noise_is_averaged_and_a_constant_stays_exact():
    spacing, rng = (0.6, 0.6, 0.6), np.random.default_rng(2)
    noise = rng.normal(0, 100, (160, 160, 160)).round().astype(np.int16)
    volume = hilum.Volume(noise, hilum.Geometry(noise.shape, spacing))
    ideal = 100 * (0.6 / 4) ** 1.5  # of a low-pass that keeps just what the new grid can hold
    assert hilum.resample(volume, 4.0).array.std() < 1.1 * ideal
    assert hilum.resample(volume, 4.0, order="linear").array.std() < 1.1 * ideal
    assert hilum.resample(volume, 4.0, antialias="off").array.std() > 60
    for value, kind in ((-1000, np.int16), (0.1, np.float32), (255, np.uint8)):
        flat = hilum.Volume(np.full((60, 61, 62), value, kind), hilum.Geometry((60, 61, 62), spacing))
        assert (hilum.resample(flat, 2.5).array == kind(value)).all()


def test_what_is_finer_than_the_new_grid_disappears_and_what_is_coarser_stays():
    x = np.arange(400)

    def waves(period):
        line = (1000 * np.sin(2 * np.pi * x / period)).round().astype(np.int16)
        array = np.ascontiguousarray(np.broadcast_to(line, (2, 3, 400)))
        volume = hilum.Volume(array, hilum.Geometry(array.shape, (1.0, 1.0, 0.5)))
        kept = [np.abs(hilum.resample(volume, (1.0, 1.0, 2.0), antialias=one).array[..., 5:-5]).max()
                for one in ("auto", "off")]  # fmt: skip
        return kept[0], kept[1]

    smoothed, folded = waves(period=4.7)  # voxels of 0.5 mm; the new ones are four of them
    assert smoothed < 60
    assert folded > 900
    assert min(waves(period=40)) > 950


@pytest.mark.parametrize(("factor", "same"), [(1.0, True), (1.4, True), (2.0, True), (2.01, False), (3.0, False)])
def test_only_axes_that_get_more_than_twice_as_coarse_are_smoothed(factor, same):
    rng = np.random.default_rng(3)
    volume = hilum.Volume(rng.integers(-1000, 400, (20, 50, 60)).astype(np.int16),
                          hilum.Geometry((20, 50, 60), (1.0, 0.8, 0.8)))  # fmt: skip
    for spacing in ((1.0, 0.8 * factor, 0.8), (0.7, 0.8, 0.8 * factor)):
        plain = hilum.resample(volume, spacing, antialias="off").array
        assert (hilum.resample(volume, spacing).array == plain).all() == same


@pytest.mark.parametrize(("spacing", "same"), [(0.9, True), (1.0, True), (1.01, False), (2.0, False)])
def test_no_grid_of_1_mm_or_finer_is_smoothed_so_finished_runs_stay_valid(spacing, same):
    rng = np.random.default_rng(3)
    volume = hilum.Volume(rng.integers(-1000, 400, (40, 50, 60)).astype(np.int16),
                          hilum.Geometry((40, 50, 60), (0.35, 0.35, 0.35)))  # fmt: skip
    plain = hilum.resample(volume, spacing, antialias="off").array
    assert (hilum.resample(volume, spacing).array == plain).all() == same
    recipes = [hilum.recipe().replace(resample={"spacing_mm": spacing, "antialias": one}) for one in ("auto", "off")]
    assert (recipe_fingerprint(recipes[0]) == recipe_fingerprint(recipes[1])) == same


def test_masks_the_nearest_order_and_the_tutorials_recipe_are_never_smoothed():
    array = np.random.default_rng(4).integers(0, 3, (40, 40, 40)).astype(np.uint8)
    grid = hilum.Geometry(array.shape, (0.6, 0.6, 0.6))
    mask = hilum.Mask(array, grid)
    assert set(np.unique(hilum.resample(mask, 4.0).array)) <= {0, 1, 2}
    volume = hilum.Volume(array.astype(np.int16), grid)
    assert (hilum.resample(volume, 4.0, order="nearest").array == hilum.resample(mask, 4.0).array).all()
    corner = [hilum.resample(volume, 4.0, grid="corner", antialias=one).array for one in ("auto", "off")]
    assert (corner[0] == corner[1]).all()
    assert hilum.recipe("tutorial2017").resample.antialias == "off"
    assert hilum.recipe("default").resample.antialias == "auto"


def test_another_grid_is_smoothed_too_also_a_turned_one():
    array = ndimage.gaussian_filter(np.random.default_rng(5).normal(0, 2000, (80, 90, 100)), 1.0)
    array = (array + np.random.default_rng(6).normal(0, 100, array.shape)).round().astype(np.int16)
    volume = hilum.Volume(array, hilum.Geometry(array.shape, (0.6, 0.6, 0.6)))
    coarse = hilum.resampled_geometry(volume, 3.0)
    assert (hilum.resample(volume, like=coarse).array == hilum.resample(volume, 3.0).array).all()


@pytest.mark.parametrize("degrees", [0.5, 10, 40])
def test_a_turned_grid_is_smoothed_and_a_ball_stays_in_place(degrees):
    rng, shape, a = np.random.default_rng(6), (90, 90, 100), np.deg2rad(degrees)
    grid = hilum.Geometry(shape, (0.6, 0.6, 0.6))
    turned = hilum.Geometry((10, 10, 10), (3.0, 3.0, 3.0), (20.0, 12.0, 12.0),
                            ((0, 0, 1), (-np.sin(a), np.cos(a), 0), (np.cos(a), np.sin(a), 0)))  # fmt: skip
    noise = hilum.Volume(rng.normal(0, 100, shape).round().astype(np.int16), grid)
    assert hilum.resample(noise, like=turned).array.std() < 1.1 * 100 * (0.6 / 3) ** 1.5
    assert hilum.resample(noise, like=turned, antialias="off").array.std() > 50
    center = np.add(turned.center, (0.7, -0.4, 0.9))
    world = grid.index_to_world(np.moveaxis(np.indices(shape), 0, -1))
    ball = hilum.Volume((1000 * (np.linalg.norm(world - center, axis=-1) < 6)).astype(np.int16), grid)
    seen = hilum.resample(ball, like=turned).array.astype(float)
    found = turned.index_to_world(np.argwhere(seen != 0).T @ seen[seen != 0] / seen.sum())
    assert np.linalg.norm(found - center) < 0.1


def test_a_wrong_option_is_refused():
    volume = hilum.Volume(np.zeros((4, 4, 4), np.int16), hilum.Geometry((4, 4, 4), (1, 1, 1)))
    with pytest.raises(InputError, match="expected auto or off"):
        hilum.resample(volume, 4.0, antialias=True)
    with pytest.raises(RecipeError, match="antialias"):
        hilum.recipe("default").replace(resample__antialias="on")
