from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import AnnotationError
from hilum.geometry import Geometry
from hilum.ops.nodules.masks import mask_nodules, nodules_outside
from hilum.scan import Nodule
from hilum.testing import geometries
from hilum.volume import Mask


def brute_force(geometry, nodules):
    """Every voxel of the whole grid against every nodule; also which voxels lie too near a decision to call."""
    world = geometry.index_to_world(np.stack(np.indices(geometry.shape), -1))
    labels = np.zeros(geometry.shape, np.uint8)
    best = np.full(geometry.shape, np.inf)
    unsure = np.zeros(geometry.shape, bool)
    for k, nodule in enumerate(nodules, 1):
        distance = np.linalg.norm(world - nodule.center, axis=-1)
        inside = distance <= nodule.diameter_mm / 2
        unsure |= np.abs(distance - nodule.diameter_mm / 2) < 1e-6
        if not inside.any() and geometry.contains(nodule.center):
            inside = distance == distance.min()
            near = distance < distance.min() + 1e-6
            unsure |= near & (near.sum() > 1)
        unsure |= inside & (np.abs(distance - best) < 1e-6)
        take = inside & (distance < best)
        labels[take], best[take] = k, distance[take]
    return labels, unsure


@st.composite
def scenes(draw):
    geometry = draw(geometries(min_size=2, max_size=14))
    places = st.floats(-4.0, 18.0).map(lambda v: round(v, 2))
    nodules = []
    for _ in range(draw(st.integers(0, 5))):
        center = geometry.index_to_world([draw(places), draw(places), draw(places)])
        nodules.append(Nodule(tuple(center.tolist()), draw(st.floats(0.1, 30.0))))
    return geometry, nodules


@given(scenes())
@settings(max_examples=150)
def test_labels_agree_with_brute_force_on_any_grid(scene):
    geometry, nodules = scene
    mask = mask_nodules(geometry, nodules)
    want, unsure = brute_force(geometry, nodules)
    assert np.array_equal(mask.array[~unsure], want[~unsure])
    assert mask.geometry == geometry


def test_axes_that_are_rounded_off_right_angles_are_followed():
    tilt = 1.8e-3  # the most that a Geometry lets pass is 2e-3
    geometry = Geometry((1, 101, 101), (1, 1, 1), direction=((0, 0, 1), (tilt, 1, 0), (1, 0, 0)))
    nodules = [Nodule((50.0, 50.0, 0.0), 90.0)]
    want, unsure = brute_force(geometry, nodules)
    got = mask_nodules(geometry, nodules).array
    assert np.array_equal(got[~unsure], want[~unsure])
    straight = mask_nodules(Geometry((1, 101, 101), (1, 1, 1)), nodules).array
    assert not np.array_equal(got, straight)


def test_the_oracle_tells_a_radius_from_a_diameter():
    geometry = Geometry((20, 20, 20), (1, 1, 1))
    want, unsure = brute_force(geometry, [Nodule((10.0, 10.0, 10.0), 5.0)])
    got = mask_nodules(geometry, [Nodule((10.0, 10.0, 10.0), 10.0)])
    assert not np.array_equal(got.array[~unsure], want[~unsure])


@pytest.mark.parametrize("diameter", [5.0, 8.0, 20.0])
def test_the_volume_is_that_of_the_sphere(diameter):
    geometry = Geometry((26, 26, 26), (1, 1, 1))
    places = np.random.default_rng(0).uniform(12, 13, (200, 3)).tolist()
    volumes = [mask_nodules(geometry, [Nodule(tuple(p), diameter)]).array.sum() for p in places]
    assert np.mean(volumes) == pytest.approx(np.pi * diameter**3 / 6, rel=0.02)


def test_world_places_are_x_y_z_and_voxels_z_y_x():
    geometry = Geometry((10, 20, 30), (2.0, 1.0, 0.5), (-5.0, 7.0, 100.0))
    mask = mask_nodules(geometry, [Nodule((-5.0 + 12 * 0.5, 7.0 + 4, 100.0 + 3 * 2), 0.2)])
    assert isinstance(mask, Mask)
    assert np.argwhere(mask.array).tolist() == [[3, 4, 12]]


def test_a_nodule_smaller_than_a_voxel_marks_the_nearest_one():
    geometry = Geometry((4, 4, 4), (5, 5, 5))
    mask = mask_nodules(geometry, [Nodule((7.0, 2.4, 17.4), 0.5)])
    assert np.argwhere(mask.array).tolist() == [[3, 0, 1]]


def test_a_voxel_on_the_surface_belongs():
    mask = mask_nodules(Geometry((1, 1, 7), (1, 1, 1)), [Nodule((3.0, 0.0, 0.0), 4.0)])
    assert mask.array.ravel().tolist() == [0, 1, 1, 1, 1, 1, 0]


def test_the_nearer_center_wins_in_either_order():
    line = Geometry((1, 1, 9), (1, 1, 1))
    large, small = Nodule((2.0, 0.0, 0.0), 9.0), Nodule((5.0, 0.0, 0.0), 3.0)
    assert mask_nodules(line, [large, small]).array.ravel().tolist() == [1, 1, 1, 1, 2, 2, 2, 0, 0]
    assert mask_nodules(line, [small, large]).array.ravel().tolist() == [2, 2, 2, 2, 1, 1, 1, 0, 0]


def test_of_equal_distances_the_first_wins():
    line = Geometry((1, 1, 5), (1, 1, 1))
    mask = mask_nodules(line, [Nodule((1.0, 0.0, 0.0), 4.0), Nodule((3.0, 0.0, 0.0), 4.0)])
    assert mask.array.ravel().tolist() == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("far", [25.0, 9999.0, -1e9, 1e300])
def test_what_lies_outside_is_not_marked_and_can_be_asked_for(far):
    geometry = Geometry((10, 10, 10), (1, 1, 1))
    nodules = [Nodule((5.0, 5.0, 5.0), 3.0), Nodule((far, 5.0, 5.0), 6.0)]
    assert set(np.unique(mask_nodules(geometry, nodules).array)) == {0, 1}
    assert nodules_outside(geometry, nodules) == (1,)
    assert nodules_outside(geometry, nodules[:1]) == ()


def test_part_of_a_nodule_whose_center_lies_outside_is_marked():
    geometry = Geometry((1, 1, 5), (1, 1, 1))
    nodule = Nodule((-1.0, 0.0, 0.0), 6.0)
    assert mask_nodules(geometry, [nodule]).array.ravel().tolist() == [1, 1, 1, 0, 0]
    assert nodules_outside(geometry, [nodule]) == (0,)


def test_a_nodule_larger_than_the_grid_fills_it():
    mask = mask_nodules(Geometry((40, 200, 200), (1, 1, 1)), [Nodule((100.0, 100.0, 20.0), 500.0)])
    assert mask.array.all()


def test_no_nodules_give_an_empty_mask():
    assert not mask_nodules(Geometry((3, 3, 3), (1, 1, 1)), []).array.any()


def test_labels_run_to_255_and_not_beyond():
    geometry = Geometry((1, 1, 256), (1, 1, 1))
    nodules = [Nodule((float(k), 0.0, 0.0), 0.5) for k in range(256)]
    assert mask_nodules(geometry, nodules[:255]).array.ravel().tolist() == [*range(1, 256), 0]
    with pytest.raises(AnnotationError, match="256 nodules"):
        mask_nodules(geometry, nodules)
