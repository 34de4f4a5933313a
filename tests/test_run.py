"""The main job, from files to the output folder, in this process."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil

import nibabel
import numpy as np
import pytest
from small_runs import append_row, finished_scans, tree

import hilum
from hilum import batch
from hilum.datasets import folder
from hilum.errors import MissingInputError, OutputError
from hilum.io.unfinished import PARTIAL
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import Ledger, Row, read_ledger
from hilum.outputs.store import atomic_folder
from hilum.phantom.chest import make_phantom
from hilum.recipes import parse_recipe, recipe
from hilum.stats import fingerprint

COARSE = "[resample]\nspacing_mm = 4.0\n"


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=3, shape=(48, 96, 96), spacing=(6.5, 4.0, 4.0))


@pytest.fixture(scope="module")
def inputs(phantom, tmp_path_factory):
    """Two volume files and the annotations of the first."""
    root = tmp_path_factory.mktemp("inputs")
    uids = ["1.2.826.0.1.111", "1.2.826.0.1.222"]
    for uid in uids:
        hilum.write(phantom.scan.ct, root / f"{uid}.mhd")
    rows = [f"{uids[0]},{','.join(map(str, n.center))},{n.diameter_mm}" for n in phantom.scan.nodules]
    (root / "annotations.csv").write_text("\n".join(["seriesuid,coordX,coordY,coordZ,diameter_mm", *rows, ""]))
    return root


def test_a_run_writes_what_it_says(inputs, phantom, tmp_path):
    refs, refused = batch.index([inputs], annotations=inputs / "annotations.csv")
    assert not refused
    rows = batch.run(refs, parse_recipe(COARSE), tmp_path)
    assert [row.status for row in rows if not row.notes] == ["done"] * len([row for row in rows if not row.notes])
    assert set(read_ledger(tmp_path)) == {ref.scan_id for ref in refs}
    assert parse_recipe((tmp_path / "recipe.toml").read_text()) == parse_recipe(COARSE)
    assert len(finished_scans(tmp_path)) == len(refs) == 2
    for ref in refs:
        done = tmp_path / "scans" / ref.scan_id
        record = json.loads((done / "scan.json").read_text())
        image = nibabel.load(done / "ct.nii.gz")
        assert list(image.shape[::-1]) == record["geometry"]["shape"]
        assert np.allclose(image.header.get_zooms(), 4.0)
        for name, facts in record["files"].items():
            assert hashlib.sha256((done / name).read_bytes()).hexdigest() == facts["sha256"]
            assert (done / name).stat().st_size == facts["bytes"]
        pictures = {"preview.json", "preview.png"}
        assert set(record["files"]) == {"ct.nii.gz", "lungs.nii.gz", "nodules.nii.gz"} | pictures
        assert record["source_geometry"]["shape"] == list(phantom.scan.ct.shape)
    first, second = (json.loads((tmp_path / "scans" / ref.scan_id / "scan.json").read_text()) for ref in refs)
    assert len(first["nodules"]) == len(phantom.scan.nodules)
    assert second["nodules"] == []
    grid = hilum.read(tmp_path / "scans" / refs[0].scan_id / "ct.nii.gz").ct.geometry
    for told, nodule in zip(first["nodules"], phantom.scan.nodules, strict=True):
        assert np.allclose(told["world"], nodule.center)
        assert np.allclose(grid.index_to_world(told["voxel"]), nodule.center, atol=1e-3)


def test_workers_do_not_change_a_byte(inputs, tmp_path):
    refs, _ = batch.index([inputs])
    one = [batch.run(refs, parse_recipe(COARSE), tmp_path / str(n), workers=n) for n in (1, 2)]
    assert [row.id for row in one[0]] == [row.id for row in one[1]]
    assert tree(tmp_path / "1" / "scans") == tree(tmp_path / "2" / "scans")


def test_a_finished_scan_is_kept_refused_or_replaced(inputs, tmp_path):
    refs, _ = batch.index([inputs / "1.2.826.0.1.111.mhd"])
    batch.run(refs, parse_recipe(COARSE), tmp_path)
    stamp = (tmp_path / "scans" / refs[0].scan_id / "scan.json").stat().st_mtime_ns
    assert batch.run(refs, parse_recipe(COARSE), tmp_path)[0].status in {"done", "repaired"}
    assert (tmp_path / "scans" / refs[0].scan_id / "scan.json").stat().st_mtime_ns == stamp
    other = parse_recipe("[resample]\nspacing_mm = 8.0\n")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="another recipe") as caught:
        batch.run(refs, other, tmp_path)
    assert caught.value.code == "exists"
    assert "--overwrite" in str(caught.value)
    assert {**tree(tmp_path), ".lock": b""} == {**before, ".lock": b""}
    assert read_record(tmp_path / "scans" / refs[0].scan_id).geometry.spacing == (4.0, 4.0, 4.0)
    batch.run(refs, other, tmp_path, overwrite=True)
    assert read_record(tmp_path / "scans" / refs[0].scan_id).geometry.spacing == (8.0, 8.0, 8.0)
    assert len(read_ledger(tmp_path)) == 1


def test_a_bad_scan_costs_itself_alone(inputs, tmp_path):
    root = tmp_path / "in"
    shutil.copytree(inputs, root)
    raw = root / "1.2.826.0.1.222.raw"
    raw.write_bytes(raw.read_bytes()[:-100])
    (root / "1.2.826.0.1.333.nii").write_bytes(b"nothing like it" * 50)
    refs, refused = batch.index([root, tmp_path / "gone"])
    rows = batch.run(refs, parse_recipe(COARSE), tmp_path / "out", refused=refused)
    assert len(rows) == 4
    assert sorted(row.status.replace("repaired", "done") for row in rows) == ["done", "refused", "refused", "refused"]
    for row in rows:
        assert len(row.reason) <= 300
        assert "\n" not in row.reason
    assert len(os.listdir(tmp_path / "out" / "scans")) == 1
    assert len((tmp_path / "out" / "ledger.jsonl").read_text().splitlines()) == 4


def test_a_scan_that_breaks_is_named_and_the_others_finish(inputs, tmp_path):
    refs, _ = batch.index([inputs])
    poisoned = [refs[0].__class__("nosuch-dataset", "ct-poison", refs[0].path), *refs]
    rows = batch.run(poisoned, parse_recipe(COARSE), tmp_path, workers=2)
    assert rows[0].status == "failed"
    assert rows[0].code == "KeyError"
    assert {row.status for row in rows[1:]} <= {"done", "repaired"}


def test_two_files_of_one_name_are_two_scans(inputs, tmp_path):
    for sub in ("a", "b"):
        (tmp_path / sub).mkdir()
        hilum.write(hilum.read(inputs / "1.2.826.0.1.111.mhd").ct, tmp_path / sub / "image.nii")
    inside = folder.index(tmp_path).refs
    assert len({ref.scan_id for ref in inside}) == 2
    apart, _ = batch.index([tmp_path / "a" / "image.nii", tmp_path / "b" / "image.nii"])
    assert len({ref.scan_id for ref in apart}) == 2
    again, _ = batch.index([tmp_path / "a", tmp_path / "a"])
    assert len(again) == 1


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(MissingInputError):
            folder.index(path)


def test_preprocess_follows_the_recipe(phantom):
    scan = phantom.scan
    coarse = hilum.preprocess(scan, parse_recipe(COARSE))
    assert coarse.ct.spacing == (4.0, 4.0, 4.0)
    assert coarse.ct.array.dtype == np.int16
    assert coarse.figures["lung_right_ml"] > 300
    plain = hilum.preprocess(scan, parse_recipe('[resample]\ngrid = "native"\n[lungs]\nmethod = "none"'))
    assert plain.ct.geometry == scan.ct.geometry
    assert plain.lungs is None
    assert np.array_equal(plain.ct.array, scan.ct.array)
    unit = hilum.preprocess(
        scan, parse_recipe('[resample]\nspacing_mm = 4.0\n[intensity]\noutput = "unit"\nmean = 0.25')
    )
    assert unit.ct.array.dtype == np.float32
    wanted = np.clip((coarse.ct.array.astype(float) + 1000) / 1400, 0, 1) - 0.25
    assert np.abs(unit.ct.array - wanted).max() < 1e-6
    grown = hilum.preprocess(scan, parse_recipe(COARSE + "[lungs]\ndilate_mm = 8.0"))
    assert grown.lungs.volume_ml() > coarse.lungs.volume_ml()


def test_a_nodule_outside_the_scan_and_a_scan_without_lungs_are_noted(phantom):
    from dataclasses import replace

    far = hilum.Nodule(center=(9000.0, 0.0, 0.0), diameter_mm=8.0)
    odd = replace(phantom.scan, nodules=(*phantom.scan.nodules, far), annotated=True)
    codes = {note.code for note in hilum.preprocess(odd, parse_recipe(COARSE)).notes}
    assert "nodule-outside" in codes
    noise = np.random.default_rng(0).normal(0, 20, phantom.scan.ct.shape).astype(np.int16)
    water = replace(phantom.scan, ct=hilum.Volume(noise, phantom.scan.ct.geometry))
    codes = {note.code for note in hilum.preprocess(water, parse_recipe(COARSE)).notes}
    assert {"lungs-not-found", "not-hu"} <= codes
    good = {note.code for note in hilum.preprocess(phantom.scan, parse_recipe(COARSE)).notes}
    assert not good & {"nodule-outside", "lungs-not-found", "not-hu"}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def spoil():
        with atomic_folder(tmp_path / "scans" / "x") as partial:
            (partial / "half").touch()
            (partial / "half" / "beneath a file").touch()

    with pytest.raises(OutputError):
        spoil()
    assert os.listdir(tmp_path / "scans") == []
    with atomic_folder(tmp_path / "scans" / "x") as partial:
        assert partial.name.startswith(PARTIAL)
        (partial / "all").write_bytes(b"1")
    assert os.listdir(tmp_path / "scans") == ["x"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"), atomic_folder(tmp_path / "file" / "x"):
        raise AssertionError("a folder beneath a file")


def test_the_ledger_survives_a_cut_line_and_keeps_the_last_word(tmp_path):
    append_row(tmp_path, Row(id="a", status="failed"))
    append_row(tmp_path, Row(id="b", status="done"))
    append_row(tmp_path, Row(id="a", status="done", notes=["x: y"]))
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"id": "c", "stat')
    rows = read_ledger(tmp_path)
    assert {row.id: row.status for row in rows.values()} == {"a": "done", "b": "done"}
    with Ledger(tmp_path) as ledger:
        ledger.compact()
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 2
    assert os.listdir(tmp_path) == ["ledger.jsonl"]
    with pytest.raises(OutputError):
        append_row(tmp_path / "gone", Row(id="a", status="done"))


@pytest.mark.parametrize("text", [COARSE, COARSE + '[intensity]\noutput = "unit"\n[output]\nformat = "npy"'])
def test_statistics_equal_numpy_on_all_voxels(inputs, tmp_path, text):
    refs, _ = batch.index([inputs])
    batch.run(refs, parse_recipe(text), tmp_path)
    found = fingerprint(tmp_path).overall
    arrays = [
        np.load(path / "ct.npy") if (path / "ct.npy").exists() else np.asarray(nibabel.load(path / "ct.nii.gz").dataobj)
        for path, _ in finished_scans(tmp_path)
    ]
    voxels = np.concatenate([a.ravel() for a in arrays]).astype(float)
    assert (found.scans, found.voxels) == (2, voxels.size)
    assert np.isclose(found.mean, voxels.mean(), rtol=1e-9, atol=1e-9)
    assert np.isclose(found.std, voxels.std(), rtol=1e-6)
    for name, value in found.percentiles.items():
        exact = np.percentile(voxels, float(name), method="inverted_cdf")
        assert abs(value - exact) <= (0 if found.unit == "HU" else 1 / 16384)
    centered = np.clip((voxels + 1000) / 1400, 0, 1).mean()
    assert found.unit_mean is None if found.unit != "HU" else np.isclose(found.unit_mean, centered, rtol=1e-9)


def test_statistics_refuse_an_empty_folder_and_mixed_units(inputs, tmp_path):
    with pytest.raises(MissingInputError):
        fingerprint(tmp_path)
    refs, _ = batch.index([inputs])
    batch.run(refs[:1], parse_recipe(COARSE), tmp_path)
    batch.run(refs[1:], parse_recipe(COARSE + '[intensity]\noutput = "unit"'), tmp_path, overwrite=True)
    with pytest.raises(hilum.InputError, match="different units"):
        fingerprint(tmp_path)


def test_a_scan_survives_pickling_read_only(phantom):
    again = pickle.loads(pickle.dumps(hilum.preprocess(phantom.scan, parse_recipe(COARSE))))  # noqa: S301 - our own bytes
    assert again.figures["lung_ml"] > 0
    with pytest.raises(ValueError, match="read-only"):
        again.ct.array[0] = 0


def test_the_demo_runs_and_leaves_what_it_names(tmp_path):
    from hilum.demo import demo

    told = demo(tmp_path / "demo")
    assert (tmp_path / "demo" / "overview.png").stat().st_size > 20_000
    (scan,) = (tmp_path / "demo" / "output" / "scans").iterdir()
    record = read_record(scan)
    assert record.figures["lung_right_ml"] > 500
    assert record.figures["lung_left_ml"] > 500
    assert str(scan) in told
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not from an earlier demo"):
        demo(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_recipes_are_complete_in_the_default():
    assert recipe("default") == parse_recipe("")
