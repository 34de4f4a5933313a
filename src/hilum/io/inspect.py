"""What a file or folder holds, what is odd about it, and what `hilum.read` would do."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hilum.errors import HilumError, MissingInputError, one_line
from hilum.io.files import path_exists
from hilum.io.names import safe_kernel
from hilum.io.scan_files import check_is_ct, read
from hilum.io.volumes.formats import is_volume, suffix_of
from hilum.io.volumes.placement import GridRecord
from hilum.ops.quality.plausibility import note_implausible_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hilum.io.dicom.records import Stack
    from hilum.scan import Note, Scan


class FindingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One oddity: its stable code, a line for a person, and what is done about it."""

    code: str
    text: str
    action: str
    files: list[str] = []


class SeriesRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One series or volume file and the verdict on it.

    ``usable``: whether it can be read as a scan; ``pixels_read``: whether that was tried, or only its headers were
    looked at. ``chosen``: whether it is the one that a command takes of this folder where no series is named.
    ``folder`` is where it lies, relative to ``path``; ``number`` and ``kernel`` are of its first slice.
    """

    path: str
    format: str
    series_uid: str
    slices: int
    usable: bool
    geometry: GridRecord | None
    findings: list[FindingRecord]
    pixels_read: bool = True
    chosen: bool = False
    folder: str = ""
    number: int | None = None
    kernel: str = ""


def inspect(
    path: Path, *, pixels: bool = True, volumes: Sequence[Path] = (), refused: Sequence[HilumError] = ()
) -> list[SeriesRecord]:
    """Say what a file or folder holds.

    Parameters
    ----------
    path : Path
        A folder is searched for DICOM series.
    pixels : bool
        Whether each series is read whole, as it would be for a scan; without it the verdict is on headers alone, and
        slices that are damaged, or that differ at one place, are not told. A volume file is always read.
    volumes : sequence of Path
        Volume files in the folder.
    refused : sequence of HilumError
        What in the folder should be a scan and is none, each with its ``where``.

    Returns
    -------
    list of SeriesRecord
        One per CT series, volume file and refusal.

    Raises
    ------
    InputError
        If there is no such path or nothing in it that could be a scan.
    """
    if not path_exists(path):
        raise MissingInputError("there is no such file or folder", where=path, do="check the path")
    if is_volume(path):
        return [msgspec.structs.replace(_inspect_file(path, path), chosen=True)]
    rest = [_inspect_file(path, volume) for volume in volumes]
    rest += [_refused(path, error) for error in refused if error.where is not None]
    try:
        series = _inspect_series(path, pixels=pixels)
    except HilumError:
        if not rest:
            raise
        series = []
    return [*series, *rest]


def inspection_json(found: list[SeriesRecord]) -> str:
    """Write a verdict as JSON for programs.

    Parameters
    ----------
    found : list of SeriesRecord

    Returns
    -------
    str
    """
    return msgspec.json.format(msgspec.json.encode(found)).decode()


def _inspect_file(root: Path, path: Path) -> SeriesRecord:
    """Read a volume file; a refusal is a verdict too."""
    kind = suffix_of(path).removeprefix(".")
    folder = _relative(root, path) if path != root else path.name
    try:
        scan = check_is_ct(read(path), path)
    except HilumError as refusal:
        return SeriesRecord(
            path=str(path),
            format=kind,
            series_uid="",
            slices=0,
            usable=False,
            geometry=None,
            findings=[_refusal(refusal)],
            folder=folder,
        )
    return SeriesRecord(
        path=str(path),
        format=kind,
        series_uid=one_line(scan.series_uid, limit=128),
        slices=scan.ct.shape[0],
        usable=True,
        geometry=GridRecord.of(scan.ct.geometry),
        findings=_noted(scan),
        folder=folder,
    )


def _refused(root: Path, error: HilumError) -> SeriesRecord:
    """A folder or file that should be a scan."""
    where = Path(str(error.where))
    return SeriesRecord(
        path=str(where),
        format="",
        series_uid="",
        slices=0,
        usable=False,
        geometry=None,
        findings=[_refusal(error)],
        folder=_relative(root, where),
    )


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _refusal(error: HilumError) -> FindingRecord:
    return FindingRecord(code=error.code, text=str(error), action="refused")


def _noted(scan: Scan) -> list[FindingRecord]:
    return [_note(note) for note in scan.notes]


def _note(note: Note) -> FindingRecord:
    return FindingRecord(code=note.code, text=note.text, action="noted")


def _inspect_series(path: Path, *, pixels: bool) -> list[SeriesRecord]:
    from hilum.io.dicom.reader import index_dicom
    from hilum.io.dicom.series import choose_stack

    stacks = index_dicom(path)
    first, _ = choose_stack(stacks)
    own = {uid: choose_stack(stacks, series=uid)[0] if uid else first for uid in {stack.series_uid for stack in stacks}}
    return [
        _inspect_stack(path, stack, pixels=pixels, is_read=own[stack.series_uid] is stack, chosen=stack is first)
        for stack in stacks
    ]


def _inspect_stack(path: Path, stack: Stack, *, pixels: bool, is_read: bool, chosen: bool) -> SeriesRecord:
    root = path if path.is_dir() else path.parent
    found = list(_findings(stack))
    if stack.geometry is not None:
        found += [_note(note) for note in note_implausible_size(stack.geometry)]
    usable, geometry = stack.refusal is None and is_read, stack.geometry
    if not is_read:
        text = "another part of this series is larger, and is read in its place"
        found.append(FindingRecord(code="split-series", text=text, action="ignored"))
    elif usable and pixels:
        usable, more = _try(path, root, stack)
        found += more
    number = _series_number(root / stack.slices[0].path)
    return SeriesRecord(
        path=str(path),
        format="DICOM",
        series_uid=one_line(stack.series_uid, limit=128),
        slices=len(stack.slices),
        usable=usable,
        geometry=None if geometry is None else GridRecord.of(geometry),
        findings=found,
        pixels_read=pixels and is_read and stack.refusal is None,
        chosen=chosen,
        folder=os.path.commonpath([os.path.dirname(header.path) for header in stack.slices]),  # noqa: PTH120
        number=number,
        kernel=safe_kernel(stack.slices[0].kernel),
    )


def _try(path: Path, root: Path, stack: Stack) -> tuple[bool, list[FindingRecord]]:
    """Read a stack as a command would."""
    from hilum.io.dicom.reader import read_stack
    from hilum.ops.quality.plausibility import note_implausible_values

    try:
        scan = check_is_ct(read_stack(root, stack), path)
    except HilumError as refusal:
        return False, [_refusal(refusal)]
    return True, _noted(replace(scan, notes=(*scan.notes, *note_implausible_values(scan.ct))))


def _findings(stack: Stack) -> Iterable[FindingRecord]:
    for finding in stack.findings:
        yield FindingRecord(
            code=finding.code,
            text=one_line(finding.text),
            action=finding.action,
            files=[one_line(Path(name).name, limit=100) for name in finding.files],
        )


def _series_number(path: Path) -> int | None:
    """The number of a slice's series, where it has one."""
    import pydicom  # late: it takes longer to import than a series takes to read

    with suppress(Exception):  # whatever is wrong with it, the verdict does not hang on it
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SeriesNumber"])
        return None if header.get("SeriesNumber") is None else int(header.SeriesNumber)
    return None
