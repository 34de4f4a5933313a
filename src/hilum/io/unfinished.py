"""The names of unfinished files and folders, and the removal of those that dead processes left.

A folder is ``.partial-PROCESS-TOKEN-NAME``, a file ``.PROCESS-TOKEN.part.SUFFIX``. Those of a living process are never
removed. A process on this machine is identified by its number and start time. For a process on another machine or in
another container the lock decides, or without locks, an hour without a change.
"""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from hilum._os.files import is_held, newest_change
from hilum._os.identity import is_alive, is_here, parse_process, this_process

PARTIAL = ".partial-"  # the first characters of the name of an unfinished folder; no finished folder has them

SILENCE_S = 3600.0  # seconds without a change after which a writer of unknown state counts as dead

_FILE = re.compile(r"\.(?:([0-9a-f]+(?:-[0-9a-f]+){3})-)?[0-9a-f]{8,16}\.part(\.[a-z0-9]+)*")
"""The name of an unfinished file: its process, which older versions left out, and a token."""

_FOLDER = re.compile(r"\.partial-(?:([0-9a-f]{8}(?:-[0-9a-f]+){3})-[0-9a-f]{8}-)?(.+)")


def unfinished_folder(final: Path) -> Path:
    """Make a name for a folder that this process is writing, in the same folder as its final name."""
    name = final.name[:50]  # to stay within the limits of file systems
    return final.with_name(f"{PARTIAL}{this_process()}-{os.urandom(4).hex()}-{name}")


def unfinished_name(suffixes: str = "") -> str:
    """Make a name for a file that this process is writing; if the process dies, the next writer removes the file.

    Parameters
    ----------
    suffixes : str
        At the end of the name.
    """
    return f".{this_process()}-{os.urandom(4).hex()}.part{suffixes}"


def is_unfinished(name: str) -> bool:
    """Whether a name is that of an unfinished file or folder."""
    return name.startswith(PARTIAL) or _FILE.fullmatch(name) is not None


def is_abandoned(path: Path, *, nameless: bool = True) -> bool:
    """Whether an unfinished file or folder was left by a dead process.

    Parameters
    ----------
    path : Path
        Of a name for which `is_unfinished` is true.
    nameless : bool
        The answer for a name without a process, as older versions wrote it, and without a change for an hour.

    Returns
    -------
    bool
        False where the writer is alive or may be.
    """
    match = _FOLDER.fullmatch(path.name) or _FILE.fullmatch(path.name)
    writer = parse_process(match[1]) if match and match[1] else None
    if writer is not None:
        if (lives := is_alive(writer)) is not None:
            return not lives
        locked = is_held(path)
        if locked or (locked is False and is_here(writer)):
            return not locked
    elif not nameless:
        return False
    return 0.0 < newest_change(path) < time.time() - SILENCE_S


def sweep(folder: Path, *, nameless: bool = True) -> None:
    """Remove the unfinished files and folders that dead processes left in a folder.

    Parameters
    ----------
    folder : Path
        Without its subfolders.
    nameless : bool
        Whether to remove those of older versions, too; only for folders that hilum created.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_unfinished(entry.name) and is_abandoned(path := Path(entry.path), nameless=nameless):
                with suppress(OSError):
                    remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its content; what cannot be removed of a folder stays."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        import shutil  # late: it loads every kind of compression

        shutil.rmtree(path, ignore_errors=True)


_swept: set[tuple[int, str]] = set()


def sweep_once(folder: Path) -> None:
    """Sweep a folder the first time that this process writes to it."""
    key = os.getpid(), str(folder.absolute())
    if key not in _swept and not is_unfinished(folder.name):  # a folder of this process contains nothing old
        _swept.add(key)
        sweep(folder, nameless=False)
