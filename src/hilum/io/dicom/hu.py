"""Stored pixel values to Hounsfield units, with padding turned to air. Arrays in, arrays out.

What counts as padding, frame by frame, on the stored values:

* a declared Pixel Padding Value (with its Range Limit, PS3.3 C.7.5.1.1.2) that no tissue can have: one that
  rescales to below -1024 HU or beyond int16, or that does not fit the stored bits;
* a declared one that a tissue can have too, only outside the inscribed circle of the frame, and only if all
  four corners hold it;
* in a frame of lossy compression that goes below -1500 HU, what is nearer to its lowest value than to -1024 HU,
  since the padding value itself is blurred there;
* undeclared: stored values -2000, -3024, -32768 and 63536 (-2000 read unsigned), and values that rescale to
  -2000 or -3024 HU, where that is below -1024 HU or beyond int16; and the value of all four corners where that
  is below -1024 HU.

Any other value below -1024 HU is noise and stays.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.io.dicom.lut import look_up
from hilum.io.dicom.plain import (
    AIR,
    HIGHEST,
    LOSSY,
    LOW,
    LOWEST,
    PADDING_HU,
    PADDING_WORDS,
    Done,
    impossible,
    rescale_plain,
    span,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.io.dicom.records import Header, ModalityLut


def to_hu(stored: NDArray[Any], header: Header, out: NDArray[np.int16]) -> Done:
    """Rescale one frame into Hounsfield units.

    The product is formed in integers where slope and intercept are whole, in float64 otherwise, and rounded
    once, to the nearest integer (halves to even); what int16 cannot hold is clipped, never wrapped.

    Parameters
    ----------
    stored : ndarray of int or uint, shape (row, column)
        As stored; bits above the stored ones may hold anything (PS3.5 8.1.1).
    header : Header
        With a finite slope and intercept.
    out : ndarray of int16, shape (row, column), HU
        Filled; memory of its own, for `stored` may be needed again.

    Returns
    -------
    Done
    """
    plain = rescale_plain(stored, header, out)
    if plain is not None:
        return plain
    padding = _odd_words(stored, header)
    values = significant_bits(stored, header)
    words = values if padding is None else stored
    met = int(words.min()), int(words.max())
    if header.lut is not None:
        values, padding, header = _mapped(values, padding, header, header.lut)
    slope, intercept = _rescale(header)
    low, high = (int(values.min()), int(values.max())) if values is not words else met
    ends = sorted((slope * low + intercept, slope * high + intercept))
    padding = _both(padding, _padding(values, header, ends))
    clipped = _fill(values, header, out, ends, padding)
    if padding is not None:
        out[padding] = AIR
    low = int(np.count_nonzero(out < LOW)) if ends[0] < LOW else 0
    return Done(0 if padding is None else int(np.count_nonzero(padding)), clipped, low, met)


def _mapped(
    values: NDArray[Any], padding: NDArray[np.bool_] | None, header: Header, lut: ModalityLut
) -> tuple[NDArray[Any], NDArray[np.bool_] | None, Header]:
    """Values through their table, as if they had been stored so; declared padding is told by the stored values."""
    if header.padding is not None and _fits(header.padding, header):
        limit = header.padding_limit if header.padding_limit is not None else header.padding
        low, high = sorted((header.padding, limit))
        ends = look_up(lut, np.array([low, high]))
        padding = _both(padding, _declared(values, (low, high), sorted(ends.tolist())))
    return look_up(lut, values), padding, replace(header, padding=None, lut=None)


def count_wrong_ends(slices: Sequence[Header], done: Sequence[Done]) -> int:
    """Count the slices whose Smallest or Largest Image Pixel Value is not what was read.

    Parameters
    ----------
    slices : sequence of Header
    done : sequence of Done
        One per slice.

    Returns
    -------
    int
        The values of a multi-frame file are those of all its frames (PS3.3 C.7.6.3), which must all be here to be
        compared; after lossy compression nothing is.
    """
    files: defaultdict[str, list[tuple[Header, Done]]] = defaultdict(list)
    for header, this in zip(slices, done, strict=True):
        if (header.smallest, header.largest) != (None, None) and header.transfer_syntax not in LOSSY:
            files[header.path].append((header, this))
    wrong = 0
    for members in files.values():
        header = members[0][0]
        low, high = min(d.ends[0] for _, d in members), max(d.ends[1] for _, d in members)
        right = header.smallest in {None, low} and header.largest in {None, high}
        wrong += 0 if right or len(members) < header.frames else len(members)
    return wrong


def _rescale(header: Header) -> tuple[float, float]:
    if header.slope is None or header.intercept is None:
        raise ValueError("a header without rescale is refused before its pixels are read")
    return header.slope, header.intercept


def significant_bits(stored: NDArray[Any], header: Header) -> NDArray[Any]:
    """Stored values without what other bits of their words hold, sign extended.

    Parameters
    ----------
    stored : ndarray of int or uint
    header : Header

    Returns
    -------
    ndarray
        `stored` itself where all its bits count.
    """
    width = stored.dtype.itemsize * 8
    above, below = width - 1 - header.high_bit, header.high_bit + 1 - header.bits_stored
    if above <= 0 and below <= 0:
        return stored
    if below <= 0 and stored.size and _within(stored, header.bits_stored):
        return stored  # shifting the words of a slice takes thirty times as long as looking for the rare odd one
    # Shifting left drops the bits above; shifting right brings zeros or the sign.
    return (stored << above) >> (above + below)


def _within(stored: NDArray[Any], bits: int) -> bool:
    """Whether every word is a number of so many bits as it stands: no other bit is set, the sign is extended."""
    low, high = span(bits, signed=stored.dtype.kind == "i")
    return bool(stored.min() >= low and stored.max() <= high)


def _fill(
    values: NDArray[Any], header: Header, out: NDArray[np.int16], ends: list[float], padding: NDArray[np.bool_] | None
) -> int:
    slope, intercept = _rescale(header)
    whole = slope == int(slope) and intercept == int(intercept)
    if whole and ends[0] >= LOWEST and ends[1] <= HIGHEST and slope == 1 and values.dtype.itemsize <= 2:
        # Both wrap around 2**16 on the way and are right at the end, since the result fits.
        own = values.dtype.isnative and values.dtype.itemsize == 2
        words = values.view(np.int16) if own else values.astype(np.int16)
        np.add(words, np.int64(intercept).astype(np.int16), out=out)
        return 0
    wide = values.astype(np.int64) * int(slope) + int(intercept) if whole else np.rint(values * slope + intercept)
    if ends[0] >= LOWEST and ends[1] <= HIGHEST:
        out[...] = wide
        return 0
    out[...] = np.clip(wide, LOWEST, HIGHEST)
    beyond = (wide < LOWEST) | (wide > HIGHEST)
    return int(np.count_nonzero(beyond if padding is None else beyond & ~padding))


def _padding(values: NDArray[Any], header: Header, ends: list[float]) -> NDArray[np.bool_] | None:
    """Where a frame is padded, or None for nowhere."""
    slope, intercept = _rescale(header)
    masks: list[NDArray[np.bool_] | None] = []
    if header.padding is not None and _fits(header.padding, header):
        limit = header.padding_limit if header.padding_limit is not None else header.padding
        low, high = sorted((header.padding, limit))
        hu = sorted((slope * low + intercept, slope * high + intercept))
        masks.append(_declared(values, (low, high), hu))
    if header.transfer_syntax in LOSSY and ends[0] < LOW:
        masks.append(values * slope + intercept < (ends[0] + AIR) / 2)
    if impossible(ends[0]) or impossible(ends[1]):
        known = {*PADDING_WORDS, *((hu - intercept) / slope for hu in PADDING_HU)}
        corner = _common_corner(values)
        if corner is not None and slope * corner + intercept < AIR:
            known.add(corner)
        masks.extend(values == word for word in sorted(known) if impossible(slope * word + intercept))
    return _union(masks)


def _declared(values: NDArray[Any], span: tuple[int, int], hu: Sequence[float]) -> NDArray[np.bool_] | None:
    """Where declared padding is: stored values of a span, which become the Hounsfield units `hu`."""
    inside: NDArray[np.bool_] = (values >= span[0]) & (values <= span[1])
    if hu[1] < AIR or hu[0] > HIGHEST:
        return inside
    corners = inside[[0, 0, -1, -1], [0, -1, 0, -1]]
    return inside & _outside_circle(values.shape) if corners.all() else None


def _fits(value: int, header: Header) -> bool:
    """Whether a value can be told within the stored bits."""
    low, high = span(header.bits_stored, signed=header.signed)
    return low <= value <= high


def _odd_words(stored: NDArray[Any], header: Header) -> NDArray[np.bool_] | None:
    """Padding that uses bits beyond the stored ones: -2000 in a 12-bit image."""
    if header.bits_stored == stored.dtype.itemsize * 8 or header.high_bit + 1 != header.bits_stored:
        return None
    corner = _common_corner(stored)
    words = {header.padding, corner if corner in PADDING_WORDS else None} - {None}
    return _union([stored == word for word in words if not _fits(int(word or 0), header)])


def _both(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    return other if one is None else one if other is None else one | other


def _union(masks: list[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
    """Where any mask holds; None for nowhere."""
    holding = [m for m in masks if m is not None and m.any()]
    if not holding:
        return None
    union: NDArray[np.bool_] = np.logical_or.reduce(holding)
    return union


def _common_corner(values: NDArray[Any]) -> int | None:
    corners = values[[0, 0, -1, -1], [0, -1, 0, -1]]
    return int(corners[0]) if (corners == corners[0]).all() else None


@functools.lru_cache(maxsize=8)
def _outside_circle(shape: tuple[int, int]) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    radius = min(shape) / 2
    center = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    outside: NDArray[np.bool_] = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 > radius**2
    outside.flags.writeable = False
    return outside
