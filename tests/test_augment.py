"""Augmented patches: the volume's spline at the right positions, with their boxes and world positions."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from training_inputs import OBLIQUE, make_run

import hilum
from hilum import RunScan
from hilum._kernels.patches.rotate import MARGIN
from hilum.errors import GeometryError, InputError
from hilum.ops.patches.boxes import cut_array
from hilum.ops.patches.poses import Pose
from hilum.ops.patches.sampling import KEEP, ROUND, Source, copy_reoriented, sample, sample_labels
from hilum.train.augment import Augment
from hilum.train.boxes import patch_boxes
from hilum.train.dataset import PatchDataset

AIR = -1024.0
ALL = Augment(flip="zyx", turn90=True, rotate_degrees=20, scale=(0.8, 1.2))


def positions(pose):
    """Give the position of each voxel of a patch, shape (3, n, n, n), by the definition of a pose."""
    offset = np.indices(pose.size) - (np.array(pose.size)[:, None, None, None] - 1) / 2
    return np.tensordot(np.array(pose.matrix), offset, 1) + np.array(pose.center)[:, None, None, None]


def spline(array, pose, *, order=3):
    """Evaluate scipy's interpolating spline, in double precision, of the volume padded with air."""
    where = positions(pose)
    last = np.array(array.shape)[:, None, None, None] - 1
    pad = int(np.ceil(max(0, -where.min(), (where - last).max()))) + 16  # a step of 4,000 HU fades by 0.27 a voxel
    return at(coefficients(array, pad, order), where + pad, order=order)


def coefficients(array, pad, order=3):
    """Compute the coefficients of the spline, which is most of its work."""
    wide = np.pad(array.astype(np.float64), pad, constant_values=AIR)
    return ndimage.spline_filter(wide, order) if order > 1 else wide


def at(known, where, *, order=3):
    return ndimage.map_coordinates(known, where, order=order, mode="nearest", prefilter=False)


def nearest(array, pose):
    index = np.floor(positions(pose) + 0.5).astype(int)
    inside = np.all((index >= 0) & (index < np.array(array.shape)[:, None, None, None]), axis=0)
    return np.where(inside, array[tuple(np.clip(index, 0, np.array(array.shape)[:, None, None, None] - 1))], 0)


def source(array, fill):
    return Source(array, array.shape, partial(cut_array, array, fill=fill))


def sampled(array, pose, finish=KEEP, dtype=np.float32, *, order=3):
    out = np.full(pose.size, 77, dtype)
    sample(source(array, AIR), pose, out, finish, order=order)
    return out


def draw(seed, *, center, size, spacing=(2.0, 0.7, 0.7), augment=ALL):
    grid = hilum.Geometry((40, 60, 50), spacing)
    return augment.draw(grid, center, size, np.random.default_rng(seed))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.tuples(st.floats(-5, 45), st.floats(-5, 65), st.floats(-5, 55)),
    st.sampled_from([1, 2, 7, 16, 33, (5, 20, 9), (33, 2, 16), (1, 16, 40), (9, 70, 1)]),
    st.sampled_from([np.int16, np.float32]),
)
def test_a_patch_equals_the_spline_of_the_volume(seed, center, size, dtype):
    array = np.random.default_rng(seed).integers(-1024, 1500, (40, 60, 50)).astype(dtype)
    pose = draw(seed, center=center, size=size)
    want = spline(array, pose)
    assert np.abs(sampled(array, pose) - want).max() < 0.5
    unit = sampled(array, pose, (1, -1000.0, 1400.0, 0.25))
    assert np.abs(unit - (np.clip((want + 1000) / 1400, 0, 1) - 0.25)).max() < 0.5 / 1400
    if dtype == np.int16:
        rounded = sampled(array, pose, ROUND, np.int16)
        assert np.abs(rounded - want).max() <= 1.0
    other = draw(seed + 1, center=center, size=size)
    assert np.min(size) < 7 or other.matrix == pose.matrix or np.abs(sampled(array, other) - want).max() > 0.5


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.tuples(st.floats(-5, 45), st.floats(-5, 65), st.floats(-5, 55)),
    st.sampled_from([1, 2, 7, 16, 33, 70, (5, 20, 9), (70, 2, 16), (1, 16, 70)]),
    st.sampled_from([np.int16, np.float32]),
)
def test_a_linear_value_is_between_its_eight_voxels(seed, center, size, dtype):
    array = np.random.default_rng(seed).integers(-1024, 1500, (40, 60, 50)).astype(dtype)
    pose = draw(seed, center=center, size=size)
    want = spline(array, pose, order=1)
    assert np.abs(sampled(array, pose, order=1) - want).max() < 0.02
    if dtype == np.int16:
        rounded = sampled(array, pose, ROUND, np.int16, order=1)
        assert np.abs(rounded - want).max() <= 0.52
    gap = np.abs(sampled(array, pose, order=1) - sampled(array, pose)).max()
    assert np.min(size) < 7 or gap > 0.02 or not pose.resampled


def test_items_are_interpolated_by_the_order_of_the_option(tmp_path):
    folder = make_run(tmp_path / "run")
    turns = {"rotate_degrees": 15, "scale": (0.9, 1.1)}
    cubic, linear, other = (
        PatchDataset(folder, size=16, augment=Augment(**turns, **o)) for o in ({}, {"order": 1}, {})
    )
    for index in range(len(cubic)):
        one, two, three = cubic[index], linear[index], other[index]
        assert np.array_equal(one["image"], three["image"])
        assert not np.array_equal(one["image"], two["image"])
        for name in ("mask", "boxes", "affine", "center_world"):
            assert np.array_equal(one[name], two[name])


@pytest.mark.parametrize("size", [15, 17, 31, 48, 64, 70, 130, (16, 40, 80), (32, 33, 96)])
def test_a_patch_of_any_thickness_equals_the_spline(size):
    array = np.random.default_rng(3).integers(-1024, 1500, (80, 90, 100)).astype(np.int16)
    known = coefficients(array, 70)
    for about in "zyx":
        augment = Augment(rotate_degrees=15, rotate_about=about, scale=(0.9, 1.1), flip="zyx")
        pose = augment.draw(
            hilum.Geometry((80, 90, 100), (1.0,) * 3), (40.2, 44.1, 51.7), size, np.random.default_rng(1)
        )
        assert np.abs(sampled(array, pose) - at(known, positions(pose) + 70)).max() < 0.1
        labels = (array > 1000).astype(np.uint8)
        assert np.array_equal(sample_labels(source(labels, 0), pose), nearest(labels, pose))


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("thick", [16, 32, 64])
@pytest.mark.parametrize(("given", "made"), [(np.int16, np.float32), (np.int16, np.int16), (np.float32, np.float32)])
def test_every_type_of_patch_is_sampled_with_as_few_lanes_as_it_has_slices(given, made, thick, order):
    array = np.random.default_rng(thick).integers(-1024, 1500, (70, 40, 50)).astype(given)
    augment = Augment(rotate_degrees=15, rotate_about="z", scale=(0.9, 1.1))
    pose = draw(1, center=(35.2, 20.1, 24.7), size=(thick, 9, 20), spacing=(1.0,) * 3, augment=augment)
    finish = ROUND if made == np.int16 else KEEP
    assert np.abs(sampled(array, pose, finish, made, order=order) - spline(array, pose, order=order)).max() < 1


def effect_beyond(margin, seed):
    """Measure the effect on a patch of 4095 HU that begin `margin` voxels beyond its coefficients."""
    generator = np.random.default_rng(seed)
    center = tuple((35 + generator.random(3)).tolist())
    augment = Augment(rotate_degrees=9 * (seed % 2), scale=(0.9, 1.1))
    pose = augment.draw(hilum.Geometry((70, 70, 70), (1.0,) * 3), center, 12, generator)
    start, size = pose.box(1 + margin)
    inside = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    bone, air = np.full((70, 70, 70), 3071, np.int16), np.full((70, 70, 70), -1024, np.int16)
    bone[inside] = -1024
    return np.abs(sampled(air, pose) - spline(bone, pose)).max()


def test_voxels_beyond_the_margin_change_a_patch_by_less_than_half_a_hu():
    assert max(effect_beyond(MARGIN, seed) for seed in range(8)) < 0.5
    assert max(effect_beyond(MARGIN - 2, seed) for seed in range(8)) > 0.5  # so less would not do


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.tuples(st.floats(-5, 45), st.floats(-5, 65), st.floats(-5, 55)),
    st.sampled_from([24, (5, 20, 9), (33, 2, 16), (1, 16, 40)]),
)
def test_labels_come_from_the_nearest_voxels(seed, center, size):
    generator = np.random.default_rng(seed)
    labels = np.zeros((39, 61, 53), np.uint8)
    for label in range(1, 4):
        at = generator.integers(0, labels.shape)
        labels[tuple(slice(max(a - 3, 0), a + 4) for a in at)] = label
    labels[-1, -1, -1] = 9  # among the last voxels, which fill no word of eight
    pose = draw(seed, center=center, size=size)
    found = sample_labels(source(labels, 0), pose)
    assert np.array_equal(found, nearest(labels, pose))


@pytest.mark.parametrize("size", [(12,) * 3, (16,) * 3, (21,) * 3, (5, 16, 16), (16, 9, 20), (2, 24, 11)])
@pytest.mark.parametrize("seed", range(20))
def test_flips_and_rotations_by_90_degrees_do_not_change_values(seed, size):
    array = np.random.default_rng(seed).integers(-1024, 1500, (30, 40, 50)).astype(np.int16)
    center = tuple(corner + (n - 1) / 2 for corner, n in zip((6, 13, 18), size, strict=True))
    pose = draw(seed, center=center, size=size, augment=Augment(flip="zyx", turn90=True))
    assert not pose.resampled
    want = array[tuple(positions(pose).astype(int))]
    labels = (array % 5).astype(np.uint8)
    assert np.array_equal(sample_labels(source(labels, 0), pose), want % 5)
    for whole in (source(array, AIR), source(array, AIR)._replace(array=None)):
        made, unit = np.empty(size, np.int16), np.empty(size, np.float32)
        copy_reoriented(whole, pose, made, KEEP)
        copy_reoriented(whole, pose, unit, (1, -1000.0, 1400.0, 0.25))
        assert np.array_equal(made, want)
        assert np.allclose(unit, np.clip((want + 1000) / 1400, 0, 1) - 0.25, atol=1e-6)
    copy_reoriented(source(array.astype(np.float32), AIR), pose, unit, KEEP)
    assert np.array_equal(unit, want)


def test_a_patch_that_is_not_square_turns_by_half_turns():
    turns = Augment(turn90=True)
    for size, spacing, quarters in (
        ((8, 16, 16), None, 4), ((8, 16, 12), None, 2), ((8, 16, 16), (2.0, 1.0, 1.0), 4),
        ((8, 16, 16), (2.0, 1.0, 1.5), 2), ((8, 16, 8), (2.0, 0.5, 1.0), 2),
    ):  # fmt: skip
        grid = hilum.Geometry((40, 60, 50), (2.0, 0.7, 0.7))
        poses = [
            turns.draw(grid, (20.0, 30.0, 25.0), size, np.random.default_rng(k), spacing=spacing) for k in range(40)
        ]
        assert len({pose.matrix for pose in poses}) == quarters
        assert {pose.size for pose in poses} == {size}


def test_a_pose_about_no_axis_is_refused():
    rows = ((0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9))
    with pytest.raises(GeometryError, match="no axis of the patch"):
        sampled(np.zeros((9, 9, 9), np.int16), Pose((4.0, 4.0, 4.0), (4, 4, 4), rows))


@given(st.integers(0, 10**6))
def test_a_pose_rotates_and_zooms_in_millimeters(seed):
    spacing = (2.0, 0.7, 0.7)
    pose = draw(seed, center=(20.0, 30.0, 25.0), size=8)
    metric = (
        np.diag(spacing) @ np.array(pose.matrix) @ np.diag(1 / np.array(spacing))
    )  # mm of the patch to mm of the scan
    zoom = np.linalg.norm(metric, axis=0)
    assert np.ptp(zoom) < 1e-9
    assert 0.8 <= 1 / zoom[0] <= 1.2
    turn = metric / zoom[0]
    assert np.allclose(turn @ turn.T, np.eye(3))
    nearest_axis = np.abs(turn).max(axis=0)
    assert np.all(nearest_axis >= np.cos(np.radians(20)) - 1e-9)


@given(st.integers(0, 10**6), st.tuples(*[st.floats(0, 30)] * 3), st.floats(2, 25))
def test_a_box_bounds_the_rotated_sphere_exactly(seed, voxel, diameter):
    spacing = (2.0, 0.7, 0.7)
    pose = draw(seed, center=(15.0, 15.0, 15.0), size=32)
    which, boxes = patch_boxes(pose, spacing, np.array([voxel]), np.array([diameter]))
    back = np.linalg.inv(pose.matrix)
    place = back @ (np.array(voxel) - pose.center) + 15.5
    assert len(which) == (np.all((place > -0.5) & (place < 31.5)))
    if not len(which):
        return
    points = np.random.default_rng(0).normal(size=(4000, 3))
    points *= diameter / 2 / np.linalg.norm(points, axis=1)[:, None] / spacing
    inside = (points + voxel - pose.center) @ back.T + 15.5
    assert np.all(inside >= boxes[0, :3] - 1e-4)
    assert np.all(inside <= boxes[0, 3:] + 1e-4)
    reached = np.concatenate([inside.min(axis=0), inside.max(axis=0)])
    assert np.abs(reached - boxes[0]).max() < 0.05 * diameter / min(spacing)


# --- in the data set -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("npy") / "run", direction=OBLIQUE, spacing=(2.0, 1.0, 1.0))


def same(one, two):
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("augment", [None, Augment(flip="x", turn90=True), ALL], ids=["plain", "flips", "all"])
def test_items_keep_their_world_positions(run, augment):
    data = PatchDataset(run, size=20, length=30, jitter_mm=2.0, augment=augment, seed=4)
    plain = PatchDataset(run, size=20, length=30, jitter_mm=2.0, seed=4)
    moved, known = 0, {}
    for item, upright in zip(data, plain, strict=True):
        scan = RunScan(run / "scans" / item["scan"]).scan()
        grid, affine = scan.ct.geometry, item["affine"]
        assert np.array_equal(item["start"], upright["start"])
        index = np.indices((20,) * 3).reshape(3, -1).T
        voxel = grid.world_to_index(index @ affine[:3, :3].T + affine[:3, 3])
        if item["scan"] not in known:
            known[item["scan"]] = coefficients(scan.ct.array, 40)
        want = at(known[item["scan"]], voxel.T + 40).reshape((20,) * 3)
        assert np.abs(item["image"] - want).max() <= 1.0
        marks = np.pad(scan.nodule_mask.array, 40)
        sure = np.abs(voxel - np.floor(voxel) - 0.5).min(axis=1) > 1e-6
        picked = marks[tuple(np.floor(voxel + 40.5).astype(int).T)]
        assert np.array_equal(item["mask"].reshape(-1)[sure], picked[sure])
        middle = affine @ (9.5, 9.5, 9.5, 1)
        assert np.allclose(middle[:3], item["center_world"])
        assert item["nodule"] in item["box_nodules"]  # its own nodule never leaves the patch
        for box, sphere, label in zip(item["boxes"], item["boxes_world"], item["box_nodules"], strict=True):
            if not label:
                assert not box.any()
                assert not sphere.any()
                continue
            nodule = scan.nodules[label - 1]
            assert np.allclose(sphere, (*nodule.center, nodule.diameter_mm))
            center = affine @ (*(box[:3] + box[3:]) / 2, 1)
            assert np.abs(center[:3] - nodule.center).max() < 1e-4
        moved += not np.array_equal(item["image"], upright["image"])
    assert moved == 0 if augment is None else moved > 15
    assert max(np.count_nonzero(item["box_nodules"]) for item in data) >= 1


def test_seed_epoch_and_index_decide_the_augmentation(run):
    data = PatchDataset(run, size=12, length=12, jitter_mm=2.0, augment=ALL, window=(-1000, 400), seed=1)
    first = [data[k] for k in range(12)]
    again = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own
    assert all(same(again[k], first[k]) for k in reversed(range(12)))
    data.set_epoch(1)
    assert sum(not same(data[k], first[k]) for k in range(12)) == 12
    parts = [list(hilum.batches(again, 2, seed=3, worker=k, workers=2)) for k in range(2)]
    for number, batch in enumerate(hilum.batches(again, 2, seed=3)):
        assert same(batch, parts[number % 2][number // 2])


def test_an_option_does_not_change_the_draws_of_another(run):
    options = {"size": 12, "length": 20, "jitter_mm": 2.0}
    turns = PatchDataset(run, augment=Augment(rotate_degrees=10), **options)
    some = PatchDataset(run, augment=Augment(rotate_degrees=10, share=0.5), **options)
    plain = PatchDataset(run, **options)
    kinds = [(same(s, p), same(s, t)) for s, t, p in zip(some, turns, plain, strict=True)]
    assert set(kinds) == {(True, False), (False, True)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": 2}, "order is 2"), ({"order": True}, "order is True"),
        ({"flip": "q"}, "flip is 'q'"), ({"flip": "xx"}, "flip is 'xx'"), ({"rotate_degrees": 46}, "out of range"),
        ({"rotate_degrees": float("nan")}, "out of range"), ({"scale": (1.1, 0.9)}, "out of range"),
        ({"scale": (0.4, 1.0)}, "out of range"), ({"share": 1.5}, "out of range"),
        ({"rotate_degrees": 5, "rotate_about": ""}, "names no axis"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        Augment(**options)


def test_augmentations_that_the_geometry_does_not_allow_are_refused(tmp_path):
    run = make_run(tmp_path / "run")  # pixels of 1 by 1.5 mm
    with pytest.raises(InputError, match=r"its pixels are 1 by 1.5 mm"):
        PatchDataset(run, size=16, jitter_mm=1.0, augment=Augment(turn90=True))
    assert len(PatchDataset(run, size=16, jitter_mm=1.0, augment=Augment(rotate_degrees=10)))
    with pytest.raises(InputError, match="a nodule stays inside its patch up to"):
        PatchDataset(run, size=16, jitter_mm=6.5, augment=Augment(rotate_degrees=45))
    assert len(PatchDataset(run, size=16, jitter_mm=6.5))
