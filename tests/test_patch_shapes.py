"""Patches of any shape and spacing, with their surroundings, and several of one scan; against scipy and plain numpy."""

from __future__ import annotations

import importlib.util
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from training_inputs import OBLIQUE, make_run

import hilum
from hilum import RunScan, cli
from hilum.errors import InputError
from hilum.ops.patches.shapes import make_shape
from hilum.train import open_scans
from hilum.train.augment import Augment
from hilum.train.dataset import PatchDataset
from hilum.train.epochs import EpochSampler
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches

VARIED = Augment(flip="zyx", turn90=True, rotate_degrees=15, scale=(0.9, 1.1))
PAD = 80


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("shapes") / "run", direction=OBLIQUE, spacing=(2.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("packed") / "run", file_format="nifti", direction=OBLIQUE)


def volumes(run, item):
    """The scan of an item, and its voxels with air around them, in double precision."""
    scan = RunScan(run / "scans" / item["scan"]).scan()
    return scan, np.pad(scan.ct.array.astype(np.float64), PAD, constant_values=-1024)


def voxel_positions(grid, affine, size):
    """The fractional index in the scan of each voxel of a patch, by its affine, shape (3, z, y, x)."""
    offsets = np.indices(size).reshape(3, -1).T
    world = offsets @ affine[:3, :3].T + affine[:3, 3]
    return grid.world_to_index(world).T.reshape(3, *size)


def nearest(array, where):
    index = np.floor(where + 0.5).astype(int)
    shape = np.array(array.shape)[:, None, None, None]
    inside = ((index >= 0) & (index < shape)).all(axis=0)
    return np.where(inside, array[tuple(index.clip(0, shape - 1))], 0)


def keys_mean(wide, positions, step, axis):
    """The cubic convolution of Keys, as wide as `step` voxels, along one axis, by a dense matrix."""
    away = np.abs(np.arange(wide.shape[axis]) - positions[:, None]) / step
    near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    weights = np.where(away < 1, near, np.where(away < 2, far, 0))
    return np.moveaxis(np.tensordot(weights / weights.sum(axis=1, keepdims=True), wide, (1, axis)), 0, axis)


@pytest.mark.parametrize("rule", ["nodules", "balanced", "lungs", "uniform"])
@pytest.mark.parametrize("size", [(6, 20, 14), (30, 8, 9), (1, 32, 5)])
def test_a_patch_of_any_shape_has_the_volumes_voxels(run, rule, size):
    data = PatchDataset(run, size=size, rule=rule, length=10, jitter_mm=0, distance_mm=4.0, seed=3)
    scaled = PatchDataset(
        run, size=size, rule=rule, length=10, jitter_mm=0, distance_mm=4.0, seed=3, window=(-1000, 400)
    )
    for item, unit in zip(data, scaled, strict=True):
        scan, wide = volumes(run, item)
        box = tuple(slice(a + PAD, a + PAD + n) for a, n in zip(item["start"], size, strict=True))
        assert item["image"].shape == item["mask"].shape == size
        assert np.array_equal(item["image"], wide[box])
        assert np.abs(unit["image"] - np.clip((wide[box] + 1000) / 1400, 0, 1)).max() < 1e-6
        where = voxel_positions(scan.ct.geometry, item["affine"], size)
        assert np.allclose(where[:, 0, 0, 0], item["start"])
        labels = np.zeros(scan.ct.shape, np.uint8) if scan.nodule_mask is None else scan.nodule_mask.array
        assert np.array_equal(item["mask"], nearest(labels, where))
    for batch in hilum.batches(data, 5):
        assert batch["image"].shape == (5, *size)


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(*[st.integers(2, 20)] * 3),
    st.tuples(*[st.floats(0.4, 1.0)] * 3),
    st.booleans(),
    st.integers(0, 5),
)
def test_a_patch_of_its_own_spacing_is_the_spline_at_its_voxels(run, size, step, varied, index):
    spacing = np.multiply(step, (4.0, 2.0, 2.0))  # up to two voxels of the scan: not smoothed
    size_mm = (np.multiply(size, spacing)).tolist()
    data = PatchDataset(
        run, size=size, size_mm=size_mm, jitter_mm=0.0, length=6, augment=VARIED if varied else None, seed=index
    )
    item = data[index]
    scan, wide = volumes(run, item)
    grid = scan.ct.geometry
    assert item["image"].shape == item["mask"].shape == size
    if not varied:
        assert np.allclose(np.linalg.norm(item["affine"][:3, :3], axis=0), spacing)
        assert np.allclose(item["affine"][:3, :3] / spacing, grid.affine[:3, :3] / grid.spacing)
    middle = item["affine"] @ (*((np.array(size) - 1) / 2), 1)
    assert np.allclose(middle[:3], item["target_world"])  # exactly at the nodule, not at a voxel beside it
    assert np.allclose(item["center_world"], item["target_world"])
    where = voxel_positions(grid, item["affine"], size)
    want = ndimage.map_coordinates(wide, where + PAD, order=3, mode="nearest")
    assert np.abs(item["image"] - want).max() < 1.01  # rounded, and the spline is cut 6 voxels beyond
    labels = nearest(scan.nodule_mask.array, where)
    far = np.abs(where - np.floor(where) - 0.5).min(axis=0) > 1e-6  # half way between two voxels either is right
    assert np.array_equal(item["mask"][far], labels[far])
    here = item["box_nodules"] == item["nodule"]
    corners = item["boxes"][here][0]
    assert np.allclose((corners[:3] + corners[3:]) / 2, (np.array(size) - 1) / 2, atol=1e-3)


@pytest.mark.parametrize("flip", [None, Augment(flip="zyx", share=0)])
def test_a_much_coarser_patch_is_smoothed_as_resample_smooths(run, flip):
    size, size_mm = (7, 9, 10), (42.0, 31.5, 15.0)  # 3 and 3.5 voxels of the scan, and 1.5
    data = PatchDataset(run, size=size, size_mm=size_mm, rule="uniform", length=8, seed=2, augment=flip)
    for item in data:
        scan, wide = volumes(run, item)
        where = voxel_positions(scan.ct.geometry, item["affine"], size)
        axes = [where[0, :, 0, 0], where[1, 0, :, 0], where[2, 0, 0, :]]
        means = keys_mean(keys_mean(wide, axes[0] + PAD, 3.0, 0), axes[1] + PAD, 3.5, 1)
        known = ndimage.spline_filter1d(means, 3, axis=2, mode="nearest")
        exact = [
            [ndimage.map_coordinates(row, [axes[2] + PAD], order=3, prefilter=False) for row in plane]
            for plane in known
        ]
        assert np.abs(item["image"] - np.array(exact)).max() < 2.0
        assert item["image"].std() < 0.4 * wide[PAD:-PAD, PAD:-PAD, PAD:-PAD].std() or (item["image"] < -1000).any()


def test_the_grid_of_a_coarser_scan_gives_the_same_patch(run):
    data = PatchDataset(run, size=(6, 8, 8), size_mm=(24.0, 24.0, 24.0), jitter_mm=0.0)
    compared = 0
    for item in data:
        scan, _ = volumes(run, item)
        affine = item["affine"]
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        directions = tuple(map(tuple, (affine[:3, :3] / spacing).T))
        grid = hilum.Geometry((6, 8, 8), tuple(spacing), tuple(affine[:3, 3]), directions)
        where = voxel_positions(scan.ct.geometry, affine, (6, 8, 8))
        inside = ((where > 8) & (where < np.array(scan.ct.shape)[:, None, None, None] - 9)).all(axis=0)
        whole = hilum.resample(scan.ct, like=grid).array
        compared += inside.sum()
        assert np.abs(whole.astype(int) - item["image"])[inside].max(initial=0) <= 2
    assert compared > 100


@pytest.mark.parametrize("augment", [None, VARIED])
def test_the_surroundings_have_the_center_and_the_axes_of_their_patch(run, augment):
    options = {"size": (8, 16, 16), "length": 6, "jitter_mm": 2.0, "augment": augment, "seed": 1}
    plain, both = PatchDataset(run, **options), PatchDataset(run, context_mm=(32.0, 30.0, 30.0), **options)
    for item, more in zip(plain, both, strict=True):
        assert all(np.array_equal(item[name], more[name]) for name in item)
        assert set(more) - set(item) == {"context", "context_affine"}
        assert more["context"].shape == (8, 16, 16)
        scan, wide = volumes(run, more)
        middle = (3.5, 7.5, 7.5, 1)
        assert np.allclose(more["context_affine"] @ middle, more["affine"] @ middle)
        steps = [np.linalg.norm(more[name][:3, :3], axis=0) for name in ("affine", "context_affine")]
        assert np.allclose(steps[1] / steps[0], [2.0, 1.875, 1.875])
        assert np.allclose(more["context_affine"][:3, :3] / steps[1], more["affine"][:3, :3] / steps[0])
        where = voxel_positions(scan.ct.geometry, more["context_affine"], (8, 16, 16))
        want = ndimage.map_coordinates(wide, where + PAD, order=3, mode="nearest")
        assert np.abs(more["context"] - want).max() < 1.01
    scaled = PatchDataset(run, context_mm=200.0, window=(-1000, 400), mean=0.25, **options)[0]
    assert scaled["context"].dtype == np.float32
    assert -0.25 <= scaled["context"].min() < scaled["context"].max() <= 0.75


@pytest.mark.parametrize("augment", [None, VARIED])
def test_a_label_map_of_any_name_comes_with_patches_of_any_shape(tmp_path, augment):
    folder = make_run(tmp_path / "run", spacing=(2.0, 1.0, 1.0), lobes={"ct-a": {"upper": 2, "lower": 5}})
    data = PatchDataset(
        folder, rule="labels", labels="lobes", size=(5, 12, 9), size_mm=(30.0, 18.0, 22.5), context_mm=60.0,
        samples_per_volume=3, length=12, jitter_mm=1.0, augment=augment,
    )  # fmt: skip
    labels = RunScan(folder / "scans" / "ct-a").label_maps["lobes"].mask
    found = set()
    for item in data:
        where = voxel_positions(labels.geometry, item["affine"], (5, 12, 9))
        clear = np.abs(where - np.floor(where) - 0.5).min(axis=0) > 1e-6
        assert np.array_equal(item["mask"][clear], nearest(labels.array, where)[clear])
        assert item["label"] in {2, 5}
        found |= set(np.unique(item["mask"]).tolist())
    assert found == {0, 2, 5}
    assert data.label_values == {"upper": 2, "lower": 5}


def test_a_scan_is_opened_once_for_all_of_its_patches(packed, monkeypatch):
    opened = []
    real = open_scans.open_scan

    def counted(scan, *args, **options):
        opened.append(scan.scan_id)
        return real(scan, *args, **options)

    monkeypatch.setattr(open_scans, "open_scan", counted)
    for rule in ("nodules", "balanced", "lungs", "uniform"):
        data = PatchDataset(packed, size=8, rule=rule, samples_per_volume=4, jitter_mm=1, distance_mm=3.0, cache=1)
        groups = len(data) // 4
        for loop in (data.sampler(), data.sampler(shuffle=False)):
            opened.clear()
            items = [data[index] for index in loop]
            assert len(opened) <= groups
            parts = [items[k : k + 4] for k in range(0, len(items), 4)]
            assert all(len({item["scan"] for item in part}) == 1 for part in parts)
            assert all(len({item["kind"] for item in part}) == 1 for part in parts)
        if rule == "balanced":
            assert Counter(item["label"] for item in items) == {0: len(items) // 2, 1: len(items) // 2}
        batch_scans = [batch["scan"] for batch in hilum.batches(data, 4, seed=1)]
        assert all(len(set(scans)) == 1 for scans in batch_scans)


def test_all_nodules_have_their_turn_and_two_loops_agree(run):
    data = PatchDataset(run, size=8, samples_per_volume=3, jitter_mm=1)
    assert len(data) == 3 * 2  # two scans with nodules inside
    seen = {(item["scan"], item["nodule"]) for item in data}
    assert len(seen) == sum(len(scan.nodules_inside) for scan in data.scans)
    one, two = (
        [data[index]["start"].tolist() for _ in range(2) for index in sampler]
        for sampler in (data.sampler(), data.sampler())
    )
    assert one == two
    assert one[:6] != one[6:]
    few = PatchDataset(run, size=8, samples_per_volume=2, jitter_mm=0, length=2)
    assert len({few[epoch, k]["nodule"] for epoch in range(4) for k in range(2)}) == len(few.scans[0].nodules_inside)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4))
def test_groups_stay_together_in_every_order(groups, group, ranks):
    samplers = [EpochSampler(groups * group, seed=2, rank=k, ranks=ranks, group=group) for k in range(ranks)]
    parts = [[index for _, index in sampler] for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])}
    assert set().union(*parts) == set(range(groups * group))
    for part in parts:
        rows = np.array(part).reshape(-1, group)
        assert np.array_equal(rows, rows[:, :1] + np.arange(group))
        assert not (rows[:, 0] % group).any()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 0}, "from 1 to 1024"), ({"size": (8, 8)}, "three"), ({"size": 8.5}, "whole number"),
        ({"size": (8, 8, 1025)}, "1024"), ({"size_mm": (8.0, 8.0)}, "size_mm"), ({"size_mm": 0.0}, "more than 0"),
        ({"size_mm": float("nan")}, "more than 0"), ({"size_mm": float("inf")}, "at most"),
        ({"size_mm": "x"}, "size_mm"),
        ({"context_mm": -1.0}, "context_mm"), ({"context_mm": (1.0, 2.0)}, "context_mm"),
        ({"size_mm": 4000.0}, "1e"), ({"size_mm": 4.0}, "jitter"), ({"samples_per_volume": 0}, "samples"),
        ({"samples_per_volume": 4, "length": 6}, "no multiple of 4"), ({"size": (2, 16, 16)}, "jitter"),
    ],
)  # fmt: skip
def test_shapes_out_of_range_are_refused_in_one_line(run, options, match):
    with pytest.raises(InputError, match=match) as refused:
        PatchDataset(run, **{"size": 16, "jitter_mm": 2.5, **options})
    assert "\n" not in str(refused.value)


def test_the_largest_sizes_are_taken():
    grid = hilum.Geometry((300, 512, 512), (1.0, 1.0, 1.0))
    assert make_shape((1, 1024, 1)).size == (1, 1024, 1)
    assert make_shape(8, 4096.0).size_mm == (4096.0,) * 3
    with pytest.raises(InputError, match="at most 4096 mm"):
        make_shape(8, 4096.1)
    make_shape(1000, 1000.0).check(grid)
    with pytest.raises(InputError, match="the limit is 1e"):
        make_shape(1000, 1002.0).check(grid)


def test_files_of_patches_have_any_shape(run, tmp_path):
    write_patches(run, tmp_path / "out", PatchOptions(size=(6, 20, 14), negatives=2, distance_mm=5.0, jitter_mm=1.0))
    data = hilum.PatchFolder(tmp_path / "out")
    for item in data:
        _, wide = volumes(run, item)
        box = tuple(slice(a + PAD, a + PAD + n) for a, n in zip(item["start"], (6, 20, 14), strict=True))
        assert np.array_equal(item["image"], wide[box])
    assert (
        cli.main(["patches", str(run), "--out", str(tmp_path / "same"), "--size", "6,20,14", "--jitter-mm", "1"]) == 0
    )
    assert hilum.PatchFolder(tmp_path / "same")[0]["image"].shape == (6, 20, 14)
    with pytest.raises(InputError, match="from 1 to 1024"):
        PatchOptions(size=(6, 0, 3))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_of_torch_stacks_them(run, workers):
    from torch.utils.data import DataLoader

    data = PatchDataset(
        run, size=(8, 12, 16), size_mm=(20, 15, 20), context_mm=60, samples_per_volume=2, jitter_mm=1.0, augment=VARIED
    )
    loops = [
        list(DataLoader(data, batch_size=4, sampler=data.sampler(), num_workers=workers, drop_last=True))
        for _ in range(2)
    ]
    for batch in loops[0]:
        assert batch["image"].shape == batch["context"].shape == batch["mask"].shape == (4, 8, 12, 16)
    assert all((a["context"] == b["context"]).all() for a, b in zip(*loops, strict=True))
