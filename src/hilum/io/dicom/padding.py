"""The rule of padding: which stored values of a frame lie outside the scanned field and become air.

* A declared Pixel Padding Value (with its Range Limit, PS3.3 C.7.5.1.1.2) is padding if no tissue can have it: if it
  rescales to below -1024 HU or beyond int16, or does not fit the stored bits.
* A declared value that tissue can have too is padding only outside the inscribed circle of the frame, and only if all
  four corners have it.
* In a frame of lossy compression that goes below -1500 HU, the padding value is blurred: values nearer to the lowest
  value than to -1024 HU are padding.
* Undeclared padding: the stored values -2000, -3024, -32768 and 63536 (-2000 read unsigned), and values that rescale to
  -2000 or -3024 HU, if they are below -1024 HU or beyond int16. Also the value of all four corners, if it is below
  -1024 HU.

Any other value below -1024 HU is noise and stays.

`padding_rule` states the rule for the header of a frame. `find_padding` applies it to any frame; for plain frames
`hilum.io.dicom.plain` passes it to a kernel.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.io.dicom.luts import ModalityLut
from hilum.io.dicom.records import SliceHeader
from hilum.io.padding_values import AIR, HIGHEST, LOW, UNDECLARED_WORDS, corners, is_impossible, undeclared_words

LOSSY = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81, 91, 110, 112, 203))
"""Transfer syntaxes that change values."""


Rescale = tuple[float, float]  # slope and intercept


class PaddingRule(NamedTuple):
    """Which stored values are padding, as far as the header of a frame tells.

    Parameters
    ----------
    declared : tuple of int or None
        First and last value of the declared range; None if none is declared or it does not fit the stored bits.
    certain : bool
        Whether no tissue can have a declared value.
    words : tuple of float
        Undeclared padding values.
    """

    declared: tuple[int, int] | None
    certain: bool
    words: tuple[float, ...]


def padding_rule(
    rescale: Rescale, declared: tuple[int | None, int | None], bits: tuple[int, bool], lut: ModalityLut | None
) -> PaddingRule:
    """Work out the rule for the header of a frame.

    Parameters
    ----------
    rescale : tuple of float
        Slope and intercept.
    declared : tuple of int or None
        Pixel Padding Value and Range Limit.
    bits : tuple of int and bool
        Stored bits, and whether values are signed.
    lut : ModalityLut or None
        Applied before the rescale. The declared range is of values before the table, the undeclared values are of those
        after it.
    """
    slope, intercept = rescale
    impossible = undeclared_words(slope, intercept)
    value, limit = declared
    if value is None or not fits_bits(value, *bits):
        return PaddingRule(None, False, impossible)
    first, last = sorted((value, value if limit is None else limit))
    ends = (first, last) if lut is None else lut.look_up(np.array([first, last])).tolist()
    low, high = sorted(slope * end + intercept for end in ends)
    return PaddingRule((first, last), high < AIR or low > HIGHEST, impossible)


def range_of_bits(bits: int, signed: bool) -> tuple[int, int]:
    """The smallest and the largest number of so many bits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def fits_bits(value: int, bits: int, signed: bool) -> bool:
    """Whether so many bits can hold a value."""
    low, high = range_of_bits(bits, signed)
    return low <= value <= high


def find_padding(
    values: NDArray[Any], mapped: NDArray[Any], header: SliceHeader, rescale: Rescale, hu_range: Sequence[float]
) -> NDArray[np.bool_]:
    """Find the padding of a frame.

    Parameters
    ----------
    values : ndarray of int, shape (row, column)
        Stored values.
    mapped : ndarray of int, shape (row, column)
        The same after a Modality LUT, if there is one.
    header : SliceHeader
        The header of the frame.
    rescale : tuple of float
        Slope and intercept.
    hu_range : sequence of float
        The smallest and the largest value of the frame, HU.

    Returns
    -------
    ndarray of bool, shape (row, column)
    """
    slope, intercept = rescale
    bits = header.bits_stored, header.signed
    declared, certain, words = padding_rule(rescale, (header.padding, header.padding_limit), bits, header.lut)
    padding = np.zeros(values.shape, bool)
    if declared is not None:
        inside: NDArray[np.bool_] = (values >= declared[0]) & (values <= declared[1])
        if certain:
            padding |= inside
        elif corners(inside).all():
            padding |= inside & _outside_circle(values.shape)
    if header.transfer_syntax in LOSSY and hu_range[0] < LOW:
        padding |= mapped * slope + intercept < (hu_range[0] + AIR) / 2
    if any(map(is_impossible, hu_range)):
        if (corner := _common_corner(mapped)) is not None and slope * corner + intercept < AIR:
            words = *words, corner
        for word in words:
            padding |= mapped == word
    return padding


def find_beyond_bits(stored: NDArray[Any], header: SliceHeader) -> NDArray[np.bool_]:
    """Find padding that uses bits beyond the stored ones, such as -2000 in an image of 12 bits.

    Parameters
    ----------
    stored : ndarray of int or uint, shape (row, column)
        The words of the frame.
    header : SliceHeader
        The header of the frame.

    Returns
    -------
    ndarray of bool, shape (row, column)
    """
    padding = np.zeros(stored.shape, bool)
    if header.bits_stored < stored.dtype.itemsize * 8 and header.high_bit + 1 == header.bits_stored:
        corner = _common_corner(stored)
        for word in (header.padding, corner if corner in UNDECLARED_WORDS else None):
            if word is not None and not fits_bits(word, header.bits_stored, header.signed):
                padding |= stored == word
    return padding


def _common_corner(values: NDArray[Any]) -> int | None:
    four = corners(values)
    return int(four[0]) if (four == four[0]).all() else None


@functools.lru_cache(maxsize=8)
def _outside_circle(shape: tuple[int, int]) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    radius = min(shape) / 2
    center = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    outside: NDArray[np.bool_] = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 > radius**2
    outside.flags.writeable = False
    return outside
