"""Runs that are killed, run out of resources, or meet damaged files; and the cost of supervision, on this machine.

    python bench/faults.py kill [--times 200]       SIGKILL for the whole process group at random moments, then resume
    python bench/faults.py full [--levels 50]       a tmpfs that fills up at many levels (needs root to mount it)
    python bench/faults.py guilty                   5 of 30 scans crash, hang, hoard memory or are garbage; also on Dask
    python bench/faults.py dask                     Dask workers with other files or versions, and lost workers
    python bench/faults.py flip [--times 100]       one byte of a finished output is changed; it is found and repaired
    python bench/faults.py sweep [--times 100]      a folder is locked while others write to it; clients are killed
    python bench/faults.py readonly                 a run on a read-only disk (needs root to mount it)
    python bench/faults.py hostile-run [--times 2000]  damaged records and links, opened by every command
    python bench/faults.py throughput [--scans 24]  two workers compared with one, phantoms of 240 slices
    python bench/faults.py overhead [--rounds 5]    tiny scans in worker processes compared with this process
    python bench/faults.py thousands [--scans 5000] memory of index and ledger, and a rerun without work
    python bench/faults.py container [--times 100]  nested containers full of file cache (needs root to make them)
    python bench/faults.py users                    code from other users, images made by root, no home folder

Each prints its measurements and exits 1 if a bound is exceeded. Files are written to --scratch and removed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from trials.cluster import running_cluster
from trials.container import container
from trials.dask import dask
from trials.hostile_run import hostile_run
from trials.readonly import readonly
from trials.runs import (
    FAULTY,
    HILUM,
    RECIPE,
    WORKERS,
    command,
    content,
    faults_of,
    finished,
    hilum,
    small_scans,
)
from trials.sweep import sweep
from trials.users import users

from hilum import batch, write
from hilum.outputs.ledger import read_ledger
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import parse_recipe

SPEED_UP, OVERHEAD_S, NOTHING_S, GROWTH = 1.6, 0.060, 5.0, 0.25
"""Bounds: speed-up by a second worker; overhead, seconds per scan; seconds of an idle rerun; growth of memory."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--scratch", type=Path, help="a folder with free space; by default that of temporary files")
    parser.add_argument("--times", type=int)
    parser.add_argument("--levels", type=int, default=50)
    parser.add_argument("--scans", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        return 0 if COMMANDS[arguments.what](arguments, Path(scratch)) else 1


def kill(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Kill runs at random moments; each resumed run must end with the same bytes as an undisturbed one."""
    times, rng = arguments.times or 200, random.Random(arguments.seed)  # noqa: S311 - moments, no secrets
    inputs = small_scans(scratch / "in", 20)
    started = time.perf_counter()
    hilum(command(inputs, scratch / "whole"))
    seconds, whole = time.perf_counter() - started, content(scratch / "whole")
    same = broken = redone = unsound = 0
    most_redone, done_at = 0, []
    for turn in range(times):
        out = scratch / "out"
        killed = subprocess.Popen(command(inputs, out), start_new_session=True, stderr=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL)  # fmt: skip
        time.sleep(rng.uniform(0.0, 1.05 * seconds))
        killed_at_work = killed.poll() is None
        if killed_at_work:
            os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        before, half, partial = finished(out)
        rows = len(read_ledger(out)) if out.is_dir() else 0
        status, output = hilum(command(inputs, out))
        after, _, left = finished(out)
        unfinished = {name.split("-", 6)[-1] for name in partial}  # without the process and the token
        again = sum(after.get(name) != inode for name, inode in before.items()) + len(unfinished)
        good = status == 0 and content(out) == whole and len(read_ledger(out)) == 20
        same += good
        broken += len(half)
        unsound += bool(left) or bool(faults_of(out))
        redone += again
        most_redone = max(most_redone, again)
        done_at.append(len(before))
        if not good:
            print(f"turn {turn}: status {status} with {len(before)} scans there, {rows} rows: {output}")
        shutil.rmtree(out)
        if turn % 20 == 19:
            print(f"  {turn + 1} kills, {same} resumed to the same bytes", flush=True)
    spread = ", ".join(f"{sum(low <= n < low + 5 for n in done_at)} at {low}-{low + 4}" for low in (0, 5, 10, 15))
    print(f"killed {times} times (scans there at that moment: {spread}, {done_at.count(20)} at 20)")
    print(f"{same} of {times} resumed to the bytes of an undisturbed run; {broken} incomplete folders under a final "
          f"name; {unsound} outputs that verify complains of; {redone} scans begun twice, at most {most_redone} in "
          f"a run (bound: {WORKERS}, one a worker)")  # fmt: skip
    return same == times and not broken and not unsound and most_redone <= WORKERS


@contextmanager
def small_disk(place: Path, size: int):  # noqa: ANN201 - a context manager of a path
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)  # noqa: S607 - root
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)  # noqa: S607 - as above


def full(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Let the disk fill up at many levels, then enlarge it."""
    inputs = small_scans(scratch / "in", 20)
    hilum(command(inputs, scratch / "whole"))
    whole = content(scratch / "whole")
    page = 4096  # the least size of a file on disk
    need = sum(-(-p.stat().st_size // page) * page for p in (scratch / "whole").rglob("*") if p.is_file())
    levels = arguments.levels
    clear = complete = finished_later = 0
    for level in range(levels):
        size = max(page * 8, int(need * 0.98 * (level + 1) / levels))
        with small_disk(scratch / "disk", size) as disk:
            status, output = hilum(command(inputs, disk / "out"))
            one_line = status == 1 and output.count("\n") == 1 and "No space left" in output and len(output) <= 301
            clear += one_line
            _, broken, partial = finished(disk / "out") if (disk / "out").is_dir() else ({}, [], [])
            complete += not broken and not partial
            subprocess.run(["mount", "-o", f"remount,size={need * 4}", str(disk)], check=True)  # noqa: S607 - root
            again, later = hilum(command(inputs, disk / "out"))
            ended = again == 0 and content(disk / "out") == whole and not faults_of(disk / "out")
            finished_later += ended
            if not (one_line and ended and not broken and not partial):
                print(f"level {level} ({size} of {need} bytes): status {status}, {output!r}; then {again}, {later!r}; "
                      f"broken {broken}, half-done {partial}")  # fmt: skip
        (scratch / "disk").rmdir()
    print(
        f"disk full at {levels} levels from {need // levels} to {int(need * 0.98)} bytes: {clear} ended with status "
        f"1 and one line, {complete} without an incomplete folder, {finished_later} finished when there was space"
    )
    return clear == complete == finished_later == levels


GUILTY = {"1.2.3.mhd": "segfault", "1.2.8.mhd": "kill", "1.2.13.mhd": "hang", "1.2.21.mhd": "memory"}
GARBAGE = "1.2.27.mhd"
WANTED = {"segfault": "process-died SIGSEGV", "kill": "process-died SIGKILL", "hang": "timeout", "memory":
          "out-of-memory", "garbage": "format"}  # fmt: skip


def guilty(arguments: argparse.Namespace, scratch: Path) -> bool:  # noqa: ARG001 - as the others
    """Let five of thirty scans fail: in worker processes, on a local Dask cluster, on a running cluster."""
    inputs = small_scans(scratch / "in", 30)
    (inputs / GARBAGE).write_bytes(random.Random(0).randbytes(5000))  # noqa: S311 - garbage
    names = {**GUILTY, GARBAGE: "garbage"}
    refs, _ = batch.index([inputs])
    ids = {ref.scan_id: names[ref.path.name] for ref in refs if ref.path.name in names}
    clean = scratch / "clean"
    hilum(command(inputs, clean))
    whole = {name: mark for name, mark in content(clean).items() if name.split("/")[1:2] and
             name.split("/")[1] not in ids}  # fmt: skip
    (scratch / "pids").mkdir()
    words = ["--timeout", "0.1", "--memory", "0.6"]
    places = {"worker processes": [], "--scheduler local": ["--scheduler", "local"]}
    good = True
    environment = {"FAULTS": " ".join(f"{k}={v}" for k, v in GUILTY.items()), "FAULT_PIDS": str(scratch / "pids"),
                   "PYTHONPATH": str(FAULTY)}  # fmt: skip
    with killer(scratch / "pids"), running_cluster(environment) as address:
        places["a LocalCluster at its address"] = ["--scheduler", address]
        for k, (place, more) in enumerate(places.items()):
            out = scratch / f"out{k}"
            status, output = hilum(command(inputs, out, *words, *more), **environment)
            rows = read_ledger(out)
            failed = {name: row for name, row in rows.items() if row.status in {"failed", "refused"}}
            right = all(all(word in f"{row.code} {row.reason}" for word in WANTED[ids.get(name, "garbage")].split())
                        for name, row in failed.items())  # fmt: skip
            rest = {n: mark for n, mark in content(out).items() if n.split("/")[1:2] and n.split("/")[1] not in ids}
            here = status == 1 and failed.keys() == ids.keys() and right and rest == whole and len(rows) == 30
            good &= here
            five = failed.keys() == ids.keys()
            print(f"{place}: {len(failed)} of {len(rows)} failed, {'exactly the five' if five else 'WRONG ONES'}, "
                  f"{'the right reasons' if right else 'WRONG REASONS'}, "
                  f"{'the other 25 as in a clean run' if rest == whole else 'OTHERS DIFFER'}")  # fmt: skip
            for name, row in sorted(failed.items(), key=lambda item: ids.get(item[0], "")):
                print(f"    {ids.get(name, '?'):9s}{row.code:15s}{row.attempts} x {row.seconds:6.2f} s  "
                      f"{row.reason.rpartition('/')[2]}")  # fmt: skip
            if not here:
                print(output)
    return good


@contextmanager
def killer(pids: Path):  # noqa: ANN201 - a context manager
    """Kill the processes whose ids appear in a folder."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            for path in pids.iterdir():
                path.unlink()
                os.kill(int(path.name), signal.SIGKILL)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def flip(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Change one byte at a time in a finished output: verify must find it, and the same command must repair it."""
    times, rng = arguments.times or 100, random.Random(arguments.seed)  # noqa: S311 - places, no secrets
    inputs, out = small_scans(scratch / "in", 5), scratch / "out"
    again = command(inputs, out, workers=1)
    hilum(again)
    whole = content(out)
    print(f"untouched: {len(faults_of(out))} faults")
    good, found, repaired = not faults_of(out), 0, 0
    kinds: dict[str, int] = {}
    for turn in range(times):
        files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
        path = files[turn % len(files)]  # in turn, because chance would rarely choose small files
        data, stat = bytearray(path.read_bytes()), path.stat()
        place = rng.randrange(len(data))
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if turn % 2:  # as a tool that preserves times
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        output = hilum([*HILUM, "verify", str(out)])
        found_it = output[0] == 1 and path.name in output[1]
        status, message = hilum(again)
        whole_again = status == 0 and content(out) == whole and not faults_of(out)
        found, repaired = found + found_it, repaired + whole_again
        kinds[path.name] = kinds.get(path.name, 0) + 1
        if not (found_it and whole_again):
            print(f"byte {place} of {path.relative_to(out)}: verify {output}; run {status} {message}")
    print(f"one flipped byte: {found} of {times} found, {repaired} repaired by the same command, in {kinds}")
    return good and found == repaired == times


def throughput(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Run phantoms of 240 slices with one worker and with two, in turn."""
    count = arguments.scans or 24
    (scratch / "in").mkdir()
    (scratch / "recipe.toml").write_text('name = "default"\n')
    (scratch / "one.toml").write_text('name = "default"\n[compute]\nworkers = 1\n')
    for k in range(count):  # copies, because phantoms are slow to make
        place = scratch / "in" / f"s{k}"
        if k < 4:
            write_dicom_series(make_phantom(seed=k, shape=(240, 512, 512), spacing=(1.25, 0.7, 0.7)), place)
        else:
            shutil.copytree(scratch / "in" / f"s{k % 4}", place)
            rename_series(place, k)
    kinds = {"one worker, one thread": (1, "one.toml"), "one worker, all cores": (1, "recipe.toml"),
             "two workers": (2, "recipe.toml")}  # fmt: skip
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(arguments.rounds):
        for kind in list(kinds)[:: 1 if turn % 2 == 0 else -1]:
            workers, recipe = kinds[kind]
            words = command(scratch / "in", scratch / "out", "--recipe", str(scratch / recipe), workers=workers)
            started = time.perf_counter()
            status, output = hilum(words)
            seconds[kind].append(time.perf_counter() - started)
            if status or len(read_ledger(scratch / "out")) != count:
                print(f"{kind}: status {status}: {output}")
                return False
            shutil.rmtree(scratch / "out")
            print(f"  round {turn}: {kind} {seconds[kind][-1]:.1f} s", flush=True)
    for kind, taken in seconds.items():
        ratio = median(one / two for one, two in zip(taken, seconds["two workers"], strict=True))
        print(f"{count} scans of 240 x 512 x 512, {kind}: {median(taken):.1f} s, {ratio:.2f} x the time of two workers")
    alone = zip(seconds["one worker, one thread"], seconds["two workers"], strict=True)
    ratio = median(one / two for one, two in alone)
    print(f"a second worker on a second core gives {ratio:.2f} x (bound {SPEED_UP}); one worker with all cores "
          f"uses the second core inside a scan, and its line shows the gain that is left")  # fmt: skip
    return ratio >= SPEED_UP


def rename_series(folder: Path, number: int) -> None:
    """Give a copy of a series another UID."""
    files = sorted(folder.rglob("*.dcm"))
    import pydicom

    for path in files:
        slice_ = pydicom.dcmread(path)
        slice_.SeriesInstanceUID = f"1.2.826.0.1.{number}"
        slice_.save_as(path)


def overhead(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Run tiny scans, one at a time, in this process and in a worker process, in turn."""
    count = arguments.scans or 60
    refs, _ = batch.index([small_scans(scratch / "in", count)])
    recipe = parse_recipe(RECIPE + "[compute]\nworkers = 1\n")
    batch.run(refs[:2], recipe, scratch / "warm")  # a warm-up
    seconds: dict[str, list[float]] = {"here": [], "worker": []}
    for turn in range(arguments.rounds):
        for kind in ("here", "worker") if turn % 2 == 0 else ("worker", "here"):
            out = scratch / f"{kind}{turn}"
            started = time.perf_counter()
            rows = batch.run(refs, recipe, out, workers=None if kind == "here" else 1)
            seconds[kind].append(time.perf_counter() - started)
            if any(row.status not in {"done", "repaired"} for row in rows):
                return False
    each = [1000 * (w - h) / count for h, w in zip(seconds["here"], seconds["worker"], strict=True)]
    print(f"{count} tiny scans: {1000 * median(seconds['here']) / count:.1f} ms each in this process, "
          f"{1000 * median(seconds['worker']) / count:.1f} ms in a worker, its start included: "
          f"{median(each):.1f} ms more a scan ({min(each):.1f} to {max(each):.1f}; "
          f"bound {1000 * OVERHEAD_S:g})")  # fmt: skip
    return median(each) <= 1000 * OVERHEAD_S


PROBE = """
import sys, time, resource
from pathlib import Path
from hilum import batch
from hilum.recipes import recipe
def mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
import hilum.pipeline, hilum.io.dicom.reader, hilum.io.volumes.metaimage
base, started = mb(), time.perf_counter()
found = batch.survey([Path(sys.argv[1])])
indexed, listed = time.perf_counter() - started, mb()
count = sum(1 for _ in batch.process(found.refs, recipe(sys.argv[3]), Path(sys.argv[2]), workers=WORKERS, found=found))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(count, f"{indexed:.2f}", f"{base:.1f}", f"{listed:.1f}", f"{mb():.1f}", f"{peak:.1f}")
"""


def thousands(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Run many small scans, and a tenth of them; measure memory, and the time of a rerun."""
    count = arguments.scans or 5000
    good = True
    for kind in ("volume files", "DICOM series"):
        root = scratch / kind.split()[0]
        root.mkdir()
        (root / "recipe.toml").write_text(RECIPE + '[lungs]\nmethod = "none"\n')
        memory = {}
        for part in (count // 10, count):
            inputs = few_slices(root / "in", part, dicom=kind.startswith("DICOM"))
            probe = PROBE.replace("WORKERS", str(WORKERS))
            for turn in ("first run", "rerun"):
                started = time.perf_counter()
                words = [sys.executable, "-c", probe, str(inputs), str(root / "out"), str(root / "recipe.toml")]
                output = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
                seconds = time.perf_counter() - started
                memory[part, turn] = float(output[4])
                print(f"{kind}, {turn}: {output[0]} scans, {seconds:.1f} s of which index {output[1]} s; resident MB: "
                      f"{output[2]} at start, {output[3]} indexed, {output[4]} at the end, peak {output[5]}",
                      flush=True)  # fmt: skip
        started = time.perf_counter()
        status, output = hilum(command(inputs, root / "out"))
        seconds = time.perf_counter() - started
        grown = memory[count, "rerun"] / memory[count // 10, "rerun"] - 1
        each = 1000 * (memory[count, "rerun"] - memory[count // 10, "rerun"]) / (count - count // 10)
        print(f"{kind}: 'hilum run' with nothing to do for {count} scans: {seconds:.2f} s (bound {NOTHING_S:g}), "
              f"status {status}; memory from {count // 10} to {count} scans {grown:+.1%}, {each:.2f} kB a scan (bound "
              f"{GROWTH:.0%})")  # fmt: skip
        good &= status == 0 and seconds < NOTHING_S and grown < GROWTH
        shutil.rmtree(root)
    return good


def few_slices(folder: Path, count: int, *, dicom: bool) -> Path:
    """Write scans of 4 slices until there are `count`."""
    folder.mkdir(exist_ok=True)
    phantom = make_phantom(seed=1, shape=(4, 32, 32), spacing=(60.0, 12.0, 12.0))
    model = folder.parent / "model"
    if dicom and not model.is_dir():
        write_dicom_series(phantom, model)
    for k in range(len(list(folder.glob("*" if dicom else "*.mhd"))), count):
        if not dicom:
            write(phantom.scan.ct, folder / f"1.2.{k}.mhd")
            continue
        shutil.copytree(model, folder / f"s{k:05d}")
        rename_series(folder / f"s{k:05d}", k)
    return folder


COMMANDS = {
    "kill": kill,
    "full": full,
    "guilty": guilty,
    "dask": dask,
    "flip": flip,
    "sweep": sweep,
    "hostile-run": hostile_run,
    "readonly": readonly,
    "throughput": throughput,
    "overhead": overhead,
    "thousands": thousands,
    "container": container,
    "users": users,
}

if __name__ == "__main__":
    sys.exit(main())
