"""Slices around the nodules of a finished run: the right voxels, the right mask, and all skips named."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from training_inputs import OBLIQUE, make_run, read_index, replace_record

import hilum
from hilum import RunScan, cli
from hilum.errors import OutputError
from hilum.train.runs import list_run
from hilum.train.slices import scale_slices, write_slices


@pytest.fixture(params=["npy", "nifti"])
def run(request, tmp_path):
    return make_run(tmp_path / "run", file_format=request.param)


def load(folder, row):
    return np.load(folder / row["images"])[int(row["row"])], np.load(folder / row["masks"])[int(row["row"])]


@pytest.mark.parametrize("direction", [hilum.geometry.IDENTITY_DIRECTION, OBLIQUE])
def test_slices_and_masks_match_the_volume_and_the_nodules(tmp_path, direction):
    run = make_run(tmp_path / "run", direction=direction)
    made = write_slices(run, tmp_path / "out", every=True)
    rows = read_index(tmp_path / "out")
    assert (made.nodules, made.scans, len(rows)) == (4, 2, 12)
    for row in rows:
        scan = RunScan(run / "scans" / row["scan"]).scan()
        image, mask = load(tmp_path / "out", row)
        z = int(row["slice"])
        assert np.array_equal(image, scan.ct.array[z])
        nodule = scan.nodules[int(row["nodule"]) - 1]
        points = scan.ct.geometry.index_to_world(np.argwhere(mask[None] >= 0) + np.array([z, 0, 0]))
        near = np.linalg.norm(points - nodule.center, axis=1).reshape(mask.shape) <= nodule.diameter_mm / 2
        assert np.array_equal(mask, near)
        assert (int(row["mask_voxels"]), row["diameter_mm"]) == (near.sum(), str(nodule.diameter_mm))
        world = [float(row["world_" + axis]) for axis in "xyz"]
        assert scan.ct.geometry.world_to_index(world)[0] == pytest.approx(z, abs=1e-3)
        assert np.linalg.norm(np.subtract(world, nodule.center)) <= 2 * scan.ct.spacing[0] + 1e-3
    starts = [int(row["slice"]) for row in rows if row["row"] == "0" and row["scan"] == "ct-d"]
    assert starts == [0, 27]  # at the ends of the scan, the three slices there are
    assert all(sum(int(r["mask_voxels"]) for r in rows if r["number"] == str(n)) for n in range(4))


def test_the_largest_nodule_inside_is_written_and_the_others_are_named(run, tmp_path):
    made = write_slices(run, tmp_path / "out")
    rows = read_index(tmp_path / "out")
    assert [(r["scan"], r["nodule"]) for r in rows if r["row"] == "0"] == [("ct-a", "2"), ("ct-d", "1")]
    skipped = {(skip.scan, skip.code, skip.nodule) for skip in made.skipped}
    assert skipped == {
        ("ct-a", "nodule-outside", 3),
        ("ct-b", "no-nodules", 0),
        ("ct-c", "not-annotated", 0),
        ("ct-e", "run-refused", 0),
    }
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {(s["scan"], s["code"], s["nodule"]) for s in summary["skipped"]} == skipped
    assert summary["nodules"] == 2


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    for name in ("one", "two"):
        write_slices(run, tmp_path / name, every=True, pixels="int16")
    files = sorted(os.listdir(tmp_path / "one"))
    assert files == sorted(os.listdir(tmp_path / "two"))
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in files)


@pytest.mark.parametrize(("pixels", "most"), [("uint8", 255), ("int16", 32767), ("uint16", 65535)])
def test_each_slice_is_stretched_once(run, tmp_path, pixels, most):
    write_slices(run, tmp_path / "plain")
    write_slices(run, tmp_path / "out", pixels=pixels)
    for row in read_index(tmp_path / "out"):
        plain, _ = load(tmp_path / "plain", row)
        image, _ = load(tmp_path / "out", row)
        low, high = float(row["lowest"]), float(row["highest"])
        assert (low, high, image.dtype) == (plain.min(), plain.max(), np.dtype(pixels))
        assert (image.min(), image.max()) == (0, most)
        assert np.abs(image / most * (high - low) + low - plain).max() <= (high - low) / most / 2 + 1e-9
        twice = np.rint((plain - low - low) / (high - low) * most)  # the old fault
        assert not np.array_equal(image, twice)


def test_a_flat_slice_is_zero():
    assert not scale_slices(np.full((3, 4, 4), -7, np.int16), "uint8").any()


def test_the_fold_of_a_data_set_is_written(run):
    path = run / "scans" / "ct-a" / "scan.json"
    record = json.loads(path.read_text())
    record.pop("labels", None)  # an older output has none
    replace_record(run, "ct-a", record)
    assert [scan.fold for scan in list_run(run)[0]] == ["", "", "", ""]
    for labels, fold in (({"fold": 3}, "3"), ({"fold": "subset7"}, "subset7"), ({}, ""), ({"cancer": 1}, "")):
        replace_record(run, "ct-a", {**record, "labels": labels})
        assert [scan.fold for scan in list_run(run)[0]] == [fold, "", "", ""]


def test_damaged_scans_are_named_and_the_others_are_written(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    damaged = run / "scans" / "ct-a" / "ct.npy"
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    (run / "scans" / "ct-b" / "scan.json").write_text("{")
    status = cli.main(["slices", str(run), "--out", str(tmp_path / "out")])
    output = capsys.readouterr()
    assert status == 1
    assert "1 nodules of 1 scans" in output.out
    assert "damaged-scan: 2 left out" in output.err
    assert all(len(line) <= 300 for line in output.err.splitlines())
    assert {r["scan"] for r in read_index(tmp_path / "out")} == {"ct-d"}
    for loss in (lambda p: p.write_bytes(p.read_bytes()[:-9]), lambda p: p.unlink()):
        loss(damaged)
        made = write_slices(run, tmp_path / "out", overwrite=True)
        assert {skip.scan for skip in made.skipped if skip.code == "damaged-scan"} == {"ct-a", "ct-b"}


def test_an_output_is_complete_or_absent_and_replaces_only_hilums_own(run, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not an empty folder"):
        write_slices(run, out, overwrite=True)
    with pytest.raises(OutputError, match="not an empty folder"):
        write_slices(run, run, overwrite=True)
    assert os.listdir(out) == ["mine.txt"]
    made = tmp_path / "deep" / "made"
    assert cli.main(["slices", str(run), "--out", str(made), "--all"]) == 0
    before = sorted(os.listdir(made))
    assert cli.main(["slices", str(run), "--out", str(made)]) == 1
    assert "give --overwrite" in capsys.readouterr().err
    assert sorted(os.listdir(made)) == before

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert cli.main(["slices", str(run), "--out", str(tmp_path / "never")]) == 1
    assert "No space left" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_folder_without_a_finished_run_is_refused(tmp_path, capsys):
    assert cli.main(["slices", str(tmp_path / "gone"), "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "gone: does not exist" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
