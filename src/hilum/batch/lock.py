"""The lock of an output folder: only one run at a time writes to it.

The operating system releases the lock when the process that holds it ends, so locks are never stale. On a file system
without locks the content of the lock file decides: a process of this machine is recognized by its number and start
time; if the process is on another machine, a person has to remove the lock.

The lock file also names the run. A worker on another machine may outlive its run, so it calls `check_run` before it
publishes a result.
"""

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from hilum._os.files import lock_handle
from hilum._os.identity import is_alive, is_here, parse_process, this_process
from hilum.errors import OutputError
from hilum.io import atomic, files

NAME = ".lock"

_MAX_BYTES = 4096


class LockHolder(msgspec.Struct, frozen=True):
    """The content of a lock file: ``process`` is a formatted `hilum._os.identity.Process`, ``run`` a random name."""

    host: str
    pid: int
    process: str = ""
    run: str = ""


@contextmanager
def output_lock(
    out: Path,
    *,
    name: str = NAME,
    wait_seconds: float = 1.0,
    what: str = "another run writes here",
    do: str = "wait for it, or choose another --out",
) -> Iterator[str]:
    """Hold the lock of an output folder during the block.

    Parameters
    ----------
    out : Path
        The output folder; it must exist.
    name : str
        The name of the lock file. It remains, empty: if it were removed, two processes could hold an old and a new one.
    wait_seconds : float
        How long to wait for another process to release the lock: one of a run that was just killed needs a moment.
    what, do : str
        The error message if it does not.

    Yields
    ------
    str
        The name of this run, for `check_run`; empty if the disk is too full to write it.

    Raises
    ------
    OutputError
        If another process holds the lock, or the lock file cannot be written or is a link.
    """
    path, run = out / name, secrets.token_hex(8)
    handle = atomic.open_own_file(path)
    try:
        if not _lock(handle, wait_seconds):
            holder = _read_holder(path)
            who = f"process {holder.pid} on {holder.host}" if holder else "an unknown process"
            raise OutputError(f"{what}: {who}", where=out, do=do, code="locked")
        file_id = _file_id(handle)
        _held_here.add(file_id)
        try:
            yield run if _write_holder(handle, run) else ""
        finally:
            _held_here.discard(file_id)
            with suppress(OSError):
                os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def check_run(out: Path, run: str) -> None:
    """Refuse to write for a run that no longer holds the lock of its output folder.

    Parameters
    ----------
    out : Path
        The output folder.
    run : str
        From `output_lock`; empty if nothing holds the lock, as in a user's own program.

    Raises
    ------
    OutputError
        If another run holds the lock, or none does.
    """
    if run and ((holder := _read_holder(out / NAME)) is None or holder.run != run):
        what = "the run of this scan has ended, or another run writes here"
        raise OutputError(what, where=out, do="run it again with the same command", code="orphan")


_held_here: set[tuple[int, int]] = set()  # the lock files that this process holds, by device and inode


def _file_id(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_dev, status.st_ino


def _write_holder(handle: int, run: str) -> bool:
    """Write who holds the lock; return False if it cannot be written, which does not weaken the lock."""
    holder = LockHolder(socket.gethostname(), os.getpid(), str(this_process()), run)
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, msgspec.json.encode(holder))
        os.fsync(handle)  # workers on other machines read it
        return True
    return False


def _lock(handle: int, wait_seconds: float) -> bool:
    until = time.monotonic() + wait_seconds
    while True:
        if (locked := lock_handle(handle)) is None:
            os.lseek(handle, 0, os.SEEK_SET)
            return _file_id(handle) not in _held_here and not _may_be_alive(_decode(os.read(handle, _MAX_BYTES)))
        if locked or time.monotonic() > until:
            return locked
        time.sleep(0.02)


def _may_be_alive(holder: LockHolder | None) -> bool:
    """Check, on a file system without locks, whether the process in a lock file may still be running."""
    if holder is None:
        return False
    if (process := parse_process(holder.process)) is None:
        return holder.host != socket.gethostname()
    if process == this_process():
        return False  # left over, because `_held_here` does not list it
    alive = is_alive(process)
    return alive if alive is not None else (holder.host != socket.gethostname() or is_here(process))


def _decode(content: bytes) -> LockHolder | None:
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(content, type=LockHolder)
    return None


def _read_holder(path: Path) -> LockHolder | None:
    with suppress(OSError, ValueError):
        return _decode(files.read_small(path, limit=_MAX_BYTES))
    return None
