"""What every contender shares: a clock for stages, the peak of memory, and the line that `bench/speed.py` reads."""

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
    """Have free memory that was used a moment ago, as who runs back to back has it.

    A virtual machine hands free memory back to its host; who runs after a pause waits for it, half a second a GiB and
    more. Touched in huge pages where the system has them, as numpy asks for: memory touched in small ones is given to
    the next large array only by chance.
    """
    touched = np.ones(TOUCHED_BYTES, np.uint8)
    del touched


@contextmanager
def stage(stages: Stages, name: str) -> Iterator[None]:
    """Add the seconds spent inside to a stage."""
    start = time.perf_counter()
    yield
    stages[name] = stages.get(name, 0.0) + time.perf_counter() - start


def peak_gib() -> float:
    """Most memory that this process ever held; ru_maxrss would begin with the size of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def run(work: Callable[[Path, Path, Stages], object]) -> None:
    """Do a contender's work on the folders of the command line, and tell the caller."""
    *sources, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    scans: list[Stages] = []
    for source in sources:
        scans.append({})
        work(source, out, scans[-1])
    print(json.dumps({"scans": scans, "peak_gib": peak_gib()}))
