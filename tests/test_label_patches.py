"""Label maps in training: items, patches and slices of a named label map, at its voxels, with its values."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from training_inputs import OBLIQUE, make_run, read_index

import hilum
from hilum.cli import main
from hilum.errors import InputError, MissingInputError
from hilum.outputs.finished import read_record, read_stored
from hilum.train.augment import Augment
from hilum.train.dataset import PatchDataset
from hilum.train.folder import PatchFolder
from hilum.train.label_maps import LabelVoxels, label_values
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches
from hilum.train.runs import list_run
from hilum.train.slices import write_slices

VALUES = {"upper": 2, "lower": 5}
LOBES = dict.fromkeys(("ct-a", "ct-b", "ct-d"), VALUES)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("npy") / "run", direction=OBLIQUE, lobes=LOBES)


@pytest.fixture(scope="module", params=["nifti", "npy", "zarr", "b2nd"])
def stored(request, run, tmp_path_factory):
    if request.param == "npy":
        return run
    folder = tmp_path_factory.mktemp(request.param) / "run"
    return make_run(folder, direction=OBLIQUE, file_format=request.param, lobes=LOBES)


def label_map(run, scan, name="lobes"):
    folder = run / "scans" / scan
    return read_stored(folder, read_record(folder), f"labels/{name}").array


@pytest.mark.parametrize("rule", ["labels", "uniform", "lungs", "nodules"])
def test_the_mask_of_an_item_is_the_label_map(stored, rule):
    data = PatchDataset(stored, size=12, rule=rule, labels="lobes", length=12, jitter_mm=2.0, seed=3)
    assert data.label_values == VALUES
    left_out = [one.code for one in data.skipped if one.scan == "ct-c"]
    assert left_out == ([] if rule == "nodules" else ["no-labels"])  # not annotated: out before labels matter
    assert {item["scan"] for item in data} <= {"ct-a", "ct-b", "ct-d"}
    for item in data:
        wide = np.pad(label_map(stored, item["scan"]), 40)
        box = tuple(slice(a + 40, a + 52) for a in item["start"])
        assert np.array_equal(item["mask"], wide[box])


def test_the_rule_labels_draws_voxels_of_the_label_map(run):
    data = PatchDataset(run, size=12, rule="labels", labels="lobes", length=60, jitter_mm=3.0, seed=1)
    items = list(data)
    assert [item["scan"] for item in items[:3]] == ["ct-a", "ct-b", "ct-d"]  # in turn
    assert {item["kind"] for item in items} == {"label"}
    assert {item["label"] for item in items} == set(VALUES.values())
    for item in items:
        grid = next(one for one in data.scans if one.scan_id == item["scan"]).geometry
        voxel = grid.world_to_index(item["target_world"])
        whole = tuple(np.rint(voxel).astype(int))
        assert np.abs(voxel - whole).max() < 1e-6
        assert label_map(run, item["scan"])[whole] == item["label"]
        assert (np.abs((item["start"] + 5.5 - voxel) * grid.spacing) <= 3.0 + np.array(grid.spacing) / 2 + 1e-6).all()
        assert item["mask"].any()
    again = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own
    assert all(np.array_equal(again[k]["mask"], items[k]["mask"]) for k in (59, 0, 30))
    data.set_epoch(1)
    assert sum(not np.array_equal(data[k]["start"], items[k]["start"]) for k in range(60)) > 40
    assert len(PatchDataset(run, size=12, rule="labels", labels="lobes", jitter_mm=3.0)) == 3  # once through the scans


def test_an_augmented_label_map_lies_on_its_image(run):
    plain = PatchDataset(run, size=12, rule="labels", labels="lobes", length=30, jitter_mm=1.0)
    varied = PatchDataset(
        run,
        size=12,
        rule="labels",
        labels="lobes",
        length=30,
        jitter_mm=1.0,
        augment=Augment(flip="zyx", scale=(0.9, 1.1)),
    )
    changed = 0
    for one, item in zip(plain, varied, strict=True):
        grid = next(scan.geometry for scan in varied.scans if scan.scan_id == item["scan"])
        labels = np.pad(label_map(run, item["scan"]), 40)
        index = np.argwhere(np.ones(item["mask"].shape, bool))
        world = (np.c_[index, np.ones(len(index))] @ item["affine"].T)[:, :3]
        voxel = grid.world_to_index(world)
        sure = (np.abs(voxel - np.floor(voxel) - 0.5) > 1e-3).all(axis=1)  # not between two voxels
        wanted = labels[tuple((np.rint(voxel[sure]).astype(int) + 40).T)]
        assert np.array_equal(item["mask"][tuple(index[sure].T)], wanted)
        changed += not np.array_equal(one["mask"], item["mask"])
    assert changed > 20


def test_nodules_stay_the_default_mask(run):
    plain, named = (PatchDataset(run, size=12, jitter_mm=2.0, **words) for words in ({}, {"labels": "nodules"}))
    assert plain.label_values == {}
    assert {one.scan_id for one in plain.scans} == {"ct-a", "ct-b", "ct-d"}
    assert all(np.array_equal(one["mask"], two["mask"]) for one, two in zip(plain, named, strict=True))
    assert any(np.array_equal(np.unique(one["mask"]), [0, 1]) for one in plain)


def test_what_cannot_be_drawn_is_refused(run, tmp_path):
    with pytest.raises(MissingInputError, match=r"no scan has a label map 'lobe'.*choose one of lobes, none"):
        PatchDataset(run, size=12, labels="lobe")
    with pytest.raises(InputError, match="the rule 'labels' has no label map"):
        PatchDataset(run, size=12, rule="labels")
    with pytest.raises(MissingInputError, match="no scan has a label map 'none' with a voxel"):
        PatchDataset(run, size=12, rule="labels", labels="none", jitter_mm=1.0)
    assert not PatchDataset(run, size=12, rule="uniform", labels="none")[0]["mask"].any()  # empty, but there
    with pytest.raises(InputError, match="jitter of 9 mm"):
        PatchDataset(run, size=12, rule="labels", labels="lobes", jitter_mm=9.0)
    bare = make_run(tmp_path / "bare")
    with pytest.raises(MissingInputError, match="give --labels to 'hilum run'"):
        PatchDataset(bare, size=12, labels="lobes")
    mixed = make_run(tmp_path / "mixed", lobes={**LOBES, "ct-b": {"upper": 5, "lower": 2}})
    with pytest.raises(InputError, match=r"ct-b: label map lobes: 'upper' is 5 here"):
        PatchDataset(mixed, size=12, labels="lobes", jitter_mm=1.0)


def test_labels_without_a_name_take_it_from_another_scan(tmp_path):
    values = {"ct-a": {"2": 2, "5": 5}, "ct-b": {"lobes": 2, "lower": 5}, "ct-d": VALUES}
    scans, _ = list_run(make_run(tmp_path, lobes=values))
    assert label_values(scans, "lobes") == VALUES
    assert label_values(scans[:1], "lobes") == {"2": 2, "5": 5}
    (one,) = [scan for scan in scans if scan.scan_id == "ct-b"]
    assert label_values([one], "lobes") == {"2": 2, "lower": 5}


def test_every_labeled_voxel_is_drawn_alike():
    array = (np.random.default_rng(0).random((5, 6, 7)) > 0.8).astype(np.uint8) * 3
    array[2] = 0
    voxels = LabelVoxels(array)
    assert [voxels.voxel(k) for k in range(int(voxels.ends[-1]))] == [tuple(v) for v in np.argwhere(array).tolist()]
    grid = hilum.Geometry(array.shape, (2.0, 1.0, 1.5))
    points = grid.index_to_world(np.argwhere(np.ones(array.shape)) + 0.3)
    marked = grid.index_to_world(np.argwhere(array))
    apart = np.linalg.norm(points[:, None] - marked, axis=2).min(axis=1)
    for distance in (0.0, 1.2, 2.5):
        assert np.array_equal(voxels.are_far(points, grid=grid, distance_mm=distance), apart >= distance)
    assert LabelVoxels(np.zeros_like(array)).are_far(points[:3], grid=grid, distance_mm=9.0).all()


def test_patches_of_a_label_map(run, tmp_path):
    words = ["--size", "12", "--per-nodule", "3", "--negatives", "2", "--distance-mm", "4", "--jitter-mm", "2"]
    for out in ("one", "two"):
        assert main(["patches", str(run), "--labels", "lobes", "--out", str(tmp_path / out), *words]) == 0
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} for out in ("one", "two"))
    assert one == two
    rows = read_index(tmp_path / "one")
    assert {(row["scan"], row["kind"], row["label"]) for row in rows} == {
        (scan, kind, label)
        for scan in ("ct-a", "ct-b", "ct-d")
        for kind, label in (("label", "2"), ("label", "5"), ("lung", "0"))
    }
    assert len(rows) == 3 * (3 + 3 + 2)
    data = PatchFolder(tmp_path / "one")
    assert data.label_values == VALUES
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert (summary["positives"], summary["negatives"]) == (18, 6)
    assert {one["scan"]: one["code"] for one in summary["skipped"]}["ct-c"] == "no-labels"
    grids = {scan.scan_id: scan.geometry for scan in list_run(run)[0]}
    for item in data:
        wide = np.pad(label_map(run, item["scan"]), 40)
        assert np.array_equal(item["mask"], wide[tuple(slice(a + 40, a + 52) for a in item["start"])])
        grid = grids[item["scan"]]
        if item["kind"] == "lung":
            marked = grid.index_to_world(np.argwhere(label_map(run, item["scan"])))
            assert np.linalg.norm(marked - item["center_world"], axis=1).min() >= 4.0 - 1e-4
        else:
            at = tuple(np.rint(grid.world_to_index(item["target_world"])).astype(int))
            assert label_map(run, item["scan"])[at] == item["label"] > 0
    with pytest.raises(InputError, match="tables of negatives are for patches at nodules"):
        write_patches(run, tmp_path / "three", PatchOptions(size=12, labels="lobes", jitter_mm=2.0), kept=True)
    with pytest.raises(MissingInputError, match="no scan has a label map 'tumor'"):
        write_patches(run, tmp_path / "three", PatchOptions(size=12, labels="tumor", jitter_mm=2.0))
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize("every", [False, True])
def test_slices_of_a_label_map(run, tmp_path, every):
    assert main(["slices", str(run), "--labels", "lobes", "--out", str(tmp_path / "s"), *["--all"] * every]) == 0
    rows = read_index(tmp_path / "s")
    values = ["2", "5"] if every else ["5"]
    assert [row["nodule"] for row in rows] == [value for _ in range(3) for value in values for _ in range(3)]
    for row in rows:
        whole = label_map(run, row["scan"]) == int(row["nodule"])
        mask = np.load(tmp_path / "s" / row["masks"])
        z, row_of_file = int(row["slice"]), sum(one["masks"] == row["masks"] for one in rows[: rows.index(row)])
        assert np.array_equal(mask[row_of_file], whole[z])
        assert int(row["mask_voxels"]) == whole[z].sum()
        assert row["diameter_mm"] == ""
    middle = [row for k, row in enumerate(rows) if k % 3 == 1]
    assert all(
        int(r["mask_voxels"]) == (label_map(run, r["scan"]) == int(r["nodule"])).sum(axis=(1, 2)).max() for r in middle
    )
    made = write_slices(run, tmp_path / "n", every=every)
    assert (made.labels, made.label_values) == ("nodules", {})
