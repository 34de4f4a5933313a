"""The files of a folder and its subfolders; folders that hilum wrote are recognized, and not searched."""

import os
import stat
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

RECIPE, LEDGER, RECORD = "recipe.toml", "ledger.jsonl", "scan.json"  # the files of a run and a finished scan


def output_kind(folder: Path, names: Collection[str] | None = None) -> str:
    """The kind of a folder that hilum wrote.

    Parameters
    ----------
    folder : Path
        The folder to look at.
    names : collection of str, optional
        The names in the folder, if known.

    Returns
    -------
    str
        ``run``, ``scan`` (a finished scan's own folder), ``patches`` (or slices), ``export`` (for nnU-Net); empty for
        any other folder, and for one that does not exist or cannot be opened.
    """
    if names is None:
        try:
            names = set(os.listdir(folder))  # noqa: PTH208 - only names are needed
        except OSError:
            return ""
    if RECIPE in names and LEDGER in names:
        return "run"
    if RECORD in names and {"recipe_sha256", "fingerprint"} <= _keys(folder / RECORD):
        return "scan"
    if "summary.json" in names and "index.csv" in names and any(name.startswith("images_") for name in names):
        return "patches"
    if "dataset.json" in names and "imagesTr" in names and "hilum" in _keys(folder / "dataset.json"):
        return "export"
    return ""


def _keys(path: Path) -> set[str]:
    """The names in a JSON object; none for anything else."""
    try:
        with path.open("rb") as file:
            return set(msgspec.json.decode(file.read(2**24), type=dict[str, Any]))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return set()


class FolderListing(NamedTuple):
    """What a search found; all paths are relative to its root, with ``/``, and sorted.

    Parameters
    ----------
    files : list of str
        Regular files, and links to regular files.
    repeated : list of str
        Links to folders that the search visits anyway, or that contain the root: not searched a second time.
    dangling : list of str
        Links without a target, as git-annex, DataLad and DVC leave them where the content was not downloaded.
    locked : list of str
        Folders that cannot be opened; an empty text is the root itself.
    outputs : list of str
        Folders that hilum wrote: searched only where one is the root.
    """

    files: list[str]
    repeated: list[str]
    dangling: list[str]
    locked: list[str]
    outputs: list[str]


def list_folder(root: Path) -> FolderListing:
    """List the files of a folder and its subfolders.

    Hidden names, pipes and devices are left out. Linked folders are searched last, so that a folder with two paths
    keeps its own name. No folder is searched twice, and no link to a parent of the root is followed.
    """
    listing = FolderListing([], [], [], [], [])
    visited = {_identity(folder) for folder in Path(os.path.realpath(root)).parents}
    folders, linked = deque([""]), deque[str]()
    while folders or linked:
        folder = folders.popleft() if folders else linked.popleft()
        for entry in _entries(root, folder, listing, visited):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif entry.is_symlink():
                if _add_link(name, entry.path, listing):
                    linked.append(name)
            elif entry.is_file(follow_symlinks=False):
                listing.files.append(name)
    return FolderListing(*(sorted(names) for names in listing))


def _entries(root: Path, folder: str, listing: FolderListing, visited: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """The entries of one folder that are to be searched, sorted by name."""
    path = os.path.join(root, folder)  # noqa: PTH118 - called for thousands of folders
    try:
        if (identity := _identity(path)) in visited:
            listing.repeated.append(folder)
            return []
        visited.add(identity)
        with os.scandir(path) as scanned:
            entries = sorted((e for e in scanned if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError:
        listing.locked.append(folder)
        return []
    if folder and output_kind(Path(path), {entry.name for entry in entries}):
        listing.outputs.append(folder)
        return []
    return entries


def _add_link(name: str, path: str, listing: FolderListing) -> bool:
    """Add a link to the listing; True where it leads to a folder."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as above
    except OSError as problem:  # the reader of a file reports that it cannot be opened; other links lead nowhere
        (listing.files if isinstance(problem, PermissionError) else listing.dangling).append(name)
        return False
    if stat.S_ISREG(mode):
        listing.files.append(name)
    return stat.S_ISDIR(mode)


def _identity(folder: str | Path) -> tuple[int, int]:
    """What distinguishes a folder from all others, whatever path leads to it."""
    status = os.stat(folder)  # noqa: PTH116 - as above
    return status.st_dev, status.st_ino
