"""The system's error numbers that mean a fault of the machine, and whether every other scan would fail, too."""

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from hilum._os.files import limits_file_size


class MachineFault(NamedTuple):
    """A fault of the machine.

    Parameters
    ----------
    code : str
        The code of the error, such as ``disk-full``.
    do : str
        The next step for the user.
    stops : bool
        Whether every other scan would fail, too, so that a run should end.
    text : str
        The message where the system has none.
    """

    code: str
    do: str
    stops: bool = True
    text: str = ""


_FULL = MachineFault("disk-full", "make room and run again: finished scans stay", text="No space left on the disk")
_READ_ONLY = MachineFault("read-only", "make the disk writable and run again, or choose another --out")
_LOCKED = MachineFault("not-writable", "change the folder's permissions and run again, or choose another --out")
_FILES = MachineFault("open-files", "allow more open files (ulimit -n) or give fewer --workers, and run again")
_LOST = MachineFault("disk-error", "check the disk or its mount and run again: finished scans stay")
_PROCESSES = MachineFault("no-process", "give fewer --workers, or allow more processes (ulimit -u)")
_STARVED = MachineFault("out-of-memory", "give fewer --workers", stops=False)
_UNREAD = MachineFault("unreadable", "check its disk or mount and run again", stops=False)
_LARGER = "allow larger files (ulimit -f), or choose an --out on another disk"
_TOO_LARGE = MachineFault("file-too-large", _LARGER, stops=False, text="File too large")  # smaller scans may still fit

_NUMBERS = {
    "ENOSPC": _FULL, "EDQUOT": _FULL, "EROFS": _READ_ONLY, "EMFILE": _FILES, "ENFILE": _FILES, "ENOMEM": _STARVED,
    "EFBIG": _TOO_LARGE, **dict.fromkeys(("EIO", "ENXIO", "ENODEV", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN",
                                          "EHOSTUNREACH", "EREMOTEIO", "ENOMEDIUM", "ESHUTDOWN"), _LOST),
}  # fmt: skip
"""Errors by name, as not every system has all of them."""

_MEANING = {getattr(errno, name): fault for name, fault in _NUMBERS.items() if hasattr(errno, name)}

STOPS = frozenset(fault.code for fault in (*_NUMBERS.values(), _LOCKED) if fault.stops)
"""Codes that end a run. Finished scans stay, the failed scan gets no ledger row, and the same command resumes."""


def write_fault(problem: OSError, *, where: Path) -> MachineFault | None:
    """Find the fault of the machine behind a failed write.

    Parameters
    ----------
    problem : OSError
        The error of the operating system.
    where : Path
        The file or folder that could not be written.

    Returns
    -------
    MachineFault or None
        None where only this path is affected.
    """
    if problem.errno is None:
        if not re.fullmatch(r"\d+ requested and \d+ written", str(problem)):  # numpy, of a write that was cut short
            return None
        return _TOO_LARGE if limits_file_size() else _FULL
    if problem.errno in {errno.EACCES, errno.EPERM}:  # only this file, or the folder for every scan?
        return None if os.access(where.parent, os.W_OK | os.X_OK) else _LOCKED
    return _MEANING.get(problem.errno)


def read_fault(problem: BaseException) -> MachineFault | None:
    """Find the fault of the machine behind an input that could not be read.

    Parameters
    ----------
    problem : BaseException
        As caught; its causes are searched, too.

    Returns
    -------
    MachineFault or None
        None where the input is at fault.
    """
    visited: set[int] = set()
    cause: BaseException | None = problem
    while cause is not None and id(cause) not in visited:
        visited.add(id(cause))
        fault = _MEANING.get(cause.errno or 0) if isinstance(cause, OSError) else None
        if fault in {_FILES, _STARVED, _LOST}:
            return _UNREAD if fault is _LOST else fault
        cause = cause.__cause__ or cause.__context__
    return None


def start_fault(problem: OSError) -> MachineFault:
    """Find the fault of the machine behind a process that cannot be started."""
    return _FILES if _MEANING.get(problem.errno or 0) is _FILES else _PROCESSES
