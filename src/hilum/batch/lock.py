"""One run at a time writes to an output folder.

The lock is the kernel's (``flock``): it ends with the last process that holds it, however that dies, so none is left
stale. On a file system without locks the note in the file decides: a run of this machine by whether its process
lives; one of another machine has to be vouched for by a person.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hilum.errors import OutputError
from hilum.io.atomic import write_refused

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = ".lock"

_PATIENCE = 1.0
"""Seconds for which the processes of a run that was just killed may go on holding the lock."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class Owner(msgspec.Struct, frozen=True):
    """Who holds a lock."""

    host: str
    pid: int


@contextmanager
def hold(
    out: Path,
    *,
    name: str = NAME,
    patience: float = _PATIENCE,
    what: str = "another run writes here",
    do: str = "wait for it, or choose another --out",
) -> Iterator[None]:
    """Hold an output folder for the time of the block.

    Parameters
    ----------
    out : Path
        An output folder; it exists.
    name : str
        The lock's file. It stays, empty: were it removed, one process could hold the old file and another the new.
    patience : float
        Seconds for which a lock that is taken is waited for.
    what, do : str
        What is said where it stays taken.

    Raises
    ------
    OutputError
        If another process holds it, or the lock's file cannot be made.
    """
    path = out / name
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as problem:
        raise write_refused("", problem, where=path) from None
    try:
        if not _lock(handle, patience):
            raise _taken(path, what, do)
        with suppress(OSError):  # a full disk: the lock holds without the note
            os.ftruncate(handle, 0)
            os.pwrite(handle, msgspec.json.encode(Owner(socket.gethostname(), os.getpid())), 0)
        yield
        with suppress(OSError):
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _lock(handle: int, patience: float) -> bool:
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno in _NO_LOCKS:
                return not _vouched_for(os.pread(handle, 4096, 0))
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        else:
            return True


def _vouched_for(note: bytes) -> bool:
    """Whether a note, where the file system has no locks, is of a run that may be going on."""
    owner = _read(note)
    if owner is None:
        return False
    return owner.host != socket.gethostname() or Path(f"/proc/{owner.pid}").exists()


def _read(note: bytes) -> Owner | None:
    try:
        return msgspec.json.decode(note, type=Owner)
    except msgspec.DecodeError:
        return None


def _taken(path: Path, what: str, do: str) -> OutputError:
    owner = _read(path.read_bytes())
    who = f"process {owner.pid} on {owner.host}" if owner else "a process that left no name"
    return OutputError(f"{what}: {who}", where=path.parent, do=do, code="locked")
