"""Place slices whose own positions do not say where they lie: none at all, one for all frames, or rounded ones.

Works on `hilum.io.dicom.records.SliceHeader` records alone; opens no file.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hilum.io.dicom.records import Finding, SliceHeader, normal_of

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

_MOST_FRAMES = 10_000  # 2 m at 0.2 mm; more is a damaged header

_WIDEST_MM = 100.0

_GRAINS_MM = (10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1)  # what positions are rounded to

_FARTHEST_MM = 1e5  # a header with more is damaged

_SLACK_MM = 0.01

_ALONG = 1e-3  # a smaller part of the normal leaves an axis out of the heights

_FEWEST = 4  # slices that show a rule

_REGULAR = 0.1  # largest distance of SliceLocation from a regular grid, relative to its spacing

_NEARLY = 0.02  # positions that are nearer to a regular grid need no repair


def place_slices(
    members: Sequence[SliceHeader], slice_spacing_mm: float | None
) -> tuple[list[SliceHeader], tuple[Finding, ...]]:
    """Give slices the positions that their own header does not have, or has only rounded.

    Parameters
    ----------
    members : sequence of SliceHeader
        One stack.
    slice_spacing_mm : float or None
        Distance along the normal from one slice or frame to the next; negative against the normal. None if the user
        states nothing.

    Returns
    -------
    members : list of SliceHeader
        One record for each frame that is placed.
    findings : tuple of Finding
        What was assumed or restored, or why it cannot be.
    """
    stated, assumed = state_positions(members, slice_spacing_mm)
    framed, by_frame = place_frames(stated, slice_spacing_mm)
    placed, restored = restore_rounded(framed)
    return placed, tuple(f for f in (assumed, by_frame, restored) if f is not None)


def state_positions(
    members: Sequence[SliceHeader], slice_spacing_mm: float | None
) -> tuple[list[SliceHeader], Finding | None]:
    """Give positions to slices that have none, or one for all, by InstanceNumber and the spacing that the user states.

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
        Unchanged if no spacing is stated, or slices have different positions.
    finding : Finding or None
        What was assumed, or why it cannot be assumed.
    """
    places = {h.position for h in members}
    if slice_spacing_mm is None or len(places) > 1 or any(h.frames > 1 for h in members):
        return list(members), None
    no_position = "one and the same position" if any(places) else "no position"
    numbers = sorted(h.instance_number for h in members if h.instance_number is not None)
    if len(numbers) < len(members) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        what = f"slices have {no_position}, and InstanceNumber does not number them without gaps or repeats"
        return list(members), Finding("no-order", what, "refused")
    assume_axial = not any(h.orientation for h in members)
    positioned = []
    for header in members:
        orientation = _AXIAL if assume_axial else header.orientation
        height = slice_spacing_mm * ((header.instance_number or 0) - numbers[0])
        normal = normal_of(orientation) if len(orientation) == 6 else (0.0, 0.0, 1.0)
        positioned.append(replace(header, position=tuple(height * n for n in normal), orientation=orientation))
    what = f"{no_position}: slices are ordered by InstanceNumber, {'up' if slice_spacing_mm > 0 else 'down'} the normal"
    what += f", with the stated spacing of {abs(slice_spacing_mm):g} mm; the world position is arbitrary"
    what += "; no orientation: axial slices assumed" if assume_axial else ""
    return positioned, Finding("assumed-positions", what, "noted")


def place_frames(
    members: Sequence[SliceHeader], slice_spacing_mm: float | None
) -> tuple[list[SliceHeader], Finding | None]:
    """Place the frames of files without a position for each frame, by SpacingBetweenSlices or a stated spacing.

    Parameters
    ----------
    members : sequence of SliceHeader
        One stack.
    slice_spacing_mm : float or None
        Distance along the normal from one frame to the next; negative against the normal. None if the user states
        nothing.

    Returns
    -------
    members : list of SliceHeader
        One record for each frame that is placed. Frames that cannot be placed stay without a position.
    finding : Finding or None
        What was assumed; of several files, for the first one.
    """
    files: dict[str, list[SliceHeader]] = {}
    for header in members:
        if header.frames > 1 and not header.position:
            files.setdefault(header.path, []).append(header)
    if not files:
        return list(members), None
    placed = [h for h in members if h.path not in files]
    finding = None
    for frames in files.values():
        step = frames[0].slice_step if slice_spacing_mm is None else slice_spacing_mm
        if step is None or not _can_be_placed(frames, step, stated=slice_spacing_mm is not None):
            placed.extend(frames)
            continue
        axial = not frames[0].orientation
        placed.extend(_place_file(frames, step))
        source = "as SpacingBetweenSlices says" if slice_spacing_mm is None else "as stated"
        text = (
            f"the {frames[0].frames} frames of {frames[0].display_name} have no position each: placed in their order, "
        )
        text += f"{abs(step):g} mm apart, {source}, {'up' if step > 0 else 'down'} the normal"
        text += "" if frames[0].shared_position else "; the world position is arbitrary"
        text += "; no orientation: axial slices assumed" if axial else ""
        finding = finding or Finding("assumed-positions", text, "noted")
    return placed, finding


def _can_be_placed(frames: Sequence[SliceHeader], step: float, *, stated: bool) -> bool:
    first = frames[0]
    if not first.complete or first.frames > _MOST_FRAMES or len(frames) not in {1, first.frames}:
        return False
    # SpacingBetweenSlices has a sign in nuclear medicine only (PS3.3 C.8.4.15); a stated spacing may have one.
    direction = len(first.orientation) == 6 or (stated and not first.orientation)
    return direction and 0 < (abs(step) if stated else step) <= _WIDEST_MM and len(first.shared_position) in {0, 3}


def _place_file(frames: Sequence[SliceHeader], step: float) -> list[SliceHeader]:
    first = frames[0]
    start, orientation = first.shared_position or (0.0, 0.0, 0.0), first.orientation or _AXIAL
    normal = normal_of(orientation)
    records = list(frames) if len(frames) > 1 else [replace(first, frame=k) for k in range(first.frames)]
    return [
        replace(
            h,
            position=tuple(p + h.frame * step * n for p, n in zip(start, normal, strict=True)),
            orientation=orientation,
        )
        for h in records
    ]


def restore_rounded(members: Sequence[SliceHeader]) -> tuple[list[SliceHeader], Finding | None]:
    """Put slices back on their regular grid where their positions were rounded.

    Parameters
    ----------
    members : sequence of SliceHeader
        One stack.

    Returns
    -------
    members : list of SliceHeader
        Unchanged unless InstanceNumber and SliceLocation are regular, all positions are multiples of 0.1 mm or more,
        and each lies within half of this distance from the regular grid.
    finding : Finding or None
        What was restored.
    """
    numbered = [(h.instance_number, h.slice_location) for h in members]
    whole = all(n is not None and v is not None and abs(v) < _FARTHEST_MM for n, v in numbered)
    if not whole or any(len(h.position) != 3 or len(h.orientation) != 6 for h in members):
        return list(members), None
    points, normal = np.array([h.position for h in members]), np.array(normal_of(members[0].orientation))
    if not (np.abs(points) < _FARTHEST_MM).all() or not 0 < np.abs(normal).max() < 2:
        return list(members), None
    numbers, locations = np.array(numbered, np.float64).T
    grain = _grain(points[:, np.abs(normal) > _ALONG])
    if not grain or len(members) < _FEWEST or len(np.unique(numbers)) < len(numbers):
        return list(members), None
    heights = points @ normal
    explained = grain / 2 * float(np.abs(normal).sum()) + _SLACK_MM
    regular = _regular_heights(heights, numbers - numbers.min(), locations, explained)
    if regular is None:
        return list(members), None
    moved = points + np.outer(regular - heights, normal)
    unit = "whole mm" if grain == 1 else f"multiples of {grain:g} mm"
    text = f"positions are rounded to {unit}; SliceLocation and InstanceNumber are regular: slices are placed by them"
    placed = [replace(h, position=tuple(p)) for h, p in zip(members, moved.tolist(), strict=True)]
    return placed, Finding("rounded-positions", text, "noted")


def _regular_heights(
    heights: NDArray[np.float64], ranks: NDArray[np.float64], locations: NDArray[np.float64], explained: float
) -> NDArray[np.float64] | None:
    """The heights that SliceLocation gives, if it is regular and the heights are not, by rounding alone."""
    regular, step = _line(ranks, locations)
    own, own_step = _line(ranks, heights)
    if step == 0 or own_step == 0 or np.abs(heights - own).max() <= _NEARLY * abs(own_step):
        return None
    if np.abs(locations - regular).max() > _REGULAR * abs(step):
        return None
    regular = regular * math.copysign(1.0, step * own_step)
    off = heights - regular
    shift = 0.0 if np.abs(off).max() <= explained else float(off.mean())  # the table's zero is not always the patient's
    return regular + shift if np.abs(off - shift).max() <= explained else None


def _grain(values: NDArray[np.float64]) -> float:
    """The coarsest grain of which all values are multiples; 0 if there is none."""
    return next((g for g in _GRAINS_MM if (np.abs(values / g - np.rint(values / g)) < 1e-6).all()), 0.0)


def _line(ranks: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The straight line through values by least squares, and its slope."""
    centered = ranks - ranks.mean()
    slope = float(centered @ values / (centered @ centered))
    return values.mean() + slope * centered, slope
