"""Files and folders: how each system opens, locks, syncs and renames them."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_BINARY = getattr(os, "O_BINARY", 0)  # otherwise Windows translates line breaks

READ = os.O_RDONLY | _BINARY
"""The flags that open a file for reading. Python sees to it that no child process inherits it."""

READS_AT_OFFSETS = hasattr(os, "pread")
"""Whether the C library has ``pread``, which the kernel of plain frames calls."""

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # for the writer of a pipe

_IS_WINDOWS = os.name == "nt"

_LONGEST_PATH = 259  # characters, on a Windows without long paths

_PATIENCE_S = 1.0  # how long a file is tried to be renamed that another program has open

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 1 << 40  # beyond the end of every file: others cannot read a byte that is locked

    def lock_handle(handle: int) -> bool | None:
        """Try to lock an open file exclusively, without waiting; see below."""
        at = os.lseek(handle, 0, os.SEEK_CUR)
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        except OSError:
            return None
        finally:
            os.lseek(handle, at, os.SEEK_SET)
        return True

else:

    def lock_handle(handle: int) -> bool | None:
        """Try to lock an open file or folder exclusively, without waiting.

        Parameters
        ----------
        handle : int
            A file descriptor. The system releases the lock when its last copy is closed, at the latest with the
            process.

        Returns
        -------
        bool or None
            Whether it is locked now; None if the file system has no locks.
        """
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except (ImportError, OSError):
            return None
        return True


def open_handle(path: Path, *, write: bool = False, follow: bool = True) -> int:
    """Open a file, and do not wait if it is a pipe.

    Parameters
    ----------
    path : Path
        The file.
    write : bool
        Open it for reading and writing, and create it if it does not exist.
    follow : bool
        Whether to follow a link.

    Returns
    -------
    int
        A file descriptor.

    Raises
    ------
    OSError
        If it cannot be opened, or is a link that is not followed.
    """
    if not (follow or _NO_LINKS) and path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    access = os.O_RDWR | os.O_CREAT if write else os.O_RDONLY
    return os.open(path, access | _BINARY | _NO_WAITING | (0 if follow else _NO_LINKS), 0o666)


def load_library(path: Path) -> Any:
    """Load a shared library, as a ``ctypes.CDLL``; raises OSError if it is not one of this system."""
    import ctypes

    return ctypes.CDLL(str(path))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep a file or folder open and locked, so that others see that somebody writes it.

    Windows renames nothing that is open, so nothing is held there. It has no containers that share a disk but hide
    their processes: the number of the writer tells enough.

    Parameters
    ----------
    path : Path
        The file or folder; the block may rename it.
    """
    if _IS_WINDOWS:
        yield
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # NFS locks only what is open for writing
    try:
        lock_handle(handle)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool | None:
    """Check whether another process holds a file or folder; None if that is unknown."""
    try:
        handle = open_handle(path, follow=False)
    except OSError:
        return None
    try:
        return None if (locked := lock_handle(handle)) is None else not locked
    finally:
        os.close(handle)


def rename(source: Path, target: Path, *, replace: bool = False) -> None:
    """Rename a file or folder. Windows refuses while another program has it open, so try for a second there.

    Parameters
    ----------
    source, target : Path
        In the same file system.
    replace : bool
        Whether to replace a file; a folder is never replaced on Windows.
    """
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            (os.replace if replace else os.rename)(source, target)
        except PermissionError:
            if not _IS_WINDOWS or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def sync_file(path: Path) -> None:
    """Force the content of a file to the disk."""
    handle = os.open(path, os.O_RDWR if _IS_WINDOWS else os.O_RDONLY)  # Windows syncs only what is open for writing
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, if the file system can do that for folders.

    Parameters
    ----------
    folder : Path
        The folder whose entries were changed.
    """
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def newest_change(path: Path) -> float:
    """Find the time of the last change to a file, or to anything in a folder.

    Parameters
    ----------
    path : Path
        Links are not followed.

    Returns
    -------
    float
        Seconds since 1970; 0 if nothing is accessible.
    """
    return max(_changes(path), default=0.0)


def _changes(path: Path) -> Iterator[float]:
    with suppress(OSError):
        yield path.lstat().st_mtime
        if path.is_dir() and not path.is_symlink():
            for below in path.rglob("*"):
                with suppress(OSError):
                    yield below.lstat().st_mtime


def limits_file_size() -> bool:
    """Check whether the system limits the size of files that this process writes."""
    if sys.platform != "win32":
        with suppress(ImportError):
            import resource

            return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
    return False


def hint(problem: OSError, path: Path) -> str:
    """Say what to do about an error that only Windows has; empty for any other.

    Parameters
    ----------
    problem : OSError
        The error.
    path : Path
        The file or folder that was opened, written or renamed.
    """
    if not _IS_WINDOWS:
        return ""
    if isinstance(problem, FileNotFoundError) and len(os.path.abspath(path)) > _LONGEST_PATH:  # noqa: PTH100 - follow no link
        return "turn on long paths in Windows (LongPathsEnabled), or move it to a shorter path"
    return "close the programs that have it open" if isinstance(problem, PermissionError) else ""
