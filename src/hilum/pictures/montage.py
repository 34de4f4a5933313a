"""Every n-th slice of a scan in one picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.ops.preview import shrink
from hilum.pictures.drawing import (
    EDGES,
    describe,
    draw_gray,
    draw_legend,
    draw_lines,
    draw_note,
    legend_lines,
    plain,
    slice_outlines,
)
from hilum.pictures.figure import Figure
from hilum.pictures.planes import (
    Drawn,
    Pair,
    Plane,
    find_plane,
    gray_range,
    reorient_hu,
    scan_of,
    size_mm,
    slice_pixels,
)
from hilum.scan import LabelMap, Nodule, Scan
from hilum.volume import Mask

SHEET_INCHES, DOTS = 12.0, 120  # width of the sheet in inches, and dots per inch, the resolution of the slices

AIR_HU, BODY_SHARE = -500, 0.01  # a slice through the body has more than this share of pixels above


def montage(
    scan: Drawn,
    *,
    plane: str = "axial",
    every: int = 5,
    columns: int = 8,
    preset: str = "lung",
    lungs: Mask | None = None,
    nodules: Sequence[Nodule] | None = None,
    label_maps: Mapping[str, LabelMap] | None = None,
) -> Figure:
    """Draw every n-th slice of a scan, to scale, with outlines of lungs, nodules and label maps.

    Parameters
    ----------
    scan : Scan, Volume or RunScan, HU
        In any orientation.
    plane : {"axial", "coronal", "sagittal"}, default "axial"
        The direction of the slices, in the patient.
    every : int, default 5
        The step between slices, which are counted from the feet, the front or the right. Slices before and after the
        body are left out.
    columns : int, default 8
        Slices per row.
    preset : str, default "lung"
        A key of `hilum.WINDOW_PRESETS`.
    lungs : Mask, optional
        Replaces those of the scan; on its grid.
    nodules : sequence of Nodule, optional
        Replaces those of the scan. Each has a circle where a slice cuts its sphere.
    label_maps : mapping of str to LabelMap, optional
        Replaces those of the scan, on any grid. Each label has an outline, and a color and its volume in the legend.

    Returns
    -------
    matplotlib.figure.Figure
        One panel in mm. The letters at the first slice hold for all slices.

    Raises
    ------
    InputError
        If the plane or preset is unknown, or a number is out of range, or it is no scan.
    GeometryError
        If the mask is on another grid.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.montage(scan, every=8)
    >>> figure.savefig("montage.png")
    """
    drawn, gray = find_plane(plane), gray_range(preset)
    if every < 1 or columns < 1:
        raise InputError(f"every is {every} and columns {columns}, expected 1 or more of both", code="option")
    scan = scan_of(scan, lungs=lungs)
    if nodules is not None:
        scan = replace(scan, nodules=tuple(nodules), annotated=True)
    scan = reorient_hu(scan if label_maps is None else replace(scan, label_maps=label_maps))
    if len(indices := _slices_with_body(scan, drawn, range(0, scan.ct.shape[drawn.axis], every))) > 1000:
        raise InputError(f"{len(indices)} slices do not fit a sheet", do="give a larger 'every'", code="option")
    columns = min(columns, len(indices))
    rows = math.ceil(len(indices) / columns)
    height, width = size_mm(scan.ct.geometry, drawn)
    gap = 0.02 * width
    sheet = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    inches = min(SHEET_INCHES, 2.4 * columns)
    legend = 0.16 * legend_lines(scan, inches) + 0.1 if scan.label_maps else 0.0
    figure = Figure(figsize=(inches, inches * sheet[0] / sheet[1] + 0.4 + legend), facecolor="black", dpi=DOTS)
    title_height, legend_height = 0.4 / figure.get_figheight(), legend / figure.get_figheight()
    panel = figure.add_axes((0.0, legend_height, 1.0, 1.0 - title_height - legend_height))
    draw_legend(figure, scan, loc="lower center", labelcolor="white", borderpad=0.1)
    pixels, corners = _mosaic(scan, drawn, indices, columns, (gap, inches * DOTS / sheet[1]))
    draw_gray(panel, pixels, sheet, gray, interpolation="bilinear")
    lines = []
    for index, corner in zip(indices, corners, strict=True):
        lines += [(color, line + corner) for color, line in slice_outlines(scan, drawn, index)]
        left, top = corner
        x, y = left + 0.02 * width, top + height - 0.02 * width
        draw_note(panel, x, y, str(index + 1), transform=panel.transData, va="bottom", fontsize=6)
    draw_lines(panel, lines, width=0.7)
    _draw_letters(panel, drawn, (height, width))
    panel.set_xlim(0, sheet[1])
    panel.set_ylim(sheet[0], 0)
    count = scan.ct.shape[drawn.axis]
    step = scan.ct.spacing[drawn.axis] * every
    title = f"{plane} slices {indices[0] + 1} to {indices[-1] + 1} of {count}, {step:.4g} mm apart; window {preset}"
    title += f" {gray[0]:g} to {gray[1]:g} HU; {describe(scan)}"
    figure.suptitle(plain(title), color="white", fontsize=min(9.0, 0.9 * inches), y=1 - title_height / 2, va="center")
    return figure


def _slices_with_body(scan: Scan, plane: Plane, indices: range) -> range:
    """Leave out the slices before the first and after the last with some tissue; none if no slice has any."""
    tissue = [np.mean(slice_pixels(scan.ct.array, plane, index) > AIR_HU) for index in indices]
    with_body = np.flatnonzero(np.greater(tissue, BODY_SHARE))
    return indices[with_body[0] : with_body[-1] + 1] if with_body.size else indices


def _mosaic(
    scan: Scan, plane: Plane, indices: range, columns: int, scale: Pair
) -> tuple[NDArray[np.float32], list[Pair]]:
    """Put all slices into one picture; give it and the upper left corner (x, y) of each slice, mm."""
    gap, dots_per_mm = scale
    height, width = size_mm(scan.ct.geometry, plane)
    rows = math.ceil(len(indices) / columns)
    size = [max(1, round(length * dots_per_mm)) for length in (height, width)]
    step = (height + gap, width + gap)
    # Each corner is rounded by itself: steps of whole pixels would move slices away from their outlines.
    sheet = [round((n - 1) * mm * dots_per_mm) + part for n, mm, part in zip((rows, columns), step, size, strict=True)]
    pixels = np.full(sheet, -32768, np.float32)
    corners = []
    for number, index in enumerate(indices):
        row, column = divmod(number, columns)
        top, left = round(row * step[0] * dots_per_mm), round(column * step[1] * dots_per_mm)
        part = shrink(shrink(slice_pixels(scan.ct.array, plane, index), size[0], 0), size[1], 1)
        pixels[top : top + size[0], left : left + size[1]] = part
        corners.append((column * step[1], row * step[0]))
    return pixels, corners


def _draw_letters(panel: Any, plane: Plane, size: Pair) -> None:
    height, width = size
    gap = 0.02 * width
    places = ((gap, height / 2), (0.98 * width, height / 2), (width / 2, gap), (width / 2, height - gap))
    for letter, (x, y), (across, down) in zip(plane.letters, places, EDGES, strict=True):
        draw_note(panel, x, y, letter, transform=panel.transData, fontsize=8, fontweight="bold", ha=across, va=down)
