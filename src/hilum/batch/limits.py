"""Limits of time and memory for one scan, and how many scans fit on this machine at a time.

Control groups (containers, batch systems) limit memory too, in version 1 and version 2, nested or not. The usage of a
group includes the file cache, which the kernel frees before it kills a process. So the free memory of a group is its
limit, minus its usage, plus the cache. A process may allocate the minimum of this over its own group and all groups
that contain it.
"""

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from hilum._kernels.threads import count_workers
from hilum.errors import HilumError, InputError

TYPICAL_SCAN_BYTES = 2 << 30  # the most memory that a chest CT of 600 slices takes at 1 mm

MIN_SCAN_BYTES = 256 << 20  # the memory of a worker process with a scan of a few slices; no scan succeeds with less

NO_MEMORY = "no-memory"  # the code of a run without memory for a single scan

_MAX_OPTION = 1e9  # the largest timeout in minutes and the largest memory in GB; more is a typing error

_NO_LIMIT = 1 << 60  # more than any machine has; version 1 reports about 2 ** 63 if there is no limit

_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")  # above memory.high the kernel slows a process

_CACHES = ("total_inactive_file", "total_active_file"), ("inactive_file", "active_file", "slab_reclaimable")
"""The entries of ``memory.stat`` that the kernel can free, in version 1 and in version 2."""

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


def free_memory() -> int:
    """Find how many bytes this process and its children may still allocate, by the machine and its control groups.

    Returns
    -------
    int
        0 if unknown, else at least 1.
    """
    limits = [free_in_groups()]
    with suppress(psutil.Error, OSError, ValueError, RuntimeError, NotImplementedError):  # a system without /proc
        limits.append(int(psutil.virtual_memory().available))
    known = [limit for limit in limits if limit is not None]
    return max(1, min(known)) if known else 0


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


def resident_bytes(pid: int) -> int:
    """Measure the resident bytes of a process; 0 if it has ended or is not accessible."""
    with suppress(psutil.Error, OSError):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def is_stopped(pid: int) -> bool:
    """Check whether a signal or a debugger stopped a process."""
    with suppress(psutil.Error, OSError):
        return psutil.Process(pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
    return False


def free_in_groups(root: Path = Path("/")) -> int | None:
    """Find how many bytes this process and its children may still allocate, by its control groups.

    Parameters
    ----------
    root : Path
        The folder that contains ``proc`` and the mounts.

    Returns
    -------
    int or None
        None if no group sets a limit, or none is readable.
    """
    free = (_free(folder, version) for version, folder in _groups(root))
    return min((number for number in free if number is not None), default=None)


def _groups(root: Path) -> Iterator[tuple[int, Path]]:
    """The version and folder of each of this process's groups, from its own up to the root of the mount."""
    paths = _own_paths(_text(root / "proc/self/cgroup"))
    for version, top, mount in _mounts(_text(root / "proc/self/mountinfo")):
        mounted = root / mount.relative_to("/")
        below = PurePosixPath()
        if version in paths and paths[version].is_relative_to(top):
            below = paths[version].relative_to(top)
        # Otherwise the mount does not contain the group of the process; use the root of the mount.
        for part in (below, *below.parents):
            yield version, mounted / part


def _own_paths(text: str) -> dict[int, PurePosixPath]:
    """Read ``/proc/self/cgroup``: a line is ``number:controllers:path``, and ``0::path`` for version 2."""
    paths = {}
    for number, controllers, path in re.findall(r"^([^:\n]*):([^:\n]*):(/.*)$", text, re.MULTILINE):
        if ".." not in path.split("/"):
            if "memory" in controllers.split(","):
                paths[1] = PurePosixPath(path)
            elif number == "0" and not controllers:
                paths[2] = PurePosixPath(path)
    return paths


def _mounts(text: str) -> Iterator[tuple[int, PurePosixPath, PurePosixPath]]:
    """Read ``/proc/self/mountinfo``: the version of each mount of groups, the group at its root, and its path."""
    mount_of_groups = r"^\S+ \S+ \S+ (\S+) (/\S*) .*? - cgroup(2?) (.*)$"
    for top, mount, second, options in re.findall(mount_of_groups, text, re.MULTILINE):
        if second or "memory" in options.split(" ")[-1].split(","):
            yield 2 if second else 1, PurePosixPath(_unescape(top)), PurePosixPath(_unescape(mount))


def _unescape(word: str) -> str:
    r"""Decode a path, in which the kernel writes a space as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def _free(folder: Path, version: int) -> int | None:
    """The free memory of one group; None if it is unlimited or unknown."""
    entries = _entries(folder)
    limits = [_number(_text(folder / name)) for name in _LIMITS]
    limits.append(entries.get("hierarchical_memory_limit"))  # of containing groups that are not visible, in version 1
    limit = min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=None)
    if limit is None:
        return None
    used = _number(_text(folder / ("memory.usage_in_bytes" if version == 1 else "memory.current"))) or 0
    return max(0, limit - max(0, used - sum(entries.get(name, 0) for name in _CACHES[version - 1])))


def _entries(folder: Path) -> dict[str, int]:
    """Read a group's ``memory.stat``, without entries that are not numbers."""
    lines = (line.partition(" ") for line in _text(folder / "memory.stat").splitlines())
    return {name: number for name, _, value in lines if (number := _number(value)) is not None}


def _number(text: str) -> int | None:
    """Parse a number of bytes; None for ``max``, an empty text or nonsense."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 24 else None


def _text(path: Path) -> str:
    """Read a small file; empty if it is missing or not readable."""
    with suppress(OSError, ValueError):
        return path.read_bytes().decode("utf-8", "surrogateescape")
    return ""
