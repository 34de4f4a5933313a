"""Masks grown, shrunk and closed by millimetres, against distances computed by scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import ball

from hilum._kernels.bitmask import bits, edges, morphology, planar
from hilum.errors import InputError
from hilum.geometry import Geometry
from hilum.ops.morphology import dilate
from hilum.testing import masks
from hilum.volume import Mask


def change_labels(mask, operation, radius_mm):
    """Each label changed on its own; the lower one wins."""
    ball = morphology.ellipsoid(radius_mm, mask.spacing, mask.shape)
    out = np.zeros(mask.shape, np.uint8)
    for label in reversed(bits.labels_in(mask.array)):
        bits.write_label(operation(bits.equal(mask.array, label), ball), out, label=label)
    return Mask(out, mask.geometry)


def erode(mask, *, radius_mm):
    return change_labels(mask, morphology.erode, radius_mm)


def close(mask, *, radius_mm):
    return change_labels(mask, morphology.close, radius_mm)


RADII = st.sampled_from([0.0, 0.5, 1.0, 2.3, 5.0, 9.0, 40.0])


def distances(mask, label):
    """Distance of every voxel center from the nearest one with the label, mm."""
    chosen = mask.array == label
    if not chosen.any():
        return np.full(mask.shape, np.inf)
    return ndimage.distance_transform_edt(~chosen, sampling=mask.spacing)


def on_border(mask, radius):
    """Radii at which rounding decides are no test of either side."""
    return any((np.abs(distances(mask, label) - radius) < 1e-6).any() and radius > 0 for label in (1, 2, 3))


@settings(max_examples=60)
@given(masks(labels=3), RADII)
def test_dilation_follows_distances_and_the_nearest_label(mask, radius):
    got = dilate(mask, radius_mm=radius).array
    far = np.stack([distances(mask, label) for label in (1, 2, 3)])
    want = mask.array.copy()
    free = (want == 0) & (far.min(axis=0) <= radius * (1 + 1e-9))
    tied = far <= far.min(axis=0) + 1e-7
    want[free] = 1 + np.argmax(tied, axis=0)[free]
    assert np.array_equal(got, want)


@settings(max_examples=60)
@given(masks(labels=2), RADII)
def test_erosion_keeps_what_is_far_from_other_voxels(mask, radius):
    if on_border(mask, radius) or on_border(Mask((mask.array == 0).astype(np.uint8), mask.geometry), radius):
        return
    got = erode(mask, radius_mm=radius).array
    for label in (1, 2):
        other = mask.array != label
        far = ndimage.distance_transform_edt(~other, sampling=mask.spacing) if other.any() else np.inf
        assert np.array_equal(got == label, (mask.array == label) & (far > radius))


@settings(max_examples=40)
@given(masks(labels=1, max_size=8), RADII)
def test_closing_is_erosion_of_dilation_and_keeps_the_mask(mask, radius):
    got = close(mask, radius_mm=radius).array
    assert np.array_equal(got, erode(dilate(mask, radius_mm=radius), radius_mm=radius).array)
    assert (got[mask.array > 0] == 1).all()


def test_five_millimetres_on_a_grid_of_one_are_scikit_images_ball():
    array = np.zeros((15, 17, 71), np.uint8)
    array[7, 8, [5, 40, 63, 64]] = 1
    array[0, 0, 70] = 1
    mask = Mask(array, Geometry(array.shape, (1.0, 1.0, 1.0)))
    want = ndimage.binary_dilation(array, ball(5))
    assert np.array_equal(dilate(mask, radius_mm=5.0).array, want)
    assert np.array_equal(erode(Mask(~want, mask.geometry), radius_mm=5.0).array,
                          ndimage.binary_erosion(~want, ball(5), border_value=1))  # fmt: skip


@pytest.mark.parametrize("size", [(3, 20, 70), (12, 40, 200), (1, 30, 64)])
def test_closing_at_the_borders_as_scikit_image_has_it(size):
    noise = ndimage.gaussian_filter(np.random.default_rng(3).random(size), 1.5)
    array = (noise > np.quantile(noise, 0.9)).astype(np.uint8)
    mask = Mask(array, Geometry(size, (1.0, 1.0, 1.0)))
    wide = ndimage.binary_dilation(array, ball(4))
    assert np.array_equal(close(mask, radius_mm=4.0).array, ndimage.binary_erosion(wide, ball(4), border_value=1))


def test_a_radius_of_many_words_reaches_along_the_row():
    array = np.zeros((1, 1, 700), np.uint8)
    array[0, 0, 300] = 1
    mask = Mask(array, Geometry(array.shape, (1.0, 1.0, 1.0)))
    for radius in (62, 63, 64, 130, 250):
        where = np.flatnonzero(dilate(mask, radius_mm=radius).array)
        assert (where[0], where[-1], where.size) == (300 - radius, 300 + radius, 2 * radius + 1)


@pytest.mark.parametrize("place", [0, 1, 2, 61, 62, 63, 64, 65, 127, 128, 129])
def test_every_radius_reaches_every_voxel_up_to_the_ends_of_the_row(place):
    array = np.zeros((1, 1, 130), np.uint8)
    array[0, 0, place] = 1
    voxels = bits.equal(array, 1)
    for radius in (*range(8), 31, 32, 33, 62, 63, 64, 65, 66, 100, 127, 128, 129, 134):
        rods = morphology.ellipsoid(radius, (1.0, 1.0, 1.0), array.shape)
        grown = bits.unpack(morphology.dilate(voxels, rods))
        assert np.array_equal(grown[0, 0], np.abs(np.arange(130) - place) <= radius)


def test_a_multiple_of_the_spacing_reaches_the_voxel_though_it_cannot_be_written_exactly():
    array = np.zeros((1, 1, 11), np.uint8)
    array[0, 0, 5] = 1
    mask = Mask(array, Geometry(array.shape, (1.0, 1.0, 0.7)))
    assert dilate(mask, radius_mm=3 * 0.7).array.sum() == 7
    assert dilate(mask, radius_mm=3 * 0.7 - 1e-6).array.sum() == 5


def test_the_nearer_label_wins_and_the_lower_of_equals():
    array = np.zeros((1, 1, 9), np.uint8)
    array[0, 0, 0], array[0, 0, 6] = 3, 2
    grown = dilate(Mask(array, Geometry(array.shape, (1.0, 1.0, 1.0))), radius_mm=4).array
    assert grown.ravel().tolist() == [3, 3, 3, 2, 2, 2, 2, 2, 2]


@settings(max_examples=30)
@given(masks(labels=3))
def test_nothing_grows_by_nothing(mask):
    assert np.array_equal(dilate(mask, radius_mm=0.0).array, mask.array)
    assert np.array_equal(close(mask, radius_mm=0.0).array, mask.array)
    assert dilate(mask, radius_mm=3.0).geometry == mask.geometry


def test_any_number_of_threads_gives_the_same_mask():
    noise = ndimage.gaussian_filter(np.random.default_rng(1).random((60, 50, 130)), 2)
    array = (noise > np.quantile(noise, 0.97)).astype(np.uint8) + (noise < np.quantile(noise, 0.03)) * np.uint8(2)
    mask = Mask(array, Geometry(array.shape, (1.0, 1.0, 1.0)))
    found = [dilate(mask, radius_mm=6.0, workers=n).array for n in (1, 2, 5)]
    assert np.count_nonzero(found[0]) > 2 * np.count_nonzero(array)
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("radius", [-1.0, math.nan, math.inf])
def test_a_radius_that_is_none_is_refused(radius):
    mask = Mask(np.ones((2, 2, 2), np.uint8), Geometry((2, 2, 2), (1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="radius_mm") as caught:
        dilate(mask, radius_mm=radius)
    assert caught.value.code == "radius"


def test_the_ellipsoid_is_flat_along_an_axis_without_reach():
    rods = morphology.ellipsoid(5.0, (math.inf, 1.0, 1.0), (9, 99, 99))
    assert set(rods[:, 0].tolist()) == {0}
    assert (2 * rods[:, 2] + 1).sum() == 81  # the digital disk of radius 5
    assert len(morphology.ellipsoid(0.4, (1.0, 1.0, 1.0), (9, 9, 9))) == 1


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 70), st.integers(2, 9))
def test_edges_are_where_the_roberts_cross_is_not_zero(seed, nx, ny):
    from skimage.filters import roberts

    array = np.random.default_rng(seed).random((2, ny, nx)) < 0.5
    found = bits.unpack(edges.roberts_edges(bits.pack(array)))
    assert np.array_equal(found, np.stack([roberts(plane.astype(float)) != 0 for plane in array]))


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 140)),
    st.lists(st.tuples(st.sampled_from(["dilate", "erode"]), st.sampled_from([0, 1, 2.5, 7, 10, 70])), max_size=3),
    st.sampled_from([0.02, 0.5, 0.98]),
)
def test_planes_changed_one_by_one_are_scipys(seed, shape, steps, share):
    array = np.random.default_rng(seed).random(shape) < share
    rods = [(kind, morphology.ellipsoid(radius, (math.inf, 1.0, 1.0), shape)) for kind, radius in steps]
    start = bits.pack(array)
    found = planar.apply_steps(start, rods, workers=2) if rods else start
    want = array
    for kind, radius in steps:
        reach = int(radius)
        y, x = np.indices((2 * reach + 1,) * 2) - reach
        disk = (y**2 + x**2 <= radius**2)[None]
        ops = {"dilate": ndimage.binary_dilation, "erode": ndimage.binary_erosion}
        want = ops[kind](want, disk, border_value=int(kind == "erode"))
    assert np.array_equal(bits.unpack(found), want)
