"""What one scan may take of time and memory, and how many fit on this machine at a time."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hilum._kernels.threads import count_workers
from hilum.errors import InputError

MINUTES = 60
USUAL_SCAN = 2 << 30
"""Bytes that a chest CT of 600 slices takes at most at 1 mm; as many scans at a time as fit."""

_SHARE = 0.9
"""Of the memory that is free: the rest is for the program itself and the disk cache."""


@dataclass(frozen=True)
class Limits:
    """What one scan may take; what takes more is ended and recorded, and the others go on.

    Parameters
    ----------
    seconds : float
        Time, from its start in a worker process to its end.
    memory : int
        Bytes resident in its process; 0 for an equal share of what is free.
    retries : int
        How often a scan is tried again whose process died by itself or was killed from outside, 0 or 1. One that took
        too long or too much is not: it would again.
    """

    seconds: float = 30.0 * MINUTES
    memory: int = 0
    retries: int = 1


def limits_of(*, minutes: float, gigabytes: float, retries: int) -> Limits:
    """Limits as a person gives them.

    Parameters
    ----------
    minutes : float
        0 for no limit.
    gigabytes : float
        0 for an equal share of what is free.
    retries : int

    Returns
    -------
    Limits

    Raises
    ------
    InputError
        If one is negative, or no number.
    """
    for name, value in (("--timeout", minutes), ("--memory", gigabytes)):
        if not 0 <= value < math.inf:
            raise InputError(f"is {value:g}, expected 0 or more", where=name, code="option")
    return Limits(minutes * MINUTES or math.inf, int(gigabytes * 1e9), retries)


def free_memory() -> int:
    """Bytes of memory that this process and its children may still take, as the system and its control group say.

    Returns
    -------
    int
        0 where neither says anything.
    """
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) << 10)
    for limit, used in _GROUPS:
        with suppress(OSError, ValueError):  # ValueError: "max", no limit
            found.append(max(0, int(Path(limit).read_text()) - int(Path(used).read_text())))
    return min(found, default=0)


_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def count_processes(workers: int) -> int:
    """Worker processes meant by a ``workers`` option.

    Parameters
    ----------
    workers : int
        As given; 0 for one per core, but no more than have memory for a usual scan each.

    Returns
    -------
    int
        At least 1.
    """
    if workers > 0:
        return workers
    free = free_memory()
    fitting = free // USUAL_SCAN if free else count_workers(0)
    return max(1, min(count_workers(0), fitting))


def share_memory(processes: int) -> int:
    """Bytes that each of several processes may take.

    Parameters
    ----------
    processes : int

    Returns
    -------
    int
        0 for no limit, where the system does not tell what is free.
    """
    return int(free_memory() * _SHARE) // processes


def resident(pid: int) -> int:
    """Bytes of a process that are in memory.

    Parameters
    ----------
    pid : int

    Returns
    -------
    int
        0 where the process is gone, or the system has no /proc.
    """
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
