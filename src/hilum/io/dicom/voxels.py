"""The slices of a stack as one volume in Hounsfield units.

`hilum.io.dicom.plain` reads and rescales plain frames. For the others `hilum.io.dicom.pixels` reads the stored values
and `hilum.io.dicom.hu` rescales them. `hilum.io.dicom.gaps` interpolates missing slices.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.threads import run_slabs
from hilum.errors import FormatError, InputError, SeriesError, name_some
from hilum.io.dicom.gaps import fill_gaps
from hilum.io.dicom.hu import count_wrong_ranges, frame_to_hu
from hilum.io.dicom.padding import LOW
from hilum.io.dicom.pixels import stored_frames
from hilum.io.dicom.plain import FrameStats, read_plain
from hilum.io.dicom.stack import leave_out
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.dicom.records import SliceHeader, Stack


def read_voxels(root: Path, stack: Stack, max_gap_mm: float) -> tuple[Stack, NDArray[np.int16], list[Note]]:
    """Read the pixels of a stack; leave out damaged slices if their gaps may be interpolated.

    Parameters
    ----------
    root : Path
        The folder that slice paths are relative to.
    stack : Stack
    max_gap_mm : float

    Returns
    -------
    stack : Stack
        Without the slices that were left out.
    array : ndarray of int16, shape (z, y, x), HU
    notes : list of Note

    Raises
    ------
    InputError
        If pixels are damaged and the gap is too wide, duplicates of a slice differ, or the memory is too small.
    """
    damaged: dict[SliceHeader, FormatError] = {}
    array, notes = _read_pixels(root, stack, damaged)
    if not damaged:
        return stack, array, notes
    rest = leave_out([*stack.slices, *(h for _, h in stack.duplicates)], list(damaged), max_gap_mm=max_gap_mm)
    if rest is None:
        raise next(damaged[h] for h in stack.slices if h in damaged)
    assumptions = tuple(f for f in stack.findings if f.code == "assumed-positions")
    return read_voxels(root, replace(rest, findings=(*assumptions, *rest.findings)), max_gap_mm)


def _read_pixels(
    root: Path, stack: Stack, damaged: dict[SliceHeader, FormatError]
) -> tuple[NDArray[np.int16], list[Note]]:
    """Read the volume; adds slices with damaged pixels to `damaged`, and then the volume is not complete."""
    first = stack.slices[0]
    planes = stack.planes
    volume = _allocate((planes[-1] + 1, first.rows, first.columns), root)
    files: defaultdict[str, list[tuple[int, SliceHeader]]] = defaultdict(list)
    for plane, header in zip(planes, stack.slices, strict=True):
        files[header.path].append((plane, header))
    batches = [batch for members in files.values() for batch in _batches(members)]
    stats: dict[int, FrameStats] = {}

    def read_batch(batch: list[tuple[int, SliceHeader]], scratch: NDArray[np.int16]) -> None:
        frames = stored_frames(root, [h for _, h in batch], scratch)
        for (plane, header), stored in zip(batch, frames, strict=True):
            stats[plane] = frame_to_hu(stored, header, volume[plane])

    def read_batches(start: int, stop: int) -> None:
        scratch = np.empty(volume.shape[1:], np.int16)
        some = batches[start + 1 : stop + 1]
        stats.update(read_plain(root, [frame for batch in some for frame in batch], scratch, volume))
        for batch in some:
            if all(plane in stats for plane, _ in batch):
                continue
            try:
                read_batch(batch, scratch)
            except FormatError as error:
                damaged.update((header, error) for _, header in batch)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of what is checked here anyway
        # The first batch shows a wrong matrix or a missing decoder before the memory is filled.
        read_batch(batches[0], np.empty(volume.shape[1:], np.int16))
        run_slabs(read_batches, len(batches) - 1, workers=0)
        if not damaged:
            _compare_duplicates(root, stack, volume)
            fill_gaps(volume, planes)
    return volume, _pixel_notes(stack.slices, [stats.get(plane, FrameStats(0, 0, 0)) for plane in planes])


def _allocate(shape: tuple[int, int, int], root: Path) -> NDArray[np.int16]:
    try:
        return np.empty(shape, np.int16)
    except MemoryError as error:
        size = np.prod(shape, dtype=float) * 2 / 1e9
        what = f"the volume of {shape} voxels needs {size:.1f} GB, more than the memory has"
        raise InputError(what, where=root, code="too-large") from error


def _batches(members: list[tuple[int, SliceHeader]]) -> list[list[tuple[int, SliceHeader]]]:
    """Split the frames of one file among threads; compressed ones stay together, since the file is parsed once."""
    size = 16 if members[0][1].pixel_offset >= 0 else len(members)
    return [members[k : k + size] for k in range(0, len(members), size)]


def _compare_duplicates(root: Path, stack: Stack, volume: NDArray[np.int16]) -> None:
    scratch, other = np.empty(volume.shape[1:], np.int16), np.empty(volume.shape[1:], np.int16)
    for k, header in stack.duplicates:
        for stored in stored_frames(root, [header], scratch):
            frame_to_hu(stored, header, other)
        if not np.array_equal(other, volume[stack.planes[k]]):
            pair = name_some([stack.slices[k].display_name, header.display_name])
            what = f"conflicting duplicate slices, different pixels at the same position: {pair}"
            raise SeriesError(what, where=root, do="remove one of each pair", code="conflicting-duplicates")


def _pixel_notes(slices: Sequence[SliceHeader], stats: Sequence[FrameStats]) -> list[Note]:
    padding, clipped, low = (sum(counts) for counts in zip(*(frame[:3] for frame in stats), strict=True))
    notes = []
    if padding:
        notes.append(Note("padding-to-air", f"{padding} voxels of padding outside the scanned field set to -1024 HU"))
    if clipped:
        notes.append(Note("clipped-hu", f"{clipped} voxels beyond int16 clipped to its range"))
    if low:
        notes.append(Note("low-hu", f"{low} voxels below {LOW} HU: unknown padding, or damaged pixels"))
    if wrong := count_wrong_ranges(slices, stats):
        text = f"Smallest or Largest Image Pixel Value disagrees with the pixels in {wrong} of {len(slices)} slices"
        notes.append(Note("minmax-tags-disagree", f"{text}; hilum does not use them"))
    return notes
