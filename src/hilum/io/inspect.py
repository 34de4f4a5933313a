"""List the series and volume files of a path, what is odd about them, and what `hilum.read` would do."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from hilum.errors import HilumError, MissingInputError, one_line
from hilum.geometry import Geometry
from hilum.io import names, scan_files
from hilum.io.archives import Opened
from hilum.io.dicom.records import Finding, Stack
from hilum.io.files import path_exists
from hilum.io.volumes import formats
from hilum.ops.quality.plausibility import note_implausible_size, note_implausible_values
from hilum.scan import Note


@dataclass(frozen=True)
class Regions:
    """A DICOM structure set or segmentation that refers to a series.

    Parameters
    ----------
    kind : {"rtstruct", "seg"}
        Structure set or segmentation.
    file : str
        Relative to the inspected path.
    names : tuple of str
        Of its regions.
    """

    kind: str
    file: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series or volume file of a path, and whether it can be read as a scan; from `hilum.series`.

    Parameters
    ----------
    number : int, default 1
        Its number in the list, from 1: ``hilum.read(path, volume=number)`` reads that series of a DICOM folder.
    path : Path
        What `hilum.read` takes: the folder of DICOM series, or the volume file.
    format : str
        ``DICOM``, or the suffix of a volume file without its dot.
    uid : str
        The Series Instance UID; for a file without one, its stem or a made-up name.
    folder : str
        Where its files lie, relative to the inspected path.
    series_number : int or None
        SeriesNumber (0020,0011) of its first slice.
    kernel : str
        Reconstruction kernel of its first slice, where it may be shown.
    phase : str
        What tells several volumes of one series apart, where it may be shown; `told_by` names the attribute.
    told_by : str
        The DICOM attribute that `phase` is the value of; empty if the series is one volume.
    slices : int, default 0
        Number of slices.
    geometry : Geometry or None
        The grid; None if the files do not form one.
    usable : bool, default False
        Whether it can be read.
    pixels_read : bool, default True
        Whether its pixels were read, or only its headers.
    chosen : bool, default False
        Whether `hilum.read` takes this one from the folder by default.
    findings : tuple of Finding
        What is odd about it, each with a ``code``, a ``text`` and an ``action``.
    regions : tuple of Regions
        Structure sets and segmentations that refer to it.

    Examples
    --------
    >>> import hilum
    >>> series = hilum.series("scan")[0]
    >>> series.number, series.slices, series.spacing, series.usable
    (1, 48, (6.25, 4.0, 4.0), True)
    """

    number: int = 1
    path: Path
    format: str
    uid: str = ""
    folder: str = ""
    series_number: int | None = None
    kernel: str = ""
    phase: str = ""
    told_by: str = ""
    slices: int = 0
    geometry: Geometry | None = None
    usable: bool = False
    pixels_read: bool = True
    chosen: bool = False
    findings: tuple[Finding, ...] = ()
    regions: tuple[Regions, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Number of voxels, (z, y, x); None without a geometry."""
        return None if self.geometry is None else self.geometry.shape

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Distance between voxel centers, (z, y, x), mm; None without a geometry."""
        return None if self.geometry is None else self.geometry.spacing


def inspect(
    path: Path,
    *,
    pixels: bool = True,
    volumes: Sequence[Path] = (),
    refused: Sequence[HilumError] = (),
    **options: Any,
) -> list[Series]:
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
    list of Series
        One for each CT series, volume file and refusal.

    Raises
    ------
    InputError
        If the path does not exist or contains no scan.
    """
    if not path_exists(path):
        raise MissingInputError("there is no such file or folder", where=path, do="check the path")
    if formats.is_volume(path):
        return [replace(_inspect_file(path, path, options), chosen=True)]
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


def place_records(records: Iterable[Series], opened: Opened, root: Path) -> list[Series]:
    """The records of an unpacked archive, with the paths of its members instead of those of the private folder.

    Parameters
    ----------
    records : iterable of Series
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
        replace(
            record,
            path=Path(str(record.path).replace(inner, outer, 1)),
            folder=f"{prefix}{record.folder}".rstrip("/"),
            findings=tuple(map(placed, record.findings)),
        )
        for record in records
    ]


_JSON_NAMES = {"uid": "series_uid", "series_number": "number", "phase": "value"}  # of `hilum info --json`


def inspection_json(series: Iterable[Series]) -> str:
    """Write what was found as JSON, in the order of its numbers."""
    names = [one.name for one in fields(Series) if one.name != "number"]
    listed = [{_JSON_NAMES.get(name, name): getattr(one, name) for name in names} for one in series]
    return msgspec.json.format(msgspec.json.encode(listed, enc_hook=str)).decode()


def _inspect_file(root: Path, path: Path, options: Mapping[str, Any]) -> Series:
    """Read a volume file; a refusal becomes a finding."""
    file_format = formats.suffix_of(path).removeprefix(".")
    folder = _relative(root, path) if path != root else path.name
    try:
        stated = {name: options[name] for name in ("tilt", "rescale", "hu_offset") if name in options}
        scan = scan_files.check_is_ct(scan_files.read(path, **stated), path)
    except HilumError as refusal:
        return _refused(path, refusal, file_format=file_format, folder=folder)
    return Series(
        path=path,
        format=file_format,
        uid=one_line(scan.series_uid, limit=128),
        slices=scan.ct.shape[0],
        usable=True,
        geometry=scan.ct.geometry,
        findings=tuple(_noted(scan.notes)),
        folder=folder,
    )


def _refused(path: Path, error: HilumError, *, file_format: str, folder: str) -> Series:
    """A folder or file that should be a scan but cannot be read."""
    return Series(path=path, format=file_format, findings=(_refusal(error),), folder=folder)


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _refusal(error: HilumError) -> Finding:
    return Finding(error.code, str(error), "refused")


def _noted(notes: Iterable[Note]) -> list[Finding]:
    return [Finding(note.code, note.text, "noted") for note in notes]


def _inspect_series(path: Path, options: Mapping[str, Any], *, pixels: bool) -> list[Series]:
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


def _inspect_stack(path: Path, stack: Stack, options: Mapping[str, Any], *, pixels: bool, chosen: bool) -> Series:
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
    return Series(
        path=path,
        format="DICOM",
        uid=one_line(stack.series_uid, limit=128),
        slices=len(stack.slices),
        usable=usable,
        geometry=geometry,
        findings=tuple(findings),
        pixels_read=pixels and stack.refusal is None,
        chosen=chosen,
        folder=os.path.commonpath([os.path.dirname(header.path) for header in stack.slices]),  # noqa: PTH120
        series_number=stack.slices[0].series_number,
        kernel=names.safe_kernel(stack.slices[0].kernel),
        told_by=stack.told_by,
        phase=stack.value,
    )


def _shorten(finding: Finding) -> Finding:
    files = tuple(one_line(Path(name).name, limit=100) for name in finding.files)
    return replace(finding, text=one_line(finding.text), files=files)
