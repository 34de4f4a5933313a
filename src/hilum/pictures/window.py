"""One slice in every window, and the curves from stored values to gray values."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.geometry import Geometry
from hilum.ops.intensity import WINDOW_PRESETS
from hilum.ops.intensity import window as gray_values
from hilum.pictures import colors, drawing, planes
from hilum.pictures.figure import NARROW, SMALLEST_PT, Figure, dots, figure_inches, letter_size, wrap
from hilum.scan import Scan
from hilum.volume import Volume

RANGE_HU = (-1500, 2000)

_COLORS = (colors.BLUE, colors.ORANGE, colors.GREEN, colors.PURPLE)


def window(
    scan: planes.Drawn,
    *,
    index: int | None = None,
    rescale: planes.Pair | None = None,
    width_mm: float | None = None,
) -> Figure:
    """Draw a slice in each window preset, and the curves of modality LUT and VOI LUT from stored value to gray.

    Parameters
    ----------
    scan : Scan, Volume or RunScan, HU
        In any orientation.
    index : int, optional
        The axial slice, from 0 at the feet; by default that of the largest nodule, of the most lung, or the middle.
    rescale : tuple of float, (slope, intercept), optional
        The file's modality LUT; by default an example, which the title calls so.
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 13 inches.

    Returns
    -------
    matplotlib.figure.Figure
        A dot on each curve marks the voxel in the middle of the slice. Label maps of the scan are outlined.

    Raises
    ------
    InputError
        If it is no scan, there is no such slice, the slope is 0 or not finite, or the width is out of range.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.window(scan)
    >>> figure.savefig("window.png")
    """
    scan = planes.reorient_hu(planes.scan_of(scan))
    count = scan.ct.shape[0]
    planes.check_slice(index, count)
    slope, intercept = rescale or (1.0, -1024.0)  # those of most CT scans
    if not (np.isfinite([slope, intercept]).all() and slope):
        raise InputError(f"slope {slope}, intercept {intercept}: expected finite numbers, slope not 0", code="option")
    index = _default_slice(scan) if index is None else index
    inches = figure_inches(width_mm, 13.0)
    plane = planes.PLANES["axial"]
    pixels, size = planes.slice_pixels(scan.ct.array, plane, index), planes.size_mm(scan.ct.geometry, plane)
    letters = letter_size(inches, 9.0)
    narrow, entries = inches < NARROW, drawing.legend(replace(scan, lungs=None, nodules=()), inches)
    across, charts = (2, (3, 1)) if narrow else (4, (1, 3))
    heights = (4 / across) * (inches / across * size[0] / size[1] + 0.3), charts[0] * (1.9 if narrow else 3.9)
    total = sum(heights) + 0.5 + drawing.legend_inches(entries, inches)
    figure = Figure(figsize=(inches, total), layout="constrained", dpi=dots(width_mm))
    upper, lower = cast("Any", figure.subfigures(2, 1, height_ratios=heights))
    grid = upper.subplots(len(WINDOW_PRESETS) // across, across, squeeze=False)
    for panel, (name, preset) in zip(grid.ravel(), WINDOW_PRESETS.items(), strict=True):
        drawing.draw_gray(panel, pixels, size, planes.gray_range(name))
        drawing.draw_lines(panel, drawing.map_outlines(scan, plane, index))
        drawing.draw_letters(panel, plane)
        title = f"{name}: center {preset.center:g}, width {preset.width:g} HU"
        panel.set_title(wrap(title, 0.95 * inches / across, letters), fontsize=letters)
    drawing.draw_scale_bar(grid.ravel()[0], size, fontsize=letter_size(inches, 7.0))
    middle = int(pixels[pixels.shape[0] // 2, pixels.shape[1] // 2])
    curves = lower.subplots(*charts).ravel()
    _draw_curves(curves, pixels, middle, (slope, intercept), known=rescale is not None, inches=inches)
    chain = "stored value, by the modality LUT to HU, by the VOI LUT (window) to gray"
    drawing.draw_legend(figure, entries, loc="outside lower center")
    title = f"axial slice {index + 1} of {count}; {chain}; gray cannot be converted back"
    figure.suptitle(wrap(drawing.plain(title), inches, letter_size(inches, 10.0)), fontsize=letter_size(inches, 10.0))
    return figure


def _default_slice(scan: Scan) -> int:
    if scan.nodules:
        largest = max(scan.nodules, key=lambda nodule: nodule.diameter_mm)
        return planes.slice_at(scan.ct.geometry, planes.PLANES["axial"], largest.center)
    return scan.ct.shape[0] // 2 if scan.lungs is None else planes.largest_lung_slice(scan.lungs.array)


def gray_curve(hu: NDArray[np.int16], preset: str) -> NDArray[np.uint8]:
    """Convert HU values, shape (n,), to gray values by a window preset."""
    line = Volume(hu[None, None], Geometry((1, 1, hu.size), (1.0, 1.0, 1.0)))
    gray: NDArray[np.uint8] = gray_values(line, preset=preset).array[0, 0]
    return gray


def _draw_curves(
    panels: NDArray[np.object_],
    pixels: NDArray[np.int16],
    middle: int,
    rescale: planes.Pair,
    *,
    known: bool,
    inches: float,
) -> None:
    slope, intercept = rescale
    hu = np.arange(*RANGE_HU, dtype=np.int16)
    stored, dot = (hu - intercept) / slope, (middle - intercept) / slope
    mark: dict[str, Any] = {"marker": "o", "color": colors.MARK, "markersize": 4, "linestyle": "none"}
    first, second, third = panels
    first.plot(stored, hu, color="black", linewidth=1.4)
    first.plot(dot, middle, **mark)
    what = "modality LUT" if known else "modality LUT (an example, the file's is unknown)"
    _draw_histogram(second, pixels)
    grays = []
    for name, color, style in zip(WINDOW_PRESETS, _COLORS, ("-", "--", "-.", ":"), strict=True):
        curve = gray_curve(hu, name)
        gray = int(gray_curve(np.array([middle], np.int16), name)[0])
        grays.append(f"{name} {gray}")
        second.plot(hu, curve, color=color, linestyle=style, linewidth=1.4, label=name)
        second.plot(middle, gray, **mark)
        third.plot(stored, curve, color=color, linestyle=style, linewidth=1.4, label=name)
        third.plot(dot, gray, **mark)
    titles = (
        f"{what}: HU = {slope:g} x stored {'-' if intercept < 0 else '+'} {abs(intercept):g}",
        "VOI LUT: a window for each preset; gray area: voxels of the slice (log)",
        f"both; dots: the slice's middle voxel, {middle} HU, becomes {', '.join(grays)}",
    )
    size, width = letter_size(inches, 8.0), 0.8 * (inches if inches < NARROW else inches / 3)
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(wrap(title, width, size), fontsize=size)
        panel.set_xlabel("HU" if panel is second else "stored value", fontsize=size)
        panel.set_ylabel("HU" if panel is first else "gray value", fontsize=size)
        panel.tick_params(labelsize=size)
        panel.locator_params(nbins=5)
        panel.grid(color="0.9", linewidth=0.6)
    for panel in (second, third):
        panel.set_ylim(-8, 263)
        panel.legend(fontsize=max(SMALLEST_PT, size - 0.5), loc="upper left", frameon=False)


def _draw_histogram(panel: Axes, pixels: NDArray[np.int16]) -> None:
    """Draw the histogram of the slice in the background."""
    edges = np.linspace(*RANGE_HU, 71)
    counts, _ = np.histogram(pixels, edges)
    if counts.max():
        heights = 200 * np.log1p(counts) / np.log1p(counts.max())
        panel.stairs(heights, edges, fill=True, color="0.88")
