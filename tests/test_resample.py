"""Resampling, held against scipy and against the world."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hilum._kernels.resample import spline
from hilum.errors import GeometryError, HilumError, InputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.ops.reorient import reorient
from hilum.ops.resample import resample, resampled_geometry
from hilum.testing import assert_same_geometry, directions, geometries, masks, volumes
from hilum.volume import Mask, Volume

SPACINGS = st.floats(0.4, 6.0).map(lambda s: round(s, 3))


def noise(shape, spacing, *, seed=0, low=-1024, high=3072):
    array = np.random.default_rng(seed).integers(low, high, shape, dtype=np.int16)
    return Volume(array, Geometry(shape, spacing))


def to_int16(values):
    """scipy's rule: half away from zero, kept in range."""
    rounded = np.trunc(values + np.where(values > 0, 0.5, -0.5))
    return np.clip(rounded, -32768, 32767).astype(np.int16)


def positions(old, new):
    """Every voxel of the new grid as a fractional index of the old one, by way of the world."""
    index = np.stack(np.meshgrid(*map(np.arange, new.shape), indexing="ij"), axis=-1)
    return np.moveaxis(old.world_to_index(new.index_to_world(index)), -1, 0)


def assert_equal_share(got, want, share=0.9999):
    """Never more than one unit apart; in all but rare roundings the same."""
    difference = np.abs(got.astype(np.int64) - want)
    assert difference.max() <= 1
    assert np.mean(difference == 0) >= share


def assert_rounded(got, real, slack=5e-3):
    """The nearest integer to a real value; either of both where it lies in their middle, as far as can be told."""
    assert np.abs(got - np.clip(real, -32768, 32767)).max() <= 0.5 + slack


def test_many_voxels_that_would_end_as_one_are_refused_and_a_small_patch_is_not():
    for grid in ("center", "corner"):
        with pytest.raises(GeometryError, match=r"512 voxels of 0\.0007 mm along y \(0\.3584 mm\) would become one"):
            resampled_geometry(Geometry((300, 512, 512), (1.0, 0.0007, 0.0007)), spacing=1.0, grid=grid)
        assert resampled_geometry(Geometry((4, 4, 4), (0.2, 0.2, 0.2)), spacing=1.0, grid=grid).shape == (1, 1, 1)


def test_a_grid_that_no_memory_holds_is_refused_and_its_size_is_told():
    with pytest.raises(GeometryError) as caught:
        resampled_geometry(Geometry((300, 512, 512), (100.0, 0.7, 0.7)), spacing=1.0)
    assert "gives 3e+04 x 358.4 x 358.4 voxels, 7.71 GB, from voxels of 100 x 0.7 x 0.7 mm" in str(caught.value)
    assert len(str(caught.value)) <= 300


# Geometry -------------------------------------------------------------------------------------------------------------


@given(geometries(), SPACINGS)
def test_the_center_grid_has_the_spacing_asked_for_the_formula_s_size_and_an_unmoved_center(geometry, spacing):
    new = resampled_geometry(geometry, spacing=spacing)
    assert new.spacing == (spacing, spacing, spacing)
    assert new.direction == geometry.direction
    np.testing.assert_allclose(new.center, geometry.center, atol=1e-6)
    for n, s, m in zip(geometry.shape, geometry.spacing, new.shape, strict=True):
        assert m in {int(np.ceil(n * s / spacing)), max(1, int(np.ceil(n * s / spacing - 1e-3)))}


def test_spacings_from_decimal_text_make_no_extra_voxel():
    geometry = Geometry((275, 512, 512), (1.0000001, 0.78125, 0.78125000001))
    assert resampled_geometry(geometry, spacing=1.0).shape == (275, 400, 400)
    assert resampled_geometry(Geometry((240, 512, 512), (1.25, 0.75, 0.75)), spacing=1).shape == (300, 384, 384)
    # A real remainder does make one.
    assert resampled_geometry(Geometry((10, 10, 10), (1.01, 1.0, 1.0)), spacing=1).shape == (11, 10, 10)


@given(geometries(min_size=2), SPACINGS)
def test_the_corner_grid_keeps_its_first_and_last_voxels(geometry, spacing):
    new = resampled_geometry(geometry, spacing=spacing, grid="corner")
    assert new.shape == tuple(
        max(1, round(n * s / spacing)) for n, s in zip(geometry.shape, geometry.spacing, strict=True)
    )
    assume(min(new.shape) > 1)
    first, last = geometry.index_to_world([(0, 0, 0), np.array(geometry.shape) - 1])
    np.testing.assert_allclose(new.origin, first, atol=1e-6)
    np.testing.assert_allclose(new.index_to_world(np.array(new.shape) - 1), last, atol=1e-6)


def test_an_axis_of_one_voxel_has_the_tutorials_spacing_on_the_corner_grid():
    new = resampled_geometry(
        Geometry((1, 9, 4), (4.0, 1.0, 2.0), (5.0, 6.0, 7.0)), spacing=(1.0, 10.0, 2.0), grid="corner"
    )
    assert new == Geometry((4, 1, 4), (1.0, 9.0, 2.0), (5.0, 6.0, 7.0))


@pytest.mark.parametrize(
    "spacing", [0, -1.0, float("nan"), float("inf"), (1.0, 1.0), (1, 1, 0), "1 mm", None, 1e-4, 1e-300]
)
def test_a_spacing_that_is_none_is_refused_in_one_line(spacing):
    with pytest.raises(GeometryError) as caught:
        resampled_geometry(Geometry((100, 512, 512), (1.0, 0.7, 0.7)), spacing=spacing)
    assert "spacing" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    "options", [{"order": 2}, {"order": True}, {"order": "3"}, {"order": -1}, {"grid": "centre"}, {"grid": ""}]
)
def test_an_unknown_option_is_refused(options):
    with pytest.raises(InputError):
        resample(noise((3, 3, 3), (1.0, 1.0, 1.0)), **options)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint16, np.complex64])
def test_voxels_of_another_type_are_refused(dtype):
    with pytest.raises(UnsupportedError, match="int16"):
        resample(Volume(np.zeros((2, 2, 2), dtype), Geometry((2, 2, 2), (2.0, 2.0, 2.0))))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_volume_with_a_hole_is_refused_rather_than_smeared(bad):
    array = np.zeros((4, 4, 4), np.float32)
    array[1, 2, 3] = bad
    volume = Volume(array, Geometry(array.shape, (2.0, 2.0, 2.0)))
    with pytest.raises(InputError, match="NaN"):
        resample(volume)
    kept = resample(volume, order=0).array
    assert np.count_nonzero(~np.isfinite(kept)) == 8


# Against scipy --------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(volumes(), SPACINGS)
@example(Volume(np.full((1, 1, 1), 7, np.int16), Geometry((1, 1, 1), (3.0, 3.0, 3.0))), 1.0)
def test_cubic_equals_map_coordinates_at_the_same_places(volume, spacing):
    got = resample(volume, spacing=spacing, antialias="off")
    where = np.round(positions(volume.geometry, got.geometry), 9)
    want = ndimage.map_coordinates(volume.array.astype(float), where, order=3, mode="nearest")
    assert_rounded(got.array, want)
    real = resample(Volume(volume.array.astype(np.float32), volume.geometry), spacing=spacing, antialias="off")
    np.testing.assert_allclose(real.array, want, atol=4e-3)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 90, 80), (1.25, 0.75, 0.75)),
        ((41, 70, 133), (2.5, 0.7, 0.7)),
        ((61, 65, 67), (0.5, 0.9, 1.0)),
        ((61, 65, 131), (1.0, 0.9, 0.6)),
        ((31, 129, 67), (1.0, 1.0, 0.8)),
        ((31, 129, 67), (1.0, 0.8, 1.0)),
        ((31, 129, 67), (0.8, 1.0, 1.0)),
    ],
)
def test_cubic_of_the_worst_noise_equals_scipy_in_99_99_percent(shape, spacing):
    volume = noise(shape, spacing)
    got = resample(volume)
    where = np.round(positions(volume.geometry, got.geometry), 9)
    assert_equal_share(
        got.array, to_int16(ndimage.map_coordinates(volume.array.astype(float), where, order=3, mode="nearest"))
    )
    corner = resample(volume, grid="corner")
    factors = np.array(corner.shape) / shape
    assert_equal_share(corner.array, ndimage.zoom(volume.array, factors, order=3, mode="nearest"))


@settings(max_examples=60)
@given(volumes(), SPACINGS, st.sampled_from([0, 1, 3]))
def test_the_corner_grid_is_scipy_s_zoom(volume, spacing, order):
    got = resample(volume, spacing=spacing, grid="corner", order=order)
    factors = np.array(got.shape) / volume.shape
    want = ndimage.zoom(volume.array.astype(float), factors, order=order, mode="nearest")
    assert got.shape == want.shape
    if order == 0:
        np.testing.assert_array_equal(got.array, want)
    else:
        assert_rounded(got.array, want)


@given(volumes(), SPACINGS)
def test_linear_equals_map_coordinates(volume, spacing):
    got = resample(volume, spacing=spacing, antialias="off", order=1)
    where = positions(volume.geometry, got.geometry)
    want = ndimage.map_coordinates(volume.array.astype(float), where, order=1, mode="nearest")
    assert_rounded(got.array, want)


@given(masks(labels=4), SPACINGS)
def test_a_mask_gets_the_nearest_voxel_whatever_the_order(mask, spacing):
    got = resample(mask, spacing=spacing)
    assert isinstance(got, Mask)
    where = np.floor(np.round(positions(mask.geometry, got.geometry), 6) + 0.5).astype(int)
    inside = [np.clip(w, 0, n - 1) for w, n in zip(where, mask.shape, strict=True)]
    np.testing.assert_array_equal(got.array, mask.array[tuple(inside)])
    np.testing.assert_array_equal(resample(mask, spacing=spacing, order=1).array, got.array)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_integers_saturate_where_the_spline_overshoots(dtype):
    ends = np.iinfo(dtype)
    step = np.full((1, 1, 16), ends.min, dtype)
    step[..., 8:] = ends.max
    volume = Volume(step, Geometry(step.shape, (1.0, 1.0, 1.0)))
    got = resample(volume, spacing=(1.0, 1.0, 0.3))
    real = resample(Volume(step.astype(np.float32), volume.geometry), spacing=(1.0, 1.0, 0.3)).array
    assert real.min() < ends.min - 5
    assert real.max() > ends.max + 5
    assert got.array.dtype == dtype
    assert np.abs(got.array - np.clip(real.astype(float), ends.min, ends.max)).max() <= 0.51


@given(geometries(max_size=20), SPACINGS, st.sampled_from([0, 1, 3]), st.sampled_from(["center", "corner"]))
def test_a_constant_stays_exactly_that(geometry, spacing, order, grid):
    for value, dtype in ((-1024, np.int16), (255, np.uint8), (0.1, np.float32), (-1000.3, np.float32)):
        volume = Volume(np.full(geometry.shape, value, dtype), geometry)
        got = resample(volume, spacing=spacing, order=order, grid=grid).array
        assert got.dtype == dtype
        assert np.all(got == volume.array.flat[0])


# In the world ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    directions(),
    st.tuples(st.floats(0.6, 2.5), st.floats(0.6, 1.2), st.floats(0.6, 1.2)),
    st.tuples(*[st.floats(-4, 4)] * 3),
    st.floats(0.7, 1.8),
    st.sampled_from(["center", "corner"]),
)
def test_a_structure_stays_where_it_is_in_the_patient(direction, spacing, shift, wanted, grid):
    shape = tuple(int(np.ceil(44 / s)) for s in spacing)
    geometry = Geometry(shape, spacing, (-30.0, 50.0, 900.0), direction)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    place = np.array(geometry.center) + shift
    distance = np.linalg.norm(geometry.index_to_world(index) - place, axis=-1)
    volume = Volume((30000 * np.exp(-((distance / 5) ** 2))).astype(np.int16), geometry)
    got = resample(volume, spacing=wanted, grid=grid)
    weights = got.array.astype(float)
    index = np.stack(np.meshgrid(*map(np.arange, got.shape), indexing="ij"), axis=-1)
    centroid = (got.geometry.index_to_world(index) * weights[..., None]).sum((0, 1, 2)) / weights.sum()
    assert np.linalg.norm(centroid - place) < 0.01 * min(got.spacing)


def test_the_test_above_would_see_a_grid_that_is_misplaced():
    volume = noise((10, 20, 20), (5.0, 1.0, 1.0))
    center, corner = (resample(volume, spacing=1.0, grid=grid).geometry for grid in ("center", "corner"))
    assert not center.isclose(corner)
    # Spacing alone, without the half voxel at the edge, is off by (5 - 1) / 2 mm.
    assert center.origin[2] == pytest.approx(-2.0)
    with pytest.raises(AssertionError):
        assert_same_geometry(center, Geometry(center.shape, center.spacing, volume.geometry.origin))


# Identity, layouts, threads -------------------------------------------------------------------------------------------


def test_the_same_grid_shares_the_voxels():
    volume = noise((4, 5, 6), (2.0, 1.0, 1.0))
    for grid in ("center", "corner"):
        same = resample(volume, spacing=(2.0, 1.0, 1.0), grid=grid)
        assert np.shares_memory(same.array, volume.array)
        assert_same_geometry(same.geometry, volume.geometry, tolerance=1e-9)
    assert not np.shares_memory(resample(volume, spacing=(2.0, 1.0, 0.9)).array, volume.array)


@pytest.mark.parametrize(
    "spacing", [(1.0, 0.8, 0.7), (2.0, 1.0, 0.7), (2.0, 0.8, 1.0), (1.0, 1.0, 1.0), (1.0, 0.8, 1.0), (1.0, 1.0, 0.7)]
)
def test_turned_cropped_and_foreign_arrays_give_the_same_voxels(spacing):
    plain = noise((9, 30, 21), (2.0, 1.0, 1.0))
    want = resample(plain, spacing=spacing).array
    large = np.zeros((12, 33, 50), np.int16)
    large[1:10, 2:32, 5:47:2] = plain.array
    twisted = np.ascontiguousarray(plain.array[::-1].transpose(2, 0, 1)).transpose(1, 2, 0)[::-1]
    for array in (large[1:10, 2:32, 5:47:2], twisted, plain.array.astype(">i2"), np.asfortranarray(plain.array)):
        got = resample(Volume(array, plain.geometry), spacing=spacing).array
        np.testing.assert_array_equal(got, want)
        assert got.dtype == np.int16


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (1.0, 0.8, 0.8), (0.9, 1.3, 0.7)])
def test_any_number_of_threads_gives_the_same_bytes(order, spacing, monkeypatch):
    volume = noise((37, 50, 70), (2.0, 0.8, 0.8))
    one = resample(volume, spacing=spacing, order=order, workers=1).array.tobytes()
    assert {resample(volume, spacing=spacing, order=order, workers=n).array.tobytes() for n in (0, 2, 3, 7)} == {one}
    # Nor does it matter, but for a last bit before rounding, into how many bands a big volume is cut.
    monkeypatch.setattr(spline, "_BAND_BYTES", 37 * 70 * 4 * 10)
    monkeypatch.setattr(spline, "_BAND_ROWS", 1)
    banded = resample(volume, spacing=spacing, order=order, workers=2).array
    assert_equal_share(banded, np.frombuffer(one, np.int16).reshape(banded.shape), share=0.9999)


def test_resampling_a_turned_volume_is_turning_a_resampled_one():
    geometry = Geometry((12, 15, 17), (2.0, 0.7, 0.9), direction=((0, 0, -1.0), (1.0, 0, 0), (0, 1.0, 0)))
    volume = Volume(noise(geometry.shape, geometry.spacing).array, geometry)
    first, last = resample(reorient(volume)), reorient(resample(volume))
    assert_same_geometry(first.geometry, last.geometry, tolerance=1e-6)
    assert_equal_share(first.array, last.array, share=0.999)


def test_the_input_is_left_as_it_was():
    array = np.random.default_rng(1).integers(-1000, 1000, (6, 7, 8), dtype=np.int16)
    before = array.copy()
    volume = Volume(array, Geometry(array.shape, (2.0, 2.0, 2.0)))
    for order in (0, 1, 3):
        out = resample(volume, order=order).array
        assert not out.flags.writeable
    np.testing.assert_array_equal(array, before)


def test_every_refusal_is_a_hilum_error():
    assert all(issubclass(kind, HilumError) for kind in (GeometryError, InputError, UnsupportedError))


@pytest.mark.real
def test_a_real_chest_equals_scipy(real_data):
    from pydicom import dcmread

    files = [dcmread(p) for p in sorted((real_data / "lidc-idri-0314").rglob("*.dcm"))[:24]]
    files.sort(key=lambda f: float(f.ImagePositionPatient[2]))
    hu = np.stack([f.pixel_array.astype(np.int16) - 1000 for f in files])[:, 100:300, 60:300]
    volume = Volume(hu, Geometry(hu.shape, (1.0, 0.78125, 0.78125)))
    for spacing in (1.0, (1.3, 1.0, 0.9)):
        got = resample(volume, spacing=spacing)
        where = np.round(positions(volume.geometry, got.geometry), 9)
        assert_equal_share(
            got.array, to_int16(ndimage.map_coordinates(hu.astype(float), where, order=3, mode="nearest"))
        )
