"""A rerun takes nothing away in silence, and a run's books can be brought in order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_runs import append_row, finished_scans

import hilum
from hilum import batch
from hilum.batch.run import process
from hilum.cli import main
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import Row, read_ledger
from hilum.phantom.chest import make_phantom
from hilum.recipes import parse_recipe
from hilum.verify import Fault, verify

TEXT = '[resample]\nspacing_mm = 8.0\n[lungs]\nmethod = "none"\n'
RECIPE = parse_recipe(TEXT)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("books")
    (root / "scans").mkdir()
    (root / "recipe.toml").write_text(TEXT)
    with (root / "annotations.csv").open("w") as table:
        table.write("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
        for k in range(2):
            phantom = make_phantom(seed=k, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
            hilum.write(phantom.scan.ct, root / "scans" / f"1.2.3.{k}.mhd")
            x, y, z = phantom.scan.nodules[0].center
            table.write(f"1.2.3.{k},{x},{y},{z},20\n")
    return root


@pytest.fixture(scope="module")
def annotated(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("annotated")
    found = batch.survey([inputs / "scans"], annotations=inputs / "annotations.csv")
    batch.run(found.refs, RECIPE, out, found=found)
    return out


@pytest.fixture
def out(annotated, tmp_path):
    return Path(shutil.copytree(annotated, tmp_path / "out"))


def run(inputs, out, *words):
    return main(["run", str(inputs / "scans"), "--out", str(out), "--recipe", str(inputs / "recipe.toml"), *words])


def names(out):
    return sorted(str(path.relative_to(out)) for path in (out / "scans").rglob("*"))


def faults(out):
    return {found.code for found in verify(out) if isinstance(found, Fault)}


def test_a_rerun_without_the_annotations_takes_no_nodule_away(inputs, out, capsys):
    before = names(out)
    assert sum(name.endswith("nodules.nii.gz") for name in before) == 2
    assert run(inputs, out, "--workers", "1") == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("this run would remove the nodules of 2 scans; give --annotations and --dataset as before, or "
                         "--overwrite to remove them")  # fmt: skip
    assert names(out) == before
    assert not faults(out)
    assert run(inputs, out, "--workers", "1", "--annotations", str(inputs / "annotations.csv")) == 0
    assert names(out) == before
    assert run(inputs, out, "--workers", "1", "--overwrite") == 0
    assert not any(name.endswith("nodules.nii.gz") for name in names(out))


def test_annotations_may_come_later(inputs, tmp_path):
    assert run(inputs, tmp_path, "--workers", "1") == 0
    assert not any("nodules" in name for name in names(tmp_path))
    assert run(inputs, tmp_path, "--workers", "1", "--annotations", str(inputs / "annotations.csv")) == 0
    assert sum(name.endswith("nodules.nii.gz") for name in names(tmp_path)) == 2


def test_labels_of_a_data_set_are_not_taken_away(inputs, out):
    refs = batch.survey([inputs / "scans"], annotations=inputs / "annotations.csv").refs
    (folder, record), *_ = finished_scans(out)
    import json

    from hilum.batch.task import finished_row

    told = json.loads((folder / "scan.json").read_text())
    told["labels"] = {"fold": 3, "cancer": 1}
    (folder / "scan.json").write_text(json.dumps(told))
    append_row(out, finished_row(folder, read_record(folder), stamp=""))
    with pytest.raises(hilum.HilumError, match="the label cancer of 1 scan, the label fold of 1 scan") as caught:
        list(process(refs, RECIPE, out))
    assert caught.value.code == "would-remove"
    assert record.scan_id == folder.name


def test_prune_brings_the_books_in_order(inputs, out, capsys):
    words = ("--workers", "1", "--annotations", str(inputs / "annotations.csv"))
    gone, left, *_ = sorted(read_ledger(out))
    row = read_ledger(out)[gone]
    for name, status in (("ct-lost", "done"), ("ct-bad", "refused")):
        append_row(out, Row(id=name, status=status, code="gap" if status == "refused" else ""))
    shutil.copytree(out / "scans" / left, out / "scans" / "ct-bad")  # of an earlier input
    shutil.copytree(out / "scans" / left, out / "scans" / "ct-stray")
    assert {"missing", "unlisted"} <= faults(out)
    assert run(inputs, out, *words) == 0
    assert {"missing", "unlisted"} <= faults(out)  # without the option all stays
    capsys.readouterr()
    assert run(inputs, out, *words, "--prune") == 0
    assert "note: pruned: 2 ledger lines and 2 folders" in capsys.readouterr().err
    assert sorted(read_ledger(out)) == [gone, left]
    assert sorted(path.name for path in (out / "scans").iterdir()) == [gone, left]
    assert read_ledger(out)[gone].scan_sha256 == row.scan_sha256
    assert not faults(out)
    (out / "scans" / "mine").mkdir()
    (out / "scans" / "mine" / "notes.txt").write_text("not of hilum")
    assert run(inputs, out, *words, "--prune") == 0
    assert (out / "scans" / "mine" / "notes.txt").exists()
    assert faults(out) == {"unlisted"}


def test_prune_takes_no_finished_scan(inputs, out):
    """One that is no input any more, and whole, stays."""
    refs = batch.survey([inputs / "scans" / "1.2.3.0.mhd"], annotations=inputs / "annotations.csv").refs
    before = names(out)
    list(process(refs, RECIPE, out, pruned=lambda _: None))
    assert names(out) == before
    assert len(read_ledger(out)) == 2
    assert not faults(out)
