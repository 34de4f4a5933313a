"""Files and folders that appear under their name only when they are complete.

1. The writer uses a hidden name that identifies its process (`hilum.io.unfinished`), and locks the file or folder where
   the file system has locks.
2. When it is complete, its bytes are synced to the disk, and it is renamed. A volume file alone is renamed without
   waiting for the disk.
3. If somebody removes or replaces the folder meanwhile, the writer fails, and nothing gets the final name.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hilum._os.files import held, hint, open_handle, rename, sync_file, sync_folder
from hilum.errors import HilumError, OutputError
from hilum.io import errno_faults, unfinished


@contextmanager
def atomic_path(path: str | Path, *, synced: bool = True) -> Iterator[Path]:
    """A temporary name in the same folder, moved to `path` on success and removed on failure.

    The file exists, empty, when the block starts. When the block ends without an exception, it replaces any file of
    that name; a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        The final name; its folder must exist.
    synced : bool
        Sync the bytes to the disk first: then this also holds after a power failure. In an `atomic_folder` they are
        synced anyway, when it is complete.

    Yields
    ------
    Path
        A hidden file in the same folder, with the same suffixes for writers that check them.

    Raises
    ------
    OutputError
        If there is no space, no permission or no such folder. Nothing is left behind.
    """
    final = Path(path)
    unfinished.sweep_once(final.parent)
    suffixes = final.name[-7:] if final.name.lower().endswith(".nii.gz") else final.suffix
    temporary = final.with_name(unfinished.unfinished_name(suffixes))
    with refusing_writes(final):
        temporary.touch(exist_ok=False)  # not with tempfile, which sets the permissions 0600 whatever the umask
        try:
            with held(temporary):
                yield temporary
                if synced:
                    _sync(temporary)
                rename(temporary, final, replace=True)
        except BaseException:  # also after an interrupt
            temporary.unlink(missing_ok=True)
            raise
        if synced:
            sync_folder(final.parent)


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """A temporary folder, renamed to its final name when the block ends without an exception.

    Parameters
    ----------
    final : Path
        Its final name; a folder of that name is replaced.

    Yields
    ------
    Path
        An empty folder on the same file system.

    Raises
    ------
    OutputError
        If it cannot be written, or somebody removed the temporary folder. Nothing is left behind.
    """
    unfinished.sweep_once(final.parent)
    partial = unfinished.unfinished_folder(final)
    made = None
    try:
        partial.mkdir(parents=True)
        made = partial.lstat()
        with held(partial):  # so that no other folder gets its inode
            yield partial
            for path in (*partial.rglob("*"), partial):
                _sync(path)
            if not os.path.samestat(made, partial.lstat()):
                raise _replaced_by_others(final)
            _replace(partial, final)
        sync_folder(final.parent)
    except OSError as problem:
        if isinstance(problem, OutputError):
            raise
        if made and not partial.is_dir():
            raise _replaced_by_others(final) from None
        raise write_refused("", problem, where=final) from None
    finally:
        import shutil  # late: it loads every kind of compression

        shutil.rmtree(partial, ignore_errors=True)


def open_own_file(path: Path) -> int:
    """Open a file of hilum's own for reading and writing; create it if it does not exist, and follow no link.

    Returns
    -------
    int
        A file descriptor.

    Raises
    ------
    OutputError
        If it is a link, has a second name, is not a regular file, or cannot be written.
    """
    do = "hilum did not create this file: check it, then remove it"
    try:
        handle = open_handle(path, write=True, follow=False)
    except OSError as problem:
        if path.is_symlink():
            what = "is a link, and hilum would overwrite its target"
            raise OutputError(what, where=path, do=do, code="link") from None
        raise write_refused("", problem, where=path) from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(handle)
        raise OutputError("is not a regular file, or has a second name", where=path, do=do, code="link")
    return handle


@contextmanager
def refusing_writes(where: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into the error that `where` cannot be written.

    Parameters
    ----------
    where : Path
        The file or folder that is written.

    Raises
    ------
    OutputError
    """
    try:
        yield
    except HilumError:
        raise
    except OSError as problem:
        raise write_refused("", problem, where=where) from problem


def write_refused(what: str, problem: OSError, *, where: Path) -> OutputError:
    """Make the error for a failed write; its code names a fault of the machine.

    Parameters
    ----------
    what : str
        What could not be written; empty where the path is enough.
    problem : OSError
        The error of the operating system.
    where : Path
        The file or folder that was written.
    """
    fault = errno_faults.write_fault(problem, where=where)
    do = fault.do if fault else hint(problem, where) or "check the folder, its permissions and space"
    reason = problem.strerror or (fault.text if fault else "") or problem
    text = f"{what} cannot be written: {reason}".strip()
    return OutputError(text, where=where, do=do, code=fault.code if fault else "")


def _replace(partial: Path, final: Path) -> None:
    """Replace a folder by another; of two processes that do so at the same time, the last one wins."""
    for _ in range(100):  # others may replace it at the same time
        retired = unfinished.unfinished_folder(final)
        with suppress(FileNotFoundError):
            rename(final, retired)
        try:
            rename(partial, final)
        except OSError as problem:
            if problem.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
        else:
            return
        finally:
            unfinished.remove(retired)
    raise OutputError("is replaced by other processes again and again", where=final, do="let one process write it")


def _replaced_by_others(final: Path) -> OutputError:
    what = "somebody removed or replaced files while it was being written"
    return OutputError(what, where=final, do="run it again; let nothing else clean this folder", code="touched")


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(path)
    else:
        sync_file(path)
