"""A folder of DICOM files to stacks of slices and a verdict on each, from headers alone."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import FormatError, MissingInputError, UnsupportedError
from hilum.io.dicom_files import find_files
from hilum.io.dicom_gaps import state_positions
from hilum.io.dicom_headers import read_headers
from hilum.io.dicom_lut import judge_with_luts
from hilum.io.dicom_records import Finding, Header, Sorted, Stack
from hilum.io.dicom_stack import name_damaged
from hilum.io.names import count_place, safe_name
from hilum.io.series import group, name_some, sort_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
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
    """

    root: Path
    sorted_out: Sorted
    findings: tuple[Finding, ...]
    stacks: tuple[Stack, ...]


class Series(NamedTuple):
    """Where a series lies.

    Parameters
    ----------
    folder : Path
        The deepest folder that holds all of its slices.
    files : tuple of str
        The files of its slices, relative to the folder, sorted.
    """

    folder: Path
    files: tuple[str, ...]


def index_folder(path: Path, max_gap_mm: float, slice_spacing_mm: float | None) -> Index:
    """Read the headers of a folder or file, and judge every CT stack in it.

    Parameters
    ----------
    path : Path
    max_gap_mm : float
        As `hilum.io.dicom.read_dicom` takes it.
    slice_spacing_mm : float or None
        For slices without positions.

    Returns
    -------
    Index

    Raises
    ------
    MissingInputError, FormatError, UnsupportedError
        If there is no such path, no file in it, or it is an archive, or neither a file nor a folder.
    """
    root, sorted_out, findings, called = _read(path)
    codes = {"ignored-damaged-file", "unreadable-files"}
    lost = {name: called(name) for f in (*sorted_out.findings, *findings) if f.code in codes for name in f.files}
    stacks = []
    for members in group(sorted_out.slices):
        placed, assumed = state_positions(members, slice_spacing_mm)
        stack = name_damaged(judge_with_luts(placed, max_gap_mm=max_gap_mm), lost)
        stacks.append(stack if assumed is None else replace(stack, findings=(assumed, *stack.findings)))
    return Index(root, sorted_out, (*findings, *sorted_out.findings), tuple(stacks))


def list_series(path: Path) -> dict[str, Series]:
    """List the CT series of a folder without judging them: a data set may have thousands.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to Series
        By Series Instance UID (empty text for slices without one).

    Raises
    ------
    InputError
        As `index_folder` raises it.
    """
    root, sorted_out, _, _ = _read(path, told=False)
    names: dict[str, set[str]] = {}
    for header in sorted_out.slices:
        names.setdefault(header.series_uid, set()).add(header.path)
    return {uid: _place(root, found) for uid, found in names.items()}


def _place(root: Path, names: set[str]) -> Series:
    common = os.path.commonpath({os.path.dirname(name) for name in names})  # noqa: PTH120 - of thousands
    skip = len(common) + 1 if common else 0
    # Many series name their files alike: thousands of lists hold each name once.
    return Series(root / common, tuple(sys.intern(name[skip:]) for name in sorted(names)))


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
    headers: list[Header] = []
    for name in names:
        with suppress(OSError):  # the reader tells of it
            headers.extend(read_headers(root, name) or ())
    return sorted({h.path for h in sort_out(headers).slices if not series_uid or h.series_uid == series_uid})


def _read(path: Path, *, told: bool = True) -> tuple[Path, Sorted, list[Finding], Callable[[str], str]]:
    """Read all headers: the root, its slices sorted out, findings on its files, and what each file is called.

    Not `told`: messages are not wanted, and no file's place is counted.
    """
    root, names, findings = _names(path)
    places = {name: count_place(k, len(names)) for k, name in enumerate(names) if told and not safe_name(name)}

    def called(name: str) -> str:
        return safe_name(name) or places.get(name, "a file")

    headers: list[Header] = []
    junk: list[str] = []
    locked: list[str] = []
    for name in names:
        try:
            read = read_headers(root, name)
        except OSError:
            locked.append(name)
            continue
        if read is None:
            junk.append(name)
        elif name in places:
            headers.extend(replace(header, place=places[name]) for header in read)
        else:
            headers.extend(read)
    if junk:
        text = f"{len(junk)} files that are not DICOM ignored: {name_some(map(called, junk))}"
        findings.append(Finding("ignored-files", text, "ignored", tuple(junk)))
    if locked:
        text = f"{len(locked)} files could not be opened: {name_some(map(called, locked))}"
        findings.append(Finding("unreadable-files", text, "ignored", tuple(locked)))
    return root, sort_out(headers), findings, called


def _names(path: Path) -> tuple[Path, list[str], list[Finding]]:
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
        return path.parent, [path.name], []
    if not stat.S_ISDIR(mode):
        raise UnsupportedError("neither a file nor a folder", where=path, do="give a DICOM folder")
    found = find_files(path)
    findings = []
    if found.links:
        findings.append(Finding("ignored-links", f"{found.links} linked folders not followed, ignored", "ignored"))
    if found.locked:
        findings.append(Finding("unreadable-folders", f"{found.locked} folders could not be opened", "ignored"))
    if not found.files:
        raise MissingInputError(
            "no files in this folder", where=path, do="give the folder of a series", code="no-files"
        )
    return path, found.files, findings
