"""Free memory in control groups (containers, batch systems), version 1 and version 2, nested or not.

The memory usage of a group includes the file cache, which the kernel frees before it kills a process. So the free
memory of a group is its limit, minus its usage, plus the cache. A process may allocate the minimum of this over its own
group and all groups that contain it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/")

_NO_LIMIT = 1 << 60  # more than any machine has; version 1 reports about 2 ** 63 if there is no limit


class _Version(NamedTuple):
    """The names of a group's files, and the entries of ``memory.stat`` that the kernel can free."""

    limits: tuple[str, ...]
    used: str
    cache: tuple[str, ...]
    inherited: str


_V1 = _Version(
    limits=("memory.limit_in_bytes",), used="memory.usage_in_bytes",
    cache=("total_inactive_file", "total_active_file"), inherited="hierarchical_memory_limit",
)  # fmt: skip
# Above memory.high the kernel does not kill a process but slows it down almost to a halt.
_V2 = _Version(
    limits=("memory.max", "memory.high"), used="memory.current",
    cache=("inactive_file", "active_file", "slab_reclaimable"), inherited="",
)  # fmt: skip


def free_in_groups(root: Path = ROOT) -> int | None:
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
    free = (_free(folder, version) for folder, version in _groups(root))
    return min((number for number in free if number is not None), default=None)


def _groups(root: Path) -> Iterator[tuple[Path, _Version]]:
    """The folders of this process's groups, from its own up to the root of the mount."""
    paths = _own_paths(_text(root / "proc/self/cgroup"))
    for version, top, mount in _mounts(_text(root / "proc/self/mountinfo")):
        mounted = root / mount.relative_to("/")
        below = PurePosixPath()
        if version in paths and paths[version].is_relative_to(top):
            below = paths[version].relative_to(top)
        # Otherwise the mount does not contain the group of the process; use the root of the mount.
        for part in (below, *below.parents):
            yield mounted / part, version


def _own_paths(text: str) -> dict[_Version, PurePosixPath]:
    """Read ``/proc/self/cgroup``: a line is ``number:controllers:path``, and ``0::path`` for version 2."""
    paths = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/") or ".." in path.split("/"):
            continue
        if "memory" in controllers.split(","):
            paths[_V1] = PurePosixPath(path)
        elif number == "0" and not controllers:
            paths[_V2] = PurePosixPath(path)
    return paths


def _mounts(text: str) -> Iterator[tuple[_Version, PurePosixPath, PurePosixPath]]:
    """Read ``/proc/self/mountinfo``: the version of each mount of groups, the group at its root, and its path."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words, kinds = before.split(" "), after.split(" ")
        if len(words) < 6 or not words[4].startswith("/"):
            continue
        top, mount = (PurePosixPath(_unescape(word)) for word in words[3:5])
        if kinds[0] == "cgroup2":
            yield _V2, top, mount
        elif kinds[0] == "cgroup" and "memory" in kinds[-1].split(","):
            yield _V1, top, mount


def _unescape(word: str) -> str:
    r"""Decode a path, in which the kernel writes a space as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def _free(folder: Path, version: _Version) -> int | None:
    """The free memory of one group; None if it is unlimited or unknown."""
    entries = _entries(folder)
    limits = [_number(_text(folder / name)) for name in version.limits]
    if version.inherited:
        limits.append(entries.get(version.inherited))  # of containing groups that are not visible
    limit = min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=None)
    if limit is None:
        return None
    used = _number(_text(folder / version.used)) or 0
    cache = sum(entries.get(name, 0) for name in version.cache)
    return max(0, limit - max(0, used - cache))


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
