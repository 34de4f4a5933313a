"""Two processes at one output folder: what one is writing, the other must not take for what a dead one left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from trials.cluster import running_cluster
from trials.runs import command, content, faults_of, finished, hilum, small_scans

from hilum.outputs.ledger import read_ledger

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

WRITER = """
import sys
from pathlib import Path
from hilum import batch
from hilum.batch.task import Task
from hilum.recipes import parse_recipe, with_options
refs, _ = batch.index([Path(sys.argv[1])])
recipe = with_options(parse_recipe("[resample]\\nspacing_mm = 8.0\\n"), file_format=sys.argv[3])
for line in sys.stdin:
    print(Task(refs[0], recipe, Path(sys.argv[2], line.strip())).make().status, flush=True)
"""
"""A worker whose client is gone: it makes one scan for each line, and holds no lock."""

CLAIMER = """
import sys, time

from pathlib import Path
from hilum.batch.output_folder import locked_output
for line in sys.stdin:
    folder, delay = line.split()
    time.sleep(float(delay))
    for _ in range(3):
        with locked_output(Path(sys.argv[1], folder)):
            pass
    print("claimed", flush=True)
"""

REPORTER = """
import sys

from pathlib import Path
from hilum.errors import HilumError
from hilum.report.page import write_report
for line in sys.stdin:
    try:
        write_report(Path(line.strip()))
        print("written", flush=True)
    except HilumError as problem:
        print(problem, flush=True)
"""


def sweep(asked: argparse.Namespace, scratch: Path) -> bool:
    """Claim a folder while another process writes to it; kill clients and give the same command again."""
    times, rng = asked.times or 100, random.Random(asked.seed)  # noqa: S311 - moments, no secrets
    inputs = small_scans(scratch / "in", 6)
    well = True
    for file_format in ("zarr", "nifti"):
        well &= _claimed(inputs, scratch / file_format, file_format, times, rng)
    well &= _reported(inputs, scratch, times, rng)
    well &= _killed(inputs, scratch, "worker processes", times, rng)
    well &= _killed(inputs, scratch, "a Dask cluster", max(1, times // 4), rng)  # each takes some ten seconds
    return well


def _ask(process: subprocess.Popen[str], line: str) -> None:
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _claimed(inputs: Path, out: Path, file_format: str, times: int, rng: random.Random) -> bool:
    out.mkdir()
    words = [str(inputs / "1.2.0.mhd"), str(out), file_format]
    writer = subprocess.Popen([sys.executable, "-c", WRITER, *words], stdin=-1, stdout=-1, text=True)
    claimer = subprocess.Popen([sys.executable, "-c", CLAIMER, str(out)], stdin=-1, stdout=-1, text=True)
    hurt, seconds = 0, 0.3
    with writer, claimer:
        for turn in range(times):
            started = time.perf_counter()
            _ask(writer, str(turn))
            _ask(claimer, f"{turn} {rng.uniform(0.3, 1.0) * seconds:.4f}")
            status = writer.stdout.readline().strip()
            seconds = 0.5 * seconds + 0.5 * (time.perf_counter() - started)
            claimer.stdout.readline()
            there, broken, partial = finished(out / str(turn))
            hurt += status not in {"done", "repaired"} or len(there) != 1 or bool(broken) or bool(partial)
            shutil.rmtree(out / str(turn))
        writer.stdin.close()
        claimer.stdin.close()
    print(f"{file_format}: a folder claimed three times while a scan was written to it: {hurt} of {times} scans hurt")
    return hurt == 0


def _reported(inputs: Path, scratch: Path, times: int, rng: random.Random) -> bool:
    out = scratch / "reported"
    hilum(command(inputs, out))
    writer = subprocess.Popen([sys.executable, "-c", REPORTER], stdin=-1, stdout=-1, text=True)
    claimer = subprocess.Popen([sys.executable, "-c", CLAIMER, str(scratch)], stdin=-1, stdout=-1, text=True)
    hurt = 0
    with writer, claimer:
        for _ in range(times):
            _ask(claimer, f"reported {rng.uniform(0, 0.02):.4f}")
            _ask(writer, str(out))
            hurt += writer.stdout.readline().strip() != "written"
            claimer.stdout.readline()
        writer.stdin.close()
        claimer.stdin.close()
    print(f"a folder claimed three times while its report was written: {hurt} of {times} reports hurt")
    return hurt == 0


def _killed(inputs: Path, scratch: Path, where: str, times: int, rng: random.Random) -> bool:
    """SIGKILL for the client alone, and the same command again: at once, or a second later."""
    hurt = 0
    with running_cluster({}) as address:
        more = [] if where == "worker processes" else ["--scheduler", address]
        hilum(command(inputs, scratch / "whole", "--format", "zarr", *more))
        whole = content(scratch / "whole")
        started = time.perf_counter()
        hilum(command(inputs, scratch / "whole2", "--format", "zarr", *more))
        seconds = time.perf_counter() - started
        for turn in range(times):
            out = scratch / "out"
            words = command(inputs, out, "--format", "zarr", *more)
            client = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.3, 1.0) * seconds)
            if client.poll() is None:
                os.kill(client.pid, signal.SIGKILL)
            client.wait()
            time.sleep(rng.choice([0.0, 1.0]))
            status, told = hilum(words)
            _, broken, partial = finished(out)
            faults = faults_of(out)
            good = status == 0 and content(out) == whole and not broken and not partial and not faults
            hurt += not (good and len(read_ledger(out)) == len(whole_scans(whole)))
            if not good:
                print(f"turn {turn}: status {status}, {broken=}, {partial=}, {[f.text for f in faults]}: {told}")
            shutil.rmtree(out, ignore_errors=True)
    for name in ("whole", "whole2"):
        shutil.rmtree(scratch / name)
    print(f"client of {where} killed and the same command given again: {hurt} of {times} runs hurt")
    return hurt == 0


def whole_scans(names: dict[str, str]) -> set[str]:
    """The scans among the files of an output."""
    return {name.split("/")[1] for name in names if name.startswith("scans/")}
