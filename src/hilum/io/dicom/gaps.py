"""Values that no file of a stack has: positions that the user states, and interpolated slices.

Options allow both, and a finding reports each.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import InputError
from hilum.io.dicom.records import Finding, SliceHeader, normal_of
from hilum.recipes import Read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_LARGEST_MM = 100.0


def check_options(max_gap_mm: float | None, slice_spacing_mm: float | None = None) -> float:
    """Check the options of reading a series.

    Parameters
    ----------
    max_gap_mm : float or None
        The widest gap that may be interpolated; None for the value of the recipe ``default``.
    slice_spacing_mm : float or None
        The slice spacing that the user states.

    Returns
    -------
    float
        The widest gap.

    Raises
    ------
    InputError
        If the gap is negative or not finite, or the spacing is zero, not finite or beyond 100 mm.
    """
    limit = Read().max_gap_mm if max_gap_mm is None else max_gap_mm
    if not 0 <= limit < np.inf:
        raise InputError(f"max_gap_mm is {limit}, expected a distance of 0 mm or more", code="option")
    if slice_spacing_mm is not None and not 0 < abs(slice_spacing_mm) <= _LARGEST_MM:
        expected = f"expected up to {_LARGEST_MM:g} mm, negative if InstanceNumber counts from head to feet"
        raise InputError(f"slice_spacing_mm is {slice_spacing_mm}, {expected}", code="option")
    return limit


def state_positions(
    members: Sequence[SliceHeader], slice_spacing_mm: float | None
) -> tuple[list[SliceHeader], Finding | None]:
    """Give positions to slices that have none, from InstanceNumber and the spacing that the user states.

    Parameters
    ----------
    members : sequence of SliceHeader
        One stack.
    slice_spacing_mm : float or None
        Distance along the normal from one InstanceNumber to the next; negative if the numbers ascend against the
        normal. None if the user states nothing.

    Returns
    -------
    members : list of SliceHeader
        Unchanged if no spacing is stated or any slice has a position.
    finding : Finding or None
        What was assumed, or why it cannot be assumed.
    """
    if slice_spacing_mm is None or not all(not h.position and h.frames == 1 for h in members):
        return list(members), None
    numbers = sorted(h.instance_number for h in members if h.instance_number is not None)
    if len(numbers) < len(members) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        what = "slices have no position, and InstanceNumber does not number them without gaps or repeats"
        return list(members), Finding("no-order", what, "refused")
    assume_axial = not any(h.orientation for h in members)
    positioned = []
    for header in members:
        orientation = _AXIAL if assume_axial else header.orientation
        height = slice_spacing_mm * ((header.instance_number or 0) - numbers[0])
        normal = normal_of(orientation) if len(orientation) == 6 else (0.0, 0.0, 1.0)
        positioned.append(replace(header, position=tuple(height * n for n in normal), orientation=orientation))
    what = f"no positions: slices are ordered by InstanceNumber, {'up' if slice_spacing_mm > 0 else 'down'} the normal"
    what += f", with the stated spacing of {abs(slice_spacing_mm):g} mm; the world position is arbitrary"
    what += "; no orientation: axial slices assumed" if assume_axial else ""
    return positioned, Finding("assumed-positions", what, "noted")


def fill_gaps(volume: NDArray[np.int16], planes: Sequence[int]) -> None:
    """Interpolate the planes of missing slices linearly between their neighbors.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
        Changed in place.
    planes : sequence of int
        The planes that have slices, ascending; includes the first and the last plane.
    """
    for low, high in pairwise(planes):
        for k in range(low + 1, high):
            # Whole weights keep the sum exact; only the result is rounded.
            total = volume[low].astype(np.int64) * (high - k) + volume[high].astype(np.int64) * (k - low)
            volume[k] = np.rint(total / (high - low))
