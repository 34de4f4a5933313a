"""A Dask cluster whose workers see other folders or have other software, and one that loses what it consists of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from trials.runs import FAULTY, command, content, faults_of, hilum, small_scans

from hilum.outputs.ledger import read_ledger

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

PRETENDED = FAULTY.parent / "pretended"
SCANS, PATIENCE, GONE_S = 24, 5, 60.0
"""Scans of a run; seconds for which a run without workers waits here; in which a killed command's processes end."""


class Cluster:
    """A scheduler and workers as processes of their own, ended with the block."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack, self.folder, self.workers = stack, folder, []
        self.scheduler = self._start("scheduler", "--port", "0", "--host", "127.0.0.1", pretend="hilum=")
        self.address = next(line for line in self.scheduler.stderr if "Scheduler at:" in line).split()[-1]

    def worker(self, *, pretend: str = "", before: tuple[str, ...] = (), wait: bool = True) -> subprocess.Popen[str]:
        """Start one more."""
        words = ("worker", self.address, "--nthreads", "2", "--no-nanny")
        started = self._start(*words, pretend=pretend, before=before)
        self.workers.append(started)
        if wait and not any("Starting established connection" in line for line in started.stderr):
            raise RuntimeError("a Dask worker does not start")
        return started

    def _start(self, *words: str, pretend: str = "", before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        environment = {**os.environ, "PRETEND": pretend, "PYTHONPATH": str(PRETENDED) if pretend else ""}
        started = subprocess.Popen([*before, sys.executable, "-m", "dask", *words, "--no-dashboard"], text=True,
                                   stderr=subprocess.PIPE, env=environment, cwd=self.folder)  # fmt: skip
        for end in (started.stderr.close, started.wait, started.kill):
            self.stack.callback(end)
        return started


def dask(asked: argparse.Namespace, scratch: Path) -> bool:
    """Play every way in which a cluster is not what it should be; each has to end in one line, or in the same bytes."""
    inputs = small_scans(scratch / "in", asked.scans or SCANS)
    hilum(command(inputs, scratch / "clean"))
    whole = content(scratch / "clean")
    well = True
    for play in (broken_contracts, out_of_sight, no_workers, workers_come_back, no_scheduler, killed_command):
        out = scratch / play.__name__
        out.mkdir()
        with ExitStack() as stack:
            cluster = Cluster(stack, scratch)
            said, good = play(cluster, inputs, out, whole)
        well &= good
        print(f"{play.__name__.replace('_', ' ')}: {'as it should' if good else 'WRONG'}: {said}", flush=True)
    return well


Told = tuple[str, bool]


def broken_contracts(cluster: Cluster, inputs: Path, out: Path, whole: dict[str, str]) -> Told:  # noqa: ARG001
    """Hilum missing, of another version, another Python; where mounts are permitted another output, another input."""
    wanted = ["hilum cannot be imported", "hilum 0.0.9", "python 3.9"]
    workers = [cluster.worker(pretend=p, wait=False) for p in ("hilum=", "hilum=0.0.9", "python=3.9.1")]
    if may_mount():
        wanted += ["output folder", "does not see /"]
        workers += [cluster.worker(before=on_tmpfs(folder), wait=False) for folder in (out, inputs)]
    else:
        print("  workers with other mounts: skipped, this user may not mount")
    for worker in workers:
        if not any("Starting established connection" in line for line in worker.stderr):
            raise RuntimeError("a Dask worker does not start")
    status, told = run(cluster, inputs, out)
    lines = told.splitlines()
    print("".join(f"    {line}\n" for line in lines), end="")
    good = status == 1 and len(lines) == len(workers) + 1 and max(map(len, lines)) <= 300
    good &= all(any(text in line for line in lines) for text in wanted) and not read_ledger(out)
    return f"{len(workers)} workers named, status {status}, {len(read_ledger(out))} scans", good


def out_of_sight(cluster: Cluster, inputs: Path, out: Path, whole: dict[str, str]) -> Told:  # noqa: ARG001
    """Another file system at the folder of the scans alone, which the probe does not meet."""
    if not may_mount():
        return "skipped, this user may not mount", True
    (out / "scans").mkdir()
    cluster.worker(before=on_tmpfs(out / "scans"))
    status, told = run(cluster, inputs, out)
    rows = read_ledger(out).values()
    codes = {f"{row.status}/{row.code}" for row in rows}
    return f"{codes}, status {status}; {told.splitlines()[-1]}", status == 1 and codes == {"failed/unseen"}


def no_workers(cluster: Cluster, inputs: Path, out: Path, whole: dict[str, str]) -> Told:
    """All workers are killed, and none comes."""
    worker = cluster.worker()
    with at_work(cluster, inputs, out) as started:
        worker.kill()
        told = lines_of(started)
    there = len(read_ledger(out))
    good = started.returncode == 1 and len(told) == 2 and f"waited {PATIENCE} s for one" in told[-1]
    cluster.worker()
    status, _ = run(cluster, inputs, out)
    good &= status == 0 and content(out) == whole and not faults_of(out)
    return f"{there} scans, status {started.returncode}: {' | '.join(told)}; then {len(read_ledger(out))}", good


def workers_come_back(cluster: Cluster, inputs: Path, out: Path, whole: dict[str, str]) -> Told:
    """All workers are killed, and one comes in time."""
    worker = cluster.worker()
    with at_work(cluster, inputs, out, patience=120) as started:
        worker.kill()
        cluster.worker()
        started.communicate()
    good = started.returncode == 0 and content(out) == whole and not faults_of(out)
    return f"status {started.returncode}, {'the same bytes' if content(out) == whole else 'OTHER BYTES'}", good


def no_scheduler(cluster: Cluster, inputs: Path, out: Path, whole: dict[str, str]) -> Told:  # noqa: ARG001
    cluster.worker()
    with at_work(cluster, inputs, out) as started:
        cluster.scheduler.kill()
        told = lines_of(started)
    good = started.returncode == 1 and len(told) == 1 and "the Dask scheduler was lost" in told[0]
    good &= left(cluster) < GONE_S
    return f"status {started.returncode}: {' | '.join(told)}", good


def killed_command(cluster: Cluster, inputs: Path, out: Path, whole: dict[str, str]) -> Told:
    """SIGKILL for the command: the same one goes on at once; after a second kill its processes end by themselves."""
    cluster.worker()
    with at_work(cluster, inputs, out) as started:
        started.kill()
    before = len(read_ledger(out))
    status, told = run(cluster, inputs, out)
    good = status == 0 and content(out) == whole and not faults_of(out)
    with at_work(cluster, inputs, out.with_name("again")) as started:
        started.kill()
    seconds = left(cluster)
    said = f"killed at {before} scans; again: status {status}, {told or 'the same bytes'}"
    return f"{said}; processes gone after {seconds:.0f} s (bound {GONE_S:g})", good and seconds < GONE_S


def run(cluster: Cluster, inputs: Path, out: Path) -> tuple[int, str]:
    return hilum(command(inputs, out, "--scheduler", cluster.address))


@contextmanager
def at_work(cluster: Cluster, inputs: Path, out: Path, patience: int = PATIENCE) -> Iterator[subprocess.Popen[str]]:
    """A run that has a few rows."""
    setting = {"DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT": f"{patience}s"}
    with subprocess.Popen(command(inputs, out, "--scheduler", cluster.address), stderr=subprocess.PIPE, text=True,
                          stdout=subprocess.DEVNULL, env={**os.environ, **setting}) as started:  # fmt: skip
        while started.poll() is None and len(read_ledger(out) if out.is_dir() else ()) < 3:
            time.sleep(0.05)
        yield started


def lines_of(started: subprocess.Popen[str]) -> list[str]:
    """What a command says but for how far it is."""
    return [line for line in started.communicate()[1].splitlines() if "scans a minute" not in line]


def left(cluster: Cluster) -> float:
    """Seconds until no process is left beside the workers."""
    started = time.monotonic()
    while time.monotonic() - started < 2 * GONE_S:
        living = [psutil.Process(worker.pid) for worker in cluster.workers if worker.poll() is None]
        if not any(one.children(recursive=True) for one in living):
            break
        time.sleep(0.2)
    return time.monotonic() - started


def on_tmpfs(folder: Path) -> tuple[str, ...]:
    """Words before a command that show it an empty folder there."""
    return ("unshare", "--mount", "sh", "-ec", f'mount -t tmpfs tmpfs "{folder}"; exec "$@"', "sh")


def may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return not subprocess.run([*on_tmpfs(Path("/tmp")), "true"], check=False, capture_output=True).returncode  # noqa: S108 - of its own
