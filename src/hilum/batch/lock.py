"""One run at a time writes to an output folder.

The lock is the kernel's: it ends with the process that holds it, however that dies, so none is left stale. On a file
system without locks the note in the file decides: a process of this machine by its number and its start; one of another
machine has to be vouched for by a person.

The note also names the run. A worker on another machine may outlive the run that it works for, and asks before it puts
anything in its place (`check_run`).
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from hilum._os import is_alive, is_here, lock_handle, parse_process, this_process
from hilum.errors import OutputError
from hilum.io.atomic import open_own_file
from hilum.io.files import read_small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = ".lock"

_PATIENCE = 1.0
"""Seconds for which the processes of a run that was just killed may go on holding the lock."""

_NOTE = 4096


class LockHolder(msgspec.Struct, frozen=True):
    """Who holds a lock: ``process`` is as `hilum._os.Process` writes it, ``run`` differs for each time it is held."""

    host: str
    pid: int
    process: str = ""
    run: str = ""


@contextmanager
def output_lock(
    out: Path,
    *,
    name: str = NAME,
    patience: float = _PATIENCE,
    what: str = "another run writes here",
    do: str = "wait for it, or choose another --out",
) -> Iterator[str]:
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

    Yields
    ------
    str
        The name of this run, for `check_run`; empty where the disk is too full for it.

    Raises
    ------
    OutputError
        If another process holds it, or the lock's file cannot be made, or is a link.
    """
    path, run = out / name, secrets.token_hex(8)
    handle = open_own_file(path)
    try:
        if not _lock(handle, patience):
            raise _taken(path, what, do)
        place = _place(handle)
        _held.add(place)
        try:
            yield run if _write(handle, run) else ""
        finally:
            _held.discard(place)
            with suppress(OSError):
                os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def check_run(out: Path, run: str) -> None:
    """Refuse to write for a run that no longer holds its output folder.

    Parameters
    ----------
    out : Path
    run : str
        As `hold` gave it; empty where nobody holds the folder, as in a program of one's own.

    Raises
    ------
    OutputError
        If another run holds it now, or none does.
    """
    if not run:
        return
    try:
        owner = _read(read_small(out / NAME, limit=_NOTE))
    except (OSError, ValueError):
        owner = None
    if owner is None or owner.run != run:
        what = "the run that this scan was made for has ended, or another holds the folder"
        raise OutputError(what, where=out, do="run it again with the same command", code="orphan")


_held: set[tuple[int, int]] = set()
"""The lock files that this process holds, by device and number."""


def _place(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


def _write(handle: int, run: str) -> bool:
    """Write the note; the lock holds without it, too."""
    note = LockHolder(socket.gethostname(), os.getpid(), str(this_process()), run)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, msgspec.json.encode(note), 0)
        os.fsync(handle)  # workers on other machines read it
    except OSError:
        return False
    return True


def _lock(handle: int, patience: float) -> bool:
    until = time.monotonic() + patience
    while True:
        locked = lock_handle(handle)
        if locked is None:
            return _place(handle) not in _held and not _may_be_alive(os.pread(handle, _NOTE, 0))
        if locked or time.monotonic() > until:
            return locked
        time.sleep(0.02)


def _may_be_alive(note: bytes) -> bool:
    """Whether a note, where the file system has no locks, is of a process that may be at work."""
    owner = _read(note)
    if owner is None:
        return False
    process = parse_process(owner.process)
    if process is None:
        return owner.host != socket.gethostname()
    if process == this_process():
        return False  # a note that could not be removed: what this process holds, it knows
    lives = is_alive(process)
    return lives if lives is not None else (owner.host != socket.gethostname() or is_here(process))


def _read(note: bytes) -> LockHolder | None:
    try:
        return msgspec.json.decode(note, type=LockHolder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _taken(path: Path, what: str, do: str) -> OutputError:
    try:
        owner = _read(read_small(path, limit=_NOTE))
    except (OSError, ValueError):
        owner = None
    who = f"process {owner.pid} on {owner.host}" if owner else "a process that left no name"
    return OutputError(f"{what}: {who}", where=path.parent, do=do, code="locked")
