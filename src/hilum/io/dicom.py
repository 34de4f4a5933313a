"""DICOM series to a scan in Hounsfield units.

The steps: `hilum.io.dicom_files` lists what may be DICOM, `hilum.io.dicom_headers` reads what each file says,
`hilum.io.series` and `hilum.io.dicom_stack` decide from the headers alone which slices make a volume,
`hilum.io.dicom_plain` reads plain pixels as Hounsfield units; of all others `hilum.io.dicom_pixels` reads what is
stored, and `hilum.io.dicom_hu` turns it into Hounsfield units.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.threads import run_slabs
from hilum.errors import (
    FormatError,
    GeometryError,
    InputError,
    SeriesError,
    UnsupportedError,
    one_line,
)
from hilum.io.dicom_gaps import check_spacing, fill_gaps, gap_limit
from hilum.io.dicom_hu import count_wrong_ends, to_hu
from hilum.io.dicom_index import Index, index_folder
from hilum.io.dicom_pixels import stored_frames
from hilum.io.dicom_plain import LOW, Done, read_plain
from hilum.io.dicom_stack import leave_out
from hilum.io.names import made_up_name, safe_kernel
from hilum.io.series import choose, name_some, refuse
from hilum.io.unread import looks_like_dicom, unusable, what_else_lies
from hilum.scan import Note, Scan
from hilum.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.io.dicom_records import Header, Stack
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
        -1024 HU (`hilum.io.dicom_hu` says what counts as padding).

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
    stack, array, notes = _read_whole_slices(index.root, stack, max_gap_mm)
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
    stack, array, notes = _read_whole_slices(root, stack, gap_limit(max_gap_mm))
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
        if (lies := what_else_lies(files.junk, files.shown)) and path.is_dir():
            return SeriesError(f"no DICOM here: {lies.what}", where=path, do=lies.do, code="no-dicom")
        if files.locked or (path.is_dir() and any(map(looks_like_dicom, files.junk))):
            return unusable(index.root, "", junk=files.junk, damaged=(), locked=files.locked)
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


def _read_whole_slices(root: Path, stack: Stack, max_gap_mm: float) -> tuple[Stack, NDArray[np.int16], list[Note]]:
    """Read the pixels; slices whose pixels turn out to be damaged are left out, if that leaves a gap to be bridged."""
    damaged: dict[Header, FormatError] = {}
    array, notes = _read_pixels(root, stack, damaged)
    if not damaged:
        return stack, array, notes
    rest = leave_out([*stack.slices, *(h for _, h in stack.copies)], list(damaged), max_gap_mm=max_gap_mm)
    if rest is None:
        raise next(damaged[h] for h in stack.slices if h in damaged)
    kept = tuple(f for f in stack.findings if f.code == "assumed-positions")
    return _read_whole_slices(root, replace(rest, findings=(*kept, *rest.findings)), max_gap_mm)


def _decode(path: Path, headers: Sequence[Header]) -> list[NDArray[Any]]:
    """Decode compressed frames; what starts processes is imported only where there are such."""
    from hilum.io.dicom_child import decode

    return decode(path, headers)


def _read_pixels(root: Path, stack: Stack, damaged: dict[Header, FormatError]) -> tuple[NDArray[np.int16], list[Note]]:
    first = stack.slices[0]
    slots = stack.slots
    shape = (slots[-1] + 1, first.rows, first.columns)
    volume = _room_for(shape, root)
    files: defaultdict[str, list[tuple[int, Header]]] = defaultdict(list)
    for plane, header in zip(slots, stack.slices, strict=True):
        files[header.path].append((plane, header))
    units = [part for members in files.values() for part in _parts(members)]
    done: dict[int, Done] = {}

    def fill(unit: list[tuple[int, Header]], scratch: NDArray[np.int16]) -> None:
        frames = stored_frames(root, [h for _, h in unit], scratch, decode=_decode)
        for (plane, header), stored in zip(unit, frames, strict=True):
            done[plane] = to_hu(stored, header, volume[plane])

    def fill_rest(start: int, stop: int) -> None:
        scratch = np.empty(shape[1:], np.int16)
        some = units[start + 1 : stop + 1]
        done.update(read_plain(root, [frame for unit in some for frame in unit], scratch, volume))
        for unit in some:
            if all(plane in done for plane, _ in unit):
                continue
            try:
                fill(unit, scratch)
            except FormatError as error:
                damaged.update((header, error) for _, header in unit)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of what is checked here anyway
        # A wrong matrix or a missing decoder is met before all of the memory is touched.
        fill(units[0], np.empty(shape[1:], np.int16))
        run_slabs(fill_rest, len(units) - 1)
        if not damaged:
            _compare_copies(root, stack, volume)
            fill_gaps(volume, slots)
    return volume, _pixel_notes(stack.slices, [done.get(plane, Done(0, 0, 0)) for plane in slots])


def _room_for(shape: tuple[int, int, int], root: Path) -> NDArray[np.int16]:
    try:
        return np.empty(shape, np.int16)
    except MemoryError as error:
        size = np.prod(shape, dtype=float) * 2 / 1e9
        raise InputError(f"the volume of {shape} voxels needs {size:.1f} GB", where=root, code="too-large") from error


def _parts(members: list[tuple[int, Header]]) -> list[list[tuple[int, Header]]]:
    """Frames of one file in parts for threads; compressed ones stay together, as the file is parsed once."""
    size = 16 if members[0][1].pixel_offset >= 0 else len(members)
    return [members[k : k + size] for k in range(0, len(members), size)]


def _compare_copies(root: Path, stack: Stack, volume: NDArray[np.int16]) -> None:
    scratch, other = np.empty(volume.shape[1:], np.int16), np.empty(volume.shape[1:], np.int16)
    for k, header in stack.copies:
        for stored in stored_frames(root, [header], scratch, decode=_decode):
            to_hu(stored, header, other)
        if not np.array_equal(other, volume[stack.slots[k]]):
            pair = name_some([stack.slices[k].shown, header.shown])
            what = f"conflicting duplicate slices, different pixels at the same position: {pair}"
            raise SeriesError(what, where=root, do="remove one of each pair", code="conflicting-duplicates")


def _pixel_notes(slices: Sequence[Header], done: Sequence[Done]) -> list[Note]:
    padding, clipped, low = sum(d.padding for d in done), sum(d.clipped for d in done), sum(d.low for d in done)
    notes = []
    if padding:
        notes.append(Note("padding-to-air", f"{padding} voxels of padding outside the scanned field set to -1024 HU"))
    if clipped:
        notes.append(Note("clipped-hu", f"{clipped} voxels beyond int16 clipped to its range"))
    if low:
        notes.append(Note("low-hu", f"{low} voxels below {LOW} HU: unknown padding, or damaged pixels"))
    wrong = count_wrong_ends(slices, done)
    if wrong:
        text = f"Smallest or Largest Image Pixel Value is not what was read in {wrong} of {len(slices)} slices; unused"
        notes.append(Note("minmax-tags-disagree", text))
    return notes
