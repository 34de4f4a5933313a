"""Bit masks and their connected components, against scikit-image and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from hilum._kernels.bitmask import bits
from hilum._kernels.components import labeling, selection

SIDES = [1, 2, 3, 5, 63, 64, 65, 130]


@st.composite
def sets(draw):
    """Boolean arrays, thin and long ones and rows at the edges of a word among them; blobs or noise."""
    shape = (
        draw(st.integers(1, 5)),
        draw(st.integers(1, 9)),
        draw(st.one_of(st.integers(1, 20), st.sampled_from(SIDES))),
    )
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random(shape)
    if draw(st.booleans()):
        noise = ndimage.gaussian_filter(noise, 1.0)
    return noise <= np.quantile(noise, draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])))


@given(sets())
def test_bits_hold_exactly_the_voxels(array):
    voxels = bits.pack(array)
    assert np.array_equal(bits.unpack(voxels), array)
    assert np.array_equal(bits.coordinates(voxels), np.argwhere(array))
    assert np.array_equal(bits.unpack(~voxels), ~array)
    assert int(np.bitwise_count((~voxels).words).sum()) == (~array).sum()


@given(sets())
def test_box_is_the_smallest_in_planes_rows_and_words(array):
    found = bits.bounding_box(bits.pack(array))
    if not array.any():
        assert found is None
        return
    where = np.argwhere(array) // (1, 1, 64)
    assert [(s.start, s.stop) for s in found] == list(zip(where.min(axis=0), where.max(axis=0) + 1, strict=True))


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.int16, np.float32, np.float64, np.int32]))
def test_thresholds_agree_with_numpy_for_every_type(seed, dtype):
    random = np.random.default_rng(seed)
    volume = random.integers(-425, -415, (2, 3, 70)).astype(dtype)
    assert np.array_equal(bits.unpack(bits.below(volume, -420.0)), volume < -420)
    assert np.array_equal(bits.unpack(bits.at_most(volume, -420.0)), volume <= -420)


def test_thresholds_that_are_no_whole_numbers():
    volume = np.array([[[-421, -420, -419]]], np.int16)
    assert bits.unpack(bits.below(volume, -420.5)).ravel().tolist() == [True, False, False]
    assert bits.unpack(bits.at_most(volume, -419.5)).ravel().tolist() == [True, True, False]


@pytest.mark.parametrize("labels", [(), (1,), (4,), (1, 2), (3,), (2, 5, 255)])
def test_labels_in_an_array(labels):
    array = np.zeros((3, 4, 70), np.uint8)
    for i, label in enumerate(labels):
        array[i % 3, i, 60 + i] = label
    assert bits.labels_in(array) == labels


@given(sets(), st.booleans())
def test_components_are_those_of_scikit_image_in_the_same_order(array, corners):
    runs = labeling.find_components(bits.pack(array), corners=corners)
    want = measure.label(array, connectivity=3 if corners else 1)
    assert runs.number == want.max(initial=0)
    assert np.array_equal(selection.label_image(runs), want)
    assert np.array_equal(labeling.sizes(runs), np.bincount(want.ravel(), minlength=runs.number + 1)[1:])


@given(sets(), st.booleans())
def test_components_of_planes_are_those_of_scipy(array, corners):
    runs = labeling.find_components(bits.pack(array), corners=corners, planes=True)
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, 2 if corners else 1)
    want, number = ndimage.label(array, structure)
    got = selection.label_image(runs)
    assert runs.number == number
    assert np.array_equal(got > 0, array)
    pairs = np.unique(np.stack([got[array], want[array]]), axis=1)
    assert pairs.shape[1] == number  # one to one


@given(sets())
def test_boxes_faces_and_sides(array):
    runs = labeling.find_components(bits.pack(array), corners=True)
    boxes = labeling.boxes(runs)
    want = ndimage.find_objects(measure.label(array, connectivity=3))
    assert [tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True)) for box in boxes.tolist()] == want
    labeled = selection.label_image(runs)
    touching = boxes == [0, 0, 0, *array.shape]
    for index, face in enumerate([np.s_[0], np.s_[:, 0], np.s_[:, :, 0], np.s_[-1], np.s_[:, -1], np.s_[:, :, -1]]):
        there = set(np.unique(labeled[face]).tolist()) - {0}
        assert set((np.flatnonzero(touching[:, index]) + 1).tolist()) == there
    assert np.array_equal(labeling.touching_sides(runs), touching[:, [1, 2, 4, 5]].any(axis=1))


@given(sets(), st.integers(0, 2**32 - 1))
def test_chosen_components_and_no_others(array, seed):
    runs = labeling.find_components(bits.pack(array), corners=True)
    wanted = np.random.default_rng(seed).random(runs.number) < 0.5
    got = bits.unpack(selection.select(runs, wanted))
    labeled = selection.label_image(runs)
    assert np.array_equal(got, np.isin(labeled, np.flatnonzero(wanted) + 1))
    names = np.arange(runs.number).astype(np.uint8)
    assert np.array_equal(selection.value_image(runs, names)[array], (labeled[array] - 1).astype(np.uint8))


@given(sets())
def test_holes_of_planes_are_those_of_scipy(array):
    got = bits.unpack(selection.fill_planes(bits.pack(array)))
    assert np.array_equal(got, np.stack([ndimage.binary_fill_holes(plane) for plane in array]))


def test_a_hole_open_at_a_corner_is_filled_and_one_open_at_a_face_is_not():
    ring = np.ones((1, 5, 5), bool)
    ring[0, 1:4, 1:4] = False
    ring[0, 0, 0] = False  # only a corner apart from the hole
    assert bits.unpack(selection.fill_planes(bits.pack(ring))).sum() == 24
    ring[0, 0, 1] = False
    assert bits.unpack(selection.fill_planes(bits.pack(ring))).sum() == 14


def test_corners_join_and_faces_alone_do_not():
    diagonal = np.zeros((2, 2, 2), bool)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = True
    found = [labeling.find_components(bits.pack(diagonal), corners=c).number for c in (True, False)]
    assert found == [1, 2]
    across = labeling.find_components(bits.pack(np.ones((2, 1, 1), bool)), corners=True, planes=True)
    assert across.number == 2


@pytest.mark.parametrize(
    ("keep", "want"),
    [(1, [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]), (2, [[0, 1, 0, 1, 0], [1, 1, 1, 0, 0]])],
)
def test_largest_of_a_plane_and_its_ties(keep, want):
    sizes = [[1, 3, 2, 3, 1], [2, 2, 2]]
    array = np.zeros((2, 1, 40), bool)
    for plane, lengths in zip(array, sizes, strict=True):
        for i, length in enumerate(lengths):
            plane[0, 6 * i : 6 * i + length] = True
    runs = labeling.find_components(bits.pack(array), corners=True, planes=True)
    flat = [bool(v) for row, lengths in zip(want, sizes, strict=True) for v in row[: len(lengths)]]
    assert selection.largest_by_plane(runs, keep=keep).tolist() == flat


def test_any_number_of_threads_gives_the_same_components():
    noise = np.random.default_rng(5).random((40, 30, 100)) < 0.1
    found = [labeling.find_components(bits.pack(noise), corners=True, workers=n) for n in (1, 2, 7)]
    assert found[0].number > 10
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
