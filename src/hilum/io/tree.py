"""What lies in a folder and below it: every real folder once, and a word on whatever could not be looked at."""

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import Path
from typing import NamedTuple

from hilum.io.output_kinds import output_kind


class Tree(NamedTuple):
    """What a search met; all paths are relative to its root, with ``/``, and sorted.

    Parameters
    ----------
    files : list of str
        Regular files, and links to such.
    again : list of str
        Links to folders that are searched anyway, and those in which the root itself lies: not searched twice.
    dangling : list of str
        Links that lead nowhere, as git-annex, DataLad and DVC leave them where the content was not downloaded.
    locked : list of str
        Folders that may not be opened; empty text is the root itself.
    outputs : list of str
        Folders that hilum wrote: never searched, except where one is the root.
    """

    files: list[str]
    again: list[str]
    dangling: list[str]
    locked: list[str]
    outputs: list[str]


def find_files(root: Path) -> Tree:
    """List the files of a folder and its subfolders.

    Hidden names are left out. Linked folders are followed after all others, so that a folder that can be reached in
    two ways keeps its own name; none is searched twice, and no link leads up to where the root lies. Pipes and
    devices are no files.

    Parameters
    ----------
    root : Path

    Returns
    -------
    Tree
    """
    found = Tree([], [], [], [], [])
    seen = {_identity(folder) for folder in Path(os.path.realpath(root)).parents}
    waiting, linked = deque([""]), deque[str]()
    while waiting or linked:
        folder = waiting.popleft() if waiting else linked.popleft()
        _look(root, folder, found, seen, waiting, linked)
    return Tree(*(sorted(names) for names in found))


def _look(root: Path, folder: str, found: Tree, seen: set[object], waiting: deque[str], linked: deque[str]) -> None:
    """Sort out what one folder holds."""
    path = os.path.join(root, folder)  # noqa: PTH118 - of thousands
    try:
        identity = _identity(path)
        if identity in seen:
            found.again.append(folder)
            return
        seen.add(identity)
        with os.scandir(path) as entries:
            listed = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError:
        found.locked.append(folder)
        return
    if folder and output_kind(Path(path), {entry.name for entry in listed}):
        found.outputs.append(folder)
        return
    for entry in listed:
        name = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            waiting.append(name)
        elif entry.is_symlink():
            _follow(name, entry.path, found, linked)
        elif entry.is_file(follow_symlinks=False):
            found.files.append(name)


def _follow(name: str, path: str, found: Tree, linked: deque[str]) -> None:
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as above
    except PermissionError:
        found.files.append(name)  # its reader says that it may not be opened
    except OSError:  # nothing is there, or the link leads to itself
        found.dangling.append(name)
    else:
        if stat.S_ISDIR(mode):
            linked.append(name)
        elif stat.S_ISREG(mode):
            found.files.append(name)


def _identity(folder: str | Path) -> object:
    """What tells a folder from every other, by whatever name it is reached."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - as above
    except OSError:
        return os.fspath(folder)
    return status.st_dev, status.st_ino
