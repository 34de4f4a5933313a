"""A finished run in another format: what a run of that format would have left, whatever happens on the way."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import msgspec
import numpy as np
import pytest
from small_runs import faults, finished_scans, tree

import hilum
from hilum import RunScan, batch
from hilum.cli import main
from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.io.volumes.formats import STORES
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import FINISHED, read_ledger
from hilum.phantom.chest import make_phantom
from hilum.recipes import parse_recipe
from hilum.stats import fingerprint

COARSE = "[resample]\nspacing_mm = 4.0\n"

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two scans with nodules, and one that is refused."""
    root, rows = tmp_path_factory.mktemp("inputs"), ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for seed in (3, 4):
        scan, uid = make_phantom(seed=seed, shape=(40, 80, 80), spacing=(7.5, 5.0, 5.0)).scan, f"1.2.826.0.1.{seed}"
        hilum.write(scan.ct, root / f"{uid}.mhd")
        rows += [f"{uid},{','.join(map(str, n.center))},{n.diameter_mm}" for n in scan.nodules]
    (root / "annotations.csv").write_text("\n".join([*rows, ""]))
    (root / "1.2.826.0.1.5.nii").write_bytes(b"nothing like it" * 50)
    return root


def make(inputs, out, name):
    found = batch.survey([inputs], annotations=inputs / "annotations.csv")
    batch.run(found.refs, parse_recipe(f'{COARSE}[output]\nformat = "{name}"'), out, found=found)
    return out


@pytest.fixture(scope="module")
def runs(inputs, tmp_path_factory):
    return {name: make(inputs, tmp_path_factory.mktemp(name) / "out", name) for name in STORES}


def test_a_converted_run_is_what_a_run_of_that_format_leaves(runs, tmp_path):
    before = {name: tree(out) for name, out in runs.items()}
    for first, second in itertools.permutations(STORES, 2):
        out = tmp_path / f"{first}-{second}"
        rows = list(batch.convert_run(runs[first], out, file_format=second))
        assert sorted(row.status.replace("repaired", "done") for row in rows) == ["done", "done", "refused"]
        assert not faults(out)
        made, wanted = tree(out), before[second]
        assert set(made) == set(wanted)
        for name in made:
            if name.endswith("scan.json"):
                mine, theirs = json.loads(made[name]), json.loads(wanted[name])
                # which run it comes from stays told: of all that decided it, the format alone is another
                assert (
                    mine.pop("fingerprint")
                    == json.loads(before[first][name])["fingerprint"]
                    != theirs.pop("fingerprint")
                )
                assert mine == theirs
            elif name not in {"ledger.jsonl", "SHA256SUMS", ".lock"}:
                assert made[name] == wanted[name], name
        assert fingerprint(out).overall == fingerprint(runs[second]).overall
        old, new = read_ledger(runs[first]), read_ledger(out)
        assert {k: (r.status, r.notes, r.fingerprint) for k, r in old.items()} == {
            k: (r.status, r.notes, r.fingerprint) for k, r in new.items()
        }
    assert before == {name: tree(out) for name, out in runs.items()}


def test_the_command_names_its_folder_and_goes_on_where_it_was(inputs, tmp_path, capsys, monkeypatch):
    run = make(inputs, tmp_path / "out", "npy")
    from hilum.batch import convert

    real = batch.convert_run

    def once(*args, **more):
        with closing(real(*args, **more)) as rows:
            for row in rows:
                yield row
                if row.status in FINISHED:
                    raise KeyboardInterrupt

    monkeypatch.setattr(batch, "convert_run", once)
    assert main(["store", str(run), "--format", "b2nd", "--workers", "1"]) == 130
    out = tmp_path / "out-b2nd"
    assert "again" in capsys.readouterr().err
    assert len(os.listdir(out / "scans")) == 1
    assert {found.code for found in faults(out)} >= {"unfinished"}
    seen = tree(out / "scans")
    monkeypatch.setattr(batch, "convert_run", real)
    assert main(["store", str(run), "--format", "b2nd"]) == 1  # the refused scan is told again
    assert tree(out / "scans").items() >= seen.items()
    assert not faults(out)
    whole = tree(out)
    monkeypatch.setattr(convert, "Conversion", None)  # all is there: nothing is made
    assert main(["store", str(run), "--format", "b2nd"]) == 1
    assert tree(out) == whole


def test_the_number_of_workers_changes_nothing(runs, tmp_path):
    made = {}
    for workers in (None, 1, 2):
        out = tmp_path / str(workers)
        rows = list(batch.convert_run(runs["nifti"], out, file_format="npy", workers=workers))
        assert [row.attempts for row in rows] == [1, 1, 1]
        assert not faults(out)
        made[workers] = settled(out)
    assert made[None] == made[1] == made[2]


def settled(out):
    """All of a finished run but what differs from run to run: seconds, times of files."""
    rows = {key: msgspec.structs.replace(r, seconds=0, files_stamp="") for key, r in read_ledger(out).items()}
    return {name: data for name, data in tree(out).items() if name not in {".lock", "ledger.jsonl"}}, rows


def test_a_cluster_converts_as_one_machine_does(runs, tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed")
    monkeypatch.setattr("hilum.batch.cluster.run._WAIT_SECONDS", 0.5)
    words = ["store", str(runs["nifti"]), "--format", "npy", "--workers", "2", "--scheduler"]
    assert main([*words, "tcp://127.0.0.1:1", "--out", str(tmp_path / "cluster")]) == 1
    assert "tcp://127.0.0.1:1: no Dask scheduler answers" in capsys.readouterr().err
    assert not list((tmp_path / "cluster" / "scans").iterdir())
    list(batch.convert_run(runs["nifti"], tmp_path / "here", file_format="npy"))
    monkeypatch.chdir(tmp_path)  # the workers get absolute paths
    assert main([*words, "local", "--out", "cluster"]) == 1  # for the scan that the run refused
    assert settled(tmp_path / "cluster") == settled(tmp_path / "here")
    assert not faults(tmp_path / "cluster")
    again = batch.convert_run(runs["nifti"], tmp_path / "cluster", file_format="npy", scheduler="tcp://127.0.0.1:1")
    assert all(row.kept or row.status not in FINISHED for row in again)  # nothing to do: nobody is asked


def test_a_conversion_that_breaks_in_a_worker_costs_itself_alone(runs, tmp_path):
    from hilum.batch.convert import Conversion
    from hilum.batch.limits import Limits
    from hilum.batch.supervisor import WorkerPool
    from hilum.scan_ref import ScanRef

    (_, good), _, _ = sorted(read_ledger(runs["nifti"]).items())
    before = hilum.recipe(runs["nifti"] / "recipe.toml")
    ref = ScanRef("", good.id, runs["nifti"] / "scans" / good.id)
    (tmp_path / "scans").mkdir()
    after = before.replace(output__format="npy")
    tasks = [  # the first raises what nobody expected
        Conversion(ref, recipe, tmp_path, row=good, before=before) for recipe in (None, after)
    ]
    with closing(WorkerPool(1, Limits())) as pool:
        broken, whole = pool.make(iter(tasks))
    assert (broken.status, broken.code) == ("failed", "AttributeError")
    assert len(broken.reason) <= 300
    assert whole.status == good.status
    assert read_record(tmp_path / "scans" / good.id) is not None


@pytest.mark.parametrize("workers", [1, 2])
def test_a_conversion_killed_at_any_moment_goes_on(runs, tmp_path, workers):
    words = [sys.executable, "-m", "hilum.cli", "store", str(runs["nifti"]), "--format", "zarr", "--out", str(tmp_path)]
    words += ["--workers", str(workers)]
    for _ in range(3):
        victim = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while victim.poll() is None and not list(tmp_path.glob("scans/.partial-*")) and time.monotonic() < until:
            time.sleep(0.002)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        for folder in tmp_path.glob("scans/*"):
            assert folder.name.startswith(".partial-") or read_record(folder) is not None
    list(batch.convert_run(runs["nifti"], tmp_path, file_format="zarr", workers=workers))
    assert not faults(tmp_path)
    for folder, _ in finished_scans(tmp_path):
        origin = runs["nifti"] / "scans" / folder.name
        wanted = RunScan(origin).scan()
        assert np.array_equal(RunScan(folder).scan().ct.array, wanted.ct.array)


def test_a_damaged_scan_is_not_converted_and_the_rest_is(inputs, tmp_path):
    run, out = make(inputs, tmp_path / "run", "b2nd"), tmp_path / "out"
    (bad, _), (good, _) = finished_scans(run)
    whole = (bad / "lungs.b2nd").read_bytes()
    (bad / "lungs.b2nd").write_bytes(whole[:-40] + b"\1" + whole[-39:])
    rows = {row.id: row for row in batch.convert_run(run, out, file_format="npy")}
    assert rows[bad.name].status == "failed"
    assert "does not match its checksum" in rows[bad.name].reason
    assert len(rows[bad.name].reason) <= 300
    assert os.listdir(out / "scans") == [good.name]
    assert "unfinished" in {found.code for found in faults(out)}
    (bad / "lungs.b2nd").write_bytes(whole)
    (bad / "scan.json").write_bytes((bad / "scan.json").read_bytes() + b" ")
    rows = {row.id: row for row in batch.convert_run(run, out, file_format="npy")}
    assert "not what the ledger says" in rows[bad.name].reason
    (bad / "scan.json").write_bytes((bad / "scan.json").read_bytes()[:-1])
    list(batch.convert_run(run, out, file_format="npy"))
    assert not faults(out)


def test_what_cannot_be_converted_is_refused_before_anything_is_written(runs, inputs, tmp_path):
    def refused(folder, out, name, error, text):
        with pytest.raises(error, match=text):
            list(batch.convert_run(folder, out, file_format=name))

    refused(tmp_path / "gone", tmp_path / "out", "zarr", MissingInputError, "does not exist")
    refused(runs["npy"], tmp_path / "out", "npy", InputError, "already has the format npy")
    refused(runs["npy"], runs["npy"], "zarr", OutputError, "is the run itself")
    refused(runs["npy"], runs["npy"] / "scans" / "x", "zarr", OutputError, "is the run itself")
    refused(runs["npy"], runs["b2nd"], "zarr", OutputError, "another recipe")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(runs["npy"], tmp_path / "mine", "zarr", OutputError, "used for something else")
    run = make(inputs, tmp_path / "run", "npy")
    sums = (run / "SHA256SUMS").read_bytes()
    (run / "SHA256SUMS").unlink()
    refused(run, tmp_path / "out", "zarr", InputError, "did not end")
    (run / "SHA256SUMS").write_bytes(sums)
    (run / "dataset.json").write_bytes(b"[]")
    refused(run, tmp_path / "out", "zarr", FormatError, "does not match")
    assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path / "mine") == ["thesis.txt"]
