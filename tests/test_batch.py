"""A batch that is killed, starved, sabotaged or spoiled; bench/faults.py does the same at length."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import content, faults

from hilum import batch, cli
from hilum._os import identity
from hilum._os.identity import this_process
from hilum._os.memory import free_memory
from hilum.batch.limits import count_processes, limits_of
from hilum.batch.lock import output_lock
from hilum.batch.run import process
from hilum.errors import InputError, MissingInputError, OutputError
from hilum.io.unfinished import PARTIAL
from hilum.outputs.ledger import Ledger, Row, decode_row, encode_row, read_ledger
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.progress import RunCounts
from hilum.recipes import parse_recipe
from hilum.verify import verify

RECIPE = parse_recipe("[resample]\nspacing_mm = 8.0\n")
FAULTY = Path(__file__).resolve().parent / "faulty"
COUNT = 6


def inodes(out):
    return {path.name: path.stat().st_ino for path in (out / "scans").iterdir()}


def id_of(refs, name):
    return next(ref.scan_id for ref in refs if ref.path.name == name)


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_no_byte(refs, clean, tmp_path, workers):
    shown = []
    rows = list(process(refs, RECIPE, tmp_path / "out", workers=workers, watch=shown.append))
    assert sorted(row.id for row in rows) == sorted(ref.scan_id for ref in refs)
    assert content(tmp_path / "out") == content(clean)
    assert max(map(len, shown)) == workers
    assert shown[-1] == ()
    assert not faults(tmp_path / "out")


def test_a_cluster_changes_no_byte_and_survives_a_crash(refs, clean, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    rows = list(process(refs, RECIPE, tmp_path / "out", scheduler="local", workers=2))
    assert {row.status for row in rows} <= {"done", "repaired"}
    assert content(tmp_path / "out") == content(clean)
    monkeypatch.setenv("PYTHONPATH", str(FAULTY), prepend=os.pathsep)
    monkeypatch.setenv("FAULTS", "1.2.1.mhd=segfault 1.2.2.mhd=hang")
    hanging = [ref for ref in refs if ref.path.name == "1.2.2.mhd"]
    bad = []
    for some, limits in (
        ([ref for ref in refs if ref not in hanging], batch.Limits()),
        (hanging, batch.Limits(seconds=1.0)),  # alone: no other scan comes to this limit, however busy the machine
    ):
        bad += process(some, RECIPE, tmp_path / "bad", scheduler="local", workers=2, limits=limits)
    failed = {row.id: row.code for row in bad if row.status == "failed"}
    assert failed == {id_of(refs, "1.2.1.mhd"): "process-died", id_of(refs, "1.2.2.mhd"): "timeout"}
    assert len(bad) == COUNT


def test_a_scheduler_that_is_not_there_is_one_line(refs, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("hilum.batch.cluster.run._WAIT_SECONDS", 1)
    with pytest.raises(InputError) as caught:
        list(process(refs, RECIPE, tmp_path / "out", scheduler="tcp://127.0.0.1:1"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_only_the_guilty_fail_and_the_ledger_says_why(refs, inputs, clean, tmp_path, monkeypatch):
    pids = tmp_path / "pids"
    pids.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(FAULTY), prepend=os.pathsep)
    monkeypatch.setenv("FAULT_PIDS", str(pids))
    monkeypatch.setenv("FAULTS", "1.2.0.mhd=segfault 1.2.1.mhd=kill 1.2.2.mhd=hang 1.2.3.mhd=memory")
    hanging = [ref for ref in refs if ref.path.name == "1.2.2.mhd"]
    others = [ref for ref in refs if ref not in hanging]
    ended = threading.Event()

    def kill():
        while not ended.wait(0.05):
            for path in pids.iterdir():
                path.unlink()
                os.kill(int(path.name), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        limits = batch.Limits(seconds=600.0, memory=500_000_000)
        rows = {row.id: row for row in process(others, RECIPE, tmp_path / "out", workers=2, limits=limits)}
        # Alone, so that a machine with much to do lets no other scan come to this limit.
        limits = batch.Limits(seconds=1.0)
        rows |= {row.id: row for row in process(hanging, RECIPE, tmp_path / "out", workers=1, limits=limits)}
    finally:
        ended.set()
        thread.join()
    wanted = {"1.2.0.mhd": ("process-died", "SIGSEGV (exit code -11)", 2),
              "1.2.1.mhd": ("process-died", "SIGKILL (exit code -9)", 2),
              "1.2.2.mhd": ("timeout", "not done after 1 s", 1),
              "1.2.3.mhd": ("out-of-memory", "more than 476 MB", 1)}  # fmt: skip
    for name, (code, text, attempts) in wanted.items():
        row = rows.pop(id_of(refs, name))
        assert (row.status, row.code, row.attempts) == ("failed", code, attempts)
        assert text in row.reason
        assert len(row.reason) <= 300
    assert {row.status for row in rows.values()} <= {"done", "repaired"}
    for name in rows:
        for path in (tmp_path / "out" / "scans" / name).iterdir():
            assert path.read_bytes() == (clean / "scans" / name / path.name).read_bytes()
    assert len(read_ledger(tmp_path / "out")) == COUNT
    monkeypatch.setenv("FAULTS", "")
    batch.run(refs, RECIPE, tmp_path / "out", workers=2)  # what failed is tried again
    assert content(tmp_path / "out") == content(clean)
    assert inputs.is_dir()


def test_without_retries_a_crash_is_tried_once(refs, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAULTY), prepend=os.pathsep)
    monkeypatch.setenv("FAULTS", "1.2.0.mhd=segfault")
    (row,) = process(
        [ref for ref in refs if ref.path.name == "1.2.0.mhd"],
        RECIPE,
        tmp_path / "out",
        workers=1,
        limits=batch.Limits(retries=0),
    )
    assert (row.code, row.attempts) == ("process-died", 1)


def test_workers_that_do_not_start_are_one_line(refs, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OutputError, match="do not start"):
        batch.run(refs, RECIPE, tmp_path / "out", workers=1)


@pytest.mark.parametrize("moment", [0.3, 0.75, 0.9, 1.1])
def test_a_killed_run_resumes_to_the_same_bytes(inputs, clean, tmp_path, moment):
    out = tmp_path / "out"
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 8.0\n")
    words = [sys.executable, "-m", "hilum.cli", "run", str(inputs), "--out", str(out), "--workers", "2"]
    killed = subprocess.Popen([*words, "--recipe", str(tmp_path / "r.toml")], start_new_session=True,
                              stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
    time.sleep(moment)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    before = {name: inode for name, inode in (inodes(out) if (out / "scans").is_dir() else {}).items()
              if not name.startswith(PARTIAL)}  # fmt: skip
    refs, _ = batch.index([inputs])
    batch.run(refs, RECIPE, out)
    assert {name: inode for name, inode in inodes(out).items() if name in before} == before
    assert content(out) == content(clean)
    assert not faults(out)


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="started where Ctrl-C is ignored")
def test_an_interrupted_run_says_so_and_goes_on(inputs, clean, tmp_path):
    out, began = tmp_path / "out", tmp_path / "began"
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 8.0\n")
    words = [sys.executable, "-m", "hilum.cli", "run", str(inputs), "--out", str(out), "--workers", "1"]
    started = subprocess.Popen([*words, "--recipe", str(tmp_path / "r.toml")], stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(FAULTY), "FAULTS": "1.2.5.mhd=hang",
                                    "FAULT_BEGAN": str(began)})  # fmt: skip
    for _ in range(1800):  # the last scan begins after the one before it was recorded and counted
        if began.exists():
            break
        time.sleep(0.1)
    assert len((out / "ledger.jsonl").read_bytes().splitlines()) == COUNT - 1
    started.send_signal(signal.SIGINT)
    told = started.communicate(timeout=120)[1]
    assert started.returncode == 130
    assert f"interrupted after {COUNT - 1} of {COUNT} scans" in told
    assert "Traceback" not in told
    assert not [name for name in os.listdir(out / "scans") if name.startswith(PARTIAL)]
    batch.run(batch.index([inputs])[0], RECIPE, out)
    assert content(out) == content(clean)


def test_a_second_run_on_the_same_folder_is_refused(refs, finished):
    with output_lock(finished), pytest.raises(OutputError, match="another run writes here: process") as caught:
        batch.run(refs, RECIPE, finished)
    assert caught.value.code == "locked"
    assert str(os.getpid()) in str(caught.value)
    batch.run(refs, RECIPE, finished)  # and free again


def test_a_note_of_a_dead_owner_locks_nothing(refs, finished):
    (finished / ".lock").write_text('{"host":"elsewhere","pid":1}')
    batch.run(refs, RECIPE, finished)


def test_where_the_file_system_has_no_locks_the_note_decides(finished, monkeypatch):
    import errno
    import fcntl
    import socket

    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    note, here, this = finished / ".lock", socket.gethostname(), this_process()
    dead, reused = replace(this, pid=2**22 + 1), replace(this, pid=os.getppid(), started=1)
    alive = replace(this, pid=os.getppid(), started=identity._started(os.getppid()))
    far = replace(this, machine="00000000")
    for host, owner, free in (
        ("elsewhere", far, False),
        (here, alive, False),
        (here, dead, True),
        (here, reused, True),
        (here, this, True),  # a note that this process could not remove
        ("elsewhere", None, False),  # as an older version wrote it
        (here, None, True),
    ):
        note.write_text(json.dumps({"host": host, "pid": 1, "process": str(owner or "")}))
        if free:
            with output_lock(finished):
                pass
        else:
            with pytest.raises(OutputError, match="another run"), output_lock(finished):
                raise AssertionError
    note.write_text("")
    with output_lock(finished), pytest.raises(OutputError, match="another run"), output_lock(finished):
        raise AssertionError("twice in one process")


def test_a_rerun_touches_nothing_that_is_done(refs, finished):
    copied = inodes(finished)
    batch.run(refs, RECIPE, finished)  # of a copy every byte is looked at, once
    assert inodes(finished) == copied
    before, book = inodes(finished), (finished / "ledger.jsonl").read_bytes()
    rows = batch.run(refs, RECIPE, finished, workers=2)
    assert [row.id for row in rows] == [ref.scan_id for ref in refs]
    assert inodes(finished) == before
    assert (finished / "ledger.jsonl").read_bytes() == book


@pytest.mark.parametrize("part", [".mhd", ".raw"])
def test_a_changed_input_is_made_anew_and_a_touched_one_is_kept(inputs, clean, tmp_path, part):
    root = Path(shutil.copytree(inputs, tmp_path / "in"))
    out = Path(shutil.copytree(clean, tmp_path / "out"))
    refs, _ = batch.index([root])  # a copy elsewhere, with other times: the same content
    before = inodes(out)
    batch.run(refs, RECIPE, out)
    assert inodes(out) == before
    path = root / f"1.2.3{part}"
    held = path.read_bytes()
    path.write_bytes(held.replace(b"Offset = -", b"Offset = -1") if part == ".mhd" else held[:-2] + b"\1\1")
    batch.run(refs, RECIPE, out)
    changed = {name for name, inode in inodes(out).items() if inode != before[name]}
    assert changed == {id_of(refs, "1.2.3.mhd")}
    assert not faults(out)


@pytest.mark.parametrize("spoil", ["ct.nii.gz", "scan.json"])
def test_a_scan_that_lost_or_changed_a_file_is_made_anew(refs, clean, finished, spoil):
    folder = finished / "scans" / refs[0].scan_id
    if spoil == "scan.json":
        (folder / spoil).write_text((folder / spoil).read_text().replace("HU", "UH"))
    else:
        (folder / spoil).unlink()
    batch.run(refs, RECIPE, finished)
    assert content(finished) == content(clean)


def test_what_a_dead_run_left_is_removed(refs, clean, finished):
    dead = replace(this_process(), pid=2**22 + 1)
    old = (
        finished / "scans" / f"{PARTIAL}ct-x-0123abcd",
        finished / ".0123456789abcdef.part.jsonl",
    )  # of older versions
    old[0].mkdir()
    old[1].write_text("half")
    for path in old:
        os.utime(path, (1e9, 1e9))
    (finished / "scans" / f"{PARTIAL}{dead}-0123abcd-ct-x").mkdir()
    (finished / f".{dead}-0123abcd.part.jsonl").write_text("half")
    (finished / ".mine.part").write_text("not ours")
    with (finished / "ledger.jsonl").open("ab") as file:
        file.write(b'{"id": "cut o')
    shutil.rmtree(finished / "scans" / refs[0].scan_id)
    assert {"partial", "missing", "damaged"} <= {fault.code for fault in faults(finished)}
    batch.run(refs, RECIPE, finished)
    (finished / ".mine.part").unlink()  # still there
    assert content(finished) == content(clean)
    assert not faults(finished)


def test_a_lost_ledger_is_written_again_from_the_scans(refs, finished):
    before = inodes(finished)
    rows = read_ledger(finished)
    (finished / "ledger.jsonl").unlink()
    batch.run(refs, RECIPE, finished)
    assert inodes(finished) == before
    again = read_ledger(finished)
    assert {n: (r.status, r.fingerprint, r.stamp, r.scan_sha256, r.notes) for n, r in again.items()} == {
        n: (r.status, r.fingerprint, r.stamp, r.scan_sha256, r.notes) for n, r in rows.items()
    }


def test_a_full_disk_ends_the_run_in_one_line(inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(FAULTY), prepend=os.pathsep)
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 8.0\n")

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hilum.outputs.store.write", refuse)
    rows = batch.index([inputs])[0]
    with pytest.raises(OutputError, match="No space left") as caught:
        batch.run(rows, RECIPE, tmp_path / "out")
    assert "run again" in str(caught.value)
    assert os.listdir(tmp_path / "out" / "scans") == []
    assert capsys.readouterr().err == ""


def test_one_flipped_byte_is_found_wherever_it_is(finished):
    rng = random.Random(5)  # noqa: S311 - places
    files = sorted(path for path in finished.rglob("*") if path.is_file() and path.name != ".lock")
    assert not faults(finished)
    for path in [*files, *(path for path in files if path.name in {"ledger.jsonl", "scan.json", "SHA256SUMS"})]:
        plain = path.read_bytes()
        held = bytearray(plain)
        held[rng.randrange(len(held))] ^= 1 << rng.randrange(8)
        path.write_bytes(held)
        assert faults(finished), path
        path.write_bytes(plain)
    for place in (-1, 0):  # the ends of the ledger, too
        book = finished / "ledger.jsonl"
        plain = book.read_bytes()
        held = bytearray(plain)
        held[place] ^= 1
        book.write_bytes(held)
        assert "damaged" in {fault.code for fault in faults(finished)}
        book.write_bytes(plain)
    assert not faults(finished)


def test_verify_names_what_is_missing_and_what_is_too_much(refs, finished, tmp_path, capsys):
    scans = finished / "scans"
    (scans / refs[0].scan_id / "more.txt").touch()
    (scans / refs[1].scan_id / "ct.nii.gz").unlink()
    shutil.rmtree(scans / refs[2].scan_id)
    shutil.copytree(scans / refs[3].scan_id, scans / "ct-unknown")
    (finished / "dataset.json").unlink()
    assert cli.main(["verify", str(finished)]) == 1
    told = capsys.readouterr()
    assert "5 faults" in told.out
    lines = told.err.splitlines()
    assert len(lines) == 5
    for name in ("more.txt", "ct.nii.gz", refs[2].scan_id, "ct-unknown", "dataset.json"):
        assert any(name in line for line in lines)
    assert cli.main(["verify", "--json", str(finished)]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {fault["code"] for fault in told[:-1]} == {"extra", "missing", "unlisted"}
    with pytest.raises(MissingInputError):
        list(verify(tmp_path / "gone"))


def test_the_command_line_tells_programs_and_people(inputs, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    shutil.copy(inputs / "1.2.0.mhd", tmp_path / "in")
    shutil.copy(inputs / "1.2.0.raw", tmp_path / "in")
    (tmp_path / "in" / "1.2.9.mhd").write_text("no header")
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 8.0\n")
    words = ["run", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--recipe", str(tmp_path / "r.toml")]
    assert cli.main([*words, "--json"]) == 1
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert (summary["in"], summary["done"] + summary["repaired"], summary["refused"]) == (2, 1, 1)
    assert summary["codes"] == {"refused/format": 1}
    assert (summary["made"], summary["kept"]) == (1, 0)
    assert cli.main([*words, "--timeout", "-1"]) == 1
    assert "--timeout" in capsys.readouterr().err


def test_the_counts_of_a_run_and_the_time_left():
    counts = RunCounts(4)
    counts.started -= 30.0
    counts.add(Row(id="a", status="done"))
    counts.add(Row(id="b", status="failed", code="timeout"))
    assert counts.by_status() == "1 done, 1 failed"
    assert 3.9 < counts.per_minute <= 4.0
    assert counts.time_left() == "0:00:30"
    assert not counts.all_finished


def test_a_bar_shows_what_is_at_work(monkeypatch, capsys):
    from hilum.progress import progress

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress(2) as shown:
        shown.watch(("ct-a", "ct-b"))
        shown.add(Row(id="ct-a", status="done"))
        shown.add(Row(id="ct-b", status="refused", code="series", reason="no"))
    told = capsys.readouterr().err
    assert "ct-b: no" in told


def test_lines_of_the_ledger_know_when_they_were_changed(tmp_path):
    line = encode_row(Row(id="a", status="done", notes=['x: ,"check":"']))
    assert decode_row(line, strict=True).id == "a"
    for place in range(len(line)):
        changed = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        assert decode_row(changed, strict=True) is None
    plain = b'{"id":"a","status":"done"}\n'  # as older versions wrote it
    assert decode_row(plain).id == "a"
    assert decode_row(plain, strict=True) is None
    with Ledger(tmp_path) as book:
        long = Row(id="b", status="refused", notes=["n" * 9000])
        for row in (Row(id="c", status="done"), long, Row(id="a", status="failed"), Row(id="a", status="done")):
            book.append(row)
        assert book.get("b") == long
        book.compact()
        assert [row.id for row in book.rows()] == ["a", "b", "c"]
        assert book.get("a").status == "done"
        assert book.get("none") is None
    assert len((tmp_path / "ledger.jsonl").read_bytes().splitlines()) == 3


def test_limits_are_sane():
    assert free_memory() > 0
    assert count_processes(3) == 3
    assert count_processes(0) >= 1
    assert limits_of(minutes=0, gigabytes=0, retries=1).seconds == float("inf")
    for minutes in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError):
            limits_of(minutes=minutes, gigabytes=0, retries=1)


def test_a_series_in_several_folders_is_one_scan(tmp_path):
    series = write_dicom_series(make_phantom(seed=1, shape=(6, 24, 24), spacing=(40.0, 16.0, 16.0)), tmp_path / "all")
    whole, _ = batch.index([series])
    files = sorted(series.rglob("*.dcm"))
    for k, path in enumerate(files):
        place = tmp_path / "split" / ("front" if k % 2 else "back")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    (found,), _ = batch.index([tmp_path / "split"])
    assert (found.scan_id, found.path) == (whole[0].scan_id, tmp_path / "split")
    assert found.path.is_dir()
