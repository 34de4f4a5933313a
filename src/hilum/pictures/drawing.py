"""What figures draw on their panels: slices, outlines, letters, scale bars, text."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hilum.errors import one_line
from hilum.geometry import Geometry
from hilum.ops.labels.overlay import HEX_COLORS, number_colors
from hilum.ops.labels.shares import measure_labels
from hilum.pictures import colors
from hilum.pictures.figure import SMALLEST_PT
from hilum.pictures.planes import Pair, Plane, picture_position, size_mm, slice_pixels
from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG, Nodule, Scan

Line = tuple[str, NDArray[np.float64]]
Legend = list[tuple[str, str]]  # text and color of each entry

_NAMES = {RIGHT_LUNG: "right lung", LEFT_LUNG: "left lung", AIRWAYS: "airways"}

MOST_LABELS = 40  # in a legend
_LETTER_INCHES, _LINE_INCHES = 0.06, 0.5  # of a legend: width of a letter, and of the line with the gaps beside it

EDGES = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
"""The alignment of the letters at the left, right, top and bottom edge of a picture."""


def outlines(inside: NDArray[np.bool_], spacing: Pair, *, cut: bool = False) -> list[NDArray[np.float64]]:
    """Trace the outlines of the marked pixels of a slice.

    Parameters
    ----------
    inside : ndarray of bool, shape (rows, columns)
        The pixels to outline.
    spacing : tuple of float, (row, column), mm
        Distance of pixel centers.
    cut : bool, default False
        Whether the slice is cut from a larger one, whose pixels may be marked beyond the edges: then an outline ends
        at an edge.

    Returns
    -------
    list of ndarray, each shape (n, 2)
        Lines of x and y in mm, closed unless they are cut, half way between the centers of marked pixels and their
        neighbors.
    """
    if not inside.any():
        return []
    from contourpy import contour_generator

    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, left = (0, 0) if cut else (int(rows[0]), int(columns[0]))
    part = inside if cut else inside[top : rows[-1] + 1, left : columns[-1] + 1]
    part = np.pad(part, 1, mode="edge" if cut else "constant").astype(np.float32)
    lines = contour_generator(z=part).lines(0.5)
    # Pixel 0 of the padded part is the one before `left`; a pixel's center is half a pixel from its edge.
    corner, scale = np.array([left - 0.5, top - 0.5]), np.array([spacing[1], spacing[0]])
    return [(np.asarray(line) + corner) * scale for line in lines]


def label_outlines(labels: NDArray[np.uint8], spacing: Pair, *, cut: bool = False) -> list[Line]:
    """Trace the outlines of lungs and airways on a slice, in their colors; otherwise as `outlines`."""
    found = ((color, outlines(labels == label, spacing, cut=cut)) for label, color in colors.LABELS.items())
    return [(color, line) for color, lines in found for line in lines]


def nodule_circle(geometry: Geometry, plane: Plane, index: int, nodule: Nodule) -> NDArray[np.float64] | None:
    """Give the circle in which a slice cuts a nodule's sphere, shape (73, 2), mm; None if it does not."""
    x, y, level = picture_position(geometry, plane, nodule.center)
    squared = (nodule.diameter_mm / 2) ** 2 - ((level - index) * geometry.spacing[plane.axis]) ** 2
    if squared <= 0:
        return None
    angle = np.linspace(0, 2 * np.pi, 73)
    return np.stack([x + np.sqrt(squared) * np.cos(angle), y + np.sqrt(squared) * np.sin(angle)], axis=-1)


def map_outlines(scan: Scan, plane: Plane, index: int) -> list[Line]:
    """Trace the outlines of the label maps of a reoriented scan on a slice, each label in its color."""
    spacing = (scan.ct.spacing[plane.rows], scan.ct.spacing[plane.columns])
    lines: list[Line] = []
    for name, colored in _label_colors(scan).items():
        labels = slice_pixels(scan.label_maps[name].mask.array, plane, index)
        there = np.bincount(labels.ravel(), minlength=256)
        for value, color in colored.items():
            lines += [(color, line) for line in outlines(labels == value, spacing)] if there[value] else []
    return lines


def _label_colors(scan: Scan) -> dict[str, dict[int, str]]:
    """The color of each value of each label map."""
    numbers = number_colors({name: one.values for name, one in scan.label_maps.items()})
    return {name: {value: HEX_COLORS[k] for value, k in colored.items()} for name, colored in numbers.items()}


def slice_outlines(scan: Scan, plane: Plane, index: int) -> list[Line]:
    """Give the lines that are drawn on a slice of a reoriented scan: lungs, label maps, and circles of the nodules."""
    lines: list[Line] = []
    if scan.lungs is not None:
        spacing = (scan.ct.spacing[plane.rows], scan.ct.spacing[plane.columns])
        lines += label_outlines(slice_pixels(scan.lungs.array, plane, index), spacing)
    lines += map_outlines(scan, plane, index)
    circles = [nodule_circle(scan.ct.geometry, plane, index, nodule) for nodule in scan.nodules]
    return lines + [(colors.NODULE, circle) for circle in circles if circle is not None]


def draw_lines(panel: Axes, lines: Iterable[Line], *, width: float = 0.9) -> None:
    """Draw lines on a panel, each a color and an ndarray of shape (n, 2), mm; `width` is in points.

    Each color has its line style. A nodule's line is wider and has a black border, so that it is seen on white tissue.
    """
    nodules: list[Line] = []
    others: list[Line] = []
    for line in lines:
        (nodules if line[0] == colors.NODULE else others).append(line)
    for drawn, color, wide in ((nodules, "black", 2.6 * width), (nodules, None, 1.4 * width), (others, None, width)):
        if drawn:
            shown = [color or own for own, _ in drawn]
            styles = [colors.dashes(one) for one in shown]
            paths = [line for _, line in drawn]
            panel.add_collection(LineCollection(paths, colors=shown, linestyles=styles, linewidths=wide), autolim=False)


def draw_image(panel: Axes, pixels: NDArray[Any], size: Pair, **style: Any) -> None:
    """Draw pixels to scale, without axes; `size` is height and width, mm; `style` goes to ``imshow``."""
    panel.imshow(pixels, extent=(0.0, size[1], size[0], 0.0), **style)
    panel.set_axis_off()


def draw_gray(panel: Axes, pixels: NDArray[Any], size: Pair, gray: Pair, **style: Any) -> None:
    """Draw HU values as `draw_image` does, in the range `gray` of `gray_range`."""
    draw_image(panel, pixels, size, cmap="gray", vmin=gray[0], vmax=gray[1], **style)


def draw_slice(panel: Axes, scan: Scan, plane: Plane, index: int, gray: Pair, *, caption: str) -> None:
    """Draw a slice of a scan from `reorient_hu`, outlines of lungs and nodules, and its number after the caption."""
    draw_gray(panel, slice_pixels(scan.ct.array, plane, index), size_mm(scan.ct.geometry, plane), gray)
    draw_lines(panel, slice_outlines(scan, plane, index))
    draw_letters(panel, plane)
    text = f"{caption} {index + 1}/{scan.ct.shape[plane.axis]}"
    draw_note(panel, 0.02, 0.98, text, fontsize=SMALLEST_PT, va="top")


def draw_letters(panel: Axes, plane: Plane, *, all_sides: bool = False, fontsize: float = 7) -> None:
    """Write the letters of the patient's sides at the left and right edge of a panel, or at all edges."""
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))[: 4 if all_sides else 2]
    for letter, (x, y), (across, down) in zip(plane.letters, places, EDGES, strict=False):
        draw_note(panel, x, y, letter, fontsize=fontsize, ha=across, va=down)


def draw_note(panel: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write white text on black, at fractions of the panel's width and height from its lower left corner."""
    box = {"facecolor": "black", "pad": 1, "linewidth": 0}
    panel.text(x, y, plain(text), color="white", bbox=box, **{"transform": panel.transAxes, **style})


def legend(scan: Scan, inches: float) -> Legend:
    """Give the entries of the legend of a scan's outlines: lungs, nodules and label maps, with their volumes.

    Long names of labels are cut to the width of the figure, `inches`, and at most `MOST_LABELS` labels are named.
    """
    entries: Legend = []
    if scan.lungs is not None:
        found = measure_labels(scan.lungs.array, workers=0)
        ml = scan.lungs.geometry.voxel_volume / 1000
        there = [label for label in _NAMES if label in found]
        entries = [(f"{_NAMES[label]} {_ml(found[label].voxels * ml)}", colors.LABELS[label]) for label in there]
    if scan.nodules:
        entries.append((f"nodule{'s' if len(scan.nodules) > 1 else ''} (sphere)", colors.NODULE))
    labels: Legend = []
    most = max(8, min(60, int((inches - _LINE_INCHES) / _LETTER_INCHES)) - len(" 9999 ml"))
    for name, colored in _label_colors(scan).items():
        mask = scan.label_maps[name].mask
        extents = measure_labels(mask.array)
        names = {value: label for label, value in scan.label_maps[name].values.items()}
        for value, color in colored.items():
            text = one_line(name if names[value] == name else f"{name} {names[value]}", limit=most)
            volume = extents[value].voxels * mask.geometry.voxel_volume / 1000 if value in extents else 0.0
            labels.append((f"{text} {_ml(volume)}", color))
    rest = len(labels) - MOST_LABELS
    return entries + labels[:MOST_LABELS] + ([(f"and {rest} more", "none")] if rest > 0 else [])


def legend_inches(entries: Legend, inches: float) -> float:
    """Give the height of a legend on a figure of a width in inches; 0 without entries."""
    return 0.16 * math.ceil(len(entries) / _legend_columns(entries, inches)) + 0.1 if entries else 0.0


def draw_legend(figure: Figure, entries: Legend, **style: Any) -> None:
    """Write the names of outlines, with their colors and line styles; `style` goes to ``legend``."""
    if not entries:
        return
    handles = [
        Line2D([], [], color=color, linewidth=2.0, linestyle=colors.dashes(color), label=plain(text))
        for text, color in entries
    ]
    columns = min(len(entries), _legend_columns(entries, figure.get_figwidth()))
    figure.legend(handles=handles, ncols=columns, fontsize=7, frameon=False, handlelength=2.0, **style)


def _ml(volume: float) -> str:
    return f"{volume:.0f} ml" if volume >= 100 else f"{volume:.3g} ml"


def _legend_columns(entries: Legend, inches: float) -> int:
    longest = max((len(text) for text, _ in entries), default=0)
    return max(1, int(inches / (_LINE_INCHES + _LETTER_INCHES * longest)))


def draw_scale_bar(panel: Axes, size: Pair, *, fontsize: float = 7) -> None:
    """Draw a bar of a round length at the lower right of a picture of this height and width, mm."""
    length = max((mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm <= 0.4 * size[1]), default=size[1] / 2)
    x, y = 0.95 * size[1], 0.94 * size[0]
    panel.plot([x - length, x], [y, y], color="white", linewidth=2.0, solid_capstyle="butt")
    draw_note(panel, 0.96, 0.08, f"{length:g} mm", fontsize=fontsize, ha="right", va="bottom")


def plain(text: object, *, limit: int = 200) -> str:
    """Make text safe to draw: one line, no control characters, no mathematics between dollar signs."""
    return one_line(text, limit=limit).replace("$", r"\$")


def describe(scan: Scan) -> str:
    """Describe a scan in one line: size, spacing, number of nodules."""
    shape = " x ".join(map(str, scan.ct.shape))
    spacing = " x ".join(f"{s:.4g}" for s in scan.ct.spacing)
    nodules = [f"{len(scan.nodules)} nodule{'' if len(scan.nodules) == 1 else 's'}"] if scan.annotated else []
    return ", ".join([f"{shape} voxels of {spacing} mm (z, y, x)", *nodules])
