"""Fit ordered slices to a regular grid, and report what deviates from it."""

import math
from statistics import median  # numpy's loads masked arrays, a tenth of the time to read a scan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import GeometryError, name_some
from hilum.geometry import Geometry
from hilum.io.dicom import regions
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
        The headers, in order.
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


def fit_grid(
    uid: str, line: OrderedSlices, axes: tuple[Vector, Vector], max_gap_mm: float, *, tilted: bool = False
) -> Stack:
    """Fit the regular grid, and report what deviates from it.

    Parameters
    ----------
    uid : str
        Series Instance UID.
    line : OrderedSlices
        The slices in order.
    axes : two ndarrays, shape (3,)
        Row and column direction, LPS.
    max_gap_mm : float
        Where slices are missing, their neighbors may be this far apart.
    tilted : bool
        Whether the slices are sheared: the grid is then wide enough for all of them, and `Stack.places` says where on
        it each one lies.

    Returns
    -------
    Stack
        Refused if the slices are not on a regular grid, or a gap is wider.
    """
    heights = line.heights
    steps = np.diff(heights)
    planes = np.concatenate(([0], np.cumsum(np.maximum(np.rint(steps / median(steps)), 1)))).astype(int)
    spacing = round(float((heights[-1] - heights[0]) / planes[-1]), 9)  # 1.0, not 0.9999999999999998
    deviation = float(np.abs(heights - heights[0] - spacing * planes).max() / spacing)
    findings = _duplicate_findings(line)
    gaps = np.flatnonzero(np.diff(planes) > 1)
    in_a_row = bool((gaps[SPARSE_RUN - 1 :] - gaps[: 1 - SPARSE_RUN] == SPARSE_RUN - 1).any())
    places: Vector = planes.astype(np.float64)
    if deviation > UNIFORM_TOLERANCE or planes[-1] + 1 > 2 * len(line.slices) or in_a_row:
        spans = regions.find_regions(heights)
        places, spacing = regions.place_on_finest(heights, spans) if spans else (np.empty(0), spacing)
        if not places.size:
            text = (
                f"slice spacing is not uniform: {steps.min():.4g} to {steps.max():.4g} mm, median {median(steps):.4g}"
            )
            findings.append(Finding("nonuniform-spacing", text, "refused"))
            return Stack(uid, line.slices, None, (), line.duplicates, tuple(findings))
        findings.append(_regions_finding(line, spans, places, max_gap_mm))
        spacing = round(spacing, 9)
    else:
        if gaps.size:
            findings.append(_gap_finding(line, planes, np.cross(*axes) * spacing, max_gap_mm))
        if deviation > NOTED_TOLERANCE:
            text = f"slice spacing varies: slices are up to {deviation:.0%} of {spacing:.4g} mm off the regular grid"
            findings.append(Finding("uneven-spacing", text, "noted"))
        findings.extend(_tag_findings(line, spacing))
    try:
        grid, shifts = _make_grid(line, axes, places, spacing, tilted=tilted)
    except GeometryError as error:  # the checks of the stack do not catch everything
        findings.append(Finding("bad-geometry", error.what, "refused"))
        return Stack(uid, line.slices, None, (), line.duplicates, tuple(findings))
    whole = np.where(places == np.rint(places), places, -1).astype(int)
    moved = tilted or bool((whole < 0).any())
    exact = tuple(map(tuple, np.column_stack((places, shifts)).tolist())) if moved else ()
    return Stack(uid, line.slices, grid, tuple(whole.tolist()), line.duplicates, tuple(findings), exact)


def _make_grid(
    line: OrderedSlices, axes: tuple[Vector, Vector], places: Vector, spacing: float, *, tilted: bool
) -> tuple[Geometry, Vector]:
    """The grid, and where on its rows and columns the first pixel of each slice lies: 0 unless the stack is tilted."""
    (row, column), first = axes, line.slices[0]
    normal, shifts = np.cross(row, column), np.zeros((len(line.slices), 2))
    if tilted:
        lateral = line.points - line.points[0]
        shifts = np.column_stack((lateral @ column, lateral @ row)) / first.pixel_spacing
    low, high = np.floor(shifts.min(axis=0) + 0.5), np.floor(shifts.max(axis=0) + 0.5)
    start = line.points[0] - places[0] * spacing * normal
    if low.any():
        start = start + low[0] * first.pixel_spacing[0] * column + low[1] * first.pixel_spacing[1] * row
    rows, columns = (high - low).astype(int).tolist()
    grid = Geometry(
        (regions.plane_count(places), first.rows + rows, first.columns + columns),
        (spacing, first.pixel_spacing[0], first.pixel_spacing[1]),
        (start[0], start[1], start[2]),
        (tuple(normal), tuple(column), tuple(row)),
    )
    return grid, shifts - low


def _duplicate_findings(line: OrderedSlices) -> list[Finding]:
    if not line.duplicates:
        return []
    files = tuple(h.path for _, h in line.duplicates)
    names = name_some(h.display_name for _, h in line.duplicates)
    text = f"{len(files)} duplicate slices dropped, same position and same pixels: {names}"
    return [Finding("duplicate-slices", text, "dropped", files)]


def _regions_finding(line: OrderedSlices, spans: list[regions.Region], places: Vector, max_gap_mm: float) -> Finding:
    """Report regions of different spacings: they are interpolated onto the finest grid, or the stack is refused."""
    finest = min(r.spacing for r in spans)
    parts = [f"{r.spacing:.4g} mm at {line.heights[r.first]:.2f} to {line.heights[r.last]:.2f} mm" for r in spans]
    text = f"slice spacing changes: {', '.join(parts[:_NAMED_POSITIONS])} along the normal"
    thickness = np.array([math.nan if h.thickness is None else h.thickness for h in line.slices])
    widest = regions.widest_unseen(line.heights, thickness, spans)
    if max_gap_mm == 0:  # nothing may be interpolated
        widest = max(r.spacing for r in spans)
    if widest > max_gap_mm + 1e-3:
        text += f"; one grid of {finest:.4g} mm needs gaps of {widest:.4g} mm"
        return Finding("two-spacings", text + _way_on(widest, max_gap_mm), "refused")
    added = regions.plane_count(places) - int((places == np.rint(places)).sum())
    return Finding("two-spacings", f"{text}; {added} planes interpolated onto one grid of {finest:.4g} mm", "mended")


def _way_on(width: float, max_gap_mm: float) -> str:
    """The option that accepts a gap."""
    enough = math.ceil(width * 100 - 1e-6) / 100
    return f"; gaps up to {max_gap_mm:.4g} mm are bridged, more with --max-gap-mm {enough:g}"


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
        return Finding("missing-slices", text + _way_on(widths.max(), max_gap_mm), "refused", (below.path, above.path))
    axis = int(np.argmax(np.abs(step)))
    positions = [f"{line.points[0][axis] + k * step[axis]:.2f}" for k in missing[:_NAMED_POSITIONS]]
    more = f" and {missing.size - _NAMED_POSITIONS} more" if missing.size > _NAMED_POSITIONS else ""
    text = f"missing slices: {missing.size} interpolated between their neighbors, at {'xyz'[axis]} = "
    text += f"{', '.join(positions)}{more} mm"
    return Finding("missing-slices", f"{text}; the widest gap is {widths.max():.4g} mm", "mended")
