"""Where the time of `hilum run` goes on one scan, stage by stage, in each format, with one thread and two.

    python bench/where.py [SERIES] [--rounds 7] [--formats nifti npy zarr] [--threads 1 2] [--out FOLDER]

`hilum.batch.task.run_one` runs in this process; the functions of `STAGES` are timed, indented by how they call each
other. Prints medians over the rounds: ms by the clock, ms of the processor (of this thread; of the whole process for
the first line), and the share of the whole by the clock. What a stage does in other threads adds up in its line, so
that shares of stages that overlap add up to more than all. The last lines are a whole process, warm, and what of it
is not `run_one`: start of Python, imports, the list of inputs, ledger and index. Peak memory is that of the process
above the time before, as a multiple of the input in int16.

Without SERIES a phantom of 275 slices of 512 x 512 is made.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from peers import MEMORY, make_series

import hilum
from hilum import batch
from hilum.batch.task import run_one

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = {
    "hilum.batch.identity:snapshot": "stamp of the input",
    "hilum.batch.identity:input_fingerprint": "fingerprint of the input",
    "hilum.batch.task:_load_and_preprocess": "load and preprocess",
    "hilum.io.scan_files:read": "read",
    "hilum.pipeline:_to_output_grid": "resample",
    "hilum.pipeline:make_lungs": "lungs",
    "hilum.ops.lungs.fallback:segment_lungs": "segment again, if doubtful",
    "hilum.ops.lungs.fallback:measure_lungs": "judge",
    "hilum.pipeline:mask_nodules": "nodules",
    "hilum.pipeline.measure:measure_nodules": "measure",
    "hilum.pipeline.plausibility:note_implausible_values": "check HU",
    "hilum.batch.identity:check_unchanged": "check that the input did not change",
    "hilum.batch.task:preview_of": "preview",
    "hilum.outputs.store:store_scan": "store",
    "hilum.outputs.store:write": "write a volume",
    "hilum.outputs.store:file_record": "checksum",
    "hilum.batch.task:finished_row": "row of the ledger",
}
"""Functions by the module in which they are called by name, and what the table calls them."""

Spans = dict[tuple[str, ...], tuple[float, float, int]]  # seconds, processor seconds and calls, by names from the top


class Clock:
    """Times functions, and keeps which called which in each thread."""

    def __init__(self) -> None:
        self.spans: Spans = {}
        self._lock = threading.Lock()
        self._inside = threading.local()

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function, so that its calls count under a name."""

        def call(*words: Any, **options: Any) -> Any:
            above = getattr(self._inside, "names", ())
            self._inside.names = path = (*above, name)
            self.spans.setdefault(path, (0.0, 0.0, 0))  # a stage comes before those that it calls
            started, worked = time.perf_counter(), time.thread_time()
            try:
                return work(*words, **options)
            finally:
                took, used = time.perf_counter() - started, time.thread_time() - worked
                self._inside.names = above
                with self._lock:
                    seconds, busy, calls = self.spans[path]
                    self.spans[path] = (seconds + took, busy + used, calls + 1)

        return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--formats", nargs="*", default=["nifti", "npy", "zarr"])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--out", type=Path, default=MEMORY if MEMORY.is_dir() else None, help="where the outputs go")
    options = parser.parse_args()
    clock = Clock()
    for place, name in STAGES.items():
        patch(clock, place, name)
    with tempfile.TemporaryDirectory(dir=options.out) as scratch:
        series = options.series or make_series(Path(scratch, "phantom"))
        for file_format in options.formats:
            for threads in options.threads:
                table(clock, series, Path(scratch, "out"), file_format, threads, options.rounds)


def patch(clock: Clock, place: str, name: str) -> None:
    """Replace a function where it is called; a module's name before the colon may end in an attribute of a module."""
    words, attribute = place.split(":")
    try:
        holder = importlib.import_module(words)
    except ModuleNotFoundError:
        module, _, inner = words.rpartition(".")
        holder = getattr(importlib.import_module(module), inner)
    setattr(holder, attribute, clock.timed(name, getattr(holder, attribute)))


def table(clock: Clock, series: Path, out: Path, file_format: str, threads: int, rounds: int) -> None:
    """Print the stages of one format and number of threads."""
    recipe = hilum.recipe("default").replace(output__format=file_format, compute__workers=threads)
    (ref,), _ = batch.index([series])
    voxels = 2 * hilum.read(series).ct.array.size
    kept: dict[tuple[str, ...], list[tuple[float, float, int]]] = defaultdict(list)
    memory = []
    for turn in range(rounds + 1):
        shutil.rmtree(out, ignore_errors=True)
        (out / "scans").mkdir(parents=True)
        clock.spans.clear()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, started, worked = resident("VmRSS"), time.perf_counter(), time.process_time()
        row = run_one(ref, recipe, out)
        whole = (time.perf_counter() - started, time.process_time() - worked, 1)
        if row.status not in {"done", "repaired"}:
            sys.exit(f"the scan was not made: {row.reason}")
        if turn:
            memory.append((resident("VmHWM") - before) / voxels)
            for path, span in {(): whole, **clock.spans}.items():
                kept[path].append(span)
    print(f"\n{file_format}, {threads} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'stage':44s}{'ms':>8s}{'CPU ms':>8s}{'calls':>7s}{'share':>8s}")
    total = median(span[0] for span in kept[()])
    for path, spans in kept.items():
        seconds, busy, calls = (median(numbers) for numbers in zip(*spans, strict=True))
        name = "  " * len(path) + (path[-1] if path else "run_one")
        print(f"{name:44s}{seconds * 1000:8.1f}{busy * 1000:8.1f}{calls:7.0f}{seconds / total:8.1%}")
    print(f"peak memory: {median(memory):.2f} x the input in int16")
    process = median(whole_process(series, out, file_format, threads) for _ in range(rounds))
    print(f"a process: {process * 1000:.0f} ms, {(process - total) * 1000:.0f} ms of it not run_one")


def resident(name: str) -> int:
    """Bytes of this process's memory: VmRSS now, VmHWM at most."""
    return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0]) * 1024


def whole_process(series: Path, out: Path, file_format: str, threads: int) -> float:
    """Seconds of `hilum run`, from the start of the process to its end."""
    shutil.rmtree(out, ignore_errors=True)
    words = ["--quiet", "run", series, "--out", out, "--format", file_format, "--workers", threads]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hilum.cli", *map(str, words)], check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    np.ones(1)  # numpy's own start is not in the first round
    main()
