"""Stored values of a frame to Hounsfield units, with padding set to air. Arrays in, arrays out."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.io.dicom.padding import LOSSY, find_beyond_bits, find_padding, range_of_bits
from hilum.io.dicom.plain import FrameStats, rescale_plain
from hilum.io.dicom.records import SliceHeader
from hilum.io.padding_values import AIR, HIGHEST, LOW, LOWEST


def frame_to_hu(stored: NDArray[Any], header: SliceHeader, out: NDArray[np.int16]) -> FrameStats:
    """Rescale one frame into Hounsfield units.

    Whole slopes and intercepts are applied in integers, others in float64. The result is rounded once, to the nearest
    integer (halves to even), and clipped to int16.

    Parameters
    ----------
    stored : ndarray of int or uint, shape (row, column)
        As stored; bits above the stored ones may hold anything (PS3.5 8.1.1).
    header : SliceHeader
        With a finite slope and intercept.
    out : ndarray of int16, shape (row, column), HU
        Filled. Must not share the memory of `stored`.
    """
    if (plain := rescale_plain(stored, header, out)) is not None:
        return plain
    if header.slope is None or header.intercept is None:
        raise ValueError("a header without rescale must be refused before its pixels are read")
    slope, intercept = header.slope, header.intercept
    beyond_bits = find_beyond_bits(stored, header)
    values = significant_bits(stored, header)
    words = stored if beyond_bits.any() else values
    stored_range = _range_of(words)
    mapped = values if header.lut is None else header.lut.look_up(values)
    low, high = stored_range if mapped is words else _range_of(mapped)
    hu_range = sorted((slope * low + intercept, slope * high + intercept))
    padding = beyond_bits | find_padding(values, mapped, header, (slope, intercept), hu_range)
    padded = int(np.count_nonzero(padding))
    clipped = _rescale(mapped, (slope, intercept), out, fits=hu_range[0] >= LOWEST and hu_range[1] <= HIGHEST)
    if padded:
        out[padding] = AIR
    clipped_outside = 0 if clipped is None else int(np.count_nonzero(clipped & ~padding))
    low_left = int(np.count_nonzero(out < LOW)) if hu_range[0] < LOW else 0
    return FrameStats(padded, clipped_outside, low_left, stored_range, _count_cut(stored, values, header, beyond_bits))


def _count_cut(stored: NDArray[Any], values: NDArray[Any], header: SliceHeader, padding: NDArray[np.bool_]) -> int:
    """Count the values that were cut to the stored bits, though nothing else can be in the bits beyond them."""
    if values is stored or header.has_overlay or header.high_bit + 1 != header.bits_stored:
        return 0
    if stored.dtype.kind == "i" and stored.min() >= 0:  # two's complement of the stored bits alone
        return 0
    beyond = stored[~padding] >> header.bits_stored
    if beyond.size and (beyond == beyond[0]).all():  # the same everywhere: no part of a value
        return 0
    return int(np.count_nonzero((stored != values) & ~padding))


def _range_of(values: NDArray[Any]) -> tuple[int, int]:
    return int(values.min()), int(values.max())


def count_wrong_ranges(slices: Sequence[SliceHeader], stats: Sequence[FrameStats]) -> int:
    """Count the slices whose Smallest or Largest Image Pixel Value differs from what was read.

    Parameters
    ----------
    slices : sequence of SliceHeader
        The headers of the slices that were read.
    stats : sequence of FrameStats
        One per slice.

    Returns
    -------
    int
        The values of a multi-frame file are those of all its frames (PS3.3 C.7.6.3): it is compared only if all of them
        are here. Slices of lossy compression are not compared.
    """
    files: defaultdict[str, list[tuple[SliceHeader, FrameStats]]] = defaultdict(list)
    for header, frame in zip(slices, stats, strict=True):
        if (header.smallest, header.largest) != (None, None) and header.transfer_syntax not in LOSSY:
            files[header.path].append((header, frame))
    wrong = 0
    for members in files.values():
        header = members[0][0]
        low = min(frame.stored_range[0] for _, frame in members)
        high = max(frame.stored_range[1] for _, frame in members)
        right = header.smallest in {None, low} and header.largest in {None, high}
        wrong += 0 if right or len(members) < header.frames else len(members)
    return wrong


def significant_bits(stored: NDArray[Any], header: SliceHeader) -> NDArray[Any]:
    """Clear the bits of each word that are not part of its value, and extend the sign.

    Returns
    -------
    ndarray
        `stored` itself where nothing changes.
    """
    width = stored.dtype.itemsize * 8
    above, below = width - 1 - header.high_bit, header.high_bit + 1 - header.bits_stored
    if above <= 0 and below <= 0:
        return stored
    if below <= 0 and stored.size:  # shifting the words of a slice takes thirty times as long as this check
        low, high = range_of_bits(header.bits_stored, stored.dtype.kind == "i")
        if stored.min() >= low and stored.max() <= high:
            return stored
    # Shifting left drops the bits above; shifting right brings zeros or the sign.
    return (stored << above) >> (above + below)


def _rescale(
    values: NDArray[Any], rescale: tuple[float, float], out: NDArray[np.int16], *, fits: bool
) -> NDArray[np.bool_] | None:
    """Fill `out`; return which voxels are clipped, None if all values fit."""
    slope, intercept = rescale
    whole = slope == int(slope) and intercept == int(intercept)
    if whole and fits and slope == 1 and values.dtype.itemsize <= 2:
        # Both terms may wrap around 2**16; the sum is right, since it fits.
        reusable = values.dtype.isnative and values.dtype.itemsize == 2
        words = values.view(np.int16) if reusable else values.astype(np.int16)
        np.add(words, np.int64(intercept).astype(np.int16), out=out)
        return None
    hu: NDArray[Any] = values * np.int64(slope) if whole else values * slope
    hu += int(intercept) if whole else intercept  # in place: fresh pages cost more than the sum
    if not whole:
        np.rint(hu, out=hu)
    out[...] = hu if fits else np.clip(hu, LOWEST, HIGHEST)
    return None if fits else (hu < LOWEST) | (hu > HIGHEST)
