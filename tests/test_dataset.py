"""Data sets of patches: reproducible items, the volume's voxels, and the protocol of a loader."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from training_inputs import OBLIQUE, make_run, replace_record

import hilum
from hilum import RunScan
from hilum.errors import FormatError, InputError, MissingInputError
from hilum.ops.intensity import UnitRange
from hilum.train.batches import batches
from hilum.train.dataset import PatchDataset
from hilum.train.folder import PatchFolder
from hilum.train.intensity import scale
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches

RULES = ("nodules", "balanced", "lungs", "uniform")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("npy") / "run", direction=OBLIQUE)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("nifti") / "run", file_format="nifti", direction=OBLIQUE)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("patches") / "out"
    write_patches(run, out, PatchOptions(size=16, per_nodule=2, negatives=3, distance_mm=5.0))
    return out


def same(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == two[name].dtype
            assert np.array_equal(value, two[name]), name
        else:
            assert value == two[name], name
    return True


def equal(one, two):
    return all(np.array_equal(one[name], two[name]) for name in one)


def check_against_volume(run, item):
    """Compare an item's voxels, mask and position with the whole volume."""
    scan = RunScan(run / "scans" / item["scan"]).scan()
    size = item["image"].shape
    for name, array, air in (("image", scan.ct.array, -1024), ("mask", scan.nodule_mask, 0)):
        whole = np.zeros(scan.ct.shape, np.uint8) if array is None else getattr(array, "array", array)
        wide = np.pad(whole, 60, constant_values=air)
        box = tuple(slice(a + 60, a + 60 + n) for a, n in zip(item["start"], size, strict=True))
        assert np.array_equal(item[name], wide[box])
    center = scan.ct.geometry.index_to_world(item["start"] + (np.array(size) - 1) / 2)
    assert np.allclose(item["center_world"], center, atol=1e-4)
    return scan


@pytest.mark.parametrize("rule", RULES)
def test_items_have_the_volumes_voxels_at_the_rules_positions(run, rule):
    data = PatchDataset(run, size=16, rule=rule, length=24, jitter_mm=3.0, distance_mm=6.0, seed=2)
    kinds = [item["kind"] for item in data]
    wanted = {"nodules": ["nodule"], "balanced": ["nodule", "lung"], "lungs": ["lung"], "uniform": ["uniform"]}[rule]
    assert kinds == (wanted * 24)[:24]
    for item in data:
        scan = check_against_volume(run, item)
        assert item["label"] == (item["kind"] == "nodule")
        voxel = scan.ct.geometry.world_to_index(item["target_world"])
        if item["kind"] == "nodule":
            nodule = scan.nodules[item["nodule"] - 1]
            assert np.allclose(item["target_world"], nodule.center)
            moved = (item["start"] + 7.5 - voxel) * scan.ct.spacing
            assert np.all(np.abs(moved) <= 3.0 + np.array(scan.ct.spacing) / 2 + 1e-6)
        elif item["kind"] == "lung":
            assert scan.lungs.array[tuple(np.rint(voxel).astype(int))] > 0
            if rule == "balanced":
                apart = [np.linalg.norm(item["center_world"] - n.center) - n.diameter_mm / 2 for n in scan.nodules]
                assert min(apart, default=6.0) >= 6.0 - 1e-6
    if rule == "nodules":
        assert len({item["scan"] + str(item["nodule"]) for item in data}) == 4


@pytest.mark.parametrize("rule", RULES)
def test_both_formats_give_the_same_patches(run, packed, rule):
    options = {"size": 12, "rule": rule, "length": 8, "jitter_mm": 2.0, "distance_mm": 4.0, "seed": 5, "cache": 1}
    for one, two in zip(PatchDataset(run, **options), PatchDataset(packed, **options), strict=True):
        assert np.allclose(one.pop("center_world"), two.pop("center_world"))
        assert same(one, two)


def test_only_seed_epoch_and_index_decide(run):
    data = PatchDataset(run, size=12, seed=1, length=12, jitter_mm=2.0)
    first = [data[k] for k in range(12)]
    assert all(same(data[k], first[k]) for k in reversed(range(12)))
    again = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own
    assert len(pickle.dumps(data)) < 20_000  # no voxels go along
    assert all(same(again[k], first[k]) for k in (5, 0, 11))
    data.set_epoch(1)
    assert sum(not equal(data[k], first[k]) for k in range(12)) > 6
    data.set_epoch(0)
    assert same(data[7], first[7])
    other = PatchDataset(run, size=12, seed=2, length=12, jitter_mm=2.0)
    assert sum(not equal(other[k], first[k]) for k in range(12)) > 6


def collate(items):
    """Collate items as torch's default_collate does: arrays of one shape and type, numbers, text."""
    batch = {}
    for name in items[0]:
        values = [item[name] for item in items]
        if isinstance(values[0], np.ndarray):
            assert len({(v.shape, v.dtype) for v in values}) == 1
            assert all(v.flags.writeable and v.flags.c_contiguous for v in values)
            batch[name] = np.stack(values)
        else:
            assert type(values[0]) in {int, float, str}
            batch[name] = values
    return batch


def fetch(task):
    data, indices = task
    return collate([data[k] for k in indices])


class Loader:
    """Imitate torch's DataLoader: batches of indices, each read in a process that got a pickle."""

    def __init__(self, data, batch_size, workers):
        self.data, self.batch_size, self.workers = data, batch_size, workers

    def __iter__(self):
        order = list(range(len(self.data)))
        tasks = [(self.data, order[k : k + self.batch_size]) for k in range(0, len(order), self.batch_size)]
        if not self.workers:
            yield from map(fetch, tasks)
            return
        with multiprocessing.get_context("spawn").Pool(self.workers) as pool:
            yield from pool.imap(fetch, tasks)


def test_a_loader_gives_the_same_with_and_without_workers(run, folder):
    for data in (
        PatchDataset(run, size=12, rule="balanced", length=10, jitter_mm=2.0, distance_mm=4.0, window=(-1000, 400)),
        PatchFolder(folder),
    ):
        alone, shared = (list(Loader(data, 4, workers)) for workers in (0, 2))
        assert sum(len(batch["label"]) for batch in alone) == len(data)
        assert all(same(one, two) for one, two in zip(alone, shared, strict=True))


def test_workers_share_all_batches(folder):
    data = PatchFolder(folder)
    whole = list(batches(data, 3, seed=4))
    parts = [list(batches(data, 3, seed=4, worker=k, workers=2)) for k in range(2)]
    assert [len(b["label"]) for b in whole] == [3] * (len(data) // 3) + [len(data) % 3] * (len(data) % 3 > 0)
    for number, batch in enumerate(whole):
        assert same(batch, parts[number % 2][number // 2])
    seen = np.concatenate([b["start"] for b in whole])
    assert len({tuple(s) for s in seen.tolist()}) == len({tuple(item["start"].tolist()) for item in data})
    assert not np.array_equal(seen, np.concatenate([b["start"] for b in batches(data, 3, seed=5)]))
    plain = np.concatenate([b["start"] for b in batches(data, 3, shuffle=False)])
    assert plain.tolist() == [item["start"].tolist() for item in data]
    for wrong in ({"worker": 2, "workers": 2}, {"worker": -1}):
        with pytest.raises(InputError, match="out of range"):
            next(batches(data, 3, **wrong))


def test_a_folder_of_patches_gives_the_volumes_voxels(run, folder):
    data = PatchFolder(folder)
    assert len(data) == 2 * 4 + 3 * 3
    for item in data:
        check_against_volume(run, item)
    assert [item["label"] for item in data].count(1) == 8


def test_intensity_is_that_of_normalize_and_zero_center(run, folder):
    values = np.arange(-32768, 32768, dtype=np.int16).reshape(16, 64, 64)
    grid = hilum.Geometry(values.shape, (1, 1, 1))
    for lower, upper, mean in (
        (-1000, 400, 0.25),
        (-1200, 600, 0.31),
        (-1, 0, 0.0),
        (-32768, 32767, 0.5),
        (-7.3, 9.1, 0),
    ):
        want = hilum.normalize(hilum.Volume(values, grid), lower=lower, upper=upper)
        scaled = scale(values, UnitRange(lower, upper, mean))
        gap = np.abs(scaled - hilum.zero_center(want, mean=mean).array).max()
        assert gap == 0 if lower == round(lower) else gap < 1e-6
    options = {"window": (-1200, 600), "mean": 0.31}
    for plain, scaled in (
        (PatchDataset(run, size=8, jitter_mm=1), PatchDataset(run, size=8, jitter_mm=1, **options)),
        (PatchFolder(folder), PatchFolder(folder, **options)),
    ):
        stored, unit = plain[1]["image"], scaled[1]["image"]
        assert (stored.dtype, unit.dtype) == (np.int16, np.float32)
        want = np.clip((stored.astype(float) + 1200) / 1800, 0, 1) - 0.31
        assert np.abs(unit - want).max() < 1e-6


def test_folds_choose_the_scans(tmp_path):
    run = make_run(tmp_path / "run")
    for name, fold in (("ct-a", 3), ("ct-b", 3), ("ct-d", 4)):
        path = run / "scans" / name / "scan.json"
        labels = {"fold": fold, "patient_fold": 0}
        replace_record(run, name, {**json.loads(path.read_text()), "labels": labels})
    write_patches(run, tmp_path / "out", PatchOptions(size=16, negatives=1))
    for make in (lambda **o: PatchDataset(run, size=16, **o), lambda **o: PatchFolder(tmp_path / "out", **o)):
        assert {item["scan"] for item in make(folds=[4])} == {"ct-d"}
        assert {item["fold"] for item in make(folds={"3"})} == {"3"}
        assert len(make(folds=["3", "4"])) == len(make())
        with pytest.raises(MissingInputError, match=r"no (scan|nodule|patch)"):
            make(folds=["9"])
    assert {item["fold"] for item in PatchDataset(run, size=16, fold_by="patient_fold", folds=[0])} == {"0"}
    write_patches(run, tmp_path / "whole", PatchOptions(size=16), fold_by="patient_fold")
    assert {item["fold"] for item in PatchFolder(tmp_path / "whole")} == {"0"}


def test_damaged_files_are_refused(tmp_path):
    run = make_run(tmp_path / "run")
    write_patches(run, tmp_path / "out", PatchOptions(size=16, negatives=1))
    assert [skip.code for skip in PatchDataset(run).skipped] == ["run-refused"]
    for path, make in (
        (run / "scans" / "ct-a" / "ct.npy", lambda: PatchDataset(run)),
        (tmp_path / "out" / "images_ct-a.npy", lambda: PatchFolder(tmp_path / "out")),
    ):
        whole = path.read_bytes()
        path.write_bytes(whole[:-2])
        with pytest.raises(FormatError, match=r"has another size|does not have the size"):
            make()
        path.write_bytes(b"\0" + whole[1:])  # of the same size, but no array any more
        if path.is_relative_to(run):
            with pytest.raises(FormatError, match="does not match its checksum"):
                make()  # newer than its scan.json
            os.utime(path, ns=(0, (run / "scans" / "ct-a" / "scan.json").stat().st_mtime_ns))
            with pytest.raises(FormatError, match="does not match its checksum"):
                PatchDataset(run, verify=True)
        with pytest.raises(FormatError, match=r"cannot be read as .npy|is not a numpy file"):
            make()[0]
        path.write_bytes(whole)
    index = tmp_path / "out" / "index.csv"
    index.write_text("\n".join(index.read_text().splitlines()[:-1]) + "\n")
    for harm in (lambda: None, index.unlink, (tmp_path / "out" / "summary.json").unlink):
        harm()
        with pytest.raises(InputError, match=r"does not match its checksum|no finished patches"):
            PatchFolder(tmp_path / "out")
    with pytest.raises(MissingInputError, match="no output of a run"):
        PatchDataset(tmp_path / "out")


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "best"}, {"size": 0}, {"cache": 0}, {"seed": -1}, {"distance_mm": -1.0}, {"size": 8, "jitter_mm": 9},
        {"window": (400, -1000)}, {"window": (0, 1), "mean": float("nan")},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(run, options):
    with pytest.raises(InputError):
        PatchDataset(run, **options)


def test_an_index_out_of_range_ends_a_loop(run, folder):
    for data in (PatchDataset(run), PatchFolder(folder)):
        for index in (len(data), -1):
            with pytest.raises(IndexError):
                data[index]
        assert len(list(data)) == len(data)


def test_lungs_without_a_far_position_are_refused(run):
    data = PatchDataset(run, size=8, rule="balanced", jitter_mm=1, distance_mm=500.0, folds=None)
    assert data[1]["scan"] == "ct-b"  # the annotated scan without nodules has room everywhere
    data.scans[:] = [scan for scan in data.scans if scan.record.scan_id != "ct-b"]
    with pytest.raises(InputError, match="no scan has lung voxels that far"):
        data[1]


def test_neither_torch_nor_a_compiler_is_imported(run):
    code = (
        "import sys, hilum\n"
        f"options = dict(size=8, jitter_mm=1, window=(-1000, 400))\n"
        f"item = hilum.PatchDataset({str(run)!r}, augment=hilum.Augment(rotate_degrees=9), **options)[0]\n"
        "print(sorted({'torch', 'numba', 'pydicom', 'nibabel', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    for _ in range(2):  # the first may have to compile a kernel on this machine
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
