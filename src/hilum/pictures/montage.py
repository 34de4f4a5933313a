"""Every n-th slice of a scan on one sheet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hilum.errors import GeometryError, InputError
from hilum.pictures.drawing import describe, draw_image, draw_lines, plain
from hilum.pictures.planes import cut, find_gray, find_plane, size_mm, slice_outlines, upright
from hilum.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.pictures.planes import Plane
    from hilum.scan import Nodule
    from hilum.volume import Mask, Volume

SHEET_INCHES, DOTS = 12.0, 120
"""Width of the sheet, and dots per inch of it: slices are made no finer than these show."""

_GAP = 0.02
"""Space between slices, as a share of their width."""

MOST_SLICES = 1000


def montage(
    volume: Volume,
    *,
    plane: str = "axial",
    every: int = 5,
    columns: int = 8,
    preset: str = "lung",
    lungs: Mask | None = None,
    nodules: Sequence[Nodule] = (),
) -> Figure:
    """Draw every n-th slice of a volume, true to scale, with lungs and nodules outlined.

    Parameters
    ----------
    volume : Volume, HU
        With any order of its axes.
    plane : {"axial", "coronal", "sagittal"}
    every : int
        Slices from one that is drawn to the next; they are counted from the feet, the front or the right.
    columns : int
        Slices a row.
    preset : str
        A key of `hilum.WINDOW_PRESETS`.
    lungs : Mask, optional
        On the volume's grid; outlined by label.
    nodules : sequence of Nodule
        Each ringed where a slice cuts its sphere.

    Returns
    -------
    matplotlib.figure.Figure
        One panel in mm; the letters beside the first slice hold for all: the patient's right on the left.

    Raises
    ------
    InputError
        If there is no such plane or preset, or a number is out of range.
    GeometryError
        If the mask lies on another grid.
    """
    shown, gray = find_plane(plane), find_gray(preset)
    if every < 1 or columns < 1:
        raise InputError(f"every is {every} and columns {columns}, expected 1 or more of both", code="option")
    if lungs is not None and not lungs.geometry.isclose(volume.geometry):
        raise GeometryError("the lungs are not on the volume's grid", do="resample the mask")
    scan = upright(Scan("", volume, nodules=tuple(nodules), annotated=bool(nodules), lungs=lungs))
    places = range(0, scan.ct.shape[shown.axis], every)
    if len(places) > MOST_SLICES:
        raise InputError(f"{len(places)} slices do not fit a sheet", do="draw fewer: a larger every", code="option")
    columns = min(columns, len(places))
    rows = math.ceil(len(places) / columns)
    height, width = size_mm(scan.ct.geometry, shown)
    gap = _GAP * width
    sheet = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    inches = min(SHEET_INCHES, 2.4 * columns)
    figure = Figure(figsize=(inches, inches * sheet[0] / sheet[1] + 0.4), facecolor="black", dpi=DOTS)
    band = 0.4 / figure.get_figheight()
    panel = figure.add_axes((0.0, 0.0, 1.0, 1.0 - band))
    pixels, corners = _mosaic(scan, shown, places, columns, (gap, inches * DOTS / sheet[1]))
    draw_image(panel, pixels, sheet, cmap="gray", vmin=gray.low, vmax=gray.high, interpolation="bilinear")
    lines = []
    for place, corner in zip(places, corners, strict=True):
        lines += [(color, line + corner) for color, line in slice_outlines(scan, shown, place)]
        left, top = corner
        style: dict[str, Any] = {"color": "white", "fontsize": 6, "clip_on": True}
        panel.text(left + 0.02 * width, top + height - 0.02 * width, str(place + 1), va="bottom", **style)
    draw_lines(panel, lines, width=0.7)
    _letters(panel, shown, (height, width))
    panel.set_xlim(0, sheet[1])
    panel.set_ylim(sheet[0], 0)
    count = scan.ct.shape[shown.axis]
    step = scan.ct.spacing[shown.axis] * every
    told = f"{plane} slices 1 to {places[-1] + 1} of {count}, {step:.4g} mm apart; window {preset}"
    told += f" {gray.low:g} to {gray.high:g} HU; {describe(scan)}"
    figure.suptitle(plain(told), color="white", fontsize=min(9.0, 0.9 * inches), y=1 - band / 2, va="center")
    return figure


def _mosaic(
    scan: Scan, plane: Plane, places: range, columns: int, scale: tuple[float, float]
) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    """All slices in one picture, and where in it the upper left corner of each lies, mm."""
    gap, dots_per_mm = scale
    height, width = size_mm(scan.ct.geometry, plane)
    rows = math.ceil(len(places) / columns)
    size = [max(1, round(length * dots_per_mm)) for length in (height, width)]
    pitch = (height + gap, width + gap)
    # Each slice is placed by itself: steps of whole pixels would lead it away from its outlines, slice by slice.
    sheet = [
        round((n - 1) * step * dots_per_mm) + part for n, step, part in zip((rows, columns), pitch, size, strict=True)
    ]
    pixels = np.full(sheet, -32768, np.float32)
    corners = []
    for number, place in enumerate(places):
        row, column = divmod(number, columns)
        top, left = round(row * pitch[0] * dots_per_mm), round(column * pitch[1] * dots_per_mm)
        part = _shrink(_shrink(cut(scan.ct.array, plane, place), size[0], 0), size[1], 1)
        pixels[top : top + size[0], left : left + size[1]] = part
        corners.append((column * pitch[1], row * pitch[0]))
    return pixels, corners


def _shrink(pixels: NDArray[Any], count: int, axis: int) -> NDArray[Any]:
    """Bring an axis to a number of pixels: means of neighbors, or the nearest where there are fewer voxels."""
    size = pixels.shape[axis]
    if size <= count:
        taken: NDArray[Any] = np.take(pixels, (2 * np.arange(count) + 1) * size // (2 * count), axis=axis)
        return taken
    starts = np.arange(count) * size // count
    sums = np.add.reduceat(pixels.astype(np.float32), starts, axis=axis)
    lengths = np.diff(np.append(starts, size)).astype(np.float32)
    means: NDArray[Any] = sums / (lengths[:, None] if axis == 0 else lengths)
    return means


def _letters(panel: Any, plane: Plane, size: tuple[float, float]) -> None:
    height, width = size
    style: dict[str, Any] = {"color": "white", "fontsize": 8, "fontweight": "bold"}
    style["bbox"] = {"facecolor": "black", "pad": 1, "linewidth": 0}
    places = (
        (0.02 * width, height / 2, "left", "center"),
        (0.98 * width, height / 2, "right", "center"),
        (width / 2, 0.02 * width, "center", "top"),
        (width / 2, height - 0.02 * width, "center", "bottom"),
    )
    for letter, (x, y, across, down) in zip(plane.letters, places, strict=True):
        panel.text(x, y, letter, ha=across, va=down, **style)
