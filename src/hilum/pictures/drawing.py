"""What figures draw on their panels: slices, lines, letters, scale bars, text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection

from hilum.errors import one_line
from hilum.pictures.outlines import slice_outlines
from hilum.pictures.planes import Plane, size_mm, slice_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hilum.scan import Scan


def draw_lines(panel: Axes, lines: Iterable[tuple[str, NDArray[np.float64]]], *, width: float = 0.9) -> None:
    """Draw lines on a panel, each a color and an ndarray of shape (n, 2), mm; `width` is in points."""
    colored = list(lines)
    if colored:
        collection = LineCollection([line for _, line in colored], colors=[c for c, _ in colored], linewidths=width)
        panel.add_collection(collection, autolim=False)


def draw_image(panel: Axes, pixels: NDArray[Any], size: tuple[float, float], **style: Any) -> None:
    """Draw pixels to scale, without axes; `size` is height and width, mm; `style` goes to ``imshow``."""
    panel.imshow(pixels, extent=(0.0, size[1], size[0], 0.0), **style)
    panel.set_axis_off()


def draw_gray(
    panel: Axes, pixels: NDArray[Any], size: tuple[float, float], gray: tuple[float, float], **style: Any
) -> None:
    """Draw HU values as `draw_image` does, in the range `gray` of `gray_range`."""
    draw_image(panel, pixels, size, cmap="gray", vmin=gray[0], vmax=gray[1], **style)


def draw_slice(panel: Axes, scan: Scan, plane: Plane, index: int, gray: tuple[float, float], *, caption: str) -> None:
    """Draw a slice of a scan from `reorient_scan`, outlines of lungs and nodules, and its number after the caption."""
    draw_gray(panel, slice_pixels(scan.ct.array, plane, index), size_mm(scan.ct.geometry, plane), gray)
    draw_lines(panel, slice_outlines(scan, plane, index))
    draw_letters(panel, plane)
    draw_note(panel, 0.02, 0.02, f"{caption} {index + 1}/{scan.ct.shape[plane.axis]}", fontsize=6)


def draw_letters(panel: Axes, plane: Plane, *, all_sides: bool = False, fontsize: float = 7) -> None:
    """Write the letters of the patient's sides at the left and right edge of a panel, or at all edges."""
    corners = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    for letter, (x, y, across, down) in zip(plane.letters, corners[: 4 if all_sides else 2], strict=False):
        draw_note(panel, x, y, letter, fontsize=fontsize, ha=across, va=down)


def draw_note(panel: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write white text on black, at fractions of the panel's width and height from its lower left corner."""
    box = {"facecolor": "black", "pad": 1, "linewidth": 0}
    panel.text(x, y, plain(text), color="white", bbox=box, **{"transform": panel.transAxes, **style})


def draw_scale_bar(panel: Axes, size: tuple[float, float]) -> None:
    """Draw a bar of a round length at the lower right of a picture of this height and width, mm."""
    length = max((mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm <= 0.4 * size[1]), default=size[1] / 2)
    x, y = 0.95 * size[1], 0.94 * size[0]
    panel.plot([x - length, x], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    panel.text(x - length / 2, y - 0.02 * size[0], f"{length:g} mm", color="white", fontsize=7, ha="center")


def plain(text: object, *, limit: int = 200) -> str:
    """Make text safe to draw: one line, no control characters, no mathematics between dollar signs."""
    return one_line(text, limit=limit).replace("$", r"\$")


def describe(scan: Scan) -> str:
    """Describe a scan in one line: size, spacing, lung volumes, number of nodules."""
    shape = " x ".join(str(n) for n in scan.ct.shape)
    spacing = " x ".join(f"{s:.4g}" for s in scan.ct.spacing)
    keys = {"right": "lung_right_ml", "left": "lung_left_ml"}
    volumes = [f"{side} {scan.figures[key]:.0f} ml" for side, key in keys.items() if key in scan.figures]
    nodules = [f"{len(scan.nodules)} nodule{'' if len(scan.nodules) == 1 else 's'}"] if scan.annotated else []
    return ", ".join([f"{shape} voxels of {spacing} mm (z, y, x)", *volumes, *nodules])
