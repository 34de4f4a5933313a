"""One picture of a preprocessed scan: slices in three planes with the lungs and nodules drawn over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from hilum.pictures.drawing import describe, draw_letters, draw_note, draw_slice
from hilum.pictures.planes import PLANES, find_gray, size_mm, upright

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum.scan import Scan


def overview(scan: Scan, *, slices: int = 5, preset: str = "lung") -> Figure:
    """Draw a scan in three planes, lungs outlined and nodules ringed.

    Parameters
    ----------
    scan : Scan
        In HU.
    slices : int
        Pictures per plane, spread evenly over the lungs (over the scan where there are none).
    preset : str
        A key of `hilum.WINDOW_PRESETS`.

    Returns
    -------
    matplotlib.figure.Figure
        In the radiologist's view: the patient's right is on the picture's left, the head on top.

    Raises
    ------
    InputError
        If there is no such preset.
    """
    gray, scan = find_gray(preset), upright(scan)
    sizes = [size_mm(scan.ct.geometry, plane) for plane in PLANES.values()]
    heights = [height / width for height, width in sizes]
    figure = Figure(figsize=(2.4 * slices, 2.4 * sum(heights) + 0.6), layout="constrained", facecolor="black")
    rows = figure.subplots(3, slices, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (name, plane), panels in zip(PLANES.items(), rows, strict=True):
        for place, panel in zip(_places(scan, plane.axis, slices).tolist(), panels, strict=True):
            draw_slice(panel, scan, plane, place, gray)
            draw_letters(panel, plane)
            draw_note(panel, 0.02, 0.02, f"{name} {place + 1}/{scan.ct.shape[plane.axis]}", fontsize=6)
    figure.suptitle(describe(scan), color="white", fontsize=11)
    return figure


def _places(scan: Scan, axis: int, slices: int) -> NDArray[np.int64]:
    first, last = 0, scan.ct.shape[axis] - 1
    if scan.lungs is not None and scan.lungs.array.any():
        used = np.flatnonzero(scan.lungs.array.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = int(used[0]), int(used[-1])
    return np.rint(np.linspace(first, last, slices + 2)[1:-1]).astype(np.int64)
