"""What is drawn on a panel of a figure: slices, lines, letters, scales, text from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hilum.errors import one_line
from hilum.pictures.planes import cut, size_mm, slice_outlines

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from numpy.typing import NDArray

    from hilum.pictures.planes import Gray, Plane
    from hilum.scan import Scan


def draw_lines(panel: Axes, lines: Iterable[tuple[str, NDArray[np.float64]]], *, width: float = 0.9) -> None:
    """Draw colored lines over a panel, all in one go.

    Parameters
    ----------
    panel : Axes
    lines : iterable of (color, ndarray of shape (n, 2), mm)
    width : float
        In points.
    """
    from matplotlib.collections import LineCollection

    colored = list(lines)
    if colored:
        drawn = LineCollection([line for _, line in colored], colors=[c for c, _ in colored], linewidths=width)
        panel.add_collection(drawn, autolim=False)


def draw_image(panel: Axes, pixels: NDArray[Any], size: tuple[float, float], **style: Any) -> None:
    """Draw a slice to scale, without axes.

    Parameters
    ----------
    panel : Axes
    pixels : ndarray, shape (rows, columns) or (rows, columns, 4)
    size : tuple of float
        Height and width, mm.
    **style
        Goes to ``imshow``.
    """
    panel.imshow(pixels, extent=(0.0, size[1], size[0], 0.0), **style)
    panel.set_axis_off()


def draw_slice(panel: Axes, scan: Scan, plane: Plane, place: int, gray: Gray, *, lines: bool = True) -> None:
    """Draw one slice of a scan with what lies over it.

    Parameters
    ----------
    panel : Axes
    scan : Scan
        From `upright`.
    plane : Plane
    place : int
    gray : Gray
    lines : bool
        Whether lungs and nodules are outlined.
    """
    pixels = cut(scan.ct.array, plane, place)
    draw_image(panel, pixels, size_mm(scan.ct.geometry, plane), cmap="gray", vmin=gray.low, vmax=gray.high)
    if lines:
        draw_lines(panel, slice_outlines(scan, plane, place))


def draw_letters(panel: Axes, plane: Plane, *, all_sides: bool = False, fontsize: float = 7) -> None:
    """Write which side is which at the edges of a panel.

    Parameters
    ----------
    panel : Axes
    plane : Plane
    all_sides : bool
        On top and at the bottom too.
    fontsize : float
        In points.
    """
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    for letter, (x, y, across, down) in zip(plane.letters, places[: 4 if all_sides else 2], strict=False):
        draw_note(panel, x, y, letter, fontsize=fontsize, ha=across, va=down)


def draw_note(panel: Axes, x: float, y: float, text: str, **style: Any) -> Text:
    """Write on a picture, white on black, at shares of the panel's width and height from its lower left.

    Parameters
    ----------
    panel : Axes
    x, y : float
    text : str
    **style
        Goes to ``text``.

    Returns
    -------
    Text
    """
    box = {"facecolor": "black", "pad": 1, "linewidth": 0}
    return panel.text(x, y, plain(text), transform=panel.transAxes, color="white", bbox=box, **style)


def draw_scale_bar(panel: Axes, size: tuple[float, float]) -> float:
    """Draw a bar of a round length at the lower right of a panel.

    Parameters
    ----------
    panel : Axes
        Drawn by `draw_image`.
    size : tuple of float
        Height and width of the picture, mm.

    Returns
    -------
    float
        Its length, mm.
    """
    length = max((mm for mm in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if mm <= 0.4 * size[1]), default=size[1] / 2)
    x, y = 0.95 * size[1], 0.94 * size[0]
    panel.plot([x - length, x], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    panel.text(x - length / 2, y - 0.02 * size[0], f"{length:g} mm", color="white", fontsize=7, ha="center")
    return length


def plain(text: object, *, limit: int = 200) -> str:
    """Text from anywhere, to be drawn as it stands: one line, no control characters, no mathematics between dollars.

    Parameters
    ----------
    text : object
    limit : int
        The most characters.

    Returns
    -------
    str
    """
    return one_line(text, limit=limit).replace("$", r"\$")


def describe(scan: Scan) -> str:
    """Say in one line what a picture is of.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    str
    """
    sizes = " x ".join(str(n) for n in scan.ct.shape)
    steps = " x ".join(f"{s:.4g}" for s in scan.ct.spacing)
    keys = {"right": "lung_right_ml", "left": "lung_left_ml"}
    sides = [f"{side} {scan.figures[key]:.0f} ml" for side, key in keys.items() if key in scan.figures]
    told = f"{len(scan.nodules)} nodule{'' if len(scan.nodules) == 1 else 's'}"
    return ", ".join([f"{sizes} voxels of {steps} mm (z, y, x)", *sides, *([told] if scan.annotated else [])])
