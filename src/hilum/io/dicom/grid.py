"""The regular grid of slices that are in order, and what does not lie on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.errors import GeometryError, name_some
from hilum.geometry import Geometry
from hilum.io.dicom.records import Finding, Header, Stack

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIFORM_TOLERANCE = 0.1
"""How far a slice may lie from its place on the regular grid, as a share of the slice spacing."""

NOTED_TOLERANCE = 0.02
"""From this share on the deviation is noted."""

SPARSE_RUN = 3
"""So many gaps in a row are another slice spacing, not missing slices."""

_LIMIT_SLACK_MM = 1e-3
_NAMED_PLACES = 8


class Line(NamedTuple):
    """Slices in order along the normal, one per place, and the rest."""

    slices: tuple[Header, ...]
    copies: tuple[tuple[int, Header], ...]
    points: NDArray[np.float64]
    heights: NDArray[np.float64]


def median(values: NDArray[np.float64]) -> float:
    """The median of an array that is not empty; numpy's own imports masked arrays, a tenth of reading a scan."""
    ordered = np.sort(values, axis=None)
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2


def place(uid: str, line: Line, axes: tuple[NDArray[np.float64], NDArray[np.float64]], max_gap_mm: float) -> Stack:
    """Fit the regular grid, and name what does not lie on it.

    Parameters
    ----------
    uid : str
    line : Line
    axes : two ndarrays, shape (3,)
        Row and column direction, LPS.
    max_gap_mm : float
        Where slices are missing, their neighbors may be this far apart.

    Returns
    -------
    Stack
        Refused where the slices are not on a regular grid, or a gap is wider.
    """
    row, column = axes
    steps = np.diff(line.heights)
    slots = np.concatenate(([0], np.cumsum(np.maximum(np.rint(steps / median(steps)), 1)))).astype(int)
    spacing = round(float((line.heights[-1] - line.heights[0]) / slots[-1]), 9)  # 1.0, not 0.9999999999999998
    off = float(np.abs(line.heights - line.heights[0] - spacing * slots).max() / spacing)
    findings = []
    if line.copies:
        files = tuple(h.path for _, h in line.copies)
        names = name_some(h.shown for _, h in line.copies)
        text = f"{len(files)} duplicate slices dropped, same position and same pixels: {names}"
        findings.append(Finding("duplicate-slices", text, "dropped", files))
    gaps = np.flatnonzero(np.diff(slots) > 1)
    in_a_row = bool((gaps[SPARSE_RUN - 1 :] - gaps[: 1 - SPARSE_RUN] == SPARSE_RUN - 1).any())
    if off > UNIFORM_TOLERANCE or slots[-1] + 1 > 2 * len(line.slices) or in_a_row:
        text = f"slice spacing is not uniform: {steps.min():.4g} to {steps.max():.4g} mm, median {median(steps):.4g}"
        findings.append(Finding("nonuniform-spacing", text, "refused"))
        return Stack(uid, line.slices, None, (), line.copies, tuple(findings))
    if gaps.size:
        findings.append(_gap_finding(line, slots, np.cross(row, column) * spacing, max_gap_mm))
    if off > NOTED_TOLERANCE:
        text = f"slice spacing varies: slices lie up to {off:.0%} of {spacing:.4g} mm off the regular grid"
        findings.append(Finding("uneven-spacing", text, "noted"))
    findings.extend(_tag_findings(line, spacing))
    first = line.slices[0]
    try:
        grid = Geometry(
            (int(slots[-1]) + 1, first.rows, first.columns),
            (spacing, first.pixel_spacing[0], first.pixel_spacing[1]),
            (line.points[0][0], line.points[0][1], line.points[0][2]),
            (tuple(np.cross(row, column)), tuple(column), tuple(row)),
        )
    except GeometryError as error:  # what the checks above let through
        findings.append(Finding("bad-geometry", error.what, "refused"))
        return Stack(uid, line.slices, None, (), line.copies, tuple(findings))
    return Stack(uid, line.slices, grid, tuple(slots.tolist()), line.copies, tuple(findings))


def _tag_findings(line: Line, spacing: float) -> list[Finding]:
    """Say where SpacingBetweenSlices or SliceLocation tell of another spacing than the positions, which decide."""
    findings = []
    stated = [h.slice_step for h in line.slices if h.slice_step is not None]
    wrong = [s for s in stated if not abs(abs(s) - spacing) <= UNIFORM_TOLERANCE * spacing]  # nan is wrong, too
    if wrong:
        text = f"SpacingBetweenSlices says {wrong[0]:.4g} mm in {len(wrong)} slices, positions say {spacing:.4g} mm"
        findings.append(Finding("spacing-tag-disagrees", f"{text}; positions are used", "noted"))
    locations = np.array([math.nan if h.slice_location is None else h.slice_location for h in line.slices])
    told = np.isfinite(locations)
    with np.errstate(over="ignore"):
        moves = np.abs(np.diff(locations[told]))
    off = np.abs(moves - np.abs(np.diff(line.heights[told]))) > UNIFORM_TOLERANCE * spacing
    if off.any():
        text = f"SliceLocation tells of other distances than the positions at {int(off.sum())} of {off.size} places"
        findings.append(Finding("location-tag-disagrees", f"{text}; positions are used", "noted"))
    return findings


def _gap_finding(line: Line, slots: NDArray[np.int64], step: NDArray[np.float64], max_gap_mm: float) -> Finding:
    """Say which slices are missing, and whether they are interpolated or the stack is refused."""
    gaps = np.flatnonzero(np.diff(slots) > 1)
    absent = np.setdiff1d(np.arange(slots[-1] + 1), slots)
    spacing = float(np.linalg.norm(step))
    wide = np.diff(slots)[gaps] * spacing  # on the grid: positions are often rounded to a tenth
    if wide.max() > max_gap_mm + _LIMIT_SLACK_MM:
        worst = gaps[np.argmax(wide)]
        below, above = line.slices[worst], line.slices[worst + 1]
        text = f"missing slices: {absent.size} absent at {gaps.size} places; the widest gap is {wide.max():.4g} mm"
        text += f" between {below.shown} and {above.shown}, spacing {spacing:.4g} mm"
        text += f"; up to {max_gap_mm:.4g} mm is bridged"
        return Finding("missing-slices", text, "refused", (below.path, above.path))
    axis = int(np.argmax(np.abs(step)))
    places = [f"{line.points[0][axis] + k * step[axis]:.2f}" for k in absent[:_NAMED_PLACES]]
    more = f" and {absent.size - _NAMED_PLACES} more" if absent.size > _NAMED_PLACES else ""
    text = f"missing slices: {absent.size} interpolated between their neighbors, at {'xyz'[axis]} = "
    text += f"{', '.join(places)}{more} mm"
    return Finding("missing-slices", f"{text}; the widest gap is {wide.max():.4g} mm", "mended")
