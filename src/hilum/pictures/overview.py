"""One picture of a preprocessed scan: slices in three planes with the lungs and nodules drawn over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hilum.ops.intensity import WINDOW_PRESETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hilum.scan import Scan

RIGHT, LEFT, NODULE = "#0072b2", "#e69f00", "#d55e00"
"""Colors told apart by color-blind eyes (Okabe and Ito 2008): right lung, left lung, nodule."""

_PLANES = (("axial", "R", "L"), ("coronal", "R", "L"), ("sagittal", "A", "P"))


def overview(scan: Scan, *, slices: int = 5, preset: str = "lung") -> Figure:
    """Draw a scan in three planes, lungs outlined and nodules ringed.

    Parameters
    ----------
    scan : Scan
        In HU, its axes toward the patient's head, back and left, as `hilum.preprocess` gives it.
    slices : int
        Pictures per plane, spread evenly over the lungs (over the scan where there are none).
    preset : str
        A key of `hilum.WINDOW_PRESETS`.

    Returns
    -------
    matplotlib.figure.Figure
        In the radiologist's view: the patient's right is on the picture's left, the head on top.
    """
    shown = WINDOW_PRESETS[preset]
    low, high = shown.center - shown.width / 2, shown.center + shown.width / 2
    extent = np.array(scan.ct.shape) * scan.ct.spacing
    heights = [extent[1] / extent[2], extent[0] / extent[2], extent[0] / extent[1]]
    figure = Figure(figsize=(2.4 * slices, 2.4 * sum(heights) + 0.6), layout="constrained", facecolor="black")
    rows = figure.subplots(3, slices, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axis, panels in enumerate(rows):
        for place, panel in zip(_places(scan, axis, slices), panels, strict=True):
            _panel(panel, scan, axis, int(place), low, high)
    figure.suptitle(_title(scan), color="white", fontsize=11)
    return figure


def _places(scan: Scan, axis: int, slices: int) -> NDArray[np.int64]:
    found = scan.lungs is not None and scan.lungs.array.any()
    others = tuple(a for a in range(3) if a != axis)
    used = (
        np.nonzero(scan.lungs.array.any(axis=others))[0]
        if found and scan.lungs is not None
        else (0, scan.ct.shape[axis] - 1)
    )
    first, last = int(used[0]), int(used[-1])
    return np.rint(np.linspace(first, last, slices + 2)[1:-1]).astype(np.int64)


def _plane(array: NDArray[np.generic], axis: int, place: int) -> NDArray[np.generic]:
    """Cut a slice so that row 0 is on top: the front in axial pictures, the head in the others."""
    cut: NDArray[np.generic] = np.take(array, place, axis=axis)
    return cut if axis == 0 else cut[::-1]


def _panel(panel: Axes, scan: Scan, axis: int, place: int, low: float, high: float) -> None:
    rows, columns = [a for a in range(3) if a != axis]
    shape, spacing = scan.ct.shape, scan.ct.spacing
    panel.imshow(
        _plane(scan.ct.array, axis, place), cmap="gray", vmin=low, vmax=high, aspect=spacing[rows] / spacing[columns]
    )
    if scan.lungs is not None:
        labels = _plane(scan.lungs.array, axis, place)
        for label, color in ((1, RIGHT), (2, LEFT)):
            if (labels == label).any():
                panel.contour(labels == label, levels=[0.5], colors=color, linewidths=0.9)
    for nodule in scan.nodules:
        _ring(panel, scan, nodule.center, nodule.diameter_mm, (axis, rows, columns), place)
    name, first, last = _PLANES[axis]
    panel.set_axis_off()
    style: dict[str, Any] = {
        "transform": panel.transAxes,
        "color": "white",
        "bbox": {"facecolor": "black", "pad": 1, "linewidth": 0},
    }
    for text, x, align in ((first, 0.02, "left"), (last, 0.98, "right")):
        panel.text(x, 0.5, text, fontsize=7, ha=align, va="center", **style)
    panel.text(0.02, 0.02, f"{name} {place + 1}/{shape[axis]}", fontsize=6, **style)


def _ring(
    panel: Axes, scan: Scan, center: tuple[float, float, float], diameter: float, axes: tuple[int, int, int], place: int
) -> None:
    """Draw the circle in which a slice cuts a nodule's sphere, to scale."""
    axis, rows, columns = axes
    spacing = scan.ct.spacing
    voxel = scan.ct.geometry.world_to_index(center)
    half = (diameter / 2) ** 2 - ((voxel[axis] - place) * spacing[axis]) ** 2
    if half <= 0:
        return
    turn = np.linspace(0, 2 * np.pi, 73)
    row = voxel[rows] if axis == 0 else scan.ct.shape[rows] - 1 - voxel[rows]
    panel.plot(
        voxel[columns] + np.sqrt(half) / spacing[columns] * np.cos(turn),
        row + np.sqrt(half) / spacing[rows] * np.sin(turn),
        color=NODULE,
        linewidth=1.0,
    )


def _title(scan: Scan) -> str:
    sizes = " x ".join(str(n) for n in scan.ct.shape)
    steps = " x ".join(f"{s:g}" for s in scan.ct.spacing)
    keys = {"right": "lung_right_ml", "left": "lung_left_ml"}
    sides = [f"{side} {scan.figures[key]:.0f} ml" for side, key in keys.items() if key in scan.figures]
    return ", ".join([f"{sizes} voxels of {steps} mm", *sides, f"{len(scan.nodules)} nodules"])
