"""What a file or folder holds, what is odd about it, and what `hilum.read` would do."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hilum.errors import HilumError, MissingInputError, one_line
from hilum.io import check_is_ct, is_volume, read, suffix_of
from hilum.io.files import is_there
from hilum.io.names import safe_name
from hilum.io.records import GridRecord, grid_record
from hilum.ops.plausibility import question_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hilum.io.dicom_records import Stack
    from hilum.scan import Note, Scan

_KERNEL = re.compile(
    r"[A-Z]{1,2}|[A-Z]{1,2}[a-z]?\d{1,3}[a-z]{0,2}|STANDARD|SOFT|LUNG|CHEST|DETAIL|BONE|BONEPLUS|EDGE|ULTRA"
)
"""What makers call their kernels (B70f, Br40d, FC51, LUNG, YA); other text could be of a person, and is not shown."""


_NAMED = 3
"""How many files a finding names for a person; the JSON has all."""


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
    if not is_there(path):
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


_FOLDER_WIDTH = 40

_COLUMNS = ("", "folder", "series", "kernel", "slices", "rows x columns", "spacing mm", "verdict", "series UID")


def inspection_text(found: list[SeriesRecord]) -> str:
    """Write a verdict as lines for a person: a table, and below it each finding once.

    Parameters
    ----------
    found : list of SeriesRecord

    Returns
    -------
    str
    """
    rows = [_COLUMNS, *(_row(number, series, alone=len(found) == 1) for number, series in enumerate(found, start=1))]
    kept = [k for k in range(len(_COLUMNS)) if k == 0 or any(row[k] for row in rows[1:])]
    widths = {k: max(len(row[k]) for row in rows) for k in kept}
    lines = ["  ".join(row[k].ljust(widths[k]) for k in kept).rstrip() for row in rows]
    whose: dict[tuple[str, str, str, tuple[str, ...]], list[int]] = {}
    for number, series in enumerate(found, start=1):
        for finding in series.findings:
            key = finding.action, finding.code, finding.text, _unsaid(finding)
            whose.setdefault(key, []).append(number)
    for (action, code, text, files), numbers in whose.items():
        every = len(numbers) == len(found) > 1
        names = "all" if every else ", ".join(map(str, numbers))
        lines.append(f"{names}: {action}, {code}: {text}")
        lines += [f"{'':12}{name}" for name in files]
    return "\n".join(lines)


def _unsaid(finding: FindingRecord) -> tuple[str, ...]:
    """The files that a finding's text tells by their place alone: whoever asks here holds them."""
    names = [name for name in finding.files if not safe_name(name)]
    rest = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return (*names[:_NAMED], *rest)


def _row(number: int, series: SeriesRecord, *, alone: bool) -> tuple[str, ...]:
    grid = series.geometry
    return (
        str(number),
        _end_of(series.folder),
        "" if series.number is None else str(series.number),
        series.kernel,
        str(series.slices or ""),
        "" if grid is None else f"{grid.shape[1]} x {grid.shape[2]}",
        "" if grid is None else " x ".join(f"{step:.4g}" for step in grid.spacing),
        _verdict(series, alone=alone),
        series.series_uid,
    )


def _end_of(folder: str) -> str:
    """A folder's name, its end where it is long: that is what differs."""
    name = one_line(folder, limit=1000) or "."
    return name if len(name) <= _FOLDER_WIDTH else "…" + name[1 - _FOLDER_WIDTH :]


def _verdict(series: SeriesRecord, *, alone: bool) -> str:
    if not series.usable:
        return "left out" if not any(f.action == "refused" for f in series.findings) else "refused"
    ready = "can be read" if series.pixels_read else "headers can be read, pixels not looked at"
    return f"{ready} (the default)" if series.chosen and not alone else ready


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
        geometry=grid_record(scan.ct.geometry),
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
    from hilum.io.dicom import index_dicom
    from hilum.io.series import choose

    stacks = index_dicom(path)
    first, _ = choose(stacks)
    own = {uid: choose(stacks, series=uid)[0] if uid else first for uid in {stack.series_uid for stack in stacks}}
    return [
        _inspect_stack(path, stack, pixels=pixels, is_read=own[stack.series_uid] is stack, chosen=stack is first)
        for stack in stacks
    ]


def _inspect_stack(path: Path, stack: Stack, *, pixels: bool, is_read: bool, chosen: bool) -> SeriesRecord:
    root = path if path.is_dir() else path.parent
    found = list(_findings(stack))
    if stack.geometry is not None:
        found += [_note(note) for note in question_size(stack.geometry)]
    usable, geometry = stack.refusal is None and is_read, stack.geometry
    if not is_read:
        text = "another part of this series is larger, and is read in its place"
        found.append(FindingRecord(code="split-series", text=text, action="ignored"))
    elif usable and pixels:
        usable, more = _try(path, root, stack)
        found += more
    number, kernel = _labels(root / stack.slices[0].path)
    return SeriesRecord(
        path=str(path),
        format="DICOM",
        series_uid=one_line(stack.series_uid, limit=128),
        slices=len(stack.slices),
        usable=usable,
        geometry=None if geometry is None else grid_record(geometry),
        findings=found,
        pixels_read=pixels and is_read and stack.refusal is None,
        chosen=chosen,
        folder=os.path.commonpath([os.path.dirname(header.path) for header in stack.slices]),  # noqa: PTH120
        number=number,
        kernel=kernel,
    )


def _try(path: Path, root: Path, stack: Stack) -> tuple[bool, list[FindingRecord]]:
    """Read a stack as a command would."""
    from hilum.io.dicom import read_stack
    from hilum.ops.plausibility import question_values

    try:
        scan = check_is_ct(read_stack(root, stack), path)
    except HilumError as refusal:
        return False, [_refusal(refusal)]
    return True, _noted(replace(scan, notes=(*scan.notes, *question_values(scan.ct))))


def _findings(stack: Stack) -> Iterable[FindingRecord]:
    for finding in stack.findings:
        yield FindingRecord(
            code=finding.code,
            text=one_line(finding.text),
            action=finding.action,
            files=[one_line(Path(name).name, limit=100) for name in finding.files],
        )


def _labels(path: Path) -> tuple[int | None, str]:
    """The number and the kernel of a slice's series, as far as they are no free text."""
    import pydicom  # late: it takes longer to import than a series takes to read

    with suppress(Exception):  # whatever is wrong with them, the verdict does not hang on it
        tags = ["SeriesNumber", "ConvolutionKernel"]
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
        value = header.get("ConvolutionKernel") or ""
        kernel = value if isinstance(value, str) else "/".join(map(str, value))
        number = header.get("SeriesNumber")
        told = kernel if all(_KERNEL.fullmatch(part) or part.isdigit() for part in kernel.split("/")) else ""
        return None if number is None else int(number), told
    return None, ""
