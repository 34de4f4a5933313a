"""What one scan may take of time and memory, and how many fit on this machine at a time."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

from hilum._kernels.threads import count_workers
from hilum.batch.memory import free_in_groups
from hilum.errors import HilumError, InputError

MINUTES = 60
TYPICAL_SCAN_BYTES = 2 << 30
"""Bytes that a chest CT of 600 slices takes at most at 1 mm; as many scans at a time as fit."""

MIN_SCAN_BYTES = 256 << 20
"""Bytes that a worker process holds with a scan of a few slices: with less than this no scan comes to its end."""

NO_MEMORY = "no-memory"
"""The code of a run that has no memory for a single scan."""

_MAKE_ROOM = "end other programs, raise the limit of the container or job, or give --memory to try"

_MOST = 1e9
"""The largest timeout in minutes, and the largest memory in GB: what is more was typed by mistake."""

_SHARE = 0.9
"""Of the memory that is free: the rest is for the program itself and the disk cache."""


@dataclass(frozen=True)
class Limits:
    """What one scan may take; what takes more is ended and recorded, and the others go on.

    Parameters
    ----------
    seconds : float
        Time, from its start in a worker process to its end; while the machine sleeps or the run or that process is
        stopped, none passes.
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
        If one is negative, no number, or beyond all sense.
    """
    for name, value in (("--timeout", minutes), ("--memory", gigabytes)):
        if not 0 <= value <= _MOST:
            raise InputError(f"is {value:g}, expected 0 to {_MOST:g}", where=name, code="option")
    if 0 < gigabytes * 1e9 < MIN_SCAN_BYTES:
        least = (
            f"is {gigabytes:g}, expected 0, or {MIN_SCAN_BYTES / 1e9:.2f} and more: the GB that the smallest scan needs"
        )
        raise InputError(least, where="--memory", code="option")
    return Limits(minutes * MINUTES or math.inf, int(gigabytes * 1e9), retries)


def free_memory() -> int:
    """Bytes of memory that this process and its children may still take, as the machine and its control groups say.

    Returns
    -------
    int
        0 where neither says anything, else at least 1.
    """
    import psutil

    found = []
    with suppress(psutil.Error, OSError, ValueError, RuntimeError, NotImplementedError):  # a system without /proc
        found.append(int(psutil.virtual_memory().available))
    if (free := free_in_groups()) is not None:
        found.append(free)
    return max(1, min(found)) if found else 0


def count_processes(workers: int, *, memory: int = 0) -> int:
    """Worker processes meant by a ``workers`` option: no more than there is memory for.

    Parameters
    ----------
    workers : int
        As given; 0 for one per core, but no more than have memory for a usual scan each.
    memory : int
        Bytes that each may take, where that was decided; 0 where they share what is free.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    HilumError
        If there is no memory for one.
    """
    free = free_memory()
    if not free:
        return workers or count_workers(0)
    fitting = int(free * _SHARE) // MIN_SCAN_BYTES
    if memory == 0 and fitting == 0:
        raise no_memory(free)
    if workers > 0:
        return workers if memory else min(workers, fitting)
    return max(1, min(count_workers(0), free // TYPICAL_SCAN_BYTES))


def check_workers(workers: int | None) -> None:
    """Refuse a number of workers that makes no sense.

    Parameters
    ----------
    workers : int or None

    Raises
    ------
    InputError
        If it is negative.
    """
    if workers is not None and workers < 0:
        raise InputError(f"is {workers}, expected 0 or more", where="--workers", code="option")


def check_memory(memory: int) -> None:
    """Refuse a limit of memory that could not hold a worker process with the smallest scan.

    Parameters
    ----------
    memory : int
        Bytes that a scan may take; 0 for no limit.

    Raises
    ------
    HilumError
        If all scans would be ended.
    """
    if 0 < memory < MIN_SCAN_BYTES:
        what = f"{memory >> 20} MB of memory are left for a scan, and the smallest needs {MIN_SCAN_BYTES >> 20} MB"
        raise HilumError(what, do="give fewer --workers, or --memory", code=NO_MEMORY)


def no_memory(free: int) -> HilumError:
    """Say that there is no memory for a single scan.

    Parameters
    ----------
    free : int
        Bytes.

    Returns
    -------
    HilumError
    """
    needs = math.ceil(MIN_SCAN_BYTES / _SHARE)
    what = f"{free >> 20} MB of memory are free, and the smallest scan needs {needs >> 20} MB"
    return HilumError(what, do=_MAKE_ROOM, code=NO_MEMORY)


def memory_per_process(processes: int) -> int:
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


def resident_bytes(pid: int) -> int:
    """Bytes of a process that are in memory.

    Parameters
    ----------
    pid : int

    Returns
    -------
    int
        0 where the process is gone, or may not be looked at.
    """
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):
        return 0


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal or a debugger, and waits to be let go on.

    Parameters
    ----------
    pid : int

    Returns
    -------
    bool
    """
    import psutil

    try:
        return psutil.Process(pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
    except (psutil.Error, OSError):
        return False
