"""The identity of processes, and whether they are alive."""

import os
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_TAG = re.compile(r"([0-9a-f]{8})-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Process:
    """A process, distinct from later processes with the same number and from processes on other machines.

    Parameters
    ----------
    machine : str
        Eight hexadecimal digits that differ for each machine and, on Linux, each of its boots.
    space : int
        The namespace of `pid`; each container has its own. 0 on systems without namespaces.
    pid : int
        The number that the operating system gave it.
    started : int
        When it started: on Linux since the boot, elsewhere in milliseconds since 1970.
    """

    machine: str
    space: int
    pid: int
    started: int

    def __str__(self) -> str:
        """Format it for `parse_process`; valid in a file name."""
        return f"{self.machine}-{self.space:x}-{self.pid:x}-{self.started:x}"


def parse_process(text: str) -> Process | None:
    """Parse the result of ``str(process)``.

    Parameters
    ----------
    text : str
        What was written down of a process.

    Returns
    -------
    Process or None
        None if the text is malformed.
    """
    match = _TAG.fullmatch(text)
    return Process(match[1], *(int(part, 16) for part in match.groups()[1:])) if match else None


def this_process() -> Process:
    """Identify this process.

    Returns
    -------
    Process
    """
    return _process(os.getpid())  # the cache is by number: a forked child differs


def is_alive(process: Process) -> bool | None:
    """Check whether a process is alive.

    Parameters
    ----------
    process : Process
        The process to look for.

    Returns
    -------
    bool or None
        None if this process cannot find out: the other one is on another machine, in another container, or hidden.
    """
    if (process.machine, process.space) != (_machine(), _space()):
        return None
    started = _started(process.pid)
    return None if started == _HIDDEN else started == process.started


def is_here(process: Process) -> bool:
    """Check whether a process ran on this machine since its last boot, in any container.

    Parameters
    ----------
    process : Process
        The process to look for.

    Returns
    -------
    bool
    """
    return process.machine == _machine()


@lru_cache(maxsize=4)
def _process(pid: int) -> Process:
    return Process(_machine(), _space(), pid, max(0, _started(pid) or 0))


@lru_cache(maxsize=1)
def _machine() -> str:
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except (
        OSError,
        UnicodeDecodeError,
    ):  # elsewhere the start of a process is a time of day, so the boot need not count
        import socket

        name = socket.gethostname()
    return f"{zlib.crc32(name.encode('utf-8', 'surrogateescape')):08x}"


@lru_cache(maxsize=1)
def _space() -> int:
    with suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - one way to every file of /proc
    return 0


_HIDDEN = -1  # the start time of a process that exists but shows no details


def _started(pid: int) -> int | None:
    """When a process started; None if it does not exist or is a zombie."""
    with suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in {b"Z", b"X"} else int(fields[19])
    import psutil  # a system without /proc, or one that hides the processes of other users

    try:
        if os.path.exists("/proc/self/stat"):  # noqa: PTH110 - as above
            return _HIDDEN if psutil.pid_exists(pid) else None
        process = psutil.Process(pid)
        is_zombie = os.name == "posix" and process.status() == psutil.STATUS_ZOMBIE
        return None if is_zombie else round(process.create_time() * 1000)
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return _HIDDEN
