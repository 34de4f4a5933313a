"""The slices of a stack as one volume in Hounsfield units.

`hilum.io.dicom.plain` reads plain pixels as Hounsfield units; of all others `hilum.io.dicom.pixels` reads what is
stored, and `hilum.io.dicom.hu` turns it into Hounsfield units. `hilum.io.dicom.gaps` fills what is missing.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.threads import run_slabs
from hilum.errors import FormatError, InputError, SeriesError, name_some
from hilum.io.dicom.gaps import fill_gaps
from hilum.io.dicom.hu import count_wrong_ends, to_hu
from hilum.io.dicom.pixels import stored_frames
from hilum.io.dicom.plain import LOW, Done, read_plain
from hilum.io.dicom.stack import leave_out
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.dicom.records import Header, Stack


def read_voxels(root: Path, stack: Stack, max_gap_mm: float) -> tuple[Stack, NDArray[np.int16], list[Note]]:
    """Read the pixels of a stack; damaged slices are left out, if that leaves a gap to be bridged.

    Parameters
    ----------
    root : Path
        The folder that the slices' paths are relative to.
    stack : Stack
    max_gap_mm : float

    Returns
    -------
    stack : Stack
        Of the slices that were read.
    array : ndarray of int16, shape (z, y, x), HU
    notes : list of Note

    Raises
    ------
    InputError
        If pixels are damaged and the gap is too wide, copies of a slice differ, or there is no memory.
    """
    damaged: dict[Header, FormatError] = {}
    array, notes = _read_pixels(root, stack, damaged)
    if not damaged:
        return stack, array, notes
    rest = leave_out([*stack.slices, *(h for _, h in stack.copies)], list(damaged), max_gap_mm=max_gap_mm)
    if rest is None:
        raise next(damaged[h] for h in stack.slices if h in damaged)
    kept = tuple(f for f in stack.findings if f.code == "assumed-positions")
    return read_voxels(root, replace(rest, findings=(*kept, *rest.findings)), max_gap_mm)


def _decode(path: Path, headers: Sequence[Header]) -> list[NDArray[Any]]:
    """Decode compressed frames; what starts processes is imported only where there are such."""
    from hilum.io.dicom.decoder_process import decode

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
        run_slabs(fill_rest, len(units) - 1, workers=0)
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
