"""A folder of DICOM files to stacks of slices and a verdict on each, from headers alone."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hilum.errors import FormatError, MissingInputError, UnsupportedError, name_some
from hilum.io.dicom.gaps import state_positions
from hilum.io.dicom.headers import read_headers
from hilum.io.dicom.records import Finding, Header, Sorted, Stack
from hilum.io.dicom.series import group, sort_out
from hilum.io.dicom.stack import judge_with_luts, name_damaged
from hilum.io.folder_listing import FolderListing, list_folder
from hilum.io.names import numbered_file, safe_name
from hilum.io.unreadable import not_downloaded, unreadable_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Index:
    """A folder judged by its headers alone.

    Parameters
    ----------
    root : Path
        What the paths of slices are relative to.
    sorted_out : Sorted
    findings : tuple of Finding
        On the folder as a whole.
    stacks : tuple of Stack
    files : Files
    """

    root: Path
    sorted_out: Sorted
    findings: tuple[Finding, ...]
    stacks: tuple[Stack, ...]
    files: Files


@dataclass(frozen=True)
class Files:
    """What the files of a folder are, by their headers; all names are relative to one root.

    Parameters
    ----------
    headers : list of Header
        Of every frame.
    junk, locked : list of str
        What is no DICOM, and what could not be opened.
    called : mapping of str to str
        What messages call the files whose names may not be shown; empty where no messages are wanted.
    """

    headers: list[Header] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    called: Mapping[str, str] = field(default_factory=dict)

    def shown(self, name: str) -> str:
        """What a message calls a file."""
        return safe_name(name) or self.called.get(name, "a file")


def index_folder(path: Path, max_gap_mm: float, slice_spacing_mm: float | None) -> Index:
    """Read the headers of a folder or file, and judge every CT stack in it.

    Parameters
    ----------
    path : Path
    max_gap_mm : float
        As `hilum.io.dicom.reader.read_dicom` takes it.
    slice_spacing_mm : float or None
        For slices without positions.

    Returns
    -------
    Index

    Raises
    ------
    MissingInputError, FormatError, UnsupportedError, InputError
        If there is no such path, no file in it, it may not be opened, it is an archive, or neither a file nor a
        folder; or if none of its files has content.
    """
    root, tree = _names(path)
    files = read_files(root, tree.files, called=_call(tree))
    sorted_out = sort_out(files.headers)
    damaged = [name for f in sorted_out.findings if f.code == "ignored-damaged-file" for name in f.files]
    if not sorted_out.slices and tree.dangling:
        raise not_downloaded(path, tree.dangling, len(tree.files))
    lost = {name: files.shown(name) for name in (*damaged, *files.locked, *tree.dangling)}
    stacks = []
    for members in group(sorted_out.slices):
        placed, assumed = state_positions(members, slice_spacing_mm)
        stack = name_damaged(judge_with_luts(placed, max_gap_mm=max_gap_mm), lost)
        stacks.append(stack if assumed is None else replace(stack, findings=(assumed, *stack.findings)))
    findings = (*_on_the_folder(tree, files), *_on_the_files(files), *sorted_out.findings)
    return Index(root, sorted_out, findings, tuple(stacks), files)


def read_files(root: Path, names: Iterable[str], *, called: Mapping[str, str] | None = None) -> Files:
    """Read the headers of files.

    Parameters
    ----------
    root : Path
    names : iterable of str
        Relative to it.
    called : mapping of str to str, optional
        As in `Files`.

    Returns
    -------
    Files
    """
    called = called or {}
    found = Files(called=called)
    for name in names:
        try:
            read = read_headers(root, name)
        except OSError:
            found.locked.append(name)
            continue
        if read is None:
            found.junk.append(name)
        elif name in called:
            found.headers.extend(replace(header, place=called[name]) for header in read)
        else:
            found.headers.extend(read)
    return found


def list_slices(root: Path, series_uid: str, names: Iterable[str]) -> list[str]:
    """List those of a folder's files that a reader takes for slices of a series, by their headers.

    Parameters
    ----------
    root : Path
        A folder.
    series_uid : str
        Empty for every CT slice: where no series is named, the reader chooses by all of them.
    names : iterable of str
        The files to look at, relative to the folder.

    Returns
    -------
    list of str
        Sorted; empty where there is none.
    """
    slices = sort_out(read_files(root, names).headers).slices
    return sorted({header.path for header in slices if not series_uid or header.series_uid == series_uid})


def _call(tree: FolderListing) -> dict[str, str]:
    """What messages call the files whose names may not be shown: their places among all of them."""
    names = sorted([*tree.files, *tree.dangling])
    return {name: numbered_file(k, len(names)) for k, name in enumerate(names) if not safe_name(name)}


def _on_the_folder(tree: FolderListing, files: Files) -> list[Finding]:
    """What a search met beside files."""
    findings = []
    if tree.repeated:
        text = f"{len(tree.repeated)} links to folders that are searched anyway, not searched twice"
        findings.append(Finding("ignored-links", text, "ignored", tuple(tree.repeated)))
    if tree.locked:
        text = f"{len(tree.locked)} folders could not be opened"
        findings.append(Finding("unreadable-folders", text, "ignored", tuple(tree.locked)))
    if tree.dangling:
        text = f"{len(tree.dangling)} files could not be read, links to content that is not here"
        told = f"{text}: {name_some(map(files.shown, tree.dangling))}"
        findings.append(Finding("dangling-links", told, "ignored", tuple(tree.dangling)))
    return findings


def _on_the_files(files: Files) -> list[Finding]:
    findings = []
    if files.junk:
        text = f"{len(files.junk)} files that are not DICOM ignored: {name_some(map(files.shown, files.junk))}"
        findings.append(Finding("ignored-files", text, "ignored", tuple(files.junk)))
    if files.locked:
        text = f"{len(files.locked)} files could not be opened: {name_some(map(files.shown, files.locked))}"
        findings.append(Finding("unreadable-files", text, "ignored", tuple(files.locked)))
    return findings


def _names(path: Path) -> tuple[Path, FolderListing]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise MissingInputError("there is no such file or folder", where=path, do="check the path") from error
    if stat.S_ISREG(mode):
        try:
            with path.open("rb") as file:
                start = file.read(4)
        except OSError as error:
            raise FormatError("the file cannot be opened", where=path, do="check its permissions") from error
        if start == b"PK\x03\x04":
            raise UnsupportedError("a zip archive is not read", where=path, do="unpack it and give the folder")
        return path.parent, FolderListing([path.name], [], [], [], [])
    if not stat.S_ISDIR(mode):
        raise UnsupportedError("neither a file nor a folder", where=path, do="give a DICOM folder")
    tree = list_folder(path)
    if "" in tree.locked:
        raise unreadable_folder(path)
    if not tree.files and not tree.dangling:
        raise MissingInputError(
            "no files in this folder", where=path, do="give the folder of a series", code="no-files"
        )
    return path, tree
