"""A container whose limit is nested and whose file cache is full: hilum has to find the memory that is there."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trials.runs import command, small_scans

from hilum.outputs.ledger import FINISHED, read_ledger

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

MB = 1 << 20
SCANS, RUNS = 6, 5
ROOMY, TIGHT, TINY = 900 * MB, 400 * MB, 250 * MB
"""Limits: of whole runs, of looks at the free memory, and of a run that has none for a single scan."""

MISSED = 60 * MB
"""Bytes that may be free and are not found: what the interpreter and the kernel hold for the group."""

LOOK = """
import json, mmap, os, sys
hoard, cache, readings, written, file = *map(int, sys.argv[1:5]), sys.argv[5]
from hilum._os.memory import free_memory
free_memory()  # what it imports is there
held = mmap.mmap(-1, hoard)
for _ in range(hoard >> 20):
    held.write(os.urandom(1 << 20))
for _ in range(readings):  # what is read again, the kernel counts as in use
    with open(file, "rb", buffering=0) as back:
        for _ in range(cache >> 20):
            back.read(1 << 20)
with open(file + ".new", "wb") as out:
    out.write(bytes(written))
told = free_memory()
print(json.dumps({"free": told}), flush=True)
wanted = int(told * 0.9)
more = mmap.mmap(-1, wanted)
for at in range(0, wanted, 4096):
    more[at] = 1
print(json.dumps({"had": wanted}), flush=True)
"""


def container(asked: argparse.Namespace, scratch: Path) -> bool:
    """Look at the free memory of many containers, take what is said to be free, and make runs in some of them."""
    well = tried = False
    for version, root in ((1, _first()), (2, _second())):
        if root is None:
            print(f"control groups of version {version}: none with memory to be written here, NOT TRIED")
            continue
        place = scratch / f"v{version}"
        place.mkdir()
        here = [_looks(root, place, asked), _runs(root, place), _refusal(root, place)]
        print(f"control groups of version {version}: {sum(failed for _, failed in here)} failures "
              f"in {sum(tries for tries, _ in here)} tries")  # fmt: skip
        well = not any(failed for _, failed in here) and (well or not tried)
        tried = True
    return well


def _looks(root: Path, place: Path, asked: argparse.Namespace) -> tuple[int, int]:
    """Mixes of memory in use, cache that was used once and cache that is in use; tries and failures."""
    rng, times, failed = random.Random(asked.seed), asked.times or 100, 0  # noqa: S311 - mixes, no secrets
    least = TIGHT
    with (place / "cache").open("wb") as file:
        for _ in range(ROOMY >> 20):
            file.write(rng.randbytes(MB))
        os.fsync(file.fileno())
    for turn in range(times):
        hoard = rng.choice((0, 32, 64, 128, 192)) * MB
        cache, readings, written = rng.choice((64, 448)) * MB, rng.choice((0, 1, 3)), rng.choice((0, 0, 48)) * MB
        forget(place / "cache")
        with nested(root, TIGHT) as group:
            words = [sys.executable, "-c", LOOK, *map(str, (hoard + MB, cache, readings, written, place / "cache"))]
            done = inside(group, words)
        told = {}
        for line in done.stdout.splitlines():
            told |= json.loads(line)
        free = told.get("free", 0)
        # The interpreter with what it imported takes 30 to 60 MB of what is left.
        good = "had" in told and TIGHT - hoard - 2 * MISSED <= free <= TIGHT - hoard
        least = min(least, free)
        failed += not good
        if not good:
            print(f"look {turn}: {hoard >> 20} MB in use, {cache >> 20} MB of a file read {readings} times, "
                  f"{written >> 20} MB written: {told}, "
                  f"status {done.returncode} {done.stderr[-300:]}")  # fmt: skip
    print(f"{times} looks into containers of {TIGHT >> 20} MB: what was said to be free could be had in "
          f"{times - failed}; the least was {least >> 20} MB")  # fmt: skip
    return times, failed


def _runs(root: Path, place: Path) -> tuple[int, int]:
    """Whole runs beside a full cache; each scan is a try."""
    inputs, failed = small_scans(place / "in", SCANS), 0
    for turn in range(RUNS):
        out = place / f"out{turn}"
        with nested(root, ROOMY) as group:
            forget(place / "cache")
            numbers = map(str, (MB, ROOMY, 1 + turn % 3, 0, place / "cache"))
            inside(group, [sys.executable, "-c", LOOK.partition("told =")[0], *numbers])
            full = _used(group.parent)
            done = inside(group, command(inputs, out, workers=1 + turn % 2))
        statuses = [row.status for row in read_ledger(out).values()]
        bad = SCANS - sum(status in FINISHED for status in statuses)
        failed += bad
        if bad or full < 0.9 * ROOMY:
            print(f"run {turn} at {full >> 20} MB: status {done.returncode}, {statuses}: {done.stderr[-600:]}")
    (place / "cache").unlink()
    print(f"{RUNS} runs of {SCANS} scans in containers of {ROOMY >> 20} MB full of cache: {failed} scans not done")
    return RUNS * SCANS, failed


def _refusal(root: Path, place: Path) -> tuple[int, int]:
    """A run that has no memory for a single scan: one line, and no scan is condemned."""
    with nested(root, TINY) as group:
        done = inside(group, command(place / "in", place / "refused"))
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    good = done.returncode == 1 and len(lines) == 1 and "MB of memory are free" in lines[0]
    good = good and not read_ledger(place / "refused")
    print(f"a container of {TINY >> 20} MB: status {done.returncode}: {' / '.join(lines)}")
    return 1, not good


@contextmanager
def nested(root: Path, limit: int) -> Iterator[Path]:
    """A group without a limit of its own in one that has it."""
    outer = root / f"hilum-trial-{secrets.token_hex(4)}"
    inner = outer / "inner"
    second = (root / "cgroup.controllers").exists()
    outer.mkdir()
    try:
        if second:
            (outer / "cgroup.subtree_control").write_text("+memory")
        (outer / ("memory.max" if second else "memory.limit_in_bytes")).write_text(str(limit))
        inner.mkdir()
        yield inner
    finally:
        for group in (inner, outer):
            for _ in range(200):  # a process that was killed leaves its group a moment later
                with contextlib.suppress(FileNotFoundError, OSError):
                    group.rmdir()
                if not group.exists():
                    break
                time.sleep(0.05)


def inside(group: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a group."""
    shell = ["/bin/sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh", *words]
    return subprocess.run(shell, capture_output=True, text=True, check=False)


def forget(path: Path) -> None:
    """Take a file out of the cache, so that it counts for the group that reads it next."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _used(group: Path) -> int:
    for name in ("memory.current", "memory.usage_in_bytes"):
        with contextlib.suppress(OSError):
            return int((group / name).read_text())
    return 0


def _first() -> Path | None:
    """Where groups of version 1 can be made."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kinds = after.split()
        if kinds[0] == "cgroup" and "memory" in kinds[-1].split(",") and os.access(before.split()[4], os.W_OK):
            return Path(before.split()[4])
    return None


def _second() -> Path | None:
    """Where groups of version 2 that limit memory can be made."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        place = Path(before.split()[4])
        if after.split()[0] == "cgroup2" and os.access(place, os.W_OK):
            passed_on = (place / "cgroup.subtree_control").read_text().split()
            if "memory" in passed_on:
                return place
    return None
