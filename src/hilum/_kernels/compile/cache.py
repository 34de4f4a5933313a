"""Files of compiled code: where they are kept, and whose are loaded.

Code that is loaded runs as the user who loads it. A file is loaded only if this user or root wrote it, and nobody else
could have changed it or put another in its place. That is asked of the opened file and of its folder:

* beside the source, in ``__pycache__``: nobody may write but who may write the source, and so decides what runs anyway;
* in the user's cache folder, and in a private folder for temporary files where that cannot be used: every folder up to
  the root of the file system has to be this user's or root's, and closed to others. Others may write above if the
  folder is sticky, as /tmp is, and what lies in it is this user's or root's.

What root writes may be read by all, as what a program installs; what a user writes only by the user.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

POSIX = os.name == "posix"
"""Elsewhere a user's folders are closed to others by the system, and files tell no owner."""

_CHECKSUM = 32
"""Bytes of the checksum in front of a file's content."""

_ROOT = 0
_GROUP, _OTHERS = stat.S_IWGRP, stat.S_IWOTH
_BINARY = getattr(os, "O_BINARY", 0)
_PLAIN_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""A link is not followed, and nobody is waited for where a pipe lies."""

_log = logging.getLogger("hilum")


@dataclass(frozen=True)
class Place:
    """A folder for compiled code; `source` is the folder of the source that it lies beside, None elsewhere."""

    folder: Path
    source: Path | None = None


def read(name: str, source: Path) -> bytes | None:
    """Content of a kept file, from the first place that has it whole and from nobody else.

    Parameters
    ----------
    name : str
        Of the file.
    source : Path
        Folder of the kernel's source.
    """
    for place in _places(source):
        try:
            return _read(place, name)
        except OSError:  # missing, damaged, unreadable or not to be trusted: the next place, or the compiler
            continue
    return None


def write(name: str, source: Path, content: bytes) -> None:
    """Keep a file in the first place that takes it: whole or not at all, whoever else writes it.

    Parameters
    ----------
    name, source
        As in `read`.
    content : bytes
    """
    why = "no home folder is known"
    for place in _places(source):
        try:
            new = _make(place)
            _insist(place)
            _write(place, name, content)
        except OSError as problem:
            if place.source is None and place.folder != _temporary():
                why = _reason(problem)
            continue
        if new and place.folder == _temporary():  # whoever makes the folder says so: once, of many processes
            _warn(f"compiled kernels are kept in {place.folder}", why)
        return
    _warn("compiled kernels cannot be kept, every start compiles them anew", why)


def private_folder(name: str) -> Path | None:
    """Folder of this user's below that for temporary files, where nobody else can write; None if it cannot be made.

    Parameters
    ----------
    name : str
        Of the folder; it is made if missing.
    """
    kernels = _temporary()
    if kernels is None:
        return None
    place = Place(kernels.with_name(name))
    try:
        _make(place)
        _insist(place)
    except OSError:
        return None
    return place.folder


def home() -> Path | None:
    """The user's home folder: an absolute HOME, or what the system knows of the user; None where neither is."""
    named = Path(os.environ.get("HOME", ""))
    if named.is_absolute():
        return named
    try:
        if not POSIX:
            return Path.home()
        import pwd

        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except (KeyError, RuntimeError):  # a user without an entry, as containers are started with
        return None


def _places(source: Path) -> Iterator[Place]:
    if source.is_absolute():  # code that was made of a string has no folder
        yield Place(source / "__pycache__", source)
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # XDG's rule: any other is invalid, and ignored
        yield Place(named / "hilum" / "kernels")
    elif (found := home()) is not None:
        yield Place(found / ".cache" / "hilum" / "kernels")
    if (folder := _temporary()) is not None:
        yield Place(folder)


def _temporary() -> Path | None:
    """Where code is kept for a user without a cache folder; its name is known, and so its owner is asked for."""
    named = Path(os.environ.get("TMPDIR", ""))
    folder = named if named.is_absolute() and named.is_dir() else Path("/tmp")  # noqa: S108 - as Python's tempfile does
    return folder / f"hilum-{_me()}" / "kernels" if POSIX else None


def _me() -> int:
    return os.geteuid() if POSIX else _ROOT


def _read(place: Place, name: str) -> bytes:
    _insist(place)
    opened = os.open(place.folder / name, os.O_RDONLY | _BINARY | _PLAIN_FILE)
    with os.fdopen(opened, "rb") as file:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise _refused("is no file", place.folder / name)
        if POSIX:
            _insist_on_owner(place, found, place.folder / name)
            if found.st_mode & (_GROUP | _OTHERS):
                raise _refused("can be written by others", place.folder / name)
        held = file.read()
    content = held[_CHECKSUM:]
    if checksum(name, content) != held[:_CHECKSUM]:
        raise _refused("is damaged", place.folder / name)
    return content


def _write(place: Place, name: str, content: bytes) -> None:
    made = place.folder / f"{name}.{os.urandom(8).hex()}"
    opened = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(checksum(name, content) + content)
        made.chmod(_mode(place) & 0o644)
        made.replace(place.folder / name)
    except BaseException:
        made.unlink(missing_ok=True)
        raise


def checksum(name: str, content: bytes) -> bytes:
    """Checksum of a file; one that was copied or renamed to the name of another kernel is damaged, too."""
    return hashlib.sha256(name.encode() + b"\n" + content).digest()


def _mode(place: Place) -> int:
    """Permissions of folders made here; of files without those to execute. The umask has no say in it."""
    if place.source is not None:
        return place.source.stat().st_mode & 0o755 | 0o700
    return 0o755 if _me() == _ROOT else 0o700


def _make(place: Place) -> bool:
    """Make what is missing of a folder, where nobody else can interfere; returns whether this process made it."""
    missing, folder = [], place.folder
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder.parent
    if missing and place.source is None:
        _insist_alone(folder, below=_me())
    made = False
    for folder in reversed(missing):
        try:
            folder.mkdir(0o700)
            folder.chmod(_mode(place))
            made = True
        except FileExistsError:  # another process was quicker
            made = False
    return made


def _insist(place: Place) -> None:
    """Refuse a folder in which somebody could have put code who has no say in what this process runs."""
    if not POSIX:
        return
    if place.source is None:
        _insist_alone(place.folder)
        return
    source, found = place.source.stat(), place.folder.lstat()
    _insist_on_owner(place, found, place.folder)
    same_group = source.st_mode & _GROUP and source.st_gid == found.st_gid
    if found.st_mode & _OTHERS or (found.st_mode & _GROUP and not same_group and not _private_group(found)):
        raise _refused("can be written by others", place.folder)


def _insist_on_owner(place: Place, found: os.stat_result, path: Path) -> None:
    owners = {_me(), _ROOT} if place.source is None else {_me(), _ROOT, place.source.stat().st_uid}
    if found.st_uid not in owners:
        raise _refused(f"belongs to user {found.st_uid}", path)


def _insist_alone(folder: Path, *, below: int | None = None) -> None:
    """Refuse a folder where, or above which, anybody but this user and root can write; `below` owns what it holds."""
    ours = {_me(), _ROOT}
    system = Path("/").lstat().st_uid  # not root in a container that knows no root; it owns the folders above, then
    real = Path(os.path.realpath(folder, strict=True))
    for place in (real, *real.parents):
        found = place.lstat()
        if found.st_uid not in (ours if below is None else {*ours, system}):
            raise _refused(f"belongs to user {found.st_uid}", place)
        open_to_others = found.st_mode & _OTHERS or (found.st_mode & _GROUP and not _private_group(found))
        if open_to_others and not (found.st_mode & stat.S_ISVTX and below in ours):
            raise _refused("can be written by others", place)
        below = found.st_uid


def _private_group(found: os.stat_result) -> bool:
    """Whether a group is the owner's alone, as many systems make one for each user; a umask of 002 goes with it."""
    import grp
    import pwd

    try:
        group, owner = grp.getgrgid(found.st_gid), pwd.getpwuid(found.st_uid)
    except KeyError:
        return False
    alone = owner.pw_gid == found.st_gid and group.gr_name == owner.pw_name and {*group.gr_mem} <= {owner.pw_name}
    return alone and found.st_gid != _ROOT  # that of root is given to whole containers


def _refused(what: str, path: Path) -> OSError:
    return PermissionError(errno.EPERM, what, str(path))


def _reason(problem: OSError) -> str:
    return f"{problem.filename}: {problem.strerror}"


@functools.cache
def _warn(what: str, why: str) -> None:
    """Say once in a process what became of the cache folder."""
    _log.warning("%s (%s); set XDG_CACHE_HOME to a folder of your own", one_line(what, limit=120),
                 one_line(why, limit=120))  # fmt: skip
