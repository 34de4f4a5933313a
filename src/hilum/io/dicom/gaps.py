"""What no file of a stack holds: positions that were stated instead of read, and voxels between two slices.

Each is said in a finding; neither happens without an option that allows it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import InputError
from hilum.io.dicom.records import Finding, Header, normal_of
from hilum.recipes import Read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_LARGEST_MM = 100.0


def gap_limit(max_gap_mm: float | None) -> float:
    """Check the widest distance that is bridged.

    Parameters
    ----------
    max_gap_mm : float or None
        None for that of the recipe ``default``.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If it is negative or not finite.
    """
    limit = Read().max_gap_mm if max_gap_mm is None else max_gap_mm
    if not 0 <= limit < np.inf:
        raise InputError(f"max_gap_mm is {limit}, expected a distance of 0 mm or more", code="option")
    return limit


def check_spacing(slice_spacing_mm: float | None) -> None:
    """Check a slice spacing that was stated.

    Parameters
    ----------
    slice_spacing_mm : float or None

    Raises
    ------
    InputError
        If it is zero, not finite or beyond 100 mm.
    """
    if slice_spacing_mm is not None and not 0 < abs(slice_spacing_mm) <= _LARGEST_MM:
        what = f"slice_spacing_mm is {slice_spacing_mm}, expected up to {_LARGEST_MM:g} mm, below 0 for head to feet"
        raise InputError(what, code="option")


def state_positions(members: Sequence[Header], slice_spacing_mm: float | None) -> tuple[list[Header], Finding | None]:
    """Place slices without positions by InstanceNumber and a spacing that was stated.

    Parameters
    ----------
    members : sequence of Header
        One stack.
    slice_spacing_mm : float or None
        Distance along the normal from one InstanceNumber to the next; negative where numbers run against the
        normal. None states nothing.

    Returns
    -------
    members : list of Header
        As they were, where nothing was stated or any slice has a position.
    finding : Finding or None
        What was assumed, or why it cannot be.
    """
    unplaced = all(not h.position and h.frames == 1 for h in members)
    if slice_spacing_mm is None or not unplaced:
        return list(members), None
    numbers = sorted(h.instance_number for h in members if h.instance_number is not None)
    if len(numbers) < len(members) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        what = "no position, and no order either: InstanceNumber is not there once for each slice without a break"
        return list(members), Finding("no-order", what, "refused")
    axial = not any(h.orientation for h in members)
    placed = []
    for header in members:
        orientation = _AXIAL if axial else header.orientation
        away = slice_spacing_mm * ((header.instance_number or 0) - numbers[0])
        normal = normal_of(orientation) if len(orientation) == 6 else (0.0, 0.0, 1.0)
        position = tuple(away * n for n in normal)
        placed.append(replace(header, position=position, orientation=orientation))
    what = (
        f"no positions: order by InstanceNumber, {'up' if slice_spacing_mm > 0 else 'down'} the normal, and a spacing"
    )
    what += f" of {abs(slice_spacing_mm):g} mm were stated, not read; the world position is arbitrary"
    what += "; no orientation: axial slices assumed" if axial else ""
    return placed, Finding("assumed-positions", what, "noted")


def fill_gaps(volume: NDArray[np.int16], slots: Sequence[int]) -> None:
    """Fill the empty places of a stack linearly between the two slices around them.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
        Changed in place.
    slots : sequence of int
        The places that are filled, ascending; the first and the last are.
    """
    for low, high in pairwise(slots):
        for k in range(low + 1, high):
            # Weights are whole numbers, so that the sum is exact and only the result is rounded.
            total = volume[low].astype(np.int64) * (high - k) + volume[high].astype(np.int64) * (k - low)
            volume[k] = np.rint(total / (high - low))
