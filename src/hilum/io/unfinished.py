"""The names of what is being written, which tell whose it is; and the removal of what dead processes left.

A folder is ``.partial-PROCESS-TOKEN-NAME``, a file ``.PROCESS-TOKEN.part.SUFFIX``. What a living process is writing is
never touched. A process on this machine is known by its number and its start. Of one on another machine, or in another
container, the lock tells; where there is none, an hour in which nothing changed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from hilum._os import is_alive, is_here, lock_handle, newest_change, parse_process, this_process

PARTIAL = ".partial-"
"""How the name of an unfinished folder begins; never the name of a finished one."""

SILENCE_S = 3600.0
"""Seconds without a change after which a writer that cannot be asked counts as dead."""

_FILE = re.compile(r"\.(?:([0-9a-f]+(?:-[0-9a-f]+){3})-)?[0-9a-f]{8,16}\.part(\.[a-z0-9]+)*")
"""The name of an unfinished file: the process that writes it, which older versions did not tell, and a token."""

_FOLDER = re.compile(r"\.partial-(?:([0-9a-f]{8}(?:-[0-9a-f]+){3})-[0-9a-f]{8}-)?(.+)")

_NAME = 50
"""Characters of a final name in that of the unfinished folder: a name must not get too long for the file system."""


def unfinished_folder(final: Path) -> Path:
    """Make up a name for a folder that this process is writing, beside the name that it gets when it is complete.

    Parameters
    ----------
    final : Path

    Returns
    -------
    Path
    """
    return final.with_name(f"{PARTIAL}{this_process()}-{secrets.token_hex(4)}-{final.name[:_NAME]}")


def unfinished_name(suffixes: str = "") -> str:
    """Make up a name for a file that this process is writing; if it dies, the next writer removes the file.

    Parameters
    ----------
    suffixes : str
        At the end of the name.

    Returns
    -------
    str
    """
    return f".{this_process()}-{secrets.token_hex(4)}.part{suffixes}"


def final_name(partial: str) -> str:
    """Tell which name an unfinished folder would get.

    Parameters
    ----------
    partial : str
        A name that begins with `PARTIAL`.

    Returns
    -------
    str
    """
    match = _FOLDER.fullmatch(partial)
    return match[2] if match else partial


def is_unfinished(name: str) -> bool:
    """Whether a name is that of a file or folder that is being written, or was when its writer died.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
    """
    return name.startswith(PARTIAL) or _FILE.fullmatch(name) is not None


def is_abandoned(path: Path, *, nameless: bool = True) -> bool:
    """Whether an unfinished file or folder was left by a process that is dead.

    Parameters
    ----------
    path : Path
        With a name for which `is_unfinished` holds.
    nameless : bool
        What to say of a name that tells no process, as older versions gave, where nothing of it changed for an hour.

    Returns
    -------
    bool
        False where the writer lives, or may.
    """
    match = _FOLDER.fullmatch(path.name) or _FILE.fullmatch(path.name)
    writer = parse_process(match[1]) if match and match[1] else None
    if writer is not None:
        lives = is_alive(writer)
        if lives is not None:
            return not lives
        locked = _is_locked(path)
        if locked or (locked is False and is_here(writer)):
            return not locked
    elif not nameless:
        return False
    return 0.0 < newest_change(path) < time.time() - SILENCE_S


def sweep(folder: Path, *, nameless: bool = True) -> None:
    """Remove what dead processes left half-written in a folder.

    Parameters
    ----------
    folder : Path
        Its subfolders are not looked into.
    nameless : bool
        Whether the folder is ours, so that what older versions left goes too.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_unfinished(entry.name) and is_abandoned(path := Path(entry.path), nameless=nameless):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        path.unlink()


_swept: set[tuple[int, str]] = set()


def sweep_once(folder: Path) -> None:
    """Sweep a folder the first time that this process writes to it.

    Parameters
    ----------
    folder : Path
    """
    key = os.getpid(), str(folder.absolute())
    if key not in _swept and not is_unfinished(folder.name):  # what this process is making itself holds nothing old
        _swept.add(key)
        sweep(folder, nameless=False)


def _is_locked(path: Path) -> bool | None:
    """Whether another process holds the lock of an unfinished file or folder; None where that cannot be told."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        got = lock_handle(handle)
        return None if got is None else not got
    finally:
        os.close(handle)
