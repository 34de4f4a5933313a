"""The slices of a stack as one volume in Hounsfield units.

`hilum.io.dicom.plain` reads and rescales plain frames. This module reads the others at their offset, or has
`hilum.io.dicom.decoder_process` decode them, and `hilum.io.dicom.hu` rescales them. Missing slices are interpolated.
"""

import io
import os
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.threads import run_slabs
from hilum.errors import FormatError, InputError, SeriesError, name_some
from hilum.io.dicom import hu, plain
from hilum.io.dicom.records import SliceHeader, Stack
from hilum.io.dicom.stack import leave_out
from hilum.io.padding_values import AIR, LOW
from hilum.io.read_options import ReadOptions
from hilum.ops.planes import fill_planes, place_planes
from hilum.scan import Note


def read_voxels(root: Path, stack: Stack, options: ReadOptions) -> tuple[Stack, NDArray[np.int16], list[Note]]:
    """Read the pixels of a stack; leave out damaged slices if their gaps may be interpolated.

    Parameters
    ----------
    root : Path
        The folder that slice paths are relative to.
    stack : Stack
        The stack to read.
    options : ReadOptions
        What the user states about the scan.

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
        if stack.places and stack.geometry is not None:
            try:
                array = place_planes(array, np.array(stack.places), stack.geometry.shape, fill=AIR)
            except MemoryError as error:
                raise _too_large(stack.geometry.shape, root) from error
        return stack, array, notes
    members = [*stack.slices, *(h for _, h in stack.duplicates)]
    rest = leave_out(members, list(damaged), max_gap_mm=options.gap_mm, tilt=options.tilt)
    if rest is None:
        raise next(damaged[h] for h in stack.slices if h in damaged)
    assumptions = tuple(f for f in stack.findings if f.code in {"assumed-positions", "rounded-positions"})
    return read_voxels(root, replace(rest, findings=(*assumptions, *rest.findings)), options)


def _too_large(shape: tuple[int, int, int], root: Path) -> InputError:
    size = np.prod(shape, dtype=float) * 2 / 1e9
    what = f"the volume of {shape} voxels needs {size:.1f} GB, more than the memory has"
    return InputError(what, where=root, do="read it where more memory is free", code="too-large")


def _read_pixels(
    root: Path, stack: Stack, damaged: dict[SliceHeader, FormatError]
) -> tuple[NDArray[np.int16], list[Note]]:
    """Read the volume; adds slices with damaged pixels to `damaged`, and then the volume is not complete."""
    first = stack.slices[0]
    planes = tuple(range(len(stack.slices))) if stack.places else stack.planes
    shape = planes[-1] + 1, first.rows, first.columns
    try:
        volume = np.empty(shape, np.int16)
    except MemoryError as error:
        raise _too_large(shape, root) from error
    files: defaultdict[str, list[tuple[int, SliceHeader]]] = defaultdict(list)
    for plane, header in zip(planes, stack.slices, strict=True):
        files[header.path].append((plane, header))
    batches = [batch for members in files.values() for batch in _batches(members)]
    stats: dict[int, plain.FrameStats] = {}

    def read_batch(batch: list[tuple[int, SliceHeader]], scratch: NDArray[np.int16]) -> None:
        frames = stored_frames(root, [h for _, h in batch], scratch)
        for (plane, header), stored in zip(batch, frames, strict=True):
            stats[plane] = hu.frame_to_hu(stored, header, volume[plane])

    def read_batches(start: int, stop: int) -> None:
        scratch = np.empty(volume.shape[1:], np.int16)
        some = batches[start + 1 : stop + 1]
        stats.update(plain.read_plain(root, [frame for batch in some for frame in batch], scratch, volume))
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
            _compare_duplicates(root, stack, volume, planes)
            fill_planes(volume, planes)
    return volume, _pixel_notes(stack.slices, [stats.get(plane, plain.FrameStats(0, 0, 0)) for plane in planes])


def _batches(members: list[tuple[int, SliceHeader]]) -> list[list[tuple[int, SliceHeader]]]:
    """Split the frames of one file among threads; compressed ones stay together, since the file is parsed once."""
    size = 16 if members[0][1].pixel_offset >= 0 else len(members)
    return [members[k : k + size] for k in range(0, len(members), size)]


def _compare_duplicates(root: Path, stack: Stack, volume: NDArray[np.int16], planes: Sequence[int]) -> None:
    scratch, other = np.empty(volume.shape[1:], np.int16), np.empty(volume.shape[1:], np.int16)
    for k, header in stack.duplicates:
        for stored in stored_frames(root, [header], scratch):
            hu.frame_to_hu(stored, header, other)
        if not np.array_equal(other, volume[planes[k]]):
            pair = name_some([stack.slices[k].display_name, header.display_name])
            what = f"conflicting duplicate slices, different pixels at the same position: {pair}"
            do = "remove one of each pair"
            if 2 * len({k for k, _ in stack.duplicates}) > len(stack.slices):
                count = 1 + max(Counter(k for k, _ in stack.duplicates).values())
                what = f"several volumes at the same positions: up to {count} images at each of {len(stack.slices)} "
                what += "positions, and no attribute or time tells them apart"
                do = "give the files of one of them"
            raise SeriesError(what, where=root, do=do, code="conflicting-duplicates")


def _pixel_notes(slices: Sequence[SliceHeader], stats: Sequence[plain.FrameStats]) -> list[Note]:
    padding, clipped, low = (sum(counts) for counts in zip(*(frame[:3] for frame in stats), strict=True))
    wrong = hu.count_wrong_ranges(slices, stats)
    cut = sum(frame.cut for frame in stats)
    beyond = f"{cut} voxels have values of more than the {slices[0].bits_stored} bits of BitsStored"
    disagree = f"disagrees with the pixels in {wrong} of {len(slices)} slices; hilum does not use them"
    notes = (
        (padding, "padding-to-air", f"{padding} voxels of padding outside the scanned field set to -1024 HU"),
        (clipped, "clipped-hu", f"{clipped} voxels beyond int16 clipped to its range"),
        (low, "low-hu", f"{low} voxels below {LOW} HU: unknown padding, or damaged pixels"),
        (cut, "beyond-bits", f"{beyond}: cut to these bits, as the standard says, and probably wrong"),
        (wrong, "minmax-tags-disagree", f"Smallest or Largest Image Pixel Value {disagree}"),
    )
    return [Note(code, text) for count, code, text in notes if count]


def stored_frames(root: Path, headers: Sequence[SliceHeader], scratch: NDArray[np.int16]) -> Iterator[NDArray[Any]]:
    """Read frames of one file as stored.

    Parameters
    ----------
    root : Path
        The folder that header paths are relative to.
    headers : sequence of SliceHeader
        Frames of one file.
    scratch : ndarray of int16, shape (row, column)
        A contiguous buffer for uncompressed 16-bit frames, one after the other. It fits the cache, so that a frame
        crosses the memory only once on its way to the volume.

    Yields
    ------
    ndarray, shape (row, column)
        Stored values in native byte order, unused bits unchanged. Valid until the next one is read.

    Raises
    ------
    FormatError
        If the pixels are damaged.
    UnsupportedError
        If no decoder for their compression is installed.
    """
    if headers[0].pixel_offset < 0:
        from hilum.io.dicom.decoder_process import decode  # late: few series need it

        yield from decode(root / headers[0].path, headers)
        return
    path = f"{root}{os.sep}{headers[0].path}"  # making Paths, the threads would wait for each other
    try:
        with io.FileIO(path) as file:
            for h in headers:
                file.seek(h.pixel_offset + h.frame * h.frame_bytes)
                if h.bits_allocated == 16:
                    count = file.readinto(scratch.data) or 0
                else:
                    data = file.read(h.frame_bytes)
                    count = len(data)
                if count != h.frame_bytes:
                    what = f"{count} of {h.frame_bytes} bytes of pixels"
                    raise FormatError(what, where=Path(path), do="get it again", code="truncated")
                if h.bits_allocated != 16:
                    kind = f"{'>' if h.big_endian else '<'}{'i' if h.signed else 'u'}{h.bits_allocated // 8}"
                    array = np.frombuffer(data, kind).reshape(h.rows, h.columns)
                    yield array.astype(array.dtype.newbyteorder("="), copy=False)
                else:
                    stored = scratch if h.signed else scratch.view(np.uint16)
                    yield stored if h.big_endian == (sys.byteorder == "big") else stored.byteswap(inplace=True)
    except OSError as error:
        raise FormatError("the file can no longer be read", where=path, do="get it again") from error
