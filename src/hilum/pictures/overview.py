"""Slices of a scan in three planes, with the outlines of lungs, label maps and nodules."""

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.ops.bounding_box import bounding_box
from hilum.pictures import drawing, planes
from hilum.pictures.figure import SMALLEST_PT, Figure, dots, figure_inches, letter_size, wrap
from hilum.scan import Scan
from hilum.volume import Mask


def overview(
    scan: planes.Drawn,
    *,
    slices: int | None = None,
    preset: str = "lung",
    lungs: Mask | None = None,
    width_mm: float | None = None,
) -> Figure:
    """Draw a scan in three planes, with outlines of lungs and labels and circles around the nodules.

    Parameters
    ----------
    scan : Scan, Volume or RunScan, HU
        In any orientation.
    slices : int, optional
        Slices per plane, evenly spaced over the lungs, or over the scan if there are none; by default 5, or as many as
        fit the width.
    preset : str, default "lung"
        A key of `hilum.WINDOW_PRESETS`.
    lungs : Mask, optional
        Replaces those of the scan; on its grid.
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 2.4 inches for each slice.

    Returns
    -------
    matplotlib.figure.Figure
        The radiologist's view: the patient's right is on the picture's left, the head on top.

    Raises
    ------
    InputError
        If there is no such preset, it is no scan, or a number is out of range.
    GeometryError
        If the mask is on another grid.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.overview(scan, slices=2)
    >>> figure.savefig("overview.png")
    """
    if slices is not None and slices < 1:
        raise InputError(f"slices is {slices}, expected 1 or more", code="option")
    gray, scan = planes.gray_range(preset), planes.reorient_hu(planes.scan_of(scan, lungs=lungs))
    inches = figure_inches(width_mm, 2.4 * (slices or 5))
    slices = slices or max(2, min(5, int(inches / 1.05)))
    sizes = [planes.size_mm(scan.ct.geometry, plane) for plane in planes.PLANES.values()]
    heights = [height / width for height, width in sizes]
    entries, letters = drawing.legend(scan, inches), letter_size(inches, 10.0)
    title = wrap(drawing.plain(f"{planes.window_text(preset)}; {drawing.describe(scan)}"), inches, letters)
    below = drawing.legend_inches(entries, inches) + 0.02 * letters * (title.count("\n") + 1)
    size = inches, inches / slices * sum(heights) + 0.4 + below
    figure = Figure(figsize=size, layout="constrained", facecolor="black", dpi=dots(width_mm))
    rows = figure.subplots(3, slices, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (name, plane), panels, mm in zip(planes.PLANES.items(), rows, sizes, strict=True):
        for index, panel in zip(_slice_indices(scan, plane.axis, slices).tolist(), panels, strict=True):
            drawing.draw_slice(panel, scan, plane, index, gray, caption=name)
        drawing.draw_scale_bar(panels[-1], mm, fontsize=SMALLEST_PT)
    figure.suptitle(title, color="white", fontsize=letters)
    drawing.draw_legend(figure, entries, loc="outside lower center", labelcolor="white")
    return figure


def _slice_indices(scan: Scan, axis: int, count: int) -> NDArray[np.int64]:
    lungs = None if scan.lungs is None else bounding_box(scan.lungs.array > 0)
    first, stop = (0, scan.ct.shape[axis]) if lungs is None else (lungs[axis].start, lungs[axis].stop)
    return np.rint(np.linspace(first, stop - 1, count + 2)[1:-1]).astype(np.int64)
