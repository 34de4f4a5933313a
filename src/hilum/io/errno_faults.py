"""The system's error numbers that mean a fault of the machine, and whether every other scan would fail, too."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MachineFault:
    """A fault of the machine.

    Parameters
    ----------
    code : str
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


_FULL = MachineFault(
    code="disk-full", do="make room and run again: finished scans stay", text="No space left on the disk"
)
_READ_ONLY = MachineFault(code="read-only", do="make the disk writable and run again, or choose another --out")
_LOCKED = MachineFault(code="not-writable", do="change the folder's permissions and run again, or choose another --out")
_FILES = MachineFault(code="open-files", do="allow more open files (ulimit -n) or give fewer --workers, and run again")
_LOST = MachineFault(code="disk-error", do="check the disk or its mount and run again: finished scans stay")
_PROCESSES = MachineFault(code="no-process", do="give fewer --workers, or allow more processes (ulimit -u)")
_STARVED = MachineFault(code="out-of-memory", do="give fewer --workers", stops=False)
_UNREAD = MachineFault(code="unreadable", do="check its disk or mount and run again", stops=False)
# Does not end the run: smaller scans may still fit.
_TOO_LARGE = MachineFault(
    code="file-too-large", do="allow larger files (ulimit -f), or choose an --out on another disk", stops=False,
    text="File too large",
)  # fmt: skip

_NUMBERS: tuple[tuple[MachineFault, tuple[str, ...]], ...] = (
    (_FULL, ("ENOSPC", "EDQUOT")),
    (_READ_ONLY, ("EROFS",)),
    (_FILES, ("EMFILE", "ENFILE")),
    (_LOST, ("EIO", "ENXIO", "ENODEV", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "EREMOTEIO",
             "ENOMEDIUM", "ESHUTDOWN")),
    (_STARVED, ("ENOMEM",)),
    (_TOO_LARGE, ("EFBIG",)),
)  # fmt: skip
"""Errors by name, as not every system has all of them."""

_MEANING = {getattr(errno, name): fault for fault, names in _NUMBERS for name in names if hasattr(errno, name)}

STOPS = frozenset(fault.code for fault in (*(fault for fault, _ in _NUMBERS), _LOCKED) if fault.stops)
"""Codes that end a run. Finished scans stay, the failed scan gets no ledger row, and the same command resumes."""


_SHORT = re.compile(r"^\d+ requested and \d+ written$")
"""numpy's message when a write is cut short."""


def write_fault(problem: OSError, *, where: Path) -> MachineFault | None:
    """Find the fault of the machine behind a failed write.

    Parameters
    ----------
    problem : OSError
    where : Path
        The file or folder that could not be written.

    Returns
    -------
    MachineFault or None
        None where only this path is affected.
    """
    if problem.errno is None:
        if not _SHORT.search(str(problem)):
            return None
        return _TOO_LARGE if _files_are_limited() else _FULL
    if problem.errno in {errno.EACCES, errno.EPERM}:  # only this file, or the folder for every scan?
        return None if os.access(where.parent, os.W_OK | os.X_OK) else _LOCKED
    return _MEANING.get(problem.errno)


def _files_are_limited() -> bool:
    """Whether this process has a limit on the size of files."""
    try:
        import resource
    except ImportError:  # a system without such limits
        return False
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


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
        if fault is _LOST:
            return _UNREAD
        if fault in {_FILES, _STARVED}:
            return fault
        cause = cause.__cause__ or cause.__context__
    return None


def start_fault(problem: OSError) -> MachineFault:
    """Find the fault of the machine behind a process that cannot be started."""
    return _FILES if _MEANING.get(problem.errno or 0) is _FILES else _PROCESSES
