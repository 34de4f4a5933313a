"""Slices of a scan in three planes, with the outlines of lungs, label maps and nodules."""

import numpy as np
from numpy.typing import NDArray

from hilum.ops.bounding_box import bounding_box
from hilum.pictures import drawing, planes
from hilum.pictures.figure import Figure
from hilum.scan import Scan
from hilum.volume import Mask


def overview(scan: planes.Drawn, *, slices: int = 5, preset: str = "lung", lungs: Mask | None = None) -> Figure:
    """Draw a scan in three planes, with outlines of lungs and labels and circles around the nodules.

    Parameters
    ----------
    scan : Scan, Volume or RunScan, HU
        In any orientation.
    slices : int, default 5
        Slices per plane, evenly spaced over the lungs, or over the scan if there are none.
    preset : str, default "lung"
        A key of `hilum.WINDOW_PRESETS`.
    lungs : Mask, optional
        Replaces those of the scan; on its grid.

    Returns
    -------
    matplotlib.figure.Figure
        The radiologist's view: the patient's right is on the picture's left, the head on top.

    Raises
    ------
    InputError
        If there is no such preset, or it is no scan.
    GeometryError
        If the mask is on another grid.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.overview(scan, slices=2)
    >>> figure.savefig("overview.png")
    """
    gray, scan = planes.gray_range(preset), planes.reorient_hu(planes.scan_of(scan, lungs=lungs))
    sizes = [planes.size_mm(scan.ct.geometry, plane) for plane in planes.PLANES.values()]
    heights = [height / width for height, width in sizes]
    size = 2.4 * slices, 2.4 * sum(heights) + 0.6
    size = size[0], size[1] + 0.16 * drawing.legend_lines(scan, size[0])
    figure = Figure(figsize=size, layout="constrained", facecolor="black")
    rows = figure.subplots(3, slices, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (name, plane), panels in zip(planes.PLANES.items(), rows, strict=True):
        for index, panel in zip(_slice_indices(scan, plane.axis, slices).tolist(), panels, strict=True):
            drawing.draw_slice(panel, scan, plane, index, gray, caption=name)
    figure.suptitle(drawing.describe(scan), color="white", fontsize=11)
    drawing.draw_legend(figure, scan, loc="outside lower center", labelcolor="white")
    return figure


def _slice_indices(scan: Scan, axis: int, count: int) -> NDArray[np.int64]:
    lungs = None if scan.lungs is None else bounding_box(scan.lungs.array > 0)
    first, stop = (0, scan.ct.shape[axis]) if lungs is None else (lungs[axis].start, lungs[axis].stop)
    return np.rint(np.linspace(first, stop - 1, count + 2)[1:-1]).astype(np.int64)
