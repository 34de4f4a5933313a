"""Free memory as control groups limit it (containers, batch systems): version 1 and version 2, nested as they may be.

A group's own count of what it uses holds the file cache as well, which the kernel gives back before anything else is
ended for want of memory. So a group's free memory is its limit, less what it uses, plus the cache. A process may take
no more than the least of this over its own group and all those around it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/")

_NO_LIMIT = 1 << 60
"""More than any machine has: version 1 says a number near 2 ** 63 where there is no limit."""


class _Version(NamedTuple):
    """What the files of a group are called, and the entries of its ``memory.stat`` that can be given back."""

    limits: tuple[str, ...]
    used: str
    cache: tuple[str, ...]
    inherited: str


_FIRST = _Version(
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
    "hierarchical_memory_limit",
)
# Above memory.high a process is not ended but slowed down until hardly anything of it goes on.
_SECOND = _Version(
    ("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file", "slab_reclaimable"), ""
)


def free_in_groups(root: Path = ROOT) -> int | None:
    """Bytes that this process and its children may still take, as its control groups say.

    Parameters
    ----------
    root : Path
        Where ``proc`` and what is mounted are found.

    Returns
    -------
    int or None
        None where no group sets a limit, or none can be read.
    """
    found = [free for folder, version in _groups(root) if (free := _free(folder, version)) is not None]
    return min(found, default=None)


def _groups(root: Path) -> Iterator[tuple[Path, _Version]]:
    """The folders of this process's groups, from its own up to the root of what is mounted."""
    paths = _own_paths(_text(root / "proc/self/cgroup"))
    for version, top, place in _mounts(_text(root / "proc/self/mountinfo")):
        mounted = root / place.relative_to("/")
        below = PurePosixPath()
        if version in paths and paths[version].is_relative_to(top):
            below = paths[version].relative_to(top)
        # Else the mount shows another branch than the process stands in; what it shows at its root holds for it.
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
            paths[_FIRST] = PurePosixPath(path)
        elif number == "0" and not controllers:
            paths[_SECOND] = PurePosixPath(path)
    return paths


def _mounts(text: str) -> Iterator[tuple[_Version, PurePosixPath, PurePosixPath]]:
    """Read ``/proc/self/mountinfo``: the version of each mount of groups, the group at its root, and where it lies."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words, kinds = before.split(" "), after.split(" ")
        if len(words) < 6 or not words[4].startswith("/"):
            continue
        top, place = (PurePosixPath(_plain(word)) for word in words[3:5])
        if kinds[0] == "cgroup2":
            yield _SECOND, top, place
        elif kinds[0] == "cgroup" and "memory" in kinds[-1].split(","):
            yield _FIRST, top, place


def _plain(word: str) -> str:
    r"""A path as it is: the kernel writes blanks and the like as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)


def _free(folder: Path, version: _Version) -> int | None:
    """What one group leaves; None where it has no limit, or does not say."""
    told = _entries(folder)
    limits = [_number(_text(folder / name)) for name in version.limits]
    if version.inherited:
        limits.append(told.get(version.inherited))  # of groups around it that cannot be seen from here
    limit = min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=None)
    if limit is None:
        return None
    used = _number(_text(folder / version.used)) or 0
    cache = sum(told.get(name, 0) for name in version.cache)
    return max(0, limit - max(0, used - cache))


def _entries(folder: Path) -> dict[str, int]:
    """A group's ``memory.stat``, without what is no number."""
    entries = {}
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if (number := _number(value)) is not None:
            entries[name] = number
    return entries


def _number(text: str) -> int | None:
    """A number of bytes; None for ``max``, for nothing and for what makes no sense."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 24 else None


def _text(path: Path) -> str:
    """A small file; empty where there is none, or it may not be read."""
    with suppress(OSError, ValueError):
        return path.read_bytes().decode("utf-8", "surrogateescape")
    return ""
