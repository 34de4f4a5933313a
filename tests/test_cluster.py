"""Runs on a Dask cluster whose workers are not what they should be, or go away."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import hilum
from hilum import batch
from hilum.batch.contract import contract_of
from hilum.batch.run import process
from hilum.batch.task import Task
from hilum.datasets.phantom import make_phantom
from hilum.errors import InputError
from hilum.io.ledger import read_ledger
from hilum.recipes import parse_recipe

pytest.importorskip("distributed")

RECIPE = parse_recipe('[resample]\nspacing_mm = 8.0\n[lungs]\nmethod = "none"\n')
HERE = Path(__file__).resolve().parent
COUNT = 4


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    for k in range(COUNT):
        phantom = make_phantom(seed=k, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
        hilum.write(phantom.scan.ct, root / f"1.2.{k}.mhd")
    return root


@pytest.fixture(scope="module")
def refs(inputs):
    return batch.index([inputs])[0]


@pytest.fixture
def cluster(tmp_path):
    """Start what is asked for, and end it with the test."""
    with ExitStack() as stack:
        yield Cluster(tmp_path, stack)


class Cluster:
    """A scheduler in a process of its own, and worker processes one by one."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.address = ""

    def start(self, *words, pretend="", before=(), **environment):
        paths = [str(HERE / "pretended"), str(HERE / "faulty")] if pretend else [str(HERE / "faulty")]
        environment |= {"PRETEND": pretend, "PYTHONPATH": os.pathsep.join(paths)}
        command = [*before, sys.executable, "-m", "dask", *words, "--no-dashboard"]
        started = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True,
                                   cwd=self.folder)  # fmt: skip
        self.stack.callback(started.stderr.close)
        self.stack.callback(started.wait)
        self.stack.callback(started.kill)
        return started

    def scheduler(self, **options):
        started = self.start("scheduler", "--port", "0", "--host", "127.0.0.1", **options)
        for line in started.stderr:
            if "Scheduler at:" in line:
                self.address = line.split()[-1]
                break
        return started

    def worker(self, *, wait=True, threads=1, **options):
        started = self.start("worker", self.address, "--nthreads", str(threads), "--no-nanny", **options)
        for line in started.stderr if wait else ():
            if "Starting established connection" in line:
                break
        return started


def unshared(script, *words):
    """Words before a command that give it file systems of its own, changed by a script first."""
    before = ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*before, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount")
    return [*before, *words]


def content(out):
    paths = (path for path in out.rglob("*") if path.is_file() and path.name not in {"ledger.jsonl", ".lock"})
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


@contextmanager
def run(refs, out, cluster, **options):
    rows = process(refs, RECIPE, out, scheduler=cluster.address, **options)
    try:
        yield rows
    finally:
        rows.close()


def one_line_of(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) <= 300
    return text


def test_workers_that_break_the_contract_are_named_and_no_scan_is_made(refs, cluster, tmp_path, caplog):
    cluster.scheduler()
    out = tmp_path / "out"
    out.mkdir()
    for pretend in ("hilum=", "hilum=0.0.9", "python=3.9.1", ""):
        cluster.worker(pretend=pretend)
    with run(refs, out, cluster) as rows, pytest.raises(InputError, match="3 of 4 Dask workers cannot") as caught:
        next(rows)
    assert "mend" in one_line_of(caught)
    told = " | ".join(record.getMessage() for record in caplog.records)
    assert "hilum cannot be imported there; install hilum" in told
    assert "the worker has hilum 0.0.9, this command" in told
    assert "the worker has python 3.9, this command" in told
    assert content(out).keys() == {"recipe.toml"}
    assert not list((out / "scans").iterdir())


def test_a_worker_with_another_output_folder_is_refused(refs, cluster, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    before = unshared(f"mount -t tmpfs tmpfs {out}")
    cluster.scheduler()
    cluster.worker(before=before)
    with run(refs, out, cluster) as rows, pytest.raises(InputError, match="does not see the output folder") as caught:
        next(rows)
    assert "mount the same folder there" in one_line_of(caught)


def test_a_worker_without_the_input_is_refused(refs, inputs, cluster, tmp_path):
    before = unshared(f"mount -t tmpfs tmpfs {inputs}")
    cluster.scheduler()
    cluster.worker(before=before)
    with run(refs, tmp_path / "out", cluster) as rows, pytest.raises(InputError, match="does not see /") as caught:
        next(rows)
    assert "mount the input there" in one_line_of(caught)


def test_a_scan_that_is_made_out_of_sight_has_failed(refs, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("hilum.batch.dispatch._SIGHT", 0.2)
    out = tmp_path / "out"
    (out / "scans").mkdir(parents=True)
    before = unshared(f"mount -t tmpfs tmpfs {out / 'scans'}")
    cluster.scheduler()
    cluster.worker(before=before)
    with run(refs, out, cluster) as rows:
        found = list(rows)
    assert {(row.status, row.code) for row in found} == {("failed", "unseen")}
    assert len(found) == COUNT
    assert "is not seen here in" in found[0].reason


def test_a_worker_that_joins_later_and_breaks_the_contract_gets_no_scan(refs, cluster, tmp_path, caplog):
    pids = tmp_path / "pids"
    pids.mkdir()
    cluster.scheduler()
    cluster.worker(threads=2, FAULTS="1.2.0.mhd=kill", FAULT_PIDS=str(pids))

    def watch(_ids):
        told = [record for record in caplog.records if "it gets no scans" in record.getMessage()]
        for path in pids.iterdir() if told else ():
            path.unlink()
            os.kill(int(path.name), signal.SIGKILL)

    limits = batch.Limits(retries=0)
    with run(refs, tmp_path / "out", cluster, watch=watch, limits=limits) as rows:
        found = [next(rows)]
        cluster.worker(pretend="hilum=")
        found += rows
    assert sorted(row.code for row in found) == [*[""] * (COUNT - 1), "process-died"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "hilum cannot be imported there; install hilum" in line


def test_a_run_waits_for_workers_for_a_stated_time(refs, cluster, tmp_path, monkeypatch, caplog):
    out = tmp_path / "out"
    cluster.scheduler()
    worker = cluster.worker()
    monkeypatch.setattr("hilum.batch.roster._PATIENCE", 1.0)
    with run(refs, out, cluster) as rows:
        next(rows)
        worker.kill()
        with pytest.raises(InputError, match="no Dask worker is there; waited 1 s for one") as caught:
            list(rows)
    one_line_of(caught)
    assert 1 <= len(read_ledger(out)) < COUNT
    monkeypatch.setattr("hilum.batch.roster._PATIENCE", 120.0)
    worker = cluster.worker()
    with caplog.at_level(logging.WARNING), run(refs, out, cluster, overwrite=True) as rows:
        next(rows)
        worker.kill()
        worker.wait()
        cluster.worker(wait=False)
        found = list(rows)
    assert {row.status for row in found} <= {"done", "repaired"}
    assert len(read_ledger(out)) == COUNT
    batch.run(refs, RECIPE, tmp_path / "clean")
    assert content(out) == content(tmp_path / "clean")


def test_a_lost_scheduler_is_one_line_and_need_not_know_hilum(refs, cluster, tmp_path):
    scheduler = cluster.scheduler(pretend="hilum=")
    cluster.worker()
    with run(refs, tmp_path / "out", cluster) as rows:
        assert next(rows).status in {"done", "repaired"}
        scheduler.kill()
        scheduler.wait()
        with pytest.raises(InputError, match="the Dask scheduler was lost; start it and run again") as caught:
            list(rows)
    one_line_of(caught)


def test_a_killed_command_leaves_no_process_at_a_scan(inputs, cluster, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    cluster.scheduler()
    cluster.worker(FAULTS="1.2.0.mhd=kill", FAULT_PIDS=str(pids))
    words = [sys.executable, "-m", "hilum.cli", "run", str(inputs), "--out", str(tmp_path / "out")]
    with subprocess.Popen([*words, "--scheduler", cluster.address], stderr=subprocess.DEVNULL) as command:
        while not (found := list(pids.iterdir())):
            assert command.poll() is None
            time.sleep(0.05)
        command.kill()
    (path,) = found
    for _ in range(600):
        if not Path("/proc", path.name).exists():
            break
        time.sleep(0.05)
    assert not Path("/proc", path.name).exists()


def test_the_probe_goes_with_the_run_and_an_answer_that_does_not_arrive_is_told(refs, tmp_path, monkeypatch):
    monkeypatch.setattr("hilum.batch.contract._PATIENCE", 0.0)
    (tmp_path / "scans").mkdir()
    with contract_of([Task(ref, RECIPE, tmp_path) for ref in refs], "run") as contract:
        asked = contract.question("tcp://10.0.0.1:1")
        assert list(tmp_path.glob(".*.part"))
        well = {"versions": contract.versions, "broken": "", "out": "", "write": "", "input": ""}
        assert "does not arrive here" in str(contract.judge("tcp://10.0.0.1:1", well))
        Path(asked["answer"]).write_text(asked["token"])
        assert contract.judge("tcp://10.0.0.1:1", well) is None
    assert not list(tmp_path.glob(".*.part"))
