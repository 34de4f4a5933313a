"""Plain frames: those whose stored words become Hounsfield units by adding one number. Nearly all of CT is plain.

A slope of 1, a whole intercept, no stray bits, and no padding but what is told by its value alone, which no tissue has.
What is plain by its header is read, rescaled and looked at in one pass, and padding set to air in a second; if a value
turns out to be none of those, the frame is left to `hilum.io.dicom.hu`, which says what padding is.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hilum._kernels.intensity.rescale import shift, shift_from

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.dicom.records import Header

AIR = -1024
"""What padding becomes, HU."""

LOW = -1500
"""Below this is neither tissue nor noise, HU."""

LOWEST, HIGHEST = -32768, 32767

PADDING_WORDS = (-2000, -3024, -32768, 63536)
PADDING_HU = (-2000, -3024)
"""Undeclared padding, where it is impossible otherwise: stored words, and what they become."""

LOSSY = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81, 91, 110, 112, 203))
"""Transfer syntaxes that change values."""

_NO_WORD = 1 << 20
"""No word of 16 bits."""

_NONE = (1, 0)
"""A span of nothing."""

_OPEN_AT_ONCE = 16
"""Files of one thread: some systems allow 256 in all."""


class Done(NamedTuple):
    """What happened to a frame, in voxels.

    Parameters
    ----------
    padding : int
        Set to air.
    clipped : int
        Beyond int16, clipped to its range.
    low : int
        Below `LOW` for no known reason, kept.
    ends : tuple of int
        Smallest and largest stored value, padding included; not a count of voxels.
    """

    padding: int
    clipped: int
    low: int
    ends: tuple[int, int] = (0, 0)


def rescale_plain(stored: NDArray[Any], header: Header, out: NDArray[np.int16]) -> Done | None:
    """Rescale a frame, if it is plain.

    Parameters
    ----------
    stored : ndarray of int or uint, shape (row, column)
        As stored.
    header : Header
    out : ndarray of int16, shape (row, column), HU
        Filled; memory of its own.

    Returns
    -------
    Done or None
        None for a frame that is not plain; then `out` may hold anything.
    """
    if stored.dtype.itemsize != 2 or not stored.dtype.isnative or stored.ndim != 2 or not stored.size:
        return None
    plan = _plan_of(header, signed=stored.dtype.kind == "i")
    if plan is None:
        return None
    return _told(plan, *shift(stored, np.array(plan.rule, np.int64), out=out).tolist())


def read_plain(
    root: Path, frames: Sequence[tuple[int, Header]], scratch: NDArray[np.int16], out: NDArray[np.int16]
) -> dict[int, Done]:
    """Read the plain ones among frames.

    Parameters
    ----------
    root : Path
        The folder that header paths are relative to.
    frames : sequence of tuple of int and Header
        A plane of `out` for each.
    scratch : ndarray of int16, shape (row, column)
        As `hilum.io.dicom.pixels.stored_frames` takes it.
    out : ndarray of int16, shape (plane, row, column), HU

    Returns
    -------
    dict of int to Done
        By plane. One that is not in it may hold anything: its frame is not plain, or could not be read.
    """
    plain = []
    signed = bool(frames) and frames[0][1].signed
    for plane, h in frames:
        usual = h.signed == signed and h.bits_allocated == 16 and h.big_endian == (sys.byteorder == "big")
        if usual and h.pixel_offset >= 0 and h.frame_bytes == scratch.nbytes:
            plan = _plan_of(h, signed=signed)
            if plan is not None:
                plain.append((plane, h, plan))
    words = scratch if signed else scratch.view(np.uint16)
    told: dict[int, Done] = {}
    for start in range(0, len(plain), _OPEN_AT_ONCE):
        told.update(_read_some(root, plain[start : start + _OPEN_AT_ONCE], words, out))
    return told


def _read_some(root: Path, frames: list[tuple[int, Header, _Plan]], words: NDArray[Any], out: Any) -> dict[int, Done]:
    files: dict[str, int] = {}
    try:
        for _, h, _ in frames:
            if h.path not in files:  # a Path made of each name takes longer than opening the file
                files[h.path] = os.open(f"{root}{os.sep}{h.path}", os.O_RDONLY | os.O_CLOEXEC)
        table = [(files[h.path], h.pixel_offset + h.frame * h.frame_bytes, plane) for plane, h, _ in frames]
        rules = [plan.rule for _, _, plan in frames]
        met = shift_from(np.array(table, np.int64), np.array(rules, np.int64), words, out=out)
    except OSError:  # whose reading for itself says why
        return {}
    finally:
        for file in files.values():
            os.close(file)
    told = {plane: _told(plan, *one) for (plane, _, plan), one in zip(frames, met.tolist(), strict=True)}
    return {plane: done for plane, done in told.items() if done is not None}


class _Plan(NamedTuple):
    """What `hilum._kernels.intensity.rescale` does to the words of a frame, and what it may meet.

    Parameters
    ----------
    rule : tuple of int
    held : tuple of int
        Between which all words have to lie.
    others : tuple of int
        Between which those have to lie that are no padding.
    """

    rule: tuple[int, ...]
    held: tuple[int, int]
    others: tuple[int, int]


def _told(plan: _Plan, lowest: int, highest: int, padding: int, low: int, least: int, most: int) -> Done | None:
    """What happened to a frame that held these words; None if one turned out to be odd, or nothing was read."""
    plain = plan.held[0] <= lowest <= highest <= plan.held[1] and plan.others[0] <= least and most <= plan.others[1]
    return Done(padding, 0, low, (lowest, highest)) if plain else None


def _plan_of(header: Header, *, signed: bool) -> _Plan | None:
    return _plan(
        header.slope, header.intercept, header.bits_stored, header.high_bit, signed, header.padding,
        header.padding_limit, header.lut is not None or header.transfer_syntax in LOSSY,
    )  # fmt: skip


@functools.lru_cache(maxsize=64)  # the frames of a series say the same again and again
def _plan(
    slope: float | None, intercept: float | None, bits: int, high_bit: int, signed: bool, padding: int | None,
    padding_limit: int | None, special: bool,
) -> _Plan | None:  # fmt: skip
    """None for a frame that is not plain."""
    if special or high_bit + 1 != bits or slope != 1 or intercept is None or not LOWEST <= intercept <= HIGHEST:
        return None
    by = int(intercept)
    held = span(bits, signed=signed)
    low, high = max(held[0], LOWEST - by), min(held[1], HIGHEST - by)
    words = [word for word in sorted({*PADDING_WORDS, *(hu - by for hu in PADDING_HU)}) if impossible(word + by)]
    first, last = _NONE
    if padding is not None and held[0] <= padding <= held[1]:
        first, last = sorted((padding, padding if padding_limit is None else padding_limit))
        if last + by >= AIR and first + by <= HIGHEST:  # a tissue may have it, too: where there is any, it is not plain
            low, high = (max(low, last + 1), high) if first + last < low + high else (low, min(high, first - 1))
            first, last = _NONE
    spare = [_NO_WORD] * (len(PADDING_WORDS) + len(PADDING_HU) - len(words))
    rule = (by, max(low, AIR - by), high, AIR, LOW, first, last, *words, *spare)
    return _Plan(rule, held, (low, high)) if low <= high and by == intercept else None


def impossible(hu: float) -> bool:
    """Whether neither tissue nor air can have this value, HU."""
    return hu < AIR or hu > HIGHEST


def span(bits: int, *, signed: bool) -> tuple[int, int]:
    """The smallest and the largest number that so many bits hold."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
