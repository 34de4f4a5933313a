"""DICOM series to a scan in Hounsfield units.

The steps: `hilum.io.dicom.sniff` lists what may be DICOM, `hilum.io.dicom.headers` reads what each file says,
`hilum.io.dicom.series` and `hilum.io.dicom.stack` decide from the headers alone which slices make a volume,
`hilum.io.dicom.voxels` reads their pixels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.errors import (
    FormatError,
    GeometryError,
    InputError,
    SeriesError,
    UnsupportedError,
    one_line,
)
from hilum.io.dicom.gaps import check_spacing, gap_limit
from hilum.io.dicom.index import Index, index_folder
from hilum.io.dicom.series import choose, refuse
from hilum.io.dicom.voxels import read_voxels
from hilum.io.names import safe_kernel
from hilum.io.uids import made_up_name
from hilum.io.unreadable import describe_other_files, looks_like_dicom, no_readable_slice
from hilum.scan import Note, Scan
from hilum.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hilum.io.dicom.records import Header, Stack
    from hilum.scan import Label

_THICKEST_MM = 100.0

_KINDS: dict[str, type[InputError]] = {
    "bad-geometry": GeometryError,
    "bad-modality-lut": FormatError,
    "gantry-tilt": UnsupportedError,
    "lut-and-rescale": FormatError,
    "no-pixels": FormatError,
    "not-hounsfield": UnsupportedError,
    "truncated": FormatError,
    "unplaced-frames": UnsupportedError,
    "unsupported-bits": UnsupportedError,
}
"""Which error a refusal becomes, where it is no SeriesError."""

_LOST = {"ignored-damaged-file", "unreadable-files", "dangling-links"}
"""Findings on files that may be the slices that are missing."""


def read_dicom(
    path: Path, *, series: str = "", max_gap_mm: float | None = None, slice_spacing_mm: float | None = None
) -> Scan:
    """Read one CT series.

    Parameters
    ----------
    path : Path
        A folder, searched with its subfolders (linked folders are followed, each once), or one multi-frame file.
    series : str
        The Series Instance UID to read; without it the largest chest-like CT series is taken and noted.
    max_gap_mm : float, optional
        Where slices are missing or damaged, their neighbors may be this far apart: what is between them is
        interpolated linearly and noted. 0 refuses every gap; the default is that of the recipe ``default``.
    slice_spacing_mm : float, optional
        For slices without positions alone: the distance from one InstanceNumber to the next along the normal,
        negative where they count against it (from head to feet). Noted; the world position is arbitrary.

    Returns
    -------
    Scan
        int16 Hounsfield units; slices ascend along the normal (row direction x column direction). Padding is
        -1024 HU (`hilum.io.dicom.hu` says what counts as padding).

    Raises
    ------
    MissingInputError
        If there is no such path, or no file in it.
    FormatError
        If pixels are damaged, cut off or absent.
    GeometryError
        If a position, direction or spacing is none.
    UnsupportedError
        If the images are no CT, or of a kind that is not read, such as a tilted gantry.
    SeriesError
        If the slices do not make one trustworthy volume: missing slices, two images of one place, spacing or
        matrix that differ, no positions, no rescale.
    InputError
        If an option is out of range, or a slice spacing is stated for slices that have positions.
    """
    max_gap_mm = gap_limit(max_gap_mm)
    check_spacing(slice_spacing_mm)
    index = index_folder(Path(path), max_gap_mm, slice_spacing_mm)
    if not index.stacks:
        raise _nothing(path, index)
    stack, left_out = choose(index.stacks, series=series, where=path)
    if stack.refusal is not None:
        raise _refusal(path, stack, index)
    if slice_spacing_mm is not None and not any(f.code == "assumed-positions" for f in stack.findings):
        what = "a slice spacing is stated, but the slices have positions"
        raise InputError(what, where=path, do="leave it out: positions decide", code="option")
    stack, array, notes = read_voxels(index.root, stack, max_gap_mm)
    if stack.geometry is None:
        raise SeriesError("slices without a grid", where=path, code="bad-geometry")
    findings = (*index.findings, *left_out, *stack.findings)
    texts = (*(Note(f.code, f.text) for f in findings), *notes)
    uids = dict(zip(stack.slots, (h.sop_uid for h in stack.slices), strict=True))
    return Scan(
        stack.series_uid or _made_up_uid(stack),
        Volume(array, stack.geometry),
        notes=texts,
        slice_uids=tuple(uids.get(k, "") for k in range(len(array))),
        acquisition=_acquisition(stack.slices),
    )


def read_stack(root: Path, stack: Stack, *, max_gap_mm: float | None = None) -> Scan:
    """Read the pixels of one stack of `index_dicom`.

    Parameters
    ----------
    root : Path
        What the paths of its slices are relative to.
    stack : Stack
    max_gap_mm : float, optional
        As `read_dicom` takes it.

    Returns
    -------
    Scan
        With the notes of its pixels alone.

    Raises
    ------
    InputError
        As `read_dicom` does for what only the pixels tell.
    """
    stack, array, notes = read_voxels(root, stack, gap_limit(max_gap_mm))
    if stack.geometry is None:
        raise SeriesError("slices without a grid", where=root, code="bad-geometry")
    return Scan(stack.series_uid or _made_up_uid(stack), Volume(array, stack.geometry), notes=tuple(notes))


def index_dicom(path: Path, *, max_gap_mm: float | None = None) -> list[Stack]:
    """Judge every CT stack of a folder by its headers; no pixels are read.

    Parameters
    ----------
    path : Path
        A folder, searched with its subfolders, or one file.
    max_gap_mm : float, optional
        As `read_dicom` takes it.

    Returns
    -------
    list of Stack
        Largest first, at least one; `Stack.refusal` says why one cannot be read, `Stack.findings` what is odd.

    Raises
    ------
    MissingInputError
        If there is no such path, or no file in it.
    FormatError, SeriesError
        If there is no CT slice.
    UnsupportedError
        If the images are of another modality, or the path is an archive, or neither a file nor a folder.
    """
    index = index_folder(Path(path), gap_limit(max_gap_mm), None)
    if not index.stacks:
        raise _nothing(path, index)
    shared = tuple(f for f in index.findings if f.action != "refused")
    stacks = [replace(s, findings=(*s.findings, *shared)) for s in index.stacks]
    return sorted(stacks, key=lambda s: (-len(s.slices), s.series_uid))


def _nothing(path: Path, index: Index) -> InputError:
    if not index.sorted_out.findings:
        files = index.files
        if (lies := describe_other_files(files.junk, files.shown)) and path.is_dir():
            return SeriesError(f"no DICOM here: {lies.what}", where=path, do=lies.do, code="no-dicom")
        if files.locked or (path.is_dir() and any(map(looks_like_dicom, files.junk))):
            return no_readable_slice(index.root, "", junk=files.junk, damaged=(), locked=files.locked)
        kind = FormatError if path.is_file() else SeriesError
        return kind("no DICOM images found", where=path, do="give the folder of a CT series", code="no-dicom")
    error = refuse(index.sorted_out)
    return type(error)(error.what, where=path, do=error.do, code=error.code)


def _refusal(path: Path, stack: Stack, index: Index) -> InputError:
    finding = stack.refusal
    if finding is None:
        raise ValueError("only a refused stack has a refusal")
    damaged = [f for f in index.findings if f.code in _LOST]
    do = ""
    if damaged and finding.code in {"missing-slices", "nonuniform-spacing"}:
        do = one_line(damaged[0].text, limit=90)
    elif finding.code in {"missing-slices", "truncated", "no-pixels"}:
        do = "get the series again, complete"
    elif finding.code == "no-position" and not any(h.position for h in stack.slices):
        do = "if you know the spacing, give slice_spacing_mm (hilum convert --slice-spacing-mm)"
    elif finding.code == "single-slice" and path.is_file():
        do = "give the folder that holds the series"
    return _KINDS.get(finding.code, SeriesError)(finding.text, where=path, do=do, code=finding.code)


def _acquisition(slices: Sequence[Header]) -> dict[str, Label]:
    """How the slices were made, where all of them say the same and it is what a scanner says."""
    found: dict[str, Label] = {}
    kernels = {safe_kernel(header.kernel) for header in slices}
    if len(kernels) == 1 and (kernel := kernels.pop()):
        found["kernel"] = kernel
    depths = {header.thickness for header in slices}
    if len(depths) == 1 and (depth := depths.pop()) is not None and 0 < depth <= _THICKEST_MM:
        found["slice_thickness_mm"] = depth
    return found


def _made_up_uid(stack: Stack) -> str:
    """A stable name for a series without a UID; never made of a folder's name, which can be a patient's."""
    return made_up_name(repr([(h.sop_uid, h.position) for h in stack.slices]))
