"""Fit ordered slices to a regular grid, and report what deviates from it."""

import math
from statistics import median  # numpy's loads masked arrays, a tenth of the time to read a scan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import GeometryError, name_some
from hilum.geometry import Geometry
from hilum.io.dicom.records import Finding, SliceHeader, Stack

UNIFORM_TOLERANCE = 0.1  # largest distance of a slice from its plane of the grid, relative to the slice spacing

NOTED_TOLERANCE = 0.02  # from this relative distance on, the deviation is noted

SPARSE_RUN = 3  # so many gaps in a row are a different slice spacing, not missing slices

_NAMED_POSITIONS = 8


Vector = NDArray[np.float64]


class OrderedSlices(NamedTuple):
    """Slices in order along the normal, one per position.

    Parameters
    ----------
    slices : tuple of SliceHeader
    duplicates : tuple of (int, SliceHeader)
        As `Stack` has them.
    points : ndarray, shape (slice, 3)
        Positions, LPS mm.
    heights : ndarray, shape (slice,)
        Positions along the normal, mm.
    """

    slices: tuple[SliceHeader, ...]
    duplicates: tuple[tuple[int, SliceHeader], ...]
    points: Vector
    heights: Vector


def fit_grid(uid: str, line: OrderedSlices, axes: tuple[Vector, Vector], max_gap_mm: float) -> Stack:
    """Fit the regular grid, and report what deviates from it.

    Parameters
    ----------
    uid : str
        Series Instance UID.
    line : OrderedSlices
    axes : two ndarrays, shape (3,)
        Row and column direction, LPS.
    max_gap_mm : float
        Where slices are missing, their neighbors may be this far apart.

    Returns
    -------
    Stack
        Refused if the slices are not on a regular grid, or a gap is wider.
    """
    row, column = axes
    steps = np.diff(line.heights)
    planes = np.concatenate(([0], np.cumsum(np.maximum(np.rint(steps / median(steps)), 1)))).astype(int)
    spacing = round(float((line.heights[-1] - line.heights[0]) / planes[-1]), 9)  # 1.0, not 0.9999999999999998
    deviation = float(np.abs(line.heights - line.heights[0] - spacing * planes).max() / spacing)
    findings = []
    if line.duplicates:
        files = tuple(h.path for _, h in line.duplicates)
        names = name_some(h.display_name for _, h in line.duplicates)
        text = f"{len(files)} duplicate slices dropped, same position and same pixels: {names}"
        findings.append(Finding("duplicate-slices", text, "dropped", files))
    gaps = np.flatnonzero(np.diff(planes) > 1)
    in_a_row = bool((gaps[SPARSE_RUN - 1 :] - gaps[: 1 - SPARSE_RUN] == SPARSE_RUN - 1).any())
    if deviation > UNIFORM_TOLERANCE or planes[-1] + 1 > 2 * len(line.slices) or in_a_row:
        text = f"slice spacing is not uniform: {steps.min():.4g} to {steps.max():.4g} mm, median {median(steps):.4g}"
        findings.append(Finding("nonuniform-spacing", text, "refused"))
        return Stack(uid, line.slices, None, (), line.duplicates, tuple(findings))
    if gaps.size:
        findings.append(_gap_finding(line, planes, np.cross(row, column) * spacing, max_gap_mm))
    if deviation > NOTED_TOLERANCE:
        text = f"slice spacing varies: slices are up to {deviation:.0%} of {spacing:.4g} mm off the regular grid"
        findings.append(Finding("uneven-spacing", text, "noted"))
    findings.extend(_tag_findings(line, spacing))
    first = line.slices[0]
    try:
        grid = Geometry(
            (int(planes[-1]) + 1, first.rows, first.columns),
            (spacing, first.pixel_spacing[0], first.pixel_spacing[1]),
            (line.points[0][0], line.points[0][1], line.points[0][2]),
            (tuple(np.cross(row, column)), tuple(column), tuple(row)),
        )
    except GeometryError as error:  # the checks of the stack do not catch everything
        findings.append(Finding("bad-geometry", error.what, "refused"))
        return Stack(uid, line.slices, None, (), line.duplicates, tuple(findings))
    return Stack(uid, line.slices, grid, tuple(planes.tolist()), line.duplicates, tuple(findings))


def _tag_findings(line: OrderedSlices, spacing: float) -> list[Finding]:
    """Report where SpacingBetweenSlices or SliceLocation disagree with the positions."""
    findings = []
    stated = [h.slice_step for h in line.slices if h.slice_step is not None]
    wrong = [s for s in stated if not abs(abs(s) - spacing) <= UNIFORM_TOLERANCE * spacing]  # nan is wrong, too
    if wrong:
        text = f"SpacingBetweenSlices is {wrong[0]:.4g} mm in {len(wrong)} slices, but positions are {spacing:.4g} mm"
        findings.append(Finding("spacing-tag-disagrees", f"{text} apart; positions are used", "noted"))
    locations = np.array([math.nan if h.slice_location is None else h.slice_location for h in line.slices])
    known = np.isfinite(locations)
    with np.errstate(over="ignore"):
        steps = np.abs(np.diff(locations[known]))
    wrong_steps = np.abs(steps - np.abs(np.diff(line.heights[known]))) > UNIFORM_TOLERANCE * spacing
    if wrong_steps.any():
        text = f"SliceLocation disagrees with the positions in {int(wrong_steps.sum())} of {wrong_steps.size} steps"
        findings.append(Finding("location-tag-disagrees", f"{text}; positions are used", "noted"))
    return findings


def _gap_finding(line: OrderedSlices, planes: NDArray[np.int64], step: Vector, max_gap_mm: float) -> Finding:
    """Report missing slices: they are interpolated, or the stack is refused."""
    gaps = np.flatnonzero(np.diff(planes) > 1)
    missing = np.setdiff1d(np.arange(planes[-1] + 1), planes)
    spacing = float(np.linalg.norm(step))
    widths = np.diff(planes)[gaps] * spacing  # on the grid: positions are often rounded to a tenth
    if widths.max() > max_gap_mm + 1e-3:  # mm, against rounding
        widest = gaps[np.argmax(widths)]
        below, above = line.slices[widest], line.slices[widest + 1]
        text = f"missing slices: {missing.size} in {gaps.size} gaps; the widest gap is {widths.max():.4g} mm"
        text += f" between {below.display_name} and {above.display_name}, spacing {spacing:.4g} mm"
        text += f"; gaps up to {max_gap_mm:.4g} mm are bridged"
        return Finding("missing-slices", text, "refused", (below.path, above.path))
    axis = int(np.argmax(np.abs(step)))
    positions = [f"{line.points[0][axis] + k * step[axis]:.2f}" for k in missing[:_NAMED_POSITIONS]]
    more = f" and {missing.size - _NAMED_POSITIONS} more" if missing.size > _NAMED_POSITIONS else ""
    text = f"missing slices: {missing.size} interpolated between their neighbors, at {'xyz'[axis]} = "
    text += f"{', '.join(positions)}{more} mm"
    return Finding("missing-slices", f"{text}; the widest gap is {widths.max():.4g} mm", "mended")
