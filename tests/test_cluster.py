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
from functools import partial
from pathlib import Path

import pytest
from small_runs import content

from hilum import batch
from hilum.batch.cluster.contract import contract_of
from hilum.batch.run import process
from hilum.batch.task import Task
from hilum.errors import InputError
from hilum.outputs.ledger import read_ledger
from hilum.recipes import parse_recipe

pytest.importorskip("distributed")

RECIPE = parse_recipe('[resample]\nspacing_mm = 8.0\n[lungs]\nmethod = "none"\n')
HERE = Path(__file__).resolve().parent
COUNT = 4


class Cluster:
    """A scheduler in a process of its own, and worker processes one by one."""

    def __init__(self, folder, stack):
        self.folder, self.stack = folder, stack
        self.address = ""

    def start(self, *words, pretend="", before=(), **environment):
        paths = [str(HERE / "pretended")] * bool(pretend) + [str(HERE / "faulty")] * bool(environment)
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
        self.address = next(line for line in started.stderr if "Scheduler at:" in line).split()[-1]
        return started

    def worker(self, *, threads=1, **options):
        return self.start("worker", self.address, "--nthreads", str(threads), "--no-nanny", **options)

    @staticmethod
    def wait(*workers):
        for worker in workers:
            assert any("Starting established connection" in line for line in worker.stderr)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler that does not know hilum: it need not."""
    with ExitStack() as stack:
        started = Cluster(tmp_path_factory.mktemp("scheduler"), stack)
        started.scheduler(pretend="hilum=")
        yield started.address


@pytest.fixture
def cluster(address, tmp_path):
    """Workers of this test alone."""
    with ExitStack() as stack:
        made = Cluster(tmp_path, stack)
        made.address = address
        yield made


def unshared(script):
    """Words before a command that give it file systems of its own, changed by a script first."""
    return ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]


def may_mount():
    words = [*unshared("mount -t tmpfs tmpfs /tmp"), "true"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(words, check=False, capture_output=True).returncode
    )


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


def test_workers_that_break_the_contract_are_named_and_no_scan_is_made(refs, inputs, cluster, tmp_path, caplog):
    out = tmp_path / "out"
    out.mkdir()
    wanted = {"hilum=": "hilum cannot be imported there; install hilum",
              "hilum=0.0.9": "the worker has hilum 0.0.9, this command"}  # fmt: skip
    workers = [cluster.worker(pretend=pretend) for pretend in wanted]
    mounts = {out: f"does not see the output folder {out} that this command sees: a file just written there is not",
              inputs: f"does not see {inputs}"} if may_mount() else {}  # fmt: skip
    workers += [cluster.worker(before=unshared(f"mount -t tmpfs tmpfs {folder}")) for folder in mounts]
    cluster.wait(*workers)
    with run(refs, out, cluster) as rows, pytest.raises(InputError, match=r"(\d) of \1 Dask workers cannot") as caught:
        next(rows)
    assert "repair them" in one_line_of(caught)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(workers)
    assert max(map(len, told)) <= 300
    for text in (*wanted.values(), *(text[:100] for text in mounts.values())):
        assert any(text in line for line in told), text
    assert content(out).keys() == {"recipe.toml"}
    assert not list((out / "scans").iterdir())


def test_workers_convert_a_run_and_one_that_does_not_see_it_is_named(refs, cluster, tmp_path):
    run_folder = tmp_path / "run"
    assert len(batch.run(refs, RECIPE, run_folder)) == COUNT
    convert = partial(batch.convert_run, run_folder, file_format="npy")
    if may_mount():
        blind = cluster.worker(before=unshared(f"mount -t tmpfs tmpfs {run_folder}"))
        cluster.wait(blind)
        with pytest.raises(InputError, match=f"does not see {run_folder}.*mount the input there"):
            list(convert(tmp_path / "none", scheduler=cluster.address))
        blind.kill()
        blind.wait()
    cluster.wait(cluster.worker(threads=2))
    list(convert(tmp_path / "there", scheduler=cluster.address))
    list(convert(tmp_path / "here"))
    assert content(tmp_path / "there") == content(tmp_path / "here")


@pytest.mark.skipif(not may_mount(), reason="needs the right to mount")
def test_a_scan_that_is_made_out_of_sight_has_failed(refs, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("hilum.batch.cluster.run._VISIBLE_SECONDS", 0.2)
    out = tmp_path / "out"
    (out / "scans").mkdir(parents=True)
    cluster.wait(cluster.worker(before=unshared(f"mount -t tmpfs tmpfs {out / 'scans'}")))
    with run(refs, out, cluster) as rows:
        found = list(rows)
    assert {(row.status, row.code) for row in found} == {("failed", "unseen")}
    assert len(found) == COUNT
    assert "is not visible here in" in found[0].full_reason


def test_a_worker_that_joins_later_and_breaks_the_contract_gets_no_scan(refs, cluster, tmp_path, caplog):
    pids = tmp_path / "pids"
    pids.mkdir()
    cluster.wait(cluster.worker(threads=2, FAULTS="1.2.0.mhd=kill", FAULT_PIDS=str(pids)))

    def watch(_ids):
        told = [record for record in caplog.records if "it gets no scans" in record.getMessage()]
        for path in pids.iterdir() if told else ():
            path.unlink()
            os.kill(int(path.name), signal.SIGKILL)

    limits = batch.Limits(retries=0)
    with run(refs, tmp_path / "out", cluster, watch=watch, limits=limits) as rows:
        found = [next(rows)]
        cluster.wait(cluster.worker(pretend="hilum="))
        found += rows
    assert sorted(row.code for row in found) == [*[""] * (COUNT - 1), "process-died"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "hilum cannot be imported there; install hilum" in line


def test_a_run_waits_for_workers_for_a_stated_time(refs, cluster, tmp_path, monkeypatch, caplog):
    out = tmp_path / "out"
    worker = cluster.worker()
    cluster.wait(worker)
    monkeypatch.setattr("hilum.batch.cluster.workers._NO_WORKERS_SECONDS", 1.0)
    with run(refs, out, cluster) as rows:
        next(rows)
        worker.kill()
        with pytest.raises(InputError, match="no Dask worker is there; waited 1 s for one") as caught:
            list(rows)
    one_line_of(caught)
    assert 1 <= len(read_ledger(out)) < COUNT
    monkeypatch.setattr("hilum.batch.cluster.workers._NO_WORKERS_SECONDS", 120.0)
    worker = cluster.worker()
    cluster.wait(worker)
    with caplog.at_level(logging.WARNING), run(refs, out, cluster, overwrite=True) as rows:
        next(rows)
        worker.kill()
        worker.wait()
        cluster.worker()
        found = list(rows)
    assert {row.status for row in found} <= {"done", "repaired"}
    assert len(read_ledger(out)) == COUNT
    batch.run(refs, RECIPE, tmp_path / "clean")
    assert content(out) == content(tmp_path / "clean")


def test_a_lost_scheduler_is_one_line(refs, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("hilum.batch.cluster.run._WAIT_SECONDS", 10)  # so long the client tries to connect again
    from_dask, log = [], logging.getLogger("distributed.client")
    monkeypatch.setattr(log, "handlers", [handler := logging.NullHandler()])
    monkeypatch.setattr(handler, "handle", from_dask.append)
    scheduler = cluster.scheduler()
    cluster.wait(cluster.worker())
    with run(refs, tmp_path / "out", cluster) as rows:
        next(rows)
        scheduler.kill()
        scheduler.wait()
        with pytest.raises(InputError, match="the Dask scheduler was lost; start it and run again") as caught:
            list(rows)
    one_line_of(caught)
    assert not from_dask  # such as a traceback of its attempts to connect again


def test_a_killed_command_leaves_no_process_at_a_scan(inputs, cluster, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    cluster.wait(cluster.worker(FAULTS="1.2.0.mhd=kill", FAULT_PIDS=str(pids)))
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
    monkeypatch.setattr("hilum.batch.cluster.contract._WAIT_SECONDS", 0.0)
    (tmp_path / "scans").mkdir()
    with contract_of([Task(ref, RECIPE, tmp_path) for ref in refs], "run") as contract:
        asked = contract.request("tcp://10.0.0.1:1")
        assert list(tmp_path.glob(".*.part"))
        well = {"versions": contract.versions, "broken": "", "out": "", "write": "", "input": ""}
        assert "does not arrive here" in str(contract.problem("tcp://10.0.0.1:1", well))
        Path(asked["answer"]).write_text(asked["token"])
        assert contract.problem("tcp://10.0.0.1:1", well) is None
        for name, version in {"python": "3.9", "numpy": "1.26.4", "distributed": "2025.1.0"}.items():
            other = {**well, "versions": {**contract.versions, name: version}}
            assert f"the worker has {name} {version}, this command" in str(contract.problem("tcp://10.0.0.1:1", other))
    assert not list(tmp_path.glob(".*.part"))
