"""Turning the axes moves nothing in the patient."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given

from hilum.geometry import IDENTITY_DIRECTION, Geometry
from hilum.ops.reorient import reorient
from hilum.testing import geometries, masks, volumes
from hilum.volume import Mask, Volume


def world_and_value(volume):
    """Every voxel as (x, y, z, value), in an order of its own."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    rows = np.column_stack([np.round(volume.geometry.index_to_world(index), 4) + 0.0, volume.array.ravel()])
    return rows[np.lexsort(rows.T)]


@given(volumes(max_size=5))
def test_every_voxel_keeps_its_place_and_its_value(volume):
    turned = reorient(volume)
    index = np.stack(np.meshgrid(*map(np.arange, turned.shape), indexing="ij"), axis=-1)
    source = volume.geometry.world_to_index(turned.geometry.index_to_world(index))
    np.testing.assert_allclose(source, np.rint(source), atol=1e-6)
    back = tuple(np.moveaxis(np.rint(source).astype(int), -1, 0))
    np.testing.assert_array_equal(turned.array, volume.array[back])
    # Each voxel is met once: the map is a permutation.
    assert len(np.unique(np.ravel_multi_index(back, volume.shape))) == volume.array.size


@given(volumes(max_size=4, oblique=False))
def test_axes_along_the_patient_s_end_up_as_head_back_left(volume):
    turned = reorient(volume)
    np.testing.assert_allclose(turned.geometry.direction, IDENTITY_DIRECTION, atol=1e-9)
    np.testing.assert_array_equal(world_and_value(turned), world_and_value(volume))


@given(geometries(max_size=4))
def test_no_other_order_of_the_axes_is_closer_to_the_patient_s(geometry):
    turned = reorient(Volume(np.zeros(geometry.shape, np.int16), geometry)).geometry
    axes, patient = np.array(turned.direction), np.array(IDENTITY_DIRECTION)
    reached = np.trace(axes @ patient.T)
    for order in permutations(range(3)):
        assert np.abs(np.diag(axes[list(order)] @ patient.T)).sum() <= reached + 1e-9


@given(volumes(max_size=4))
def test_twice_is_once_and_nothing_is_copied(volume):
    turned = reorient(volume)
    assert reorient(turned) is turned
    assert np.shares_memory(turned.array, volume.array)
    assert not turned.array.flags.writeable


@given(masks(max_size=4))
def test_a_mask_stays_a_mask(mask):
    turned = reorient(mask)
    assert isinstance(turned, Mask)
    assert turned.volume_ml(1) == np.count_nonzero(mask.array == 1) * turned.geometry.voxel_volume / 1000


def test_a_volume_that_lies_right_is_returned_itself():
    volume = Volume(np.zeros((2, 3, 4), np.int16), Geometry((2, 3, 4), (1.0, 1.0, 1.0)))
    assert reorient(volume) is volume


def test_a_sagittal_scan_by_hand():
    # z of the array runs to the right, y down the patient, x to the back.
    geometry = Geometry((2, 3, 4), (9.0, 2.0, 1.0), (90.0, -5.0, 300.0), ((-1, 0, 0), (0, 0, -1), (0, 1, 0)))
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    turned = reorient(Volume(array, geometry))
    assert turned.geometry == Geometry((3, 4, 2), (2.0, 1.0, 9.0), (81.0, -5.0, 296.0))
    np.testing.assert_array_equal(turned.array, array.transpose(1, 2, 0)[::-1, :, ::-1])
