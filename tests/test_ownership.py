"""What is being written belongs to a living process; what a record names lies in its folder, and all of it is there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import content, faults, finished_scans

import hilum
from hilum import batch
from hilum._os import identity
from hilum._os.identity import is_alive, parse_process, this_process
from hilum.batch.lock import check_run, output_lock
from hilum.batch.output_folder import locked_output
from hilum.batch.task import Task
from hilum.errors import OutputError
from hilum.export.checked_run import checked_run
from hilum.io.atomic import atomic_folder, atomic_path
from hilum.io.unfinished import PARTIAL, is_abandoned, sweep
from hilum.outputs import store
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import NAME, read_ledger
from hilum.phantom.chest import make_phantom
from hilum.recipes import parse_recipe, with_options
from hilum.stats import fingerprint
from hilum.train.runs import list_run

fcntl = pytest.importorskip("fcntl", reason="on Windows these tests have nothing to test with")

RECIPE = parse_recipe("[resample]\nspacing_mm = 8.0\n")
COUNT = 2
DEAD = replace(this_process(), pid=2**22 + 1)
FAR = replace(this_process(), machine="0" * 8)
OTHER_SPACE = replace(this_process(), space=1)


def old(path):
    """Let nothing of it have changed for two hours."""
    for each in (*path.rglob("*"), path):
        os.utime(each, (1e9, 1e9))
    return path


# --- which process ---


def test_a_process_is_told_apart_and_survives_being_written():
    this = this_process()
    assert parse_process(str(this)) == this
    assert is_alive(this) is True
    assert is_alive(DEAD) is False
    assert is_alive(replace(this, started=this.started + 1)) is False  # another one has its number now
    assert is_alive(FAR) is None
    assert is_alive(OTHER_SPACE) is None
    assert [parse_process(text) for text in ("", "x", "1-2-3-4", str(this) + "-1", "../x")] == [None] * 5
    told = subprocess.run(
        [sys.executable, "-c", "from hilum._os.identity import this_process; print(this_process())"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert is_alive(parse_process(told)) is False
    assert parse_process(told).machine == this.machine


def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity._started(child.pid) is None
    child.wait()


# --- what is being written ---


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    script = (
        "import sys; from pathlib import Path; from hilum.io.atomic import atomic_path, atomic_folder\n"
        "out = Path(sys.argv[1])\n"
        "with atomic_folder(out / 'scans' / 'ct-x') as a, atomic_path(out / 'report.html') as b:\n"
        "    (a / 'ct').write_text('1'); b.write_text('2'); print('at work', flush=True); sys.stdin.read()\n"
    )
    (tmp_path / "scans").mkdir()
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdin=-1, stdout=-1, text=True) as writer:
        assert writer.stdout.readline() == "at work\n"
        with locked_output(tmp_path):
            pass
        with locked_output(tmp_path):
            writer.communicate("")
    assert writer.returncode == 0
    assert (tmp_path / "scans" / "ct-x" / "ct").read_text() == "1"
    assert (tmp_path / "report.html").read_text() == "2"


@pytest.mark.parametrize(
    ("writer", "changed", "gone"),
    [
        (this_process(), "long ago", False),
        (DEAD, "now", True),
        (replace(this_process(), started=1), "now", True),
        (FAR, "now", False),
        (FAR, "long ago", True),
        (OTHER_SPACE, "now", True),  # on this machine, and its lock is free
        (None, "now", False),
        (None, "long ago", True),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_only_what_is_left_is_swept(tmp_path, writer, changed, gone, kind):
    tag = f"{writer}-0123abcd" if writer else "0123456789abcdef"
    path = tmp_path / (f"{PARTIAL}{tag}-ct-x" if kind == "folder" else f".{tag}.part.csv")
    if kind == "folder":
        path.mkdir()
        (path / "ct").write_text("half")
    else:
        path.write_text("half")
    if changed == "long ago":
        old(path)
    (tmp_path / ".mine.part").write_text("not ours")
    sweep(tmp_path)
    assert path.exists() is not gone
    assert (tmp_path / ".mine.part").exists()


@pytest.mark.parametrize("locks", [True, False])
def test_in_another_container_the_lock_tells(tmp_path, locks, monkeypatch):
    path = tmp_path / f"{PARTIAL}{OTHER_SPACE}-0123abcd-ct-x"
    path.mkdir()
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    old(path)
    assert not is_abandoned(path)
    os.close(handle)
    if locks:
        assert is_abandoned(path)
        return

    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert is_abandoned(path)  # silent for long
    (path / "ct").write_text("more")
    assert not is_abandoned(path)


def test_a_writer_whose_folder_was_taken_away_fails(tmp_path):
    def write(spoil):
        with atomic_folder(tmp_path / "x") as partial:
            (partial / "ct").write_text("1")
            spoil(partial)

    def replaced(partial):
        shutil.rmtree(partial)
        partial.mkdir()
        (partial / "ct").write_text("1")

    for spoil in (shutil.rmtree, replaced):
        with pytest.raises(OutputError, match="removed or replaced") as caught:
            write(spoil)
        assert caught.value.code == "touched"
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("spoil", ["gone", "replaced", "written", "added"])
@pytest.mark.parametrize("file_format", ["nifti", "zarr"])
def test_a_scan_whose_files_are_touched_while_it_is_written_is_not_stored(
    refs, tmp_path, monkeypatch, spoil, file_format
):
    real = store.write_preview

    def meddle(preview, folder):
        ct = folder / ("ct.nii.gz" if file_format == "nifti" else "ct.zarr/0/c/0/0/0")
        real(preview, folder)
        if spoil == "gone":
            ct.unlink()
        elif spoil == "replaced":
            data = ct.read_bytes()
            ct.unlink()
            ct.write_bytes(data)
        elif spoil == "written":
            with ct.open("r+b") as file:
                file.write(b"\0")
        else:
            real(preview, folder)
            (folder / "lungs").mkdir()
            (folder / "lungs" / "x").write_text("1")

    monkeypatch.setattr(store, "write_preview", meddle)
    if spoil == "added":
        monkeypatch.setattr(store.WrittenFiles, "add", _once_less(store.WrittenFiles.add))
    (row, *_) = batch.run(refs, with_options(RECIPE, file_format=file_format), tmp_path / "out")
    assert (row.status in {"failed", "refused"}, row.code) == (True, "touched")
    assert os.listdir(tmp_path / "out" / "scans") == []


def _once_less(add):
    """Take nothing down any more once a preview is there, as where another process adds files after the last look."""

    def some(inventory, volume=""):
        if not (inventory.folder / "preview.png").exists():
            add(inventory, volume)

    return some


def test_a_zarr_folder_that_lost_a_smaller_size_is_not_stored(tmp_path, monkeypatch):
    from hilum.io.volumes import ome_zarr

    volume = make_phantom(seed=1, shape=(48, 120, 120), spacing=(6.0, 3.0, 3.0)).scan.ct
    real = ome_zarr._write_array

    def lose(group, name, size):
        real(group, name, size)
        if name == "1":
            shutil.rmtree(Path(str(group.store.root), "1", "c"))

    monkeypatch.setattr(ome_zarr, "_write_array", lose)
    with pytest.raises(OutputError, match="1/c/0/0/0") as caught:
        hilum.write(volume, tmp_path / "a.zarr")
    assert caught.value.code == "touched"
    assert os.listdir(tmp_path) == []


def test_two_writers_of_one_name_leave_one_whole_folder(tmp_path):
    failed = []

    def write(text):
        try:
            for _ in range(40):
                with atomic_folder(tmp_path / "x") as partial:
                    (partial / "a").write_text(text)
                    (partial / "b").write_text(text)
        except OutputError as problem:
            failed.append(problem)

    threads = [threading.Thread(target=write, args=(text,)) for text in "123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x" / "a").read_text() == (tmp_path / "x" / "b").read_text()


def test_a_file_system_that_cannot_sync_folders_is_written_to(refs, tmp_path, monkeypatch):
    real = os.fsync

    def refuse(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not for folders")
        real(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    rows = batch.run(refs, RECIPE, tmp_path / "out")
    assert {row.status for row in rows} <= {"done", "repaired"}
    assert not faults(tmp_path / "out")


# --- which run ---


def test_a_worker_that_outlives_its_run_puts_nothing_in_its_place(refs, tmp_path):
    (tmp_path / "scans").mkdir()
    with output_lock(tmp_path) as first:
        check_run(tmp_path, first)
        assert Task(refs[0], RECIPE, tmp_path, run=first).make().status in {"done", "repaired"}
    with output_lock(tmp_path) as second:
        assert first != second
        row = Task(refs[1], RECIPE, tmp_path, run=first).make()
        assert row.code == "orphan"
        assert "the run of this scan has ended, or another run writes here" in row.full_reason
        assert os.listdir(tmp_path / "scans") == [refs[0].scan_id]
        assert Task(refs[1], RECIPE, tmp_path, run=second).make().status in {"done", "repaired"}
    with pytest.raises(OutputError, match="has ended"):
        check_run(tmp_path, second)
    check_run(tmp_path, "")


# --- what a record promises ---


@pytest.mark.parametrize("part", ["ct", "lungs", "preview"])
@pytest.mark.parametrize("file_format", ["nifti", "npy", "zarr", "b2nd"])
def test_a_record_without_a_part_that_was_promised_is_none(refs, tmp_path, part, file_format):
    batch.run(refs[:1], with_options(RECIPE, file_format=file_format), tmp_path)
    folder = tmp_path / "scans" / refs[0].scan_id
    assert not faults(tmp_path)
    told = json.loads((folder / "scan.json").read_text())
    assert part in told["parts"]
    told["files"] = {name: facts for name, facts in told["files"].items() if not name.startswith(part)}
    (folder / "scan.json").write_text(json.dumps(told))
    assert read_record(folder) is None
    assert {"checksum", "damaged"} <= {fault.code for fault in faults(tmp_path)}
    (row,) = batch.run(refs[:1], with_options(RECIPE, file_format=file_format), tmp_path)
    assert row.status in {"done", "repaired"}
    assert not faults(tmp_path)


def test_verify_asks_for_what_the_recipe_promises(finished, refs):
    folder = finished / "scans" / refs[0].scan_id
    told = json.loads((folder / "scan.json").read_text())
    told["parts"].remove("lungs")
    (folder / "lungs.nii.gz").unlink()
    del told["files"]["lungs.nii.gz"]
    (folder / "scan.json").write_text(json.dumps(told))
    assert read_record(folder) is not None  # it does not promise lungs; the recipe does
    assert any("lacks lungs, which the recipe asks for" in fault.text for fault in faults(finished))


# --- what verify finds, a run mends ---


@pytest.mark.parametrize("name", ["ct.nii.gz", "lungs.nii.gz", "preview.png", "preview.json", "scan.json"])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_run_mends_what_verify_finds(refs, clean, finished, name, hidden):
    batch.run(refs, RECIPE, finished)
    path = finished / "scans" / refs[0].scan_id / name
    data, times = bytearray(path.read_bytes()), path.stat()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if hidden:  # as a copy of a damaged file with the times of the whole one
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [fault.code for fault in faults(finished) if "run the same command again" in fault.text]
    batch.run(refs, RECIPE, finished)
    assert content(finished) == content(clean)
    assert not faults(finished)


@pytest.mark.parametrize("name", ["recipe.toml", "dataset.json", "scans.csv", "SHA256SUMS", "ledger.jsonl"])
@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_run_mends_its_own_files(refs, clean, finished, name, place):
    path = finished / name
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)
    assert faults(finished)
    batch.run(refs, RECIPE, finished)
    assert content(finished) == content(clean)
    assert not faults(finished)


def test_a_number_of_the_recipe_that_rotted_is_no_other_recipe(refs, clean, finished):
    path = finished / "recipe.toml"
    path.write_text(path.read_text().replace("spacing_mm = 8.0", "spacing_mm = 9.0"))
    batch.run(refs, RECIPE, finished)
    assert content(finished) == content(clean)


def test_damage_that_left_no_trace_is_told_how_to_mend(refs, finished, monkeypatch):
    """Bits that rotted on the disk change no time: a run would not see it, and the advice must be true."""
    batch.run(refs, RECIPE, finished)
    path = finished / "scans" / refs[0].scan_id / "ct.nii.gz"
    real = Path.lstat
    before = {each: each.lstat() for each in path.parent.iterdir()}
    monkeypatch.setattr(Path, "lstat", lambda self: before.get(self) or real(self))
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    (fault,) = faults(finished)
    assert "remove the scan's folder, then run the same command again" in fault.text
    shutil.rmtree(path.parent)
    before.clear()
    batch.run(refs, RECIPE, finished)
    assert not faults(finished)


# --- one list of finished scans ---


def test_only_what_ledger_and_folder_agree_on_is_finished(refs, finished):
    """A scan that the run refuses now is of no use to anyone, though the folder of its earlier input is still there."""
    rows = read_ledger(finished)
    refused = replace(refs[0], path=refs[0].path.with_name("not there.mhd"))
    (row,) = batch.run([refused], RECIPE, finished)
    assert row.status in {"refused", "failed"}
    assert (finished / "scans" / refs[0].scan_id).is_dir()
    assert [path.name for path, _ in finished_scans(finished)] == sorted(rows.keys() - {refs[0].scan_id})
    assert fingerprint(finished).overall.scans == len(rows) - 1
    scans, skipped = list_run(finished)
    assert [scan.folder.name for scan in scans] == sorted(rows.keys() - {refs[0].scan_id})
    assert refs[0].scan_id in {skip.scan for skip in skipped}


def test_a_finished_scan_that_is_gone_is_named_and_not_passed_over(refs, finished):
    shutil.rmtree(finished / "scans" / refs[0].scan_id)
    with pytest.raises(hilum.HilumError, match=refs[0].scan_id):
        fingerprint(finished)


def test_a_run_that_may_only_be_read_is_read(finished, monkeypatch):
    real = os.open

    def refuse(path, flags, *more, **others):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and str(path).startswith(str(finished)):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="Read-only"), atomic_path(finished / "x"):
        raise AssertionError("the test does not see writing")
    assert not faults(finished)
    assert len(checked_run(finished)[0]) == 2
    assert fingerprint(finished).overall.scans == 2
    (finished / NAME).unlink()
    assert not (finished / NAME).exists()
    assert {"missing"} <= {fault.code for fault in faults(finished)}
    assert not (finished / NAME).exists()  # a reader makes none
