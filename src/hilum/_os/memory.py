"""How much memory this process may use.

Control groups (containers, batch systems) limit memory too, in version 1 and version 2, nested or not. The usage of a
group includes the file cache, which the kernel frees before it kills a process. So the free memory of a group is its
limit, minus its usage, plus the cache. A process may allocate the minimum of this over its own group and all groups
that contain it.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import psutil

_NO_LIMIT = 1 << 60  # more than any machine has; version 1 reports about 2 ** 63 if there is no limit

_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")  # above memory.high the kernel slows a process

_CACHES = ("total_inactive_file", "total_active_file"), ("inactive_file", "active_file", "slab_reclaimable")
"""The entries of ``memory.stat`` that the kernel can free, in version 1 and in version 2."""


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


def resident_bytes(pid: int) -> int:
    """Measure the resident bytes of a process; 0 if it has ended or is not accessible."""
    with suppress(psutil.Error, OSError):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


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
