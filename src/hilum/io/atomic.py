"""Files and folders that appear under their name only when they are complete."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.errors import HilumError, OutputError
from hilum.io.machine import write_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTIAL = ".partial-"
"""How the name of an unfinished folder begins; never the name of a finished one."""


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
    suffixes = final.name[-7:] if final.name.lower().endswith(".nii.gz") else final.suffix
    temporary = final.with_name(f".{secrets.token_hex(8)}.part{suffixes}")
    try:
        # Opened by hand, not with tempfile: the file gets the permissions that the umask asks for, not 0600.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(final)
        except BaseException:  # an interrupt must not leave a part behind either
            temporary.unlink(missing_ok=True)
            raise
        _sync(final.parent)
    except HilumError:
        raise
    except OSError as error:
        raise write_refused("", error, where=final) from error


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
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
        If the file system refuses; the temporary folder is removed.
    """
    token = secrets.token_hex(4)  # not the process id: on a cluster two machines may have the same
    partial = final.with_name(f"{PARTIAL}{final.name}-{token}")
    retired = final.with_name(f"{PARTIAL}old-{final.name}-{token}")
    try:
        partial.mkdir(parents=True)
        yield partial
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        if final.exists():
            final.rename(retired)
        partial.rename(final)
        _sync(final.parent)
    except OSError as problem:
        if isinstance(problem, OutputError):
            raise
        raise write_refused("", problem, where=final) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
