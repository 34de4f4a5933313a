"""List the series and volume files of a path, what is odd about them, and what `hilum.read` would do."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from hilum.errors import HilumError, MissingInputError, one_line
from hilum.io import names, scan_files
from hilum.io.archives import Opened
from hilum.io.dicom.records import Finding, Stack
from hilum.io.files import path_exists
from hilum.io.volumes import formats, placement
from hilum.ops.quality.plausibility import note_implausible_size, note_implausible_values
from hilum.scan import Note


class RegionsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A structure set or segmentation: ``kind`` is rtstruct or seg, ``file`` is relative to the inspected path."""

    kind: str
    file: str
    names: list[str]


class SeriesRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One series or volume file, and whether it can be read as a scan.

    ``usable``: whether it can be read. ``pixels_read``: whether its pixels were read, or only its headers. ``chosen``:
    whether a command reads this one from the folder by default. ``folder`` is relative to ``path``. ``number`` and
    ``kernel`` are those of its first slice. ``told_by`` and ``value``: the attribute that tells several volumes of one
    series apart, and its value where that may be shown. ``regions``: the structure sets and segmentations of it.
    """

    path: str
    format: str
    series_uid: str = ""
    slices: int = 0
    usable: bool = False
    geometry: placement.GridRecord | None = None
    findings: list[Finding]
    pixels_read: bool = True
    chosen: bool = False
    folder: str = ""
    number: int | None = None
    kernel: str = ""
    told_by: str = ""
    value: str = ""
    regions: list[RegionsRecord] = []


def inspect(
    path: Path,
    *,
    pixels: bool = True,
    volumes: Sequence[Path] = (),
    refused: Sequence[HilumError] = (),
    **options: Any,
) -> list[SeriesRecord]:
    """List the series and volume files of a path.

    Parameters
    ----------
    path : Path
        A folder is searched for DICOM series.
    pixels : bool
        Whether to read the pixels of each series. Without them, damaged slices and different slices at one position
        are not found. Volume files are always read.
    volumes : sequence of Path
        Volume files in the folder.
    refused : sequence of HilumError
        Refusals of files in the folder, each with its ``where``.
    **options
        The fields of `hilum.io.read_options.ReadOptions`.

    Returns
    -------
    list of SeriesRecord
        One for each CT series, volume file and refusal.

    Raises
    ------
    InputError
        If the path does not exist or contains no scan.
    """
    if not path_exists(path):
        raise MissingInputError("there is no such file or folder", where=path, do="check the path")
    if formats.is_volume(path):
        return [msgspec.structs.replace(_inspect_file(path, path, options), chosen=True)]
    rest = [_inspect_file(path, volume, options) for volume in volumes]
    for error in refused:
        if error.where is not None:
            where = Path(str(error.where))
            rest.append(_refused(where, error, file_format="", folder=_relative(path, where)))
    try:
        series = _inspect_series(path, options, pixels=pixels)
    except HilumError:
        if not rest:
            raise
        series = []
    return [*series, *rest]


def place_records(records: Iterable[SeriesRecord], opened: Opened, root: Path) -> list[SeriesRecord]:
    """The records of an unpacked archive, with the paths of its members instead of those of the private folder.

    Parameters
    ----------
    records : iterable of SeriesRecord
        What was found in the private folder.
    opened : Opened
        The archive, and where it was unpacked.
    root : Path
        The archive itself, or the folder in which it was found: folders are relative to it.
    """
    inner, outer = str(opened.path), str(opened.archive)
    prefix = "" if opened.archive == root else f"{_relative(root, opened.archive)}/"

    def placed(finding: Finding) -> Finding:
        return replace(finding, text=finding.text.replace(inner, outer))

    return [
        msgspec.structs.replace(
            record,
            path=record.path.replace(inner, outer, 1),
            folder=f"{prefix}{record.folder}".rstrip("/"),
            findings=[placed(finding) for finding in record.findings],
        )
        for record in records
    ]


def inspection_json(series: list[SeriesRecord]) -> str:
    """Write the records as JSON."""
    return msgspec.json.format(msgspec.json.encode(series)).decode()


def _inspect_file(root: Path, path: Path, options: Mapping[str, Any]) -> SeriesRecord:
    """Read a volume file; a refusal becomes a finding."""
    file_format = formats.suffix_of(path).removeprefix(".")
    folder = _relative(root, path) if path != root else path.name
    try:
        stated = {name: options[name] for name in ("tilt", "rescale", "hu_offset") if name in options}
        scan = scan_files.check_is_ct(scan_files.read(path, **stated), path)
    except HilumError as refusal:
        return _refused(path, refusal, file_format=file_format, folder=folder)
    return SeriesRecord(
        path=str(path),
        format=file_format,
        series_uid=one_line(scan.series_uid, limit=128),
        slices=scan.ct.shape[0],
        usable=True,
        geometry=placement.GridRecord.of(scan.ct.geometry),
        findings=_noted(scan.notes),
        folder=folder,
    )


def _refused(path: Path, error: HilumError, *, file_format: str, folder: str) -> SeriesRecord:
    """A folder or file that should be a scan but cannot be read."""
    return SeriesRecord(path=str(path), format=file_format, findings=[_refusal(error)], folder=folder)


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _refusal(error: HilumError) -> Finding:
    return Finding(error.code, str(error), "refused")


def _noted(notes: Iterable[Note]) -> list[Finding]:
    return [Finding(note.code, note.text, "noted") for note in notes]


def _inspect_series(path: Path, options: Mapping[str, Any], *, pixels: bool) -> list[SeriesRecord]:
    from hilum.io.dicom.choice import choose_stack, series_of
    from hilum.io.dicom.reader import index_dicom

    stacks = index_dicom(path, **options)
    first, chose = choose_stack(stacks)
    listed = []
    for stack in stacks:
        same = [s for s in stacks if series_of(s) == series_of(stack)]
        read_first, split = choose_stack(same)
        if stack is not read_first:
            text = "not the default volume of its series: --volume takes it by its number in this list"
            split = () if stack.refusal else (Finding("split-series", text, "ignored"),)
        told = dict.fromkeys((*split, *(chose if stack is first and not stack.refusal else ())))
        judged = replace(stack, findings=(*stack.findings, *told))
        listed.append(_inspect_stack(path, judged, options, pixels=pixels, chosen=stack is first))
    return listed


def _inspect_stack(path: Path, stack: Stack, options: Mapping[str, Any], *, pixels: bool, chosen: bool) -> SeriesRecord:
    from hilum.io.dicom.reader import read_stack

    root = path if path.is_dir() else path.parent
    findings = [_shorten(finding) for finding in stack.findings]
    usable, geometry = stack.refusal is None, stack.geometry
    if geometry is not None:
        findings += _noted(note_implausible_size(geometry))
    if usable and pixels:
        try:
            scan = scan_files.check_is_ct(read_stack(root, stack, **options), path)
            findings += _noted((*scan.notes, *note_implausible_values(scan.ct)))
        except HilumError as refusal:
            usable = False
            findings.append(_refusal(refusal))
    return SeriesRecord(
        path=str(path),
        format="DICOM",
        series_uid=one_line(stack.series_uid, limit=128),
        slices=len(stack.slices),
        usable=usable,
        geometry=None if geometry is None else placement.GridRecord.of(geometry),
        findings=findings,
        pixels_read=pixels and stack.refusal is None,
        chosen=chosen,
        folder=os.path.commonpath([os.path.dirname(header.path) for header in stack.slices]),  # noqa: PTH120
        number=stack.slices[0].series_number,
        kernel=names.safe_kernel(stack.slices[0].kernel),
        told_by=stack.told_by,
        value=stack.value,
    )


def _shorten(finding: Finding) -> Finding:
    files = tuple(one_line(Path(name).name, limit=100) for name in finding.files)
    return replace(finding, text=one_line(finding.text), files=files)
