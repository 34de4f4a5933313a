"""Judge every CT stack of a folder of DICOM files by its headers alone."""

import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hilum.errors import FormatError, MissingInputError, UnsupportedError, name_some
from hilum.io.dicom.frames import select_slices
from hilum.io.dicom.grouping import Group, group_series, group_slices
from hilum.io.dicom.headers import read_headers
from hilum.io.dicom.placing import place_slices
from hilum.io.dicom.records import Finding, FrameSelection, SliceHeader, Stack
from hilum.io.dicom.stack import judge, name_damaged
from hilum.io.dicom.values import state_rescale
from hilum.io.folders import FolderListing, list_folder
from hilum.io.names import safe_name
from hilum.io.read_options import ReadOptions
from hilum.io.unreadable import not_downloaded, unreadable_folder


class FolderIndex(NamedTuple):
    """The stacks of a folder.

    Parameters
    ----------
    root : Path
        Slice paths are relative to it.
    selection : FrameSelection
        The frames that are CT slices, and how many others there are.
    findings : tuple of Finding
        On the folder and its files, not on a stack.
    stacks : tuple of Stack
        The largest first: the order in which `hilum info` numbers them.
    files : FileHeaders
        The headers of all files.
    """

    root: Path
    selection: FrameSelection
    findings: tuple[Finding, ...]
    stacks: tuple[Stack, ...]
    files: "FileHeaders"


class FileHeaders(NamedTuple):
    """The headers of some files; all names are relative to one root.

    Parameters
    ----------
    headers : list of SliceHeader
        One per frame.
    not_dicom, unreadable : list of str
        Files that are not DICOM, and files that could not be opened.
    aliases : mapping of str to str
        Names in messages of the files whose own name may not be shown.
    """

    headers: list[SliceHeader]
    not_dicom: list[str]
    unreadable: list[str]
    aliases: Mapping[str, str]

    def display_name(self, name: str) -> str:
        """Name of a file in messages."""
        return safe_name(name) or self.aliases.get(name, "a file")


def index_folder(path: Path, options: ReadOptions) -> FolderIndex:
    """Read the headers of a folder or file, and judge every CT stack in it.

    Parameters
    ----------
    path : Path
        A folder, or one file.
    options : ReadOptions
        What the user states about the scan.

    Raises
    ------
    MissingInputError, FormatError, UnsupportedError, InputError
        If there is no such path or no file in it, if it cannot be opened, or if it is an archive or neither a file nor
        a folder. Also if no file has content.
    """
    root, tree = _find_input(path)
    files = read_files(root, tree.files, aliases=_aliases(tree))
    selection = select_slices(files.headers)
    damaged = [name for f in selection.findings if f.code == "ignored-damaged-file" for name in f.files]
    if not selection.slices and tree.dangling:
        raise not_downloaded(path, tree.dangling, len(tree.files))
    missing = {name: files.display_name(name) for name in (*damaged, *files.unreadable, *tree.dangling)}
    stacks = [_judge_group(group, options, missing) for group in group_slices(selection.slices)]
    stacks.sort(key=lambda stack: (-len(stack.slices), stack.series_uid))
    return FolderIndex(root, selection, (*_search_findings(tree, files), *selection.findings), tuple(stacks), files)


def _judge_group(group: Group, options: ReadOptions, missing: Mapping[str, str]) -> Stack:
    placed, assumptions = place_slices(group.slices, options.slice_spacing_mm)
    positioned, stated = state_rescale(placed, options)
    stack = name_damaged(judge(positioned, max_gap_mm=options.gap_mm, tilt=options.tilt), missing)
    told = *assumptions, *stated
    known = {f.code for f in group.findings}
    return replace(
        stack,
        series_uid=group.series_uid,
        findings=(*group.findings, *told, *(f for f in stack.findings if f.code not in known)),
        series_part=group.series_part,
        told_by=group.told_by,
        value=group.value,
    )


def read_files(root: Path, names: Iterable[str], *, aliases: Mapping[str, str] | None = None) -> FileHeaders:
    """Read the headers of files.

    Parameters
    ----------
    root : Path
        The folder that the files lie in.
    names : iterable of str
        Relative to it.
    aliases : mapping of str to str, optional
        As in `FileHeaders`.
    """
    aliases = aliases or {}
    files = FileHeaders([], [], [], aliases)
    for name in names:
        try:
            headers = read_headers(root, name)
        except OSError:
            files.unreadable.append(name)
            continue
        if headers is None:
            files.not_dicom.append(name)
        else:
            files.headers.extend(replace(h, alias=aliases[name]) if name in aliases else h for h in headers)
    return files


def list_slices(root: Path, series_uid: str, names: Iterable[str]) -> list[str]:
    """List the files that are slices of a series, by their headers.

    Parameters
    ----------
    root : Path
        A folder.
    series_uid : str
        Empty for all CT slices: without a series the reader chooses among all of them.
    names : iterable of str
        The files to look at, relative to the folder.

    Returns
    -------
    list of str
        Sorted; may be empty.
    """
    series = group_series(select_slices(read_files(root, names).headers).slices)
    named = [one for one in series if not series_uid or series_uid in {one.series_uid, one.series_part}]
    return sorted({header.path for one in named for header in one.slices})


def _aliases(tree: FolderListing) -> dict[str, str]:
    """Count the files whose names may not be shown: their number among all files names them in messages."""
    names = sorted([*tree.files, *tree.dangling])
    aliases = {name: f"file {k} of {len(names)}" for k, name in enumerate(names, start=1) if not safe_name(name)}
    return dict.fromkeys(aliases, "the file") if len(names) == 1 else aliases


def _search_findings(tree: FolderListing, files: FileHeaders) -> list[Finding]:
    """Report links and files that are ignored."""
    ignored = (
        ("ignored-links", tree.repeated, "{} links to folders that are searched anyway, not searched twice"),
        ("unreadable-folders", tree.locked, "{} folders could not be opened"),
        ("dangling-links", tree.dangling, "{} files could not be read, links to content that is not here: {}"),
        ("ignored-files", files.not_dicom, "{} files that are not DICOM ignored: {}"),
        ("unreadable-files", files.unreadable, "{} files could not be opened: {}"),
    )
    return [
        Finding(code, text.format(len(names), name_some(map(files.display_name, names))), "ignored", tuple(names))
        for code, names, text in ignored
        if names
    ]


def _find_input(path: Path) -> tuple[Path, FolderListing]:
    """The root that names are relative to, and the files below it."""
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
            raise UnsupportedError("is a zip archive without the suffix .zip", where=path, do="name it .zip")
        return path.parent, FolderListing([path.name], [], [], [], [])
    if not stat.S_ISDIR(mode):
        raise UnsupportedError("neither a file nor a folder", where=path, do="give a DICOM folder")
    tree = list_folder(path)
    if "" in tree.locked:
        raise unreadable_folder(path)
    if not tree.files and not tree.dangling:
        do = "give the folder of a series"
        raise MissingInputError("the folder has no files", where=path, do=do, code="no-files")
    return path, tree
