"""What a file or folder holds, what is odd about it, and what `hilum.read` would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hilum.errors import HilumError, MissingInputError, one_line
from hilum.io import is_volume, read, suffix_of
from hilum.io.files import is_there
from hilum.io.names import safe_name
from hilum.io.records import GridRecord, grid_record
from hilum.ops.plausibility import question_size

if TYPE_CHECKING:
    from hilum.io.dicom_records import Stack


_NAMED = 3
"""How many files a finding names for a person; the JSON has all."""


class FindingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One oddity: its stable code, a line for a person, and what is done about it."""

    code: str
    text: str
    action: str
    files: list[str] = []


class SeriesRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One series or volume file and the verdict on it."""

    path: str
    format: str
    series_uid: str
    slices: int
    usable: bool
    geometry: GridRecord | None
    findings: list[FindingRecord]


def inspect(path: Path) -> list[SeriesRecord]:
    """Say what a file or folder holds.

    Parameters
    ----------
    path : Path
        A folder is searched for DICOM series, headers only; a volume file is read.

    Returns
    -------
    list of SeriesRecord
        One per CT series, or one for the file.

    Raises
    ------
    InputError
        If there is no such path or nothing in it that could be a scan.
    """
    if not is_there(path):
        raise MissingInputError("there is no such file or folder", where=path, do="check the path")
    if is_volume(path):
        return [_inspect_file(path)]
    from hilum.io.dicom import index_dicom

    return [_inspect_stack(path, stack) for stack in index_dicom(path)]


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


def inspection_text(found: list[SeriesRecord]) -> str:
    """Write a verdict as lines for a person.

    Parameters
    ----------
    found : list of SeriesRecord

    Returns
    -------
    str
    """
    lines = []
    for number, series in enumerate(found, start=1):
        verdict = "would be read" if series.usable else "would be refused"
        lines.append(f"{number}. {series.format}, {series.slices} slices, {verdict}: {series.series_uid}")
        if series.geometry is not None:
            sizes = " x ".join(str(n) for n in series.geometry.shape)
            steps = " x ".join(f"{s:.6g}" for s in series.geometry.spacing)
            place = ", ".join(f"{v:.6g}" for v in series.geometry.origin)
            lines.append(f"   {sizes} voxels of {steps} mm (z, y, x), first voxel at ({place}) mm (x, y, z)")
        for finding in series.findings:
            lines.append(f"   {finding.action:9s}{finding.code}: {finding.text}")
            lines += [f"            {name}" for name in _names(finding.files)]
    return "\n".join(lines)


def _names(files: list[str]) -> list[str]:
    """The files that a finding's text tells by their place alone: whoever asks here holds them."""
    names = [name for name in files if not safe_name(name)]
    rest = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return names[:_NAMED] + rest


def _inspect_file(path: Path) -> SeriesRecord:
    """Read a volume file; a refusal is a verdict too."""
    kind = suffix_of(path).removeprefix(".")
    try:
        scan = read(path)
    except HilumError as refusal:
        finding = FindingRecord(code=refusal.code, text=str(refusal), action="refused")
        return SeriesRecord(
            path=str(path), format=kind, series_uid="", slices=0, usable=False, geometry=None, findings=[finding]
        )
    return SeriesRecord(
        path=str(path),
        format=kind,
        series_uid=one_line(scan.series_uid, limit=128),
        slices=scan.ct.shape[0],
        usable=True,
        geometry=grid_record(scan.ct.geometry),
        findings=[FindingRecord(code=note.code, text=note.text, action="noted") for note in scan.notes],
    )


def _inspect_stack(path: Path, stack: Stack) -> SeriesRecord:
    return SeriesRecord(
        path=str(path),
        format="DICOM",
        series_uid=one_line(stack.series_uid, limit=128),
        slices=len(stack.slices),
        usable=stack.refusal is None,
        geometry=None if stack.geometry is None else grid_record(stack.geometry),
        findings=[
            FindingRecord(
                code=finding.code,
                text=one_line(finding.text),
                action=finding.action,
                files=[one_line(Path(name).name, limit=100) for name in finding.files],
            )
            for finding in stack.findings
        ]
        + [
            FindingRecord(code=note.code, text=note.text, action="noted")
            for note in (() if stack.geometry is None else question_size(stack.geometry))
        ],
    )
