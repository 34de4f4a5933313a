"""Voxel to world and back, as SimpleITK and highdicom have it."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import GeometryError
from hilum.geometry import Geometry
from hilum.testing import assert_same_geometry, geometries

FRACTION = st.floats(-3, 40).map(lambda v: round(v, 3))
INDICES = st.tuples(FRACTION, FRACTION, FRACTION)
PLAIN = Geometry((10, 20, 30), (2.0, 0.5, 0.7), (-7.0, -5.0, 100.0))


@given(geometries(), INDICES)
def test_the_world_is_where_simpleitk_says(geometry, index):
    import SimpleITK

    image = SimpleITK.Image([int(n) for n in geometry.shape[::-1]], SimpleITK.sitkUInt8)
    image.SetOrigin(geometry.origin)
    image.SetSpacing(geometry.spacing[::-1])
    # ITK's columns are the directions of its axes x, y, z.
    matrix = np.array(geometry.direction[::-1]).T.ravel().tolist()
    image.SetDirection(matrix)
    want = image.TransformContinuousIndexToPhysicalPoint(index[::-1])
    np.testing.assert_allclose(geometry.index_to_world(index), want, atol=1e-6)
    whole = [int(v) for v in index[::-1]]
    np.testing.assert_allclose(
        geometry.index_to_world(whole[::-1]), image.TransformIndexToPhysicalPoint(whole), atol=1e-6
    )
    np.testing.assert_allclose(
        geometry.world_to_index(want), image.TransformPhysicalPointToContinuousIndex(want)[::-1], atol=1e-6
    )


@given(geometries(), INDICES)
def test_the_world_is_where_highdicom_says(geometry, index):
    from highdicom.volume import VolumeGeometry

    their = VolumeGeometry.from_attributes(
        image_position=geometry.origin,
        # DICOM: first the direction in which the column index (x) grows, then that of the row index (y).
        image_orientation=[*geometry.direction[2], *geometry.direction[1]],
        rows=geometry.shape[1],
        columns=geometry.shape[2],
        pixel_spacing=geometry.spacing[1:],
        spacing_between_slices=geometry.spacing[0],
        number_of_frames=geometry.shape[0],
        coordinate_system="PATIENT",
    )
    ours = geometry
    # From an orientation highdicom lets the slices run along the cross product of rows and columns.
    if np.linalg.det(np.array(geometry.direction)) * np.linalg.det(their.affine[:3, :3]) < 0:
        flipped = tuple(-v for v in geometry.direction[0])
        ours = replace(geometry, direction=(flipped, *geometry.direction[1:]))
    np.testing.assert_allclose(ours.affine, their.affine, atol=1e-6)
    np.testing.assert_allclose(
        ours.index_to_world([index]), their.map_indices_to_reference(np.array([index])), atol=1e-6
    )


@given(geometries(), INDICES)
def test_back_from_the_world_is_where_one_came_from(geometry, index):
    np.testing.assert_allclose(geometry.world_to_index(geometry.index_to_world(index)), index, atol=1e-6)


def test_points_come_in_any_number():
    points = np.arange(24.0).reshape(2, 4, 3)
    world = PLAIN.index_to_world(points)
    assert world.shape == (2, 4, 3)
    np.testing.assert_allclose(world[1, 2], PLAIN.index_to_world(points[1, 2]))
    assert PLAIN.index_to_world(np.zeros((0, 3))).shape == (0, 3)
    assert PLAIN.contains(world).shape == (2, 4)


def test_by_hand():
    np.testing.assert_allclose(PLAIN.index_to_world((1, 2, 3)), (-7 + 3 * 0.7, -5 + 2 * 0.5, 100 + 2.0))
    assert PLAIN.voxel_volume == pytest.approx(0.7)
    np.testing.assert_allclose(PLAIN.center, (-7 + 14.5 * 0.7, -5 + 9.5 * 0.5, 100 + 4.5 * 2))
    np.testing.assert_array_equal(PLAIN.affine, [[0, 0, 0.7, -7], [0, 0.5, 0, -5], [2, 0, 0, 100], [0, 0, 0, 1]])


@given(geometries())
def test_a_grid_contains_its_voxels_to_their_edges_and_no_more(geometry):
    last = np.array(geometry.shape) - 1
    assert geometry.contains(geometry.center)
    for axis in range(3):
        step = np.eye(3)[axis]
        assert geometry.contains(geometry.index_to_world(-0.499 * step))
        assert geometry.contains(geometry.index_to_world(last + 0.499 * step))
        assert not geometry.contains(geometry.index_to_world(-0.501 * step))
        assert not geometry.contains(geometry.index_to_world(last + 0.501 * step))


@given(geometries(), st.tuples(*[st.integers(-5, 20)] * 3), st.tuples(*[st.integers(1, 20)] * 3), INDICES)
def test_a_crop_keeps_the_world(geometry, start, size, index):
    part = geometry.crop(start, np.add(start, size).tolist())
    assert part.shape == size
    assert (part.spacing, part.direction) == (geometry.spacing, geometry.direction)
    np.testing.assert_allclose(part.index_to_world(index), geometry.index_to_world(np.add(index, start)), atol=1e-6)


def test_an_empty_crop_is_refused():
    with pytest.raises(GeometryError, match="shape"):
        PLAIN.crop((2, 0, 0), (2, 5, 5))


@given(geometries(min_size=2))
def test_isclose_sees_every_difference_of_a_hundredth_of_a_voxel(geometry):
    assert geometry.isclose(geometry)
    for axis in range(3):
        step = np.eye(3)[axis]
        moved = replace(geometry, origin=tuple(geometry.index_to_world(0.01 * step)))
        assert not geometry.isclose(moved)
        assert geometry.isclose(moved, tolerance=0.011)
        wider = [s * (1 + 0.01 * e) for s, e in zip(geometry.spacing, step, strict=True)]
        assert not geometry.isclose(replace(geometry, spacing=wider))
        more = [n + int(e) for n, e in zip(geometry.shape, step, strict=True)]
        assert not geometry.isclose(replace(geometry, shape=more))
        flipped = tuple(tuple(-v for v in d) if e else d for d, e in zip(geometry.direction, step, strict=True))
        assert not geometry.isclose(replace(geometry, direction=flipped))
    z, y, x = geometry.direction
    assert not geometry.isclose(replace(geometry, direction=(z, x, y)))


def test_isclose_sees_the_spacing_of_a_single_slice():
    one = Geometry((1, 5, 5), (1.0, 1.0, 1.0))
    assert not one.isclose(replace(one, spacing=(2.0, 1.0, 1.0)))
    assert one.isclose(replace(one, spacing=(1.0000001, 1.0, 1.0)))


def test_assert_same_geometry_says_what_differs():
    assert_same_geometry(PLAIN, PLAIN)
    with pytest.raises(AssertionError, match="shape"):
        assert_same_geometry(PLAIN, replace(PLAIN, shape=(10, 20, 31)))
    with pytest.raises(AssertionError, match=r"first voxel off by \[0.0, 0.0, 1.0\] mm"):
        assert_same_geometry(replace(PLAIN, origin=(-7.0, -5.0, 101.0)), PLAIN)


@given(geometries())
def test_a_geometry_is_a_value(geometry):
    copy = pickle.loads(pickle.dumps(geometry))  # noqa: S301 - pickled a moment ago
    assert copy == geometry
    assert hash(copy) == hash(geometry)
    assert geometry != replace(geometry, origin=(*geometry.origin[:2], geometry.origin[2] + 1))
    for matrix in (geometry.affine, geometry.inverse_affine):
        with pytest.raises(ValueError, match="read-only"):
            matrix[0, 0] = 1
    with pytest.raises(AttributeError):
        geometry.shape = (1, 1, 1)


def test_numpy_numbers_become_plain_ones():
    got = Geometry(np.array([1, 2, 3]), np.array([1, 2, 3], np.float32), np.zeros(3), np.eye(3))
    assert got == Geometry((1, 2, 3), (1.0, 2.0, 3.0), direction=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    assert {type(v) for v in (*got.shape, *got.spacing, *got.origin, *got.direction[0])} == {int, float}


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (0, 1, 1)},
        {"shape": (1, -1, 1)},
        {"shape": (1, 1)},
        {"shape": (1, 1, 1, 1)},
        {"spacing": (0.0, 1.0, 1.0)},
        {"spacing": (1.0, -1.0, 1.0)},
        {"spacing": (NAN, 1.0, 1.0)},
        {"spacing": (INF, 1.0, 1.0)},
        {"spacing": (1.0, 1.0)},
        {"origin": (0.0, NAN, 0.0)},
        {"origin": (0.0, 0.0)},
        {"direction": ((0, 0, 2), (0, 1, 0), (1, 0, 0))},
        {"direction": ((0, 0, 0), (0, 1, 0), (1, 0, 0))},
        {"direction": ((0, 0, 1), (0, 1, 0), (0, 1, 0))},
        {"direction": ((0, 0, 1), (0, 1, 0), (0.6, 0.0, 0.8))},
        {"direction": ((0, 0, 1), (0, 1, 0), (NAN, 0, 0))},
        {"direction": ((0, 0, 1), (0, 1, 0))},
    ],
)
def test_what_is_no_grid_is_refused(wrong):
    with pytest.raises(GeometryError) as caught:
        replace(PLAIN, **wrong)
    assert next(iter(wrong)) in str(caught.value)


def test_cosines_of_four_digits_are_no_shear():
    tilt = Geometry((2, 2, 2), (1.0, 1.0, 1.0), direction=((0, -0.2588, 0.9659), (0, 0.9659, 0.2588), (1, 0, 0)))
    assert tilt.voxel_volume == pytest.approx(1, abs=1e-3)
