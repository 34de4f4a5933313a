"""Shared by all contenders: a clock for stages, peak memory, and the line that `bench/speed.py` reads."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Stages = dict[str, float]

TOUCHED_BYTES = 3 << 30


def touch_memory() -> None:
    """Touch free memory, so that every contender starts with memory that was just used.

    A virtual machine returns free memory to its host, and a process after a pause waits half a second or more per GiB.
    numpy touches huge pages if the system has them; memory touched in small pages is rarely reused by large arrays.
    """
    touched = np.ones(TOUCHED_BYTES, np.uint8)
    del touched


@contextmanager
def stage(stages: Stages, name: str) -> Iterator[None]:
    """Add the seconds of the block to a stage."""
    start = time.perf_counter()
    yield
    stages[name] = stages.get(name, 0.0) + time.perf_counter() - start


def peak_gib() -> float:
    """Give the peak memory of this process; ru_maxrss would include that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def run(work: Callable[[Path, Path, Stages], object]) -> None:
    """Do a contender's work on the folders of the command line, and print the stages as JSON."""
    *sources, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    scans: list[Stages] = []
    for source in sources:
        scans.append({})
        work(source, out, scans[-1])
    print(json.dumps({"scans": scans, "peak_gib": peak_gib()}))
