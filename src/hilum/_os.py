"""The one place that knows the operating system: which process wrote something, whether it lives, locks, the disk."""

from __future__ import annotations

import os
import re
import socket
import sys
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "win32":
    import fcntl

_TAG = re.compile(r"([0-9a-f]{8})-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart from every other: also from one that has its number later, or on another machine.

    Parameters
    ----------
    machine : str
        Eight hexadecimal digits that change with the machine and with each of its starts.
    space : int
        The namespace in which `pid` counts: a container has one of its own. 0 where the system has none.
    pid : int
    started : int
        When it started, in a unit of the system's own.
    """

    machine: str
    space: int
    pid: int
    started: int

    def __str__(self) -> str:
        """Write it so that `parse_process` reads it; fit for a file's name."""
        return f"{self.machine}-{self.space:x}-{self.pid:x}-{self.started:x}"


def parse_process(text: str) -> Process | None:
    """Read what ``str(process)`` wrote.

    Parameters
    ----------
    text : str

    Returns
    -------
    Process or None
        None where the text has another form.
    """
    match = _TAG.fullmatch(text)
    if match is None:
        return None
    return Process(match[1], int(match[2], 16), int(match[3], 16), int(match[4], 16))


def this_process() -> Process:
    """Tell which process this is.

    Returns
    -------
    Process
    """
    return _process(os.getpid())  # by its number: a forked child is another one


def is_alive(process: Process) -> bool | None:
    """Tell whether a process lives.

    Parameters
    ----------
    process : Process

    Returns
    -------
    bool or None
        None where this process cannot tell: the other is of another machine or container, or hidden from us.
    """
    if (process.machine, process.space) != (_machine(), _space()):
        return None
    started = _started(process.pid)
    return None if started == _HIDDEN else started == process.started


def is_here(process: Process) -> bool:
    """Tell whether a process ran on this machine since its last start, in whatever container.

    Parameters
    ----------
    process : Process

    Returns
    -------
    bool
    """
    return process.machine == _machine()


def lock_handle(handle: int) -> bool | None:
    """Try to lock an open file or folder for this process alone, without waiting.

    Parameters
    ----------
    handle : int
        A file descriptor. The lock ends when its last copy is closed, however the process ends.

    Returns
    -------
    bool or None
        Whether it is locked now; None where the file system has no locks.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk; a file system that cannot do that for folders is left alone.

    Parameters
    ----------
    folder : Path
    """
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def newest_change(path: Path) -> float:
    """Find when a file, or anything in a folder, was changed last.

    Parameters
    ----------
    path : Path
        Links are not followed.

    Returns
    -------
    float
        Seconds since 1970; 0 where nothing can be looked at.
    """
    return max(_changes(path), default=0.0)


def _changes(path: Path) -> Iterator[float]:
    with suppress(OSError):
        yield path.lstat().st_mtime
        if path.is_dir() and not path.is_symlink():
            for below in path.rglob("*"):
                with suppress(OSError):
                    yield below.lstat().st_mtime


@lru_cache(maxsize=4)
def _process(pid: int) -> Process:
    return Process(_machine(), _space(), pid, _started(pid) or 0)


@lru_cache(maxsize=1)
def _machine() -> str:
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        import psutil

        name = f"{socket.gethostname()} {psutil.boot_time():.0f}"
    return f"{zlib.crc32(name.encode('utf-8', 'surrogateescape')):08x}"


@lru_cache(maxsize=1)
def _space() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


_HIDDEN = -1
"""In place of the start of a process that is there and shows nothing of itself."""


def _started(pid: int) -> int | None:
    """When a process started; None where there is none, or only its exit status is left of it."""
    with suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in {b"Z", b"X"} else int(fields[19])
    import psutil  # a system without /proc, or one that hides the processes of other users

    try:
        if Path("/proc/self/stat").exists():
            return _HIDDEN if psutil.pid_exists(pid) else None
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else round(found.create_time() * 1000)
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return _HIDDEN
