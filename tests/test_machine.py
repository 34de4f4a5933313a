"""A machine that is short of memory, stops, or fails under a run: the scans are not to blame, and the line is true."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from small_runs import content

import hilum
from hilum import batch, cli
from hilum._os import identity
from hilum._os.identity import this_process
from hilum.batch import limits, supervisor
from hilum.batch.limits import MIN_SCAN_BYTES, Limits
from hilum.batch.run import process
from hilum.batch.supervisor import WorkerPool
from hilum.errors import HilumError, InputError, OutputError
from hilum.io.errno_faults import STOPS
from hilum.io.unfinished import PARTIAL
from hilum.outputs.ledger import Row, read_ledger
from hilum.recipes import parse_recipe
from hilum.scan_ref import ScanRef

resource = pytest.importorskip("resource", reason="on Windows these tests have nothing to test with")

TEXT = '[resample]\nspacing_mm = 8.0\n[lungs]\nmethod = "none"\n'
RECIPE = parse_recipe(TEXT)
HERE = Path(__file__).resolve().parent
COUNT = 3


def command(inputs, out, *words):
    recipe = out.with_name(f"{out.name}.toml")
    recipe.write_text(TEXT)
    return [sys.executable, "-m", "hilum.cli", "run", str(inputs), "--out", str(out), "--recipe", str(recipe), *words]


def wait_for(true, seconds=60.0):
    """Wait for something to become true; give up, not on, in time."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass(frozen=True)
class Errand:
    """A job that is no scan; worker processes find it by this file on PYTHONPATH."""

    name: str
    place: str = ""

    @property
    def ref(self):
        return ScanRef("", self.name, Path(self.name))

    def make(self):
        if self.name == "after":
            wait_for(Path(self.place).exists)
        elif self.place:
            Path(self.place).write_text(str(os.getpid()))
        if self.name == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.name == "wait":
            wait_for(Path(f"{self.place}.go").exists)
        elif self.name == "linger":
            time.sleep(0.3)
        elif self.name == "compiled":
            import ctypes

            ctypes.PyDLL(None).sleep(600)  # as compiled code that keeps all other threads of the process waiting
        elif self.name == "print":
            while True:
                os.write(1, b"x" * 1000)
        return Row(id=self.name, status="done")


@pytest.fixture
def errands(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)


# Memory


def test_too_little_memory_is_said_once_and_before_any_scan(inputs, refs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(limits, "free_memory", lambda: 20 << 20)
    with pytest.raises(HilumError) as caught:
        list(process(refs, RECIPE, tmp_path / "out", workers=2))
    assert caught.value.code == "no-memory"
    assert "20 MB of memory are free, but the smallest scan needs 284 MB" in str(caught.value)
    assert not read_ledger(tmp_path / "out")
    (tmp_path / "r.toml").write_text(TEXT)
    words = ["run", str(inputs), "--out", str(tmp_path / "out"), "--recipe", str(tmp_path / "r.toml")]
    assert cli.main([*words, "--workers", "2"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert len(told) <= 301
    assert cli.main([*words, "--workers", "-2"]) == 1
    assert capsys.readouterr().err == "--workers: is -2, expected 0 or more\n"


def test_a_share_that_holds_no_scan_is_refused():
    with pytest.raises(HilumError, match="the smallest needs 256 MB"):
        WorkerPool(1, Limits(memory=MIN_SCAN_BYTES - 1))
    with pytest.raises(InputError, match="--workers"):
        list(process([], RECIPE, Path("never"), workers=-3))


# Threads, and a supervisor that dies


def in_a_new_thread(call):
    made = []
    thread = threading.Thread(target=lambda: made.append(call()))
    thread.start()
    thread.join()
    return made[0]


@pytest.mark.usefixtures("errands")
def test_workers_outlive_the_thread_that_asked_for_them(tmp_path):
    place = str(tmp_path / "pid")
    with closing(WorkerPool(2, Limits(retries=0))) as pool:
        rows = pool.make(iter([Errand("wait", place), Errand("after", place)]))
        assert in_a_new_thread(lambda: next(rows)).id == "after"  # the other one is at work
        Path(f"{place}.go").touch()
        row = in_a_new_thread(lambda: next(rows))
    assert (row.id, row.status, row.reason) == ("wait", "done", "")


def test_a_run_may_be_stepped_from_a_new_thread_each_time(refs, clean, tmp_path):
    rows = process(refs, RECIPE, tmp_path / "out", workers=2, limits=Limits(retries=0))
    assert {in_a_new_thread(lambda: next(rows)).status for _ in refs} == {"done"}
    assert list(rows) == []
    assert content(tmp_path / "out") == content(clean)


SUPERVISOR = """
import sys, threading
from contextlib import closing
from test_machine import Errand
from hilum.batch.limits import Limits
from hilum.batch.supervisor import WorkerPool
def work():
    with closing(WorkerPool(1, Limits())) as pool:
        for row in pool.make(iter([Errand("one"), Errand(*sys.argv[1:])])):
            print(row.id, row.status, flush=True)
threading.Thread(target=work).start()
"""


@pytest.mark.usefixtures("errands")
@pytest.mark.parametrize("at", ["compiled", "print"])
def test_no_worker_outlives_a_killed_supervisor(tmp_path, at):
    place = tmp_path / "pid"
    started = subprocess.Popen([sys.executable, "-c", SUPERVISOR, at, str(place)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    wait_for(lambda: place.exists() and place.read_text())
    worker = int(place.read_text())
    assert not is_gone(worker)
    started.kill()
    started.wait()
    wait_for(lambda: is_gone(worker))


@pytest.mark.usefixtures("errands")
def test_workers_go_on_where_the_main_thread_has_ended():
    told = subprocess.run([sys.executable, "-c", SUPERVISOR, "linger"], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["one", "done", "linger", "done"]


# Time


class Clock:
    """A clock that goes on by as much at each look as it is told, and does something then."""

    def __init__(self, look):
        self.now, self.look = 0.0, look

    def monotonic(self):
        self.now += self.look()
        return self.now


@pytest.mark.usefixtures("errands")
def test_the_time_for_which_a_machine_sleeps_is_not_the_scans(monkeypatch):
    monkeypatch.setattr(supervisor, "time", Clock(lambda: 50.0))  # 50 s at each look, of which one counts
    with closing(WorkerPool(1, Limits(seconds=60.0, retries=0))) as pool:
        (row,) = pool.make(iter([Errand("linger")]))
    assert (row.status, row.reason) == ("done", "")


@pytest.mark.usefixtures("errands")
def test_a_scan_that_hangs_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr(supervisor, "time", Clock(lambda: 0.9))
    with closing(WorkerPool(1, Limits(seconds=10.0))) as pool:
        (row,) = pool.make(iter([Errand("print")]))  # one that prints forever, as well
    assert (row.status, row.code) == ("failed", "timeout")
    assert 10.0 < row.seconds < 12.0


@pytest.mark.usefixtures("errands")
def test_the_time_for_which_a_worker_is_stopped_is_not_the_scans(monkeypatch, tmp_path):
    place, looks = tmp_path / "pid", []

    def look():
        if place.exists() and (pid := place.read_text()) and psutil.Process(int(pid)).status() == psutil.STATUS_STOPPED:
            looks.append(pid)
            if len(looks) == 40:
                os.kill(int(pid), signal.SIGCONT)
            return 0.9
        return 0.0

    monkeypatch.setattr(supervisor, "time", Clock(look))
    with closing(WorkerPool(1, Limits(seconds=10.0, retries=0))) as pool:
        (row,) = pool.make(iter([Errand("stop", str(place))]))
    assert (row.status, row.reason) == ("done", "")
    assert len(looks) >= 40


@pytest.mark.usefixtures("errands")
def test_a_worker_that_never_gets_ready_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(supervisor, "time", Clock(lambda: 100.0))
    monkeypatch.setattr(supervisor, "_MAX_STEP", 100.0)
    with closing(WorkerPool(1, Limits())) as pool, pytest.raises(OutputError, match="each was not ready after 600 s"):
        list(pool.make(iter([Errand("one")])))


@pytest.mark.usefixtures("errands")
def test_a_system_that_starts_no_more_processes_goes_on_with_those_there_are(monkeypatch):
    real = supervisor.start
    started = []

    def start():
        if started:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(real())
        return started[0]

    monkeypatch.setattr(supervisor, "start", start)
    with closing(WorkerPool(3, Limits())) as pool:
        assert [row.status for row in pool.make(Errand(f"{k}") for k in range(3))] == ["done"] * 3
    with (
        closing(WorkerPool(3, Limits())) as pool,
        pytest.raises(OutputError, match="no worker process can be started") as caught,
    ):
        list(pool.make(iter([Errand("one")])))
    assert caught.value.code == "no-process"


# Output and input


ERRORS = {"ENOSPC": "disk-full", "EDQUOT": "disk-full", "EROFS": "read-only", "EIO": "disk-error",
          "ESTALE": "disk-error", "EMFILE": "open-files", "ENFILE": "open-files"}  # fmt: skip


@pytest.mark.parametrize(("name", "code"), ERRORS.items())
def test_a_fault_that_every_scan_meets_ends_the_run_and_condemns_none(refs, tmp_path, monkeypatch, name, code):
    out, number = tmp_path / "out", getattr(errno, name)
    batch.run(refs[:1], RECIPE, out)

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("hilum.outputs.store.write", refuse)
        with pytest.raises(OutputError, match=os.strerror(number)) as caught:
            batch.run(refs, RECIPE, out)
    assert caught.value.code == code
    assert code in STOPS
    assert "run again" in str(caught.value)
    assert len(str(caught.value)) <= 300
    assert [row.status for row in read_ledger(out).values()] == ["done"]
    assert os.listdir(out / "scans") == [refs[0].scan_id]
    assert {row.status for row in batch.run(refs, RECIPE, out)} <= {"done", "repaired"}


@pytest.mark.parametrize(("number", "code"), [(errno.EFBIG, "file-too-large"), (errno.ENAMETOOLONG, "output")])
def test_a_fault_of_one_scans_output_fails_it_and_the_others_go_on(refs, tmp_path, monkeypatch, number, code):
    real = hilum.outputs.store.write

    def refuse(volume, path, **options):
        if refs[0].scan_id in str(path):
            raise OSError(number, os.strerror(number))
        return real(volume, path, **options)

    monkeypatch.setattr("hilum.outputs.store.write", refuse)
    rows = batch.run(refs, RECIPE, tmp_path / "out")
    assert [row.status for row in rows] == ["failed", *["done"] * (COUNT - 1)]
    assert rows[0].code == code


@pytest.mark.parametrize("usable", [True, False])
def test_a_refused_permission_ends_the_run_only_where_it_is_the_folders(refs, tmp_path, monkeypatch, usable):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("hilum.outputs.store.write", refuse)
    monkeypatch.setattr("hilum.io.errno_faults.os.access", lambda *_: usable)
    if usable:
        rows = batch.run(refs, RECIPE, tmp_path / "out")
        assert {(row.status, row.code) for row in rows} == {("failed", "output")}
    else:
        with pytest.raises(OutputError, match="Permission denied") as caught:
            batch.run(refs, RECIPE, tmp_path / "out")
        assert caught.value.code == "not-writable"
        assert not read_ledger(tmp_path / "out")


def test_files_that_may_not_be_as_large_fail_their_scans(inputs, tmp_path):
    out = tmp_path / "out"
    told = subprocess.run(
        command(inputs, out, "--workers", "1"), capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    assert told.returncode == 1
    rows = read_ledger(out).values()
    assert {(row.status, row.code) for row in rows} == {("failed", "file-too-large")}
    assert len(rows) == COUNT


def test_a_store_that_cannot_be_written_ends_the_conversion_too(clean, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("hilum.outputs.store.write", refuse)
    with pytest.raises(OutputError, match="Read-only file system") as caught:
        list(batch.convert_run(clean, tmp_path / "new", file_format="npy"))
    assert caught.value.code == "read-only"
    assert not [row for row in read_ledger(tmp_path / "new").values() if row.status == "failed"]


def test_an_input_that_is_gone_is_no_refusal(inputs, tmp_path):
    root = Path(shutil.copytree(inputs, tmp_path / "in"))
    refs, _ = batch.index([root])
    rows = process(refs, RECIPE, tmp_path / "out")
    assert next(rows).status == "done"
    refs[1].path.unlink()
    after = list(rows)
    assert [(row.status, row.code) for row in after] == [("failed", "vanished"), ("done", "")]
    assert "disappeared during the run" in after[0].reason
    (again,) = (row for row in batch.run(refs, RECIPE, tmp_path / "out") if row.status != "done")
    assert (again.status, again.code) == ("refused", "missing")  # it was not there when this run began


@pytest.mark.parametrize(("number", "status", "code"), [
    (errno.EIO, "failed", "unreadable"), (errno.ESTALE, "failed", "unreadable"),
    (errno.ENOMEM, "failed", "out-of-memory"),
    (errno.EACCES, "refused", "unreadable"), (errno.EMFILE, "stops", "open-files"),
])  # fmt: skip
def test_an_input_that_the_machine_does_not_give_is_no_refusal(refs, tmp_path, monkeypatch, number, status, code):
    real = os.open

    def refuse(path, *options, **more):
        if str(path).endswith(".mhd"):
            raise OSError(number, os.strerror(number))
        return real(path, *options, **more)

    monkeypatch.setattr("hilum.io.files.os.open", refuse)
    if status == "stops":
        with pytest.raises(OutputError, match="Too many open files") as caught:
            batch.run(refs, RECIPE, tmp_path / "out")
        assert caught.value.code == code
        assert "ulimit -n" in str(caught.value)
    else:
        rows = batch.run(refs, RECIPE, tmp_path / "out")
        assert {(row.status, row.code) for row in rows} == {(status, code)}


# Signals, and nobody who listens


@pytest.mark.skipif(signal.getsignal(signal.SIGTERM) == signal.SIG_IGN, reason="started where SIGTERM is ignored")
@pytest.mark.parametrize("everyone", [False, True], ids=["the run", "all its processes"])
def test_a_run_that_is_asked_to_end_says_so_and_leaves_nothing_half_done(inputs, clean, tmp_path, everyone):
    out, faulty = tmp_path / "out", str(HERE / "faulty")
    started = subprocess.Popen(command(inputs, out, "--workers", "1", "--retries", "0"), stderr=subprocess.PIPE,
                               text=True, start_new_session=True,
                               env={**os.environ, "PYTHONPATH": faulty, "FAULTS": "1.2.2.mhd=hang"})  # fmt: skip
    wait_for(lambda: (out / "ledger.jsonl").is_file() and len(read_ledger(out)) == COUNT - 1)
    workers = psutil.Process(started.pid).children()
    born = identity._started(workers[0].pid)
    writer = replace(this_process(), pid=workers[0].pid, started=born)
    (out / "scans" / f"{PARTIAL}{writer}-0123abcd-ct-x").mkdir()  # as of a scan that is being written
    (os.killpg if everyone else os.kill)(started.pid, signal.SIGTERM)
    told = started.communicate(timeout=60)[1]
    assert started.returncode == 128 + signal.SIGTERM
    # The signal may come between a line of the ledger and its count.
    done = rf"ended by SIGTERM after [{COUNT - 2}{COUNT - 1}] of {COUNT} scans"
    wanted = rf"{out}: {done}; run the same command again to continue"
    assert re.fullmatch(wanted, told.splitlines()[-1])
    assert "Traceback" not in told
    assert len(read_ledger(out)) == COUNT - 1
    assert not [name for name in os.listdir(out / "scans") if name.startswith(PARTIAL)]
    assert workers
    assert all(is_gone(worker.pid) for worker in workers)
    batch.run(batch.index([inputs])[0], RECIPE, out)
    assert content(out) == content(clean)


def test_other_commands_say_what_ended_them(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("hilum.recipes.recipe", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr("hilum.cli.recipes.recipe", lambda _: os.kill(os.getpid(), signal.SIGTERM), raising=False)
    assert cli.main(["run", "x", "--out", "y"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "ended by SIGTERM\n"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("stderr", ["closed", "full", "nobody reads"])
def test_a_run_goes_on_where_nobody_hears_it(inputs, clean, tmp_path, stderr):
    root, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(inputs, root)
    (root / "1.2.9.mhd").write_text("no header")  # which is complained of
    words = command(root, out, "--workers", "1")
    if stderr == "closed":
        status = subprocess.run(["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *words], check=False).returncode
    elif stderr == "full":
        with Path("/dev/full").open("w") as full:
            status = subprocess.run(words, stderr=full, check=False).returncode
    else:
        reader, writer = os.pipe()
        os.close(reader)
        status = subprocess.run(words, stderr=writer, check=False).returncode
        os.close(writer)
    assert status == 1
    assert sorted(row.status for row in read_ledger(out).values()) == [*["done"] * COUNT, "refused"]
    ours = {name: mark for name, mark in content(out).items() if name.startswith("scans/")}
    assert ours == {name: mark for name, mark in content(clean).items() if name.startswith("scans/")}
