"""One slice under every window, and the way from a stored value to a gray value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hilum.errors import InputError
from hilum.geometry import Geometry
from hilum.ops.intensity import WINDOW_PRESETS
from hilum.ops.intensity import window as gray_values
from hilum.pictures.drawing import draw_image, draw_letters, plain
from hilum.pictures.planes import PLANES, cut, find_gray, size_mm, upright
from hilum.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hilum.scan import Scan

USUAL_RESCALE = (1.0, -1024.0)
"""Slope and intercept of most CT, drawn as an example where those of the scan are not known."""

RANGE_HU = (-1500, 2000)

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
_STYLES = ("-", "--", "-.", ":")


def window(scan: Scan, *, index: int | None = None, rescale: tuple[float, float] | None = None) -> Figure:
    """Draw a slice under each preset, and the chain stored value, modality LUT, HU, VOI LUT, gray, with its curves.

    Parameters
    ----------
    scan : Scan
        In HU.
    index : int, optional
        The axial slice, from 0 at the feet; without it that of the largest nodule, or the middle of lungs or scan.
    rescale : tuple of float, (slope, intercept), optional
        Of the file's modality LUT; an example, and called one, without it.

    Returns
    -------
    matplotlib.figure.Figure
        A dot follows the voxel in the middle of the slice from curve to curve.

    Raises
    ------
    InputError
        If there is no such slice, or the slope is 0 or not finite.
    """
    scan = upright(scan)
    count = scan.ct.shape[0]
    if index is not None and not 0 <= index < count:
        raise InputError(f"no slice {index}, there are 0 to {count - 1}", code="option")
    slope, intercept = USUAL_RESCALE if rescale is None else rescale
    if not (np.isfinite([slope, intercept]).all() and slope):
        raise InputError(f"a modality LUT of slope {slope} and intercept {intercept}", code="option")
    place = _default_place(scan) if index is None else index
    figure = Figure(figsize=(13.0, 7.6), layout="constrained")
    blocks: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.1))
    upper, lower = blocks
    plane = PLANES["axial"]
    pixels, size = cut(scan.ct.array, plane, place), size_mm(scan.ct.geometry, plane)
    for panel, (name, preset) in zip(upper.subplots(1, len(WINDOW_PRESETS)), WINDOW_PRESETS.items(), strict=True):
        gray = find_gray(name)
        draw_image(panel, pixels, size, cmap="gray", vmin=gray.low, vmax=gray.high)
        draw_letters(panel, plane)
        panel.set_title(f"{name}: center {preset.center:g}, width {preset.width:g} HU", fontsize=9)
    middle = int(pixels[pixels.shape[0] // 2, pixels.shape[1] // 2])
    _curves(lower.subplots(1, 3), pixels, middle, (slope, intercept), known=rescale is not None)
    told = "stored value, by the modality LUT to HU, by the VOI LUT (window) to gray"
    figure.suptitle(plain(f"slice {place + 1} of {count}; {told}; there is no way back from gray"), fontsize=11)
    return figure


def _default_place(scan: Scan) -> int:
    count = scan.ct.shape[0]
    if scan.nodules:
        largest = max(scan.nodules, key=lambda nodule: nodule.diameter_mm)
        return int(np.clip(np.rint(scan.ct.geometry.world_to_index(largest.center)[0]), 0, count - 1))
    if scan.lungs is not None and scan.lungs.array.any():
        return int(np.count_nonzero(scan.lungs.array, axis=(1, 2)).argmax())
    return count // 2


def gray_curve(hu: NDArray[np.int16], preset: str) -> NDArray[np.uint8]:
    """What a preset makes of HU values.

    Parameters
    ----------
    hu : ndarray of int16, shape (n,)
    preset : str

    Returns
    -------
    ndarray of uint8, shape (n,)
    """
    line = Volume(hu[None, None], Geometry((1, 1, hu.size), (1.0, 1.0, 1.0)))
    shown: NDArray[np.uint8] = gray_values(line, preset=preset).array[0, 0]
    return shown


def _curves(
    panels: NDArray[np.object_], pixels: NDArray[np.int16], middle: int, rescale: tuple[float, float], *, known: bool
) -> None:
    slope, intercept = rescale
    hu = np.arange(*RANGE_HU, dtype=np.int16)
    stored = (hu - intercept) / slope
    first, second, third = panels
    first.plot(stored, hu, color="black", linewidth=1.4)
    first.plot((middle - intercept) / slope, middle, "o", color="#d55e00")
    first.set_xlabel("stored value")
    first.set_ylabel("HU")
    what = "modality LUT" if known else "modality LUT (an example: the file's is not known here)"
    first.set_title(f"{what}: HU = {slope:g} x stored {'-' if intercept < 0 else '+'} {abs(intercept):g}", fontsize=9)
    _behind(second, pixels)
    told = []
    for name, color, style in zip(WINDOW_PRESETS, _COLORS, _STYLES, strict=True):
        curve = gray_curve(hu, name)
        at = gray_curve(np.array([middle], np.int16), name)
        told.append(f"{name} {int(at[0])}")
        second.plot(hu, curve, color=color, linestyle=style, linewidth=1.4, label=name)
        second.plot(middle, at[0], "o", color="#d55e00", markersize=4)
        third.plot(stored, curve, color=color, linestyle=style, linewidth=1.4, label=name)
        third.plot((middle - intercept) / slope, at[0], "o", color="#d55e00", markersize=4)
    second.set_xlabel("HU")
    second.set_title("VOI LUT: a window for each preset", fontsize=9)
    third.set_xlabel("stored value")
    third.set_title(f"both: the slice's middle voxel, {middle} HU, becomes\n{', '.join(told)}", fontsize=8)
    for panel in (second, third):
        panel.set_ylabel("gray value")
        panel.set_ylim(-8, 263)
        panel.legend(fontsize=8, loc="lower right")
    for panel in panels:
        panel.grid(color="0.9", linewidth=0.6)


def _behind(panel: Axes, pixels: NDArray[np.int16]) -> None:
    """The histogram of the slice, faint, so that one sees what each window keeps."""
    edges = np.linspace(*RANGE_HU, 71)
    counts, _ = np.histogram(pixels, edges)
    if counts.max():
        heights = 200 * np.log1p(counts) / np.log1p(counts.max())
        panel.stairs(heights, edges, fill=True, color="0.88", label="voxels of the slice (log)")
