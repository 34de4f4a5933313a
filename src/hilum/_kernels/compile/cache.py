"""Cache files of compiled code: where they are stored, and which of them are trusted.

Loaded code runs as the user who loads it. A file is loaded only if this user or root wrote it and nobody else could
have changed or replaced it. The opened file and its folder are checked:

* In ``__pycache__`` beside the source only those may write who may write the source, and so decide what runs anyway.
* In the user's cache folder, or in a private temporary folder if there is none, every folder up to the root of the
  file system must belong to this user or root, and be closed to others. A sticky folder such as /tmp may be open to
  others if the next folder below it belongs to this user or root.

Files that root writes can be read by all, like installed programs; files that a user writes only by that user.
"""

import contextlib
import errno
import functools
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hilum._os.files import open_handle
from hilum._os.folders import is_private_group, user_cache, user_number
from hilum.errors import one_line

POSIX = os.name == "posix"  # on other systems folders of a user are closed to others, and files show no owner

_CHECKSUM = 32  # bytes of the checksum in front of the content

_ROOT = 0
_GROUP, _OTHERS = stat.S_IWGRP, stat.S_IWOTH

_log = logging.getLogger("hilum")


@dataclass(frozen=True)
class CacheFolder:
    """A folder for compiled code. `source` is the folder of the source if it lies beside the source, or None."""

    path: Path
    source: Path | None = None


def read(name: str, source: Path) -> bytes | None:
    """Read a cache file from the first folder that has it complete and can be trusted; None if there is none.

    Parameters
    ----------
    name : str
        Of the file.
    source : Path
        Folder of the kernel's source.
    """
    for folder in _folders(source):
        with contextlib.suppress(OSError):  # missing, damaged, unreadable or not trusted: the next one, or compile
            return _read(folder, name)
    return None


def write(name: str, source: Path, content: bytes) -> None:
    """Write a cache file to the first folder that takes it: completely or not at all, also if others write it, too.

    Parameters
    ----------
    name, source
        As in `read`.
    content : bytes
        What the file holds.
    """
    why = "no home folder is known"
    for folder in _folders(source):
        try:
            new = _create(folder)
            _write(folder, name, content)
        except OSError as problem:
            if folder.source is None and folder.path != _temporary():
                why = f"{problem.filename}: {problem.strerror}"
            continue
        if new and folder.path == _temporary():  # only the process that made the folder warns
            _warn(f"compiled kernels are cached in {folder.path}", why)
        return
    _warn("compiled kernels cannot be cached, so every start compiles them", why)


def private_folder(name: str) -> Path | None:
    """Make a temporary folder of this user where nobody else can write; None if that fails.

    Parameters
    ----------
    name : str
        Of the folder; an existing one is used.
    """
    if (kernels := _temporary()) is None:
        return None
    folder = CacheFolder(kernels.with_name(name))
    with contextlib.suppress(OSError):
        _create(folder)
        return folder.path
    return None


def _folders(source: Path) -> Iterator[CacheFolder]:
    if source.is_absolute():  # code from a string has no folder
        yield CacheFolder(source / "__pycache__", source)
    if (own := user_cache()) is not None:
        yield CacheFolder(own / "kernels")
    if (folder := _temporary()) is not None:
        yield CacheFolder(folder)


def _temporary() -> Path | None:
    """The folder for users without a cache folder. Others can predict its name, so its owner is checked."""
    named = Path(os.environ.get("TMPDIR", ""))
    folder = named if named.is_absolute() and named.is_dir() else Path("/tmp")  # noqa: S108 - as Python's tempfile does
    return folder / f"hilum-{user_number()}" / "kernels" if POSIX else None


def _read(folder: CacheFolder, name: str) -> bytes:
    _check_folder(folder)
    opened = open_handle(folder.path / name, follow=False)
    with os.fdopen(opened, "rb") as file:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise _refused("is not a file", folder.path / name)
        if POSIX:
            _check_owner(folder, status, folder.path / name)
            if status.st_mode & (_GROUP | _OTHERS):
                raise _refused("can be written by others", folder.path / name)
        stored = file.read()
    content = stored[_CHECKSUM:]
    if checksum(name, content) != stored[:_CHECKSUM]:
        raise _refused("is damaged", folder.path / name)
    return content


def _write(folder: CacheFolder, name: str, content: bytes) -> None:
    partial = folder.path / f"{name}.{os.urandom(8).hex()}"
    opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(checksum(name, content) + content)
        partial.chmod(_mode(folder) & 0o644)
        partial.replace(folder.path / name)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def checksum(name: str, content: bytes) -> bytes:
    """Checksum of a name and a content, so that a file under the name of another kernel counts as damaged."""
    return hashlib.sha256(name.encode() + b"\n" + content).digest()


def _mode(folder: CacheFolder) -> int:
    """Permissions of new folders, whatever the umask; files get the same without execution."""
    if folder.source is not None:
        return folder.source.stat().st_mode & 0o755 | 0o700
    return 0o755 if user_number() == _ROOT else 0o700


def _create(folder: CacheFolder) -> bool:
    """Make the missing part of a path, and check it; return whether this process made the folder."""
    missing, path = [], folder.path
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    if missing and folder.source is None:
        _check_private(path, below=user_number())
    created = False
    for path in reversed(missing):
        try:
            path.mkdir(0o700)
            path.chmod(_mode(folder))
            created = True
        except FileExistsError:  # another process was faster
            created = False
    _check_folder(folder)
    return created


def _check_folder(folder: CacheFolder) -> None:
    """Refuse a folder in which other users could have put code."""
    if not POSIX:
        return
    if folder.source is None:
        _check_private(folder.path)
        return
    source, status = folder.source.stat(), folder.path.lstat()
    _check_owner(folder, status, folder.path)
    same_group = source.st_mode & _GROUP and source.st_gid == status.st_gid
    if status.st_mode & _OTHERS or (status.st_mode & _GROUP and not same_group and not is_private_group(status)):
        raise _refused("can be written by others", folder.path)


def _check_owner(folder: CacheFolder, status: os.stat_result, path: Path) -> None:
    owners = {user_number(), _ROOT} if folder.source is None else {user_number(), _ROOT, folder.source.stat().st_uid}
    if status.st_uid not in owners:
        raise _refused(f"belongs to user {status.st_uid}", path)


def _check_private(folder: Path, *, below: int | None = None) -> None:
    """Refuse a folder where, or above which, others than this user and root can write; `below` owns its content."""
    ours = {user_number(), _ROOT}
    system = Path("/").lstat().st_uid  # in a container without root another user owns the folders above
    real = Path(os.path.realpath(folder, strict=True))
    for path in (real, *real.parents):
        status = path.lstat()
        if status.st_uid not in (ours if below is None else {*ours, system}):
            raise _refused(f"belongs to user {status.st_uid}", path)
        open_to_others = status.st_mode & _OTHERS or (status.st_mode & _GROUP and not is_private_group(status))
        if open_to_others and not (status.st_mode & stat.S_ISVTX and below in ours):
            raise _refused("can be written by others", path)
        below = status.st_uid


def _refused(what: str, path: Path) -> OSError:
    return PermissionError(errno.EPERM, what, str(path))


@functools.cache
def _warn(what: str, why: str) -> None:
    """Warn once in a process about the cache folder."""
    _log.warning("%s (%s); set XDG_CACHE_HOME to a folder of your own", one_line(what, limit=120),
                 one_line(why, limit=120))  # fmt: skip
