"""Files and folders that appear under their name only when they are complete.

1. What is being written has a hidden name that tells which process writes it (`hilum.io.unfinished`), and is locked
   where the file system has locks.
2. When it is complete its bytes are forced to the disk, and it takes its name.
3. A writer whose folder was taken away under its hands fails: nothing takes its name that was touched.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hilum._os import lock_handle, sync_folder
from hilum.errors import HilumError, OutputError
from hilum.io.errno_faults import write_fault
from hilum.io.unfinished import sweep_once, unfinished_folder, unfinished_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIES = 100
"""How often a folder is put in the place of another, where others do the same at the same time."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name in the same folder, moved to `path` on success and removed on failure.

    The file exists, empty, when the block starts. When the block ends without an exception its bytes are forced
    to the disk and it replaces whatever had the name; a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        The final name; its folder must exist.

    Yields
    ------
    Path
        A hidden file in the same folder with the same suffixes, so that writers which look at them are content.

    Raises
    ------
    OutputError
        If the system refuses: no space, no permission, no such folder. Nothing is left behind.
    """
    final = Path(path)
    sweep_once(final.parent)
    suffixes = final.name[-7:] if final.name.lower().endswith(".nii.gz") else final.suffix
    temporary = final.with_name(unfinished_name(suffixes))
    try:
        # Opened by hand, not with tempfile: the file gets the permissions that the umask asks for, not 0600.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        lock_handle(handle)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(final)
        except BaseException:  # an interrupt must not leave a part behind either
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        sync_folder(final.parent)
    except HilumError:
        raise
    except OSError as error:
        raise write_refused("", error, where=final) from error


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """Give a temporary folder that takes its final name only when the block ends well.

    Parameters
    ----------
    final : Path
        The name it gets; a folder already there is replaced at that moment.

    Yields
    ------
    Path
        An empty folder on the same file system.

    Raises
    ------
    OutputError
        If the file system refuses, or somebody took the temporary folder away; nothing of it stays.
    """
    sweep_once(final.parent)
    partial = unfinished_folder(final)
    handle = -1
    try:
        partial.mkdir(parents=True)
        handle = os.open(partial, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        lock_handle(handle)
        yield partial
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        if not os.path.samestat(os.fstat(handle), partial.lstat()):
            raise _touched(final)
        _replace(partial, final)
        sync_folder(final.parent)
    except OSError as problem:
        if isinstance(problem, OutputError):
            raise
        if handle >= 0 and not partial.is_dir():
            raise _touched(final) from None
        raise write_refused("", problem, where=final) from None
    finally:
        if handle >= 0:
            os.close(handle)
        shutil.rmtree(partial, ignore_errors=True)


def open_own_file(path: Path) -> int:
    """Open a file of hilum's own for reading and writing, made where it is not there; never what a link leads to.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
        A file descriptor.

    Raises
    ------
    OutputError
        If it is a link, has a second name, or is no regular file; or the system refuses.
    """
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    do = "this folder is not as hilum made it: look at it, then remove that file"
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as problem:
        if path.is_symlink():
            raise OutputError("is a link, and would be written through", where=path, do=do, code="link") from None
        raise write_refused("", problem, where=path) from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(handle)
        raise OutputError("is not a file of its own", where=path, do=do, code="link")
    return handle


def write_refused(what: str, problem: OSError, *, where: Path) -> OutputError:
    """Say that something cannot be written; where the machine is to blame, the code says so.

    Parameters
    ----------
    what : str
        What could not be written; empty where the path says it.
    problem : OSError
    where : Path

    Returns
    -------
    OutputError
    """
    fault = write_fault(problem, where=where)
    do = fault.do if fault else "check the folder, its permissions and space"
    said = problem.strerror or (fault.text if fault else "") or problem
    text = f"{what} cannot be written: {said}".strip()
    return OutputError(text, where=where, do=do, code=fault.code if fault else "")


def _replace(partial: Path, final: Path) -> None:
    """Put a folder in the place of another; of two that do so at the same time the last one wins."""
    for _ in range(_TRIES):
        retired = unfinished_folder(final)
        with suppress(FileNotFoundError):
            final.rename(retired)
        try:
            partial.rename(final)
        except OSError as problem:
            if problem.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
        else:
            return
        finally:
            _remove(retired)
    raise OutputError("is being replaced by others all the time", where=final, do="let one process write it")


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _touched(final: Path) -> OutputError:
    what = "somebody removed or replaced files while it was being written"
    return OutputError(what, where=final, do="run it again; let nothing else clean this folder", code="touched")


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(path)
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
