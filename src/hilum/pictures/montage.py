"""Every n-th slice of a scan in one picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.ops.preview_slices import shrink
from hilum.pictures.drawing import (
    EDGES,
    describe,
    draw_gray,
    draw_legend,
    draw_lines,
    draw_note,
    legend,
    legend_inches,
    plain,
    slice_outlines,
)
from hilum.pictures.extent import Extent, drawn_slices
from hilum.pictures.figure import SMALLEST_PT, Figure, dots, figure_inches, letter_size, wrap
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
    window_text,
)
from hilum.scan import LabelMap, Nodule, Scan
from hilum.volume import Mask

SHEET_INCHES, DOTS = 12.0, 120  # width of the sheet in inches, and dots per inch, the resolution of the slices


def montage(
    scan: Drawn,
    *,
    plane: str = "axial",
    every: int = 5,
    columns: int | None = None,
    preset: str = "lung",
    lungs: Mask | None = None,
    nodules: Sequence[Nodule] | None = None,
    label_maps: Mapping[str, LabelMap] | None = None,
    width_mm: float | None = None,
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
        body are left out; if the lungs are known, those before and after the lungs and nodules. The title says
        which.
    columns : int, optional
        Slices per row; by default 8, or as many as fit the width.
    preset : str, default "lung"
        A key of `hilum.WINDOW_PRESETS`.
    lungs : Mask, optional
        Replaces those of the scan; on its grid.
    nodules : sequence of Nodule, optional
        Replaces those of the scan. Each has a circle where a slice cuts its sphere.
    label_maps : mapping of str to LabelMap, optional
        Replaces those of the scan, on any grid. Each label has an outline, and a color and its volume in the legend.
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 12 inches, less for few columns.

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
    if every < 1 or (columns is not None and columns < 1):
        raise InputError(f"every is {every} and columns {columns}, expected 1 or more of both", code="option")
    inches = figure_inches(width_mm, SHEET_INCHES)
    scan = scan_of(scan, lungs=lungs)
    if nodules is not None:
        scan = replace(scan, nodules=tuple(nodules), annotated=True)
    scan = reorient_hu(scan if label_maps is None else replace(scan, label_maps=label_maps))
    extent = drawn_slices(scan, drawn, every)
    if len(indices := extent.indices) > 1000:
        raise InputError(f"{len(indices)} slices do not fit a sheet", do="give a larger 'every'", code="option")
    columns = min(columns or max(2, min(8, int(inches / 0.8))), len(indices))
    rows = math.ceil(len(indices) / columns)
    height, width = size_mm(scan.ct.geometry, drawn)
    gap = 0.02 * width
    sheet = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    inches = inches if width_mm is not None else min(SHEET_INCHES, 2.4 * columns)
    entries, letters = legend(scan, inches), letter_size(inches, 9.0)
    title = f"{_range_text(plane, extent, scan.ct.spacing[drawn.axis] * every)}; {window_text(preset)}; "
    title = wrap(plain(f"{title}{describe(scan)}; bar {_bar_mm(width):g} mm", limit=400), 0.96 * inches, letters)
    above, below = 0.15 + 0.018 * letters * (title.count("\n") + 1), legend_inches(entries, inches)
    total, dpi = inches * sheet[0] / sheet[1] + above + below, dots(width_mm, DOTS)
    figure = Figure(figsize=(inches, total), facecolor="black", dpi=dpi)
    panel = figure.add_axes((0.0, below / total, 1.0, 1.0 - (above + below) / total))
    draw_legend(figure, entries, loc="lower center", labelcolor="white", borderpad=0.1)
    pixels, corners = _mosaic(scan, drawn, indices, columns, (gap, inches * dpi / sheet[1]))
    draw_gray(panel, pixels, sheet, gray, interpolation="bilinear")
    lines = []
    for index, corner in zip(indices, corners, strict=True):
        lines += [(color, line + corner) for color, line in slice_outlines(scan, drawn, index)]
        left, top = corner
        x, y = left + 0.02 * width, top + height - 0.02 * width
        draw_note(panel, x, y, str(index + 1), transform=panel.transData, va="bottom", fontsize=SMALLEST_PT)
    draw_lines(panel, lines, width=0.7)
    _draw_letters(panel, drawn, (height, width))
    panel.set_xlim(0, sheet[1])
    panel.set_ylim(sheet[0], 0)
    figure.suptitle(title, color="white", fontsize=letters, y=1 - above / total / 2, va="center")
    return figure


def _range_text(plane: str, extent: Extent, step_mm: float) -> str:
    """Say which slices are drawn, and which are left out, and why."""
    first, last, count = extent.indices[0] + 1, extent.indices[-1] + 1, extent.total
    text = f"{plane} slices {first} to {last} of {count}, {step_mm:.4g} mm apart"
    left_out = [f"{a} to {b}" for a, b in ((1, first - 1), (last + 1, count)) if b - a + 1 >= extent.indices.step]
    return f"{text}; left out, no {extent.what}: {' and '.join(left_out)}" if left_out else text


def _bar_mm(width: float) -> float:
    """The length of the scale bar on a slice of a width, mm."""
    return max((mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm <= 0.3 * width), default=width / 4)


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
    bar = (0.97 * width - _bar_mm(width), 0.97 * width)
    panel.plot(bar, [0.95 * height] * 2, color="white", linewidth=2.0, solid_capstyle="butt")
