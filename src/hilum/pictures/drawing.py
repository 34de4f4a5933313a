"""What figures draw on their panels: slices, lines, letters, scale bars, text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection

from hilum.errors import one_line
from hilum.pictures.outlines import slice_outlines
from hilum.pictures.planes import size_mm, slice_pixels

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hilum.pictures.planes import Plane
    from hilum.scan import Scan

_BAR_MM = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def draw_lines(panel: Axes, lines: Iterable[tuple[str, NDArray[np.float64]]], *, width: float = 0.9) -> None:
    """Draw colored lines on a panel.

    Parameters
    ----------
    panel : Axes
    lines : iterable of (color, ndarray of shape (n, 2), mm)
    width : float
        In points.
    """
    colored = list(lines)
    if colored:
        collection = LineCollection([line for _, line in colored], colors=[c for c, _ in colored], linewidths=width)
        panel.add_collection(collection, autolim=False)


def draw_image(panel: Axes, pixels: NDArray[Any], size: tuple[float, float], **style: Any) -> None:
    """Draw a picture to scale, without axes.

    Parameters
    ----------
    panel : Axes
    pixels : ndarray, shape (rows, columns), or (rows, columns, colors)
    size : tuple of float
        Height and width, mm.
    **style
        Arguments of ``imshow``.
    """
    panel.imshow(pixels, extent=(0.0, size[1], size[0], 0.0), **style)
    panel.set_axis_off()


def draw_gray(
    panel: Axes, pixels: NDArray[Any], size: tuple[float, float], gray: tuple[float, float], **style: Any
) -> None:
    """Draw HU values in gray, to scale, without axes.

    Parameters
    ----------
    panel : Axes
    pixels : ndarray, shape (rows, columns), HU
    size : tuple of float
        Height and width, mm.
    gray : tuple of float
        From `gray_range`.
    **style
        Arguments of ``imshow``.
    """
    draw_image(panel, pixels, size, cmap="gray", vmin=gray[0], vmax=gray[1], **style)


def draw_slice(panel: Axes, scan: Scan, plane: Plane, index: int, gray: tuple[float, float], *, caption: str) -> None:
    """Draw a slice of a scan with the outlines of lungs and nodules, and its number.

    Parameters
    ----------
    panel : Axes
    scan : Scan
        From `reorient_scan`.
    plane : Plane
    index : int
    gray : tuple of float
        From `gray_range`.
    caption : str
        Written before the number.
    """
    draw_gray(panel, slice_pixels(scan.ct.array, plane, index), size_mm(scan.ct.geometry, plane), gray)
    draw_lines(panel, slice_outlines(scan, plane, index))
    draw_letters(panel, plane)
    draw_note(panel, 0.02, 0.02, f"{caption} {index + 1}/{scan.ct.shape[plane.axis]}", fontsize=6)


def draw_letters(panel: Axes, plane: Plane, *, all_sides: bool = False, fontsize: float = 7) -> None:
    """Write the letters of the patient's sides at the edges of a panel.

    Parameters
    ----------
    panel : Axes
    plane : Plane
    all_sides : bool
        At the top and the bottom too.
    fontsize : float
        In points.
    """
    corners = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    for letter, (x, y, across, down) in zip(plane.letters, corners[: 4 if all_sides else 2], strict=False):
        draw_note(panel, x, y, letter, fontsize=fontsize, ha=across, va=down)


def draw_note(panel: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write white text on black on a picture.

    Parameters
    ----------
    panel : Axes
    x, y : float
        Fractions of the panel's width and height, from its lower left corner.
    text : str
    **style
        Arguments of ``text``.
    """
    box = {"facecolor": "black", "pad": 1, "linewidth": 0}
    panel.text(x, y, plain(text), transform=panel.transAxes, color="white", bbox=box, **style)


def draw_scale_bar(panel: Axes, size: tuple[float, float]) -> None:
    """Draw a bar of a round length at the lower right of a panel.

    Parameters
    ----------
    panel : Axes
        From `draw_image`.
    size : tuple of float
        Height and width of the picture, mm.
    """
    length = max((mm for mm in _BAR_MM if mm <= 0.4 * size[1]), default=size[1] / 2)
    x, y = 0.95 * size[1], 0.94 * size[0]
    panel.plot([x - length, x], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    panel.text(x - length / 2, y - 0.02 * size[0], f"{length:g} mm", color="white", fontsize=7, ha="center")


def plain(text: object, *, limit: int = 200) -> str:
    """Make text safe to draw: one line, no control characters, no mathematics between dollar signs.

    Parameters
    ----------
    text : object
    limit : int
        The largest number of characters.

    Returns
    -------
    str
    """
    return one_line(text, limit=limit).replace("$", r"\$")


def describe(scan: Scan) -> str:
    """Describe a scan in one line: size, spacing, lung volumes, number of nodules.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    str
    """
    shape = " x ".join(str(n) for n in scan.ct.shape)
    spacing = " x ".join(f"{s:.4g}" for s in scan.ct.spacing)
    keys = {"right": "lung_right_ml", "left": "lung_left_ml"}
    volumes = [f"{side} {scan.figures[key]:.0f} ml" for side, key in keys.items() if key in scan.figures]
    nodules = [f"{len(scan.nodules)} nodule{'' if len(scan.nodules) == 1 else 's'}"] if scan.annotated else []
    return ", ".join([f"{shape} voxels of {spacing} mm (z, y, x)", *volumes, *nodules])
