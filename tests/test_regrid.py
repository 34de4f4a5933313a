"""Sampling a volume on the grid of another one, held against scipy and SimpleITK by way of the world."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from itk_oracle import itk_image
from scipy import ndimage
from scipy.spatial.transform import Rotation

import hilum
from hilum.errors import GeometryError, InputError
from hilum.geometry import Geometry
from hilum.ops.regrid import share_inside
from hilum.ops.resample import resample, resampled_geometry
from hilum.testing import directions, masks, volumes
from hilum.volume import Mask, Volume

LEFT_HANDED = ((0, 0, 1), (0, -1, 0), (1, 0, 0))


def turned(*degrees):
    """Axes z, y, x turned against the patient's."""
    return tuple(map(tuple, Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()[[2, 1, 0]]))


@st.composite
def grids_near(draw, geometry):
    """A grid of any orientation around the center of another one; it may reach beyond it."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.4, 5.0).map(lambda v: round(v, 3))] * 3))
    grid = Geometry(shape, spacing, (0, 0, 0), draw(directions()))
    shift = np.array(draw(st.tuples(*[st.floats(-6, 6).map(lambda v: round(v, 2))] * 3)))
    return Geometry(shape, spacing, tuple(np.array(geometry.center) - grid.center + shift), grid.direction)


def where(old, new):
    """Each voxel of the new grid as an index of the old one, whether it lies in it, and whether that is sure."""
    index = np.stack(np.meshgrid(*map(np.arange, new.shape), indexing="ij"), axis=-1)
    at = old.world_to_index(new.index_to_world(index))
    inner = np.min([at + 0.5, np.array(old.shape) - 0.5 - at], axis=0).min(axis=-1)
    return np.moveaxis(at, -1, 0), inner >= 0, np.abs(inner) > 1e-5


@settings(max_examples=80)
@given(volumes(max_size=9), st.data(), st.sampled_from([("cubic", 3), ("linear", 1)]))
def test_any_grid_equals_scipy_at_the_same_places_of_the_world(volume, data, order):
    grid = data.draw(grids_near(volume.geometry))
    at, inside, sure = where(volume.geometry, grid)
    assume(share_inside(volume.geometry, grid) > 0)
    got = resample(volume, like=grid, order=order[0], outside=-3000, antialias="off")
    assert got.geometry == grid
    want = ndimage.map_coordinates(volume.array.astype(float), at, order=order[1], mode="nearest")
    assert np.abs(got.array - np.clip(want, -32768, 32767))[inside & sure].max(initial=0) <= 0.51
    assert (got.array[~inside & sure] == -3000).all()


@given(masks(max_size=9), st.data())
def test_a_mask_takes_the_nearest_label_and_zero_beyond(mask, data):
    grid = data.draw(grids_near(mask.geometry))
    at, inside, _ = where(mask.geometry, grid)
    assume(share_inside(mask.geometry, grid) > 0)
    got = resample(mask, like=grid, order="cubic")
    index = np.floor(at + 0.5).astype(int)
    clear = (np.abs(at + 0.5 - np.rint(at + 0.5)) > 1e-5).all(axis=0)
    want = mask.array[tuple(np.clip(i, 0, n - 1) for i, n in zip(index, mask.shape, strict=True))] * inside
    assert isinstance(got, Mask)
    assert np.array_equal(got.array[clear], want[clear])


@pytest.mark.parametrize("direction", [turned(0, 0, 0), turned(10, 20, -15), LEFT_HANDED, turned(90, 0, 180)])
def test_linear_agrees_with_simpleitk(direction):
    array = np.random.default_rng(0).normal(size=(12, 14, 16)).astype(np.float32)
    volume = Volume(array, Geometry(array.shape, (2.5, 0.7, 0.8), (3.0, -7.0, 9.0), turned(5, 0, 3)))
    grid = Geometry((9, 20, 11), (1.5, 0.6, 0.9), (0, 0, 0), direction)
    grid = Geometry(grid.shape, grid.spacing, tuple(np.array(volume.geometry.center) - grid.center), direction)
    got = resample(volume, like=grid, order="linear", outside=5.0, antialias="off")
    reference = itk_image(Volume(np.zeros(grid.shape, np.float32), grid))
    want = SimpleITK.Resample(itk_image(volume), reference, SimpleITK.Transform(), SimpleITK.sitkLinear, 5.0)
    at, *_ = where(volume.geometry, grid)
    inner = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(at, array.shape, strict=True)], axis=0)
    assert inner.any()
    np.testing.assert_allclose(got.array[inner], SimpleITK.GetArrayFromImage(want)[inner], atol=2e-5)


@pytest.mark.parametrize("grid", ["center", "corner"])
@given(volume=volumes(min_size=2), spacing=st.floats(0.5, 6.0).map(lambda v: round(v, 3)))
def test_the_grid_of_a_spacing_gives_what_the_spacing_gives(grid, volume, spacing):
    want = resample(volume, spacing, grid=grid, antialias="off")
    got = resample(volume, like=want, antialias="off")
    assert np.abs(got.array.astype(int) - want.array).max() <= 1
    assert np.array_equal(resample(volume, spacing, grid=grid, order="nearest").shape, got.shape)
    assert resampled_geometry(volume, spacing, grid=grid) == got.geometry


def test_a_part_of_its_own_lattice_is_copied_exactly_and_nothing_changes_on_its_own_grid():
    array = np.random.default_rng(1).normal(size=(8, 9, 10)).astype(np.float32)
    volume = Volume(array, Geometry(array.shape, (2.0, 0.7, 0.8), (3.0, -7.0, 9.0), turned(5, 40, 3)))
    part = volume.crop((1, 2, 3), (7, 8, 9))
    assert np.array_equal(resample(volume, like=part).array, part.array)
    assert np.array_equal(resample(volume, like=volume).array, array)


@pytest.mark.parametrize("direction", [turned(0, 0, 0), turned(10, 20, -15)])
def test_what_lies_beyond_is_air_and_a_float_volume_must_say(direction):
    grid = Geometry((9, 9, 9), (1.0, 1.0, 1.0), (-4.0, -4.0, -4.0), direction)
    ones = np.ones((3, 3, 3))
    own = Geometry((3, 3, 3), (1.0, 1.0, 1.0))
    assert set(np.unique(resample(Volume((ones * 40).astype(np.int16), own), like=grid).array)) == {-1000, 40}
    assert set(np.unique(resample(Volume((ones * 40).astype(np.uint8), own), like=grid).array)) == {0, 40}
    unit = Volume(ones.astype(np.float32), own)
    with pytest.raises(InputError, match=r"outside=\.\.\."):
        resample(unit, like=grid)
    assert set(np.unique(resample(unit, like=grid, outside=-0.25).array)) == {np.float32(-0.25), 1}


@pytest.mark.parametrize("direction", [turned(0, 0, 0), turned(10, 20, -15)])
def test_a_grid_elsewhere_is_refused(direction):
    volume = Volume(np.zeros((5, 5, 5), np.int16), Geometry((5, 5, 5), (1.0, 1.0, 1.0)))
    with pytest.raises(GeometryError, match="shares no voxel with the volume"):
        resample(volume, like=Geometry((5, 5, 5), (1.0, 1.0, 1.0), (30.0, 0.0, 0.0), direction))


def test_a_grid_that_no_memory_holds_is_refused():
    volume = Volume(np.zeros((5, 5, 5), np.int16), Geometry((5, 5, 5), (1.0, 1.0, 1.0)))
    with pytest.raises(GeometryError, match=r"the grid has 8\.\d+e\+09 voxels; the limit is 2e9"):
        resample(volume, like=Geometry((2001, 2001, 2001), (0.001, 0.001, 0.001)))


def test_a_spacing_and_a_grid_are_two_answers():
    volume = Volume(np.zeros((5, 5, 5), np.int16), Geometry((5, 5, 5), (1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="both a spacing and a grid"):
        resample(volume, 1.0, like=volume)


def test_the_threads_do_not_change_a_byte():
    array = np.random.default_rng(2).integers(-1000, 1000, (20, 30, 40), dtype=np.int16)
    volume = Volume(array, Geometry(array.shape, (2.5, 0.7, 0.8)))
    grid = Geometry((30, 25, 35), (1.0, 0.9, 0.7), (2.0, 3.0, 4.0), turned(10, 20, -15))
    one, two = (resample(volume, like=grid, workers=workers).array for workers in (1, 3))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(("name", "number"), [("cubic", 3), ("linear", 1), ("nearest", 0)])
def test_an_order_has_a_name_and_a_number(name, number):
    array = np.random.default_rng(3).integers(-1000, 1000, (6, 7, 8), dtype=np.int16)
    volume = Volume(array, Geometry(array.shape, (2.5, 0.7, 0.8)))
    assert np.array_equal(hilum.resample(volume, order=name).array, hilum.resample(volume, order=number).array)
