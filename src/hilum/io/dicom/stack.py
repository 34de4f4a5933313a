"""Judge one stack of slices: order, spacing, gaps, tilt, and everything that forbids reading it.

Works on `hilum.io.dicom.records.SliceHeader` records alone; opens no file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from hilum.errors import name_some
from hilum.geometry import Geometry
from hilum.io.dicom.grid import UNIFORM_TOLERANCE, OrderedSlices, Vector, fit_grid
from hilum.io.dicom.records import Finding, SliceHeader, Stack
from hilum.io.dicom.values import note_values, refuse_luts, refuse_values
from hilum.io.read_options import Tilt

SAME_POSITION = 0.01  # slices closer than this share of the spacing have the same position

LATERAL_TOLERANCE = 0.5
"""Largest distance of a slice's first pixel from the stack's normal, in pixels, over the whole stack."""

_LARGEST_TILT = 45.0  # degrees; gantries tilt by up to 30

_WIDEST_SHIFT = 4.0  # largest shift of a slice, relative to its width; beyond it a position is damaged


class _StackRefused(Exception):  # noqa: N818 - leaves `judge` as a finding, never as an error
    """Carries the finding that forbids reading a stack."""

    def __init__(self, code: str, text: str, members: Iterable[SliceHeader] = ()) -> None:
        super().__init__(text)
        self.finding = Finding(code, text, "refused", tuple(h.path for h in members))


def judge(members: Sequence[SliceHeader], *, max_gap_mm: float = 0.0, tilt: Tilt = "correct") -> Stack:
    """Order the slices of one stack, and report what is odd about them.

    Parameters
    ----------
    members : sequence of SliceHeader
        At least one; a list of `hilum.io.dicom.grouping.group_slices`.
    max_gap_mm : float
        Where slices are missing or damaged, their neighbors may be this far apart; 0 refuses every gap.
    tilt : {"correct", "refuse"}
        What to do with sheared slices.

    Returns
    -------
    Stack
        Check its `refusal` before reading. The spacing comes from positions alone, never from SliceThickness
        (DICOM PS3.3 C.7.6.2.1.1). Slices with a Modality LUT get slope 1 and intercept 0, since the table alone makes
        Hounsfield units.
    """
    with_lut = [h for h in members if h.lut is not None]
    if (refusal := refuse_luts(with_lut)) is not None:
        return Stack(members[0].series_uid, tuple(members), findings=(refusal,))
    members = [h if h.lut is None else replace(h, slope=1.0, intercept=0.0) for h in members]
    damaged = [h for h in members if not h.complete]
    stack = leave_out(members, damaged, max_gap_mm=max_gap_mm, tilt=tilt) if damaged else None
    stack = stack or _judge_complete(members, max_gap_mm, tilt)
    notes = note_values(stack.slices) if stack.refusal is None else ()
    if with_lut:
        text = f"{len(with_lut)} slices are read through their Modality LUT, a table that replaces slope and intercept"
        notes = (*notes, Finding("modality-lut", text, "noted"))
    return replace(stack, findings=(*stack.findings, *notes)) if notes else stack


def leave_out(
    members: Sequence[SliceHeader], damaged: Sequence[SliceHeader], *, max_gap_mm: float, tilt: Tilt = "correct"
) -> Stack | None:
    """Judge a stack without its damaged slices.

    Parameters
    ----------
    members : sequence of SliceHeader
        The headers of all slices.
    damaged : sequence of SliceHeader
        Some of them.
    max_gap_mm, tilt
        As `judge` takes them.

    Returns
    -------
    Stack or None
        None unless every damaged slice leaves a gap that may be interpolated. A gap needs a slice on both sides. A
        complete slice at the same position does not count: nothing tells which of the two is right.
    """
    gone = {(h.path, h.frame) for h in damaged}
    rest = [h for h in members if (h.path, h.frame) not in gone]
    stack = _judge_complete(rest, max_gap_mm, tilt) if rest and max_gap_mm > 0 else None
    if stack is None or stack.refusal is not None or stack.geometry is None:
        return None
    in_gaps = all(_is_in_gap(h, stack.geometry, stack.planes) for h in damaged)
    return name_damaged(stack, {h.path: h.display_name for h in damaged}) if in_gaps else None


def name_damaged(stack: Stack, files: Mapping[str, str]) -> Stack:
    """Add the names of damaged files to the findings on interpolated gaps.

    Parameters
    ----------
    stack : Stack
        The stack without its damaged slices.
    files : mapping of str to str
        Name in messages of each file, by its path.

    Returns
    -------
    Stack
        `stack` itself if no gap is interpolated or no file is given.
    """
    if not files:
        return stack
    more = f"; damaged: {name_some(files.values())}"
    findings = tuple(
        replace(f, text=f.text + more, files=(*f.files, *files))
        if (f.action, f.code) == ("mended", "missing-slices")
        else f
        for f in stack.findings
    )
    return replace(stack, findings=findings)


def _is_in_gap(header: SliceHeader, grid: Geometry, planes: Sequence[int]) -> bool:
    if len(header.position) != 3 or not np.isfinite(header.position).all():
        return False
    index = float(grid.world_to_index(header.position)[0])
    plane = round(index)
    return abs(index - plane) <= UNIFORM_TOLERANCE and 0 < plane < grid.shape[0] - 1 and plane not in planes


def _judge_complete(members: Sequence[SliceHeader], max_gap_mm: float, tilt: Tilt) -> Stack:
    ordered = tuple(sorted(members, key=lambda h: (h.position, h.instance_number or 0, h.path, h.frame)))
    uid = members[0].series_uid
    if (refusal := refuse_values(ordered)) is not None:
        return Stack(uid, ordered, findings=(refusal,))
    try:
        _check_matrix(ordered)
        row, column = _directions(ordered)
        line = _order(ordered, np.cross(row, column))
        tilted = _judge_sideways(line, np.cross(row, column), tilt)
    except _StackRefused as refused:
        return Stack(uid, ordered, findings=(refused.finding,))
    stack = fit_grid(uid, line, (row, column), max_gap_mm, tilted=tilted is not None)
    return stack if tilted is None else replace(stack, findings=(tilted, *stack.findings))


def _check_matrix(members: Sequence[SliceHeader]) -> None:
    sizes = sorted({(h.rows, h.columns) for h in members})
    if len(sizes) > 1:
        what = f"slices of one series have different matrices: {sizes[0]} and {sizes[-1]} (rows, columns)"
        raise _StackRefused("mixed-matrix", what, [h for h in members if (h.rows, h.columns) != sizes[-1]])
    for name, count in (("pixel_spacing", 2), ("position", 3), ("orientation", 6)):
        values = [getattr(h, name) for h in members]
        if absent := [h for h, v in zip(members, values, strict=True) if len(v) != count]:
            what = f"{len(absent)} of {len(members)} slices have no {name.replace('_', ' ')}"
            names = name_some(h.display_name for h in absent)
            raise _StackRefused("no-" + name.replace("_", "-"), f"{what}: {names}", absent)
        if implausible := [v for v in values if any(not abs(x) < 1e5 for x in v)]:  # mm; includes nan
            what = f"a slice has the {name.replace('_', ' ')} {list(implausible[0])}, which is implausible"
            raise _StackRefused("bad-geometry", what, members)
    spacings = np.array([h.pixel_spacing for h in members])
    low, high = spacings.min(axis=0), spacings.max(axis=0)
    if low.min() <= 0:
        raise _StackRefused("bad-geometry", f"pixel spacing is {low.min():g} mm, expected a positive number", members)
    if (high - low > 1e-3 * low).any():
        what = f"pixel spacing differs within the series: {low.tolist()} to {high.tolist()} mm"
        raise _StackRefused("mixed-spacing", what, members)


def _directions(members: Sequence[SliceHeader]) -> tuple[Vector, Vector]:
    """Row and column direction as exactly perpendicular unit vectors; removes the rounding of the decimal text."""
    cosines = np.array(members[0].orientation)
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(np.array(lengths) - 1).max() > 1e-2 or abs(row @ column) > 1e-2:
        what = f"orientation {cosines.tolist()} is not two perpendicular unit vectors"
        raise _StackRefused("bad-geometry", what, members)
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _order(members: tuple[SliceHeader, ...], normal: Vector) -> OrderedSlices:
    points = np.array([h.position for h in members], np.float64)
    heights = points @ normal
    by = np.argsort(heights, kind="stable")
    steps = np.diff(heights[by])
    moved = steps[steps > 1e-3]
    if not moved.size:
        if len(members) == 1:
            raise _StackRefused("single-slice", "a single slice is not a volume", members)
        raise _StackRefused("one-position", f"all {len(members)} slices have the same position", members)
    new = np.concatenate(([True], steps > SAME_POSITION * median(moved)))
    first = by[new]
    owner = np.cumsum(new) - 1
    copies = [(int(owner[k]), members[by[k]]) for k in np.flatnonzero(~new)]
    for (k, copy), index in zip(copies, by[~new], strict=True):
        if np.abs(points[index] - points[first[k]]).max() > SAME_POSITION * median(moved) + 1e-3:
            both = [members[first[k]], copy]
            names = name_some(h.display_name for h in both)
            what = f"two slices have the same height along the normal but different positions: {names}"
            raise _StackRefused("conflicting-duplicates", what, both)
    return OrderedSlices(tuple(members[k] for k in first), tuple(copies), points[first], heights[first])


def _judge_sideways(line: OrderedSlices, normal: Vector, tilt: Tilt) -> Finding | None:
    """A finding for sheared slices, which are shifted; None for slices that are stacked along their normal."""
    lateral = line.points - line.points[0] - np.outer(line.heights - line.heights[0], normal)
    drift = np.linalg.norm(lateral, axis=1)
    if drift.max() <= LATERAL_TOLERANCE * min(line.slices[0].pixel_spacing):
        return None
    slope = lateral[-1] / (line.heights[-1] - line.heights[0])
    bend = np.abs(lateral - np.outer(line.heights - line.heights[0], slope)).max()
    if bend <= LATERAL_TOLERANCE * min(line.slices[0].pixel_spacing):
        angle = np.degrees(np.arctan(np.linalg.norm(slope)))
        what = f"slices are sheared by {angle:.1f} degrees (tilted gantry): not stacked along their normal"
        first = line.slices[0]
        width = max(first.rows * first.pixel_spacing[0], first.columns * first.pixel_spacing[1])
        if angle > _LARGEST_TILT or drift.max() > _WIDEST_SHIFT * width:
            raise _StackRefused("gantry-tilt", f"{what}; no gantry tilts by more than 30 degrees", line.slices)
        if tilt == "refuse":
            what += "; without --no-tilt (tilt='correct') each is shifted onto a straight grid"
            raise _StackRefused("gantry-tilt", what, line.slices)
        text = f"slices are sheared by {angle:.1f} degrees (tilted gantry): each is shifted within its plane by up to "
        return Finding("gantry-tilt", f"{text}{drift.max():.4g} mm, onto a straight grid", "mended")
    raise _StackRefused("shifted-slices", f"slices are shifted sideways by up to {drift.max():.2f} mm", line.slices)
