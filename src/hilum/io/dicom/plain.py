"""Plain frames: stored words become Hounsfield units by adding one number. Nearly all CT frames are plain.

A frame is plain if its slope is 1, its intercept is whole, it has no stray bits, and its padding is known by its values
alone. One pass reads, rescales and checks a frame that is plain by its header; a second one sets padding to air. If a
value turns out not to be plain, `hilum.io.dicom.hu` rescales the frame.
"""

import functools
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.intensity.rescale import ShiftRule, shift, shift_files
from hilum._os.files import READ, READS_AT_OFFSETS
from hilum.io.dicom.padding import LOSSY, padding_rule, range_of_bits
from hilum.io.dicom.records import SliceHeader
from hilum.io.padding_values import AIR, HIGHEST, LOW, LOWEST

_NO_WORD = 1 << 20  # beyond 16 bits

_MOST_WORDS = sum(name.startswith("word_") for name in ShiftRule._fields)

_OPEN_AT_ONCE = 16  # files that one thread opens: some systems allow 256 in all


class FrameStats(NamedTuple):
    """What happened to a frame.

    Parameters
    ----------
    padding : int
        Voxels set to air.
    clipped : int
        Voxels beyond int16, clipped to its range.
    low : int
        Voxels below `hilum.io.padding_values.LOW` that are not known padding; unchanged.
    stored_range : tuple of int
        Smallest and largest stored value, padding included.
    cut : int
        Voxels whose value used bits beyond the stored ones.
    """

    padding: int
    clipped: int
    low: int
    stored_range: tuple[int, int] = (0, 0)
    cut: int = 0


def rescale_plain(stored: NDArray[Any], header: SliceHeader, out: NDArray[np.int16]) -> FrameStats | None:
    """Rescale a frame, if it is plain.

    Parameters
    ----------
    stored : ndarray of int or uint, shape (row, column)
        As stored.
    header : SliceHeader
        The header of the frame.
    out : ndarray of int16, shape (row, column), HU
        Filled. Must not share the memory of `stored`.

    Returns
    -------
    FrameStats or None
        None for a frame that is not plain; then `out` may hold anything.
    """
    if stored.dtype.itemsize != 2 or not stored.dtype.isnative or stored.ndim != 2 or not stored.size:
        return None
    plan = _plan_for(header, signed=stored.dtype.kind == "i")
    return None if plan is None else _frame_stats(plan, *shift(stored, np.array(plan.rule, np.int64), out=out).tolist())


def read_plain(
    root: Path, frames: Sequence[tuple[int, SliceHeader]], scratch: NDArray[np.int16], out: NDArray[np.int16]
) -> dict[int, FrameStats]:
    """Read and rescale those of some frames that are plain.

    Parameters
    ----------
    root : Path
        The folder that header paths are relative to.
    frames : sequence of (int, SliceHeader)
        A plane of `out` and the frame that fills it.
    scratch : ndarray of int16, shape (row, column)
        As `hilum.io.dicom.voxels.stored_frames` takes it.
    out : ndarray of int16, shape (plane, row, column), HU
        Where the frames go.

    Returns
    -------
    dict of int to FrameStats
        By plane. Other planes may hold anything: their frames are not plain, or could not be read.
    """
    plain = []
    signed = bool(frames) and frames[0][1].signed
    for plane, h in frames:
        usual = h.signed == signed and h.bits_allocated == 16 and h.big_endian == (sys.byteorder == "big")
        readable = h.pixel_offset >= 0 and h.frame_bytes == scratch.nbytes
        if usual and readable and (plan := _plan_for(h, signed=signed)):
            plain.append((plane, h, plan))
    words = scratch if signed else scratch.view(np.uint16)
    stats: dict[int, FrameStats] = {}
    for start in range(0, len(plain), _OPEN_AT_ONCE):
        stats.update(_read_some(root, plain[start : start + _OPEN_AT_ONCE], words, out))
    return stats


def _read_some(
    root: Path, frames: list[tuple[int, SliceHeader, "_Plan"]], words: NDArray[Any], out: Any
) -> dict[int, FrameStats]:
    files: dict[str, int] = {}
    try:
        for _, h, _ in frames:
            if h.path not in files:  # making a Path of each name takes longer than opening the file
                files[h.path] = os.open(f"{root}{os.sep}{h.path}", READ)
        table = [(files[h.path], h.pixel_offset + h.frame * h.frame_bytes, plane) for plane, h, _ in frames]
        rules = np.array([plan.rule for _, _, plan in frames], np.int64)
        read = shift_files if READS_AT_OFFSETS else _shift_files
        rows = read(np.array(table, np.int64), rules, words, out=out)
    except OSError:  # the frames are read again one by one, which tells the reason
        return {}
    finally:
        for file in files.values():
            os.close(file)
    stats = {plane: _frame_stats(plan, *row) for (plane, _, plan), row in zip(frames, rows.tolist(), strict=True)}
    return {plane: frame for plane, frame in stats.items() if frame is not None}


def _shift_files(
    frames: NDArray[np.int64], rules: NDArray[np.int64], scratch: NDArray[Any], *, out: NDArray[np.int16]
) -> NDArray[np.int64]:
    """Do what `shift_files` does without ``pread``: the interpreter reads each frame."""
    stats = np.tile(np.array([1, 0, 0, 0, 0, 0], np.int64), (len(frames), 1))
    for row, (file, offset, plane), rule in zip(stats, frames.tolist(), rules, strict=True):
        with suppress(OSError), FileIO(file, closefd=False) as source:
            source.seek(offset)
            if source.readinto(scratch.data) == scratch.nbytes:
                row[:] = shift(scratch, rule, out=out[plane])
    return stats


class _Plan(NamedTuple):
    """How a frame is shifted, and which words make it plain.

    Parameters
    ----------
    rule : ShiftRule
        Which number is added.
    all_words : tuple of int
        The range of all words of a plain frame.
    other_words : tuple of int
        The range of those that are not padding.
    """

    rule: ShiftRule
    all_words: tuple[int, int]
    other_words: tuple[int, int]


def _frame_stats(
    plan: _Plan, lowest: int, highest: int, padding: int, low: int, lowest_other: int, highest_other: int
) -> FrameStats | None:
    """Report on a frame with these words; None if it turned out not to be plain, or was not read."""
    plain = plan.all_words[0] <= lowest <= highest <= plan.all_words[1]
    plain = plain and plan.other_words[0] <= lowest_other and highest_other <= plan.other_words[1]
    return FrameStats(padding, 0, low, (lowest, highest)) if plain else None


def _plan_for(header: SliceHeader, *, signed: bool) -> _Plan | None:
    return _plan(
        header.slope, header.intercept, header.bits_stored, header.high_bit, signed, header.padding,
        header.padding_limit, header.lut is not None or header.transfer_syntax in LOSSY,
    )  # fmt: skip


@functools.lru_cache(maxsize=64)  # the frames of a series rarely differ in this
def _plan(
    slope: float | None, intercept: float | None, bits: int, high_bit: int, signed: bool, padding: int | None,
    padding_limit: int | None, special: bool,
) -> _Plan | None:  # fmt: skip
    """None for a frame that is not plain."""
    if special or high_bit + 1 != bits or slope != 1 or intercept is None or not LOWEST <= intercept <= HIGHEST:
        return None
    offset = int(intercept)
    stored_range = range_of_bits(bits, signed)
    declared, certain, words = padding_rule((1, offset), (padding, padding_limit), (bits, signed), None)
    low, high = max(stored_range[0], LOWEST - offset), min(stored_range[1], HIGHEST - offset)
    first, last = declared if declared is not None and certain else (1, 0)
    if declared is not None and not certain:  # a tissue may have such values: a frame that holds any is not plain
        if sum(declared) < low + high:
            low = max(low, declared[1] + 1)
        else:
            high = min(high, declared[0] - 1)
    spare = [_NO_WORD] * (_MOST_WORDS - len(words))
    rule = ShiftRule(offset, max(low, AIR - offset), high, AIR, LOW, first, last, *map(int, words), *spare)
    return _Plan(rule, stored_range, (low, high)) if low <= high and offset == intercept else None
