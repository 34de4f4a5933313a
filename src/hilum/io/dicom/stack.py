"""The verdict on one stack of slices: order, spacing, gaps, tilt, and everything that forbids reading it.

Pure logic on `hilum.io.dicom.records.Header` records, as that module.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import name_some
from hilum.io.dicom.grid import UNIFORM_TOLERANCE, Line, median, place
from hilum.io.dicom.lut import refuse_luts
from hilum.io.dicom.records import Finding, Header, Stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from hilum.geometry import Geometry

SAME_PLACE = 0.01
"""Slices closer than this share of the spacing lie at the same place."""

LATERAL_TOLERANCE = 0.5
"""How far a slice's first pixel may lie beside the stack's normal, in pixels, over the whole stack."""

_LARGEST_MATRIX = 16384
_PLAUSIBLE_MM = 1e5
_NOT_HU = frozenset({"OD", "ED", "EDW", "Z_EFF", "MGML", "PCT"})


class Refused(Exception):  # noqa: N818 - a verdict on its way out of `judge`, not an error that anyone sees
    """A stack that cannot be read, with the finding that says why."""

    def __init__(self, code: str, text: str, members: Iterable[Header] = ()) -> None:
        super().__init__(text)
        self.finding = Finding(code, text, "refused", tuple(h.path for h in members))


def judge(members: Sequence[Header], *, max_gap_mm: float = 0.0) -> Stack:
    """Order the slices of one stack and say what is odd about them.

    Parameters
    ----------
    members : sequence of Header
        At least one; a list of `hilum.io.dicom.series.group`.
    max_gap_mm : float
        Where slices are missing, or damaged, their neighbors may be this far apart; 0 refuses every gap.

    Returns
    -------
    Stack
        Check its `refusal` before reading. Spacing comes from positions alone, never from SliceThickness
        (DICOM PS3.3 C.7.6.2.1.1). With missing slices the geometry is that of the whole grid and `slots`
        says which places are filled.
    """
    damaged = [h for h in members if not h.whole]
    mended = leave_out(members, damaged, max_gap_mm=max_gap_mm) if damaged else None
    return mended or _judge(members, max_gap_mm)


def leave_out(members: Sequence[Header], damaged: Sequence[Header], *, max_gap_mm: float) -> Stack | None:
    """Judge a stack without its damaged slices.

    Parameters
    ----------
    members : sequence of Header
    damaged : sequence of Header
        Some of them.
    max_gap_mm : float
        As `judge` takes it.

    Returns
    -------
    Stack or None
        None unless every damaged slice leaves a gap between others that is bridged; at the ends there is
        nothing to bridge from, and beside a whole slice of the same place nothing tells which one is right.
    """
    gone = {(h.path, h.frame) for h in damaged}
    whole = [h for h in members if (h.path, h.frame) not in gone]
    if not whole or max_gap_mm <= 0:
        return None
    stack = _judge(whole, max_gap_mm)
    if stack.refusal is not None or stack.geometry is None:
        return None
    if not all(_in_a_gap(h, stack.geometry, stack.slots) for h in damaged):
        return None
    return name_damaged(stack, {h.path: h.shown for h in damaged})


def name_damaged(stack: Stack, files: Mapping[str, str]) -> Stack:
    """Add the names of damaged files to what is said of the gaps that were mended.

    Parameters
    ----------
    stack : Stack
    files : mapping of str to str
        What each is called in messages, by its path.

    Returns
    -------
    Stack
        `stack` itself where no gap was mended or no file is given.
    """
    if not files or not any(f.action == "mended" for f in stack.findings):
        return stack
    told = tuple(
        replace(f, text=f"{f.text}; damaged: {name_some(files.values())}", files=(*f.files, *files))
        if f.action == "mended"
        else f
        for f in stack.findings
    )
    return replace(stack, findings=told)


def _in_a_gap(header: Header, grid: Geometry, slots: Sequence[int]) -> bool:
    if len(header.position) != 3 or not np.isfinite(header.position).all():
        return False
    at = float(grid.world_to_index(header.position)[0])
    near = round(at)
    return abs(at - near) <= UNIFORM_TOLERANCE and 0 < near < grid.shape[0] - 1 and near not in slots


def _judge(members: Sequence[Header], max_gap_mm: float) -> Stack:
    ordered = tuple(sorted(members, key=lambda h: (h.position, h.instance_number or 0, h.path, h.frame)))
    uid = members[0].series_uid
    try:
        _check_pixels(ordered)
        _check_rescale(ordered)
        _check_matrix(ordered)
        row, column = _directions(ordered)
        line = _order(ordered, np.cross(row, column))
        _check_sideways(line, np.cross(row, column))
    except Refused as refused:
        return Stack(uid, ordered, findings=(refused.finding,))
    return place(uid, line, (row, column), max_gap_mm)


def _check_pixels(members: Sequence[Header]) -> None:
    empty = [h for h in members if not h.has_pixels]
    if empty:
        what = f"{len(empty)} of {len(members)} slices without pixel data: {name_some(h.shown for h in empty)}"
        raise Refused("no-pixels", what, empty)
    odd = [h for h in members if h.rows < 1 or h.columns < 1 or max(h.rows, h.columns) > _LARGEST_MATRIX]
    short = [h for h in members if not h.whole]
    if short:
        worst = short[0]
        have, want = worst.pixel_bytes, worst.frame_bytes * worst.frames
        what = f"pixel data too short (truncated) in {len(short)} slices: {name_some(h.shown for h in short)}"
        raise Refused("truncated", f"{what}; {have} of {want} bytes", short)
    if odd:
        raise Refused("bad-matrix", f"a matrix of {odd[0].rows} x {odd[0].columns}: {odd[0].shown}", odd)
    many = [h for h in members if h.frames > 1 and not h.position]
    if many:
        raise Refused("unplaced-frames", f"{many[0].frames} frames in one file without a position of each", many)
    bits = [h for h in members if not _readable_bits(h)]
    if bits:
        h = bits[0]
        raise Refused(
            "unsupported-bits", f"{h.bits_stored} bits stored in {h.bits_allocated}, high bit {h.high_bit}", bits
        )


def _readable_bits(h: Header) -> bool:
    return h.bits_allocated in {8, 16, 32} and 1 <= h.bits_stored <= h.high_bit + 1 <= h.bits_allocated


def _check_rescale(members: Sequence[Header]) -> None:
    absent = [h for h in members if h.slope is None or h.intercept is None]
    if absent:
        what = f"no rescale slope or intercept in {len(absent)} slices, so Hounsfield units are unknown"
        raise Refused("no-rescale", what, absent)
    values = np.array([(h.slope, h.intercept) for h in members], np.float64)
    wrong = ~np.isfinite(values).all(axis=1) | (values[:, 0] == 0) | (np.abs(values).max(axis=1) > 1e9)
    if wrong.any():
        k = int(np.argmax(wrong))
        what = f"rescale slope {values[k, 0]:g} and intercept {values[k, 1]:g} in {int(wrong.sum())} slices"
        raise Refused("bad-rescale", what, [h for h, w in zip(members, wrong, strict=True) if w])
    foreign = [h for h in members if h.rescale_type in _NOT_HU]
    if foreign:
        raise Refused(
            "not-hounsfield", f"values are rescaled to {foreign[0].rescale_type}, not Hounsfield units", foreign
        )


def _check_matrix(members: Sequence[Header]) -> None:
    sizes = sorted({(h.rows, h.columns) for h in members})
    if len(sizes) > 1:
        what = f"slices of different matrix in one series: {sizes[0]} and {sizes[-1]} (rows, columns)"
        raise Refused("mixed-matrix", what, [h for h in members if (h.rows, h.columns) != sizes[-1]])
    for name, count in (("pixel_spacing", 2), ("position", 3), ("orientation", 6)):
        values = [getattr(h, name) for h in members]
        absent = [h for h, v in zip(members, values, strict=True) if len(v) != count]
        if absent:
            what = f"no {name.replace('_', ' ')} in {len(absent)} of {len(members)} slices"
            raise Refused("no-" + name.replace("_", "-"), f"{what}: {name_some(h.shown for h in absent)}", absent)
        wild = [v for v in values if any(not abs(x) < _PLAUSIBLE_MM for x in v)]  # nan is wild, too
        if wild:
            raise Refused("bad-geometry", f"a {name.replace('_', ' ')} of {list(wild[0])}", members)
    _check_spacings(members)


def _check_spacings(members: Sequence[Header]) -> None:
    spacings = np.array([h.pixel_spacing for h in members])
    if spacings.min() <= 0:
        raise Refused("bad-geometry", f"pixel spacing {spacings.min():g} mm, expected a positive number", members)
    span = np.ptp(spacings, axis=0)
    if (span > 1e-3 * spacings.min(axis=0)).any():
        low, high = spacings.min(axis=0), spacings.max(axis=0)
        what = f"pixel spacing differs within the series: {low.tolist()} to {high.tolist()} mm"
        raise Refused("mixed-spacing", what, members)


def _directions(members: Sequence[Header]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column direction as perpendicular unit vectors; rounding of the decimal text is taken out."""
    cosines = np.array(members[0].orientation)
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(np.array(lengths) - 1).max() > 1e-2 or abs(row @ column) > 1e-2:
        raise Refused("bad-geometry", f"orientation {cosines.tolist()} is not two perpendicular unit vectors", members)
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _order(members: tuple[Header, ...], normal: NDArray[np.float64]) -> Line:
    points = np.array([h.position for h in members], np.float64)
    heights = points @ normal
    by = np.argsort(heights, kind="stable")
    steps = np.diff(heights[by])
    moved = steps[steps > 1e-3]
    if not moved.size:
        if len(members) == 1:
            raise Refused("single-slice", "a single slice is no volume", members)
        raise Refused("one-position", f"all {len(members)} slices lie at the same position", members)
    new = np.concatenate(([True], steps > SAME_PLACE * median(moved)))
    first = by[new]
    owner = np.cumsum(new) - 1
    copies = [(int(owner[k]), members[by[k]]) for k in np.flatnonzero(~new)]
    for (k, copy), index in zip(copies, by[~new], strict=True):
        if np.abs(points[index] - points[first[k]]).max() > SAME_PLACE * median(moved) + 1e-3:
            both = [members[first[k]], copy]
            what = f"two slices at the same height but not the same place: {name_some(h.shown for h in both)}"
            raise Refused("conflicting-duplicates", what, both)
    return Line(tuple(members[k] for k in first), tuple(copies), points[first], heights[first])


def _check_sideways(line: Line, normal: NDArray[np.float64]) -> None:
    beside = line.points - line.points[0] - np.outer(line.heights - line.heights[0], normal)
    drift = np.linalg.norm(beside, axis=1)
    if drift.max() <= LATERAL_TOLERANCE * min(line.slices[0].pixel_spacing):
        return
    slope = beside[-1] / (line.heights[-1] - line.heights[0])
    straight = np.abs(beside - np.outer(line.heights - line.heights[0], slope)).max()
    if straight <= LATERAL_TOLERANCE * min(line.slices[0].pixel_spacing):
        angle = np.degrees(np.arctan(np.linalg.norm(slope)))
        what = f"slices are sheared by {angle:.1f} degrees (tilted gantry): not stacked along their normal"
        raise Refused("gantry-tilt", what, line.slices)
    raise Refused("shifted-slices", f"slices shifted sideways by up to {drift.max():.2f} mm", line.slices)


def judge_with_luts(members: Sequence[Header], *, max_gap_mm: float) -> Stack:
    """Judge a stack of which some slices may have a Modality LUT.

    Parameters
    ----------
    members : sequence of Header
    max_gap_mm : float
        As for `judge`.

    Returns
    -------
    Stack
        As `judge` gives it; its slices with a LUT have slope 1 and intercept 0 besides, since
        the table alone makes Hounsfield units.
    """
    tabled = [h for h in members if h.lut is not None]
    if not tabled:
        return judge(members, max_gap_mm=max_gap_mm)
    refusal = refuse_luts(tabled)
    if refusal is not None:
        return Stack(members[0].series_uid, tuple(members), findings=(refusal,))
    read = [h if h.lut is None else replace(h, slope=1.0, intercept=0.0) for h in members]
    stack = judge(read, max_gap_mm=max_gap_mm)
    text = f"{len(tabled)} slices read through their Modality LUT, a table in place of slope and intercept"
    return replace(stack, findings=(*stack.findings, Finding("modality-lut", text, "noted")))
