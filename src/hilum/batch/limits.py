"""Limits of time and memory for one scan, and how many scans fit on this machine at a time."""

import math
from dataclasses import dataclass

from hilum._kernels.threads import count_workers
from hilum._os.memory import free_memory
from hilum.errors import HilumError, InputError

TYPICAL_SCAN_BYTES = 2 << 30  # the most memory that a chest CT of 600 slices takes at 1 mm

MIN_SCAN_BYTES = 256 << 20  # the memory of a worker process with a scan of a few slices; no scan succeeds with less

NO_MEMORY = "no-memory"  # the code of a run without memory for a single scan

_MAX_OPTION = 1e9  # the largest timeout in minutes and the largest memory in GB; more is a typing error

_USABLE = 0.9  # the fraction of free memory for workers; the rest is for the main program and the disk cache


@dataclass(frozen=True)
class Limits:
    """The limits of one scan. A scan that exceeds one is killed and recorded; the others continue.

    Parameters
    ----------
    seconds : float
        Time in a worker process. Time in which the machine sleeps, or the run or that process is stopped, does not
        count.
    memory : int
        Resident bytes of its process; 0 for an equal part of the free memory.
    retries : int
        How often a scan is tried again after its process died or was killed from outside, 0 or 1. A scan that exceeded
        a limit is not tried again.
    """

    seconds: float = 30.0 * 60
    memory: int = 0
    retries: int = 1


def limits_of(*, minutes: float, gigabytes: float, retries: int) -> Limits:
    """Build limits from the options of the command line.

    Parameters
    ----------
    minutes : float
        0 for no limit.
    gigabytes : float
        0 for an equal part of the free memory.
    retries : int
        How often a scan that failed is tried again.

    Returns
    -------
    Limits

    Raises
    ------
    InputError
        If one is negative, not a number, or absurdly large.
    """
    for name, value in (("--timeout", minutes), ("--memory", gigabytes)):
        if not 0 <= value <= _MAX_OPTION:
            raise InputError(f"is {value:g}, expected 0 to {_MAX_OPTION:g}", where=name, code="option")
    if 0 < gigabytes * 1e9 < MIN_SCAN_BYTES:
        least = f"{MIN_SCAN_BYTES / 1e9:.2f} and more: the GB that the smallest scan needs"
        raise InputError(f"is {gigabytes:g}, expected 0, or {least}", where="--memory", code="option")
    return Limits(60 * minutes or math.inf, int(gigabytes * 1e9), retries)


def count_processes(workers: int, *, memory: int = 0) -> int:
    """Choose the number of worker processes, as far as memory allows.

    Parameters
    ----------
    workers : int
        The option; 0 for one per core, if each gets the memory of a typical scan.
    memory : int
        The limit of each in bytes; 0 if they share the free memory.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    HilumError
        If there is no memory for a single one.
    """
    if not (free := free_memory()):
        return workers or count_workers(0)
    fitting = int(free * _USABLE) // MIN_SCAN_BYTES
    if memory == 0 and fitting == 0:
        needed = math.ceil(MIN_SCAN_BYTES / _USABLE)
        what = f"{free >> 20} MB of memory are free, but the smallest scan needs {needed >> 20} MB"
        do = "end other programs, raise the limit of the container or job, or give --memory to try"
        raise HilumError(what, do=do, code=NO_MEMORY)
    if workers > 0:
        return workers if memory else min(workers, fitting)
    return max(1, min(count_workers(0), free // TYPICAL_SCAN_BYTES))


def check_workers(workers: int | None) -> None:
    """Refuse a negative number of workers with an `InputError`."""
    if workers is not None and workers < 0:
        raise InputError(f"is {workers}, expected 0 or more", where="--workers", code="option")


def memory_per_process(limits: Limits, processes: int) -> int:
    """Choose the memory limit of each of several processes, by default an equal part of the free memory.

    Parameters
    ----------
    limits : Limits
        The limits of the run.
    processes : int
        Number of processes that share the memory.

    Returns
    -------
    int
        Bytes; 0 for no limit, if the free memory is unknown.

    Raises
    ------
    HilumError
        If it is too low for the smallest scan.
    """
    memory = limits.memory or int(free_memory() * _USABLE) // processes
    if 0 < memory < MIN_SCAN_BYTES:
        what = f"{memory >> 20} MB of memory are left for each scan, but the smallest needs {MIN_SCAN_BYTES >> 20} MB"
        raise HilumError(what, do="give fewer --workers, or --memory", code=NO_MEMORY)
    return memory
