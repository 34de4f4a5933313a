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

`padding_rule` states the rule for the header of a frame. The functions after it apply the rule to any frame; for plain
frames `hilum.io.dicom.plain` hands it to a kernel.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hilum.io.dicom.lut import look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.io.dicom.records import ModalityLut

AIR = -1024
"""What padding becomes, HU."""

LOW = -1500
"""Neither tissue nor noise is lower, HU."""

LOWEST, HIGHEST = -32768, 32767

UNDECLARED_WORDS = (-2000, -3024, -32768, 63536)
UNDECLARED_HU = (-2000, -3024)

LOSSY = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81, 91, 110, 112, 203))
"""Transfer syntaxes that change values."""


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
    slope: float,
    intercept: float,
    *,
    padding: int | None,
    padding_limit: int | None,
    stored_range: tuple[int, int],
    lut: ModalityLut | None = None,
) -> PaddingRule:
    """Work out the rule for the header of a frame.

    Parameters
    ----------
    slope, intercept : float
    padding, padding_limit : int or None
        As `hilum.io.dicom.records.SliceHeader` has them.
    stored_range : tuple of int
        As `range_of_bits` gives it.
    lut : ModalityLut, optional
        Applied before slope and intercept. The declared range is of values before the table, the undeclared values are
        of those after it.

    Returns
    -------
    PaddingRule
    """
    declared, certain = None, False
    if padding is not None and stored_range[0] <= padding <= stored_range[1]:
        first, last = sorted((padding, padding if padding_limit is None else padding_limit))
        declared = first, last
        ends = declared if lut is None else look_up(lut, np.array(declared)).tolist()
        low, high = sorted(slope * value + intercept for value in ends)
        certain = high < AIR or low > HIGHEST
    words = {*UNDECLARED_WORDS, *((hu - intercept) / slope for hu in UNDECLARED_HU)}
    return PaddingRule(declared, certain, tuple(w for w in sorted(words) if is_impossible(slope * w + intercept)))


def is_impossible(hu: float) -> bool:
    """Whether neither tissue nor air can have a value, HU."""
    return hu < AIR or hu > HIGHEST


def range_of_bits(bits: int, *, signed: bool) -> tuple[int, int]:
    """The smallest and the largest number of so many bits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def find_declared(values: NDArray[Any], rule: PaddingRule) -> NDArray[np.bool_] | None:
    """Find declared padding.

    Parameters
    ----------
    values : ndarray of int, shape (row, column)
        Stored values, before a Modality LUT.
    rule : PaddingRule

    Returns
    -------
    ndarray of bool, shape (row, column), or None
        None where there is none.
    """
    if rule.declared is None:
        return None
    inside: NDArray[np.bool_] = (values >= rule.declared[0]) & (values <= rule.declared[1])
    if rule.certain:
        return inside
    return inside & _outside_circle(values.shape) if _corners(inside).all() else None


def find_undeclared(
    values: NDArray[Any], rule: PaddingRule, slope: float, intercept: float, hu_range: Sequence[float], *, lossy: bool
) -> NDArray[np.bool_] | None:
    """Find padding by the values of a frame alone.

    Parameters
    ----------
    values : ndarray of int, shape (row, column)
        After a Modality LUT.
    rule : PaddingRule
    slope, intercept : float
    hu_range : tuple of float
        The smallest and the largest value, rescaled.
    lossy : bool
        Whether compression changed the values.

    Returns
    -------
    ndarray of bool, shape (row, column), or None
        None where there is none.
    """
    masks = []
    if lossy and hu_range[0] < LOW:
        masks.append(values * slope + intercept < (hu_range[0] + AIR) / 2)
    if any(map(is_impossible, hu_range)):
        words = set(rule.words)
        corner = _common_corner(values)
        if corner is not None and slope * corner + intercept < AIR:
            words.add(corner)
        masks += [values == word for word in words]
    return union(*masks)


def find_beyond_bits(stored: NDArray[Any], padding: int | None, stored_range: tuple[int, int]) -> NDArray[Any] | None:
    """Find padding that uses bits beyond the stored ones, such as -2000 in an image of 12 bits.

    Parameters
    ----------
    stored : ndarray of int or uint, shape (row, column)
    padding : int or None
        The declared value.
    stored_range : tuple of int
        As `range_of_bits` gives it.

    Returns
    -------
    ndarray of bool, shape (row, column), or None
        None where there is none.
    """
    corner = _common_corner(stored)
    words = {padding, corner if corner in UNDECLARED_WORDS else None} - {None}
    return union(*(stored == w for w in words if w is not None and not stored_range[0] <= w <= stored_range[1]))


def union(*masks: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Where any mask holds; None for nowhere."""
    nonempty = [m for m in masks if m is not None and m.any()]
    if not nonempty:
        return None
    total: NDArray[np.bool_] = np.logical_or.reduce(nonempty)
    return total


def _corners(values: NDArray[Any]) -> NDArray[Any]:
    corners: NDArray[Any] = values[[0, 0, -1, -1], [0, -1, 0, -1]]
    return corners


def _common_corner(values: NDArray[Any]) -> int | None:
    corners = _corners(values)
    return int(corners[0]) if (corners == corners[0]).all() else None


@functools.lru_cache(maxsize=8)
def _outside_circle(shape: tuple[int, int]) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    radius = min(shape) / 2
    center = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    outside: NDArray[np.bool_] = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 > radius**2
    outside.flags.writeable = False
    return outside
