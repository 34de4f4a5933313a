"""How the lungs are found, step by step, on one slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from hilum.errors import InputError, UnsupportedError, one_line
from hilum.ops.lungs.tutorial2d import AIR_BELOW, CLOSE_RADIUS, ERODE_RADIUS, OUTSIDE, steps2d
from hilum.pictures.drawing import draw_image, draw_letters, draw_lines, plain
from hilum.pictures.planes import AIRWAYS, BAND, LEFT, NODULE, PLANES, RIGHT, cut, find_gray, outlines, size_mm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hilum.volume import Volume

METHODS = ("tutorial2d", "hilum")

_AXIAL = PLANES["axial"]
_AREAS = ListedColormap(["black", RIGHT, LEFT, AIRWAYS, NODULE, "#cc79a7", BAND, "#f0e442"])
"""Colors of numbered areas, repeated where there are more."""


def steps(volume: Volume, *, method: str = "tutorial2d", index: int | None = None) -> Figure:
    """Draw what a lung method makes of one axial slice, step by step.

    Parameters
    ----------
    volume : Volume of int16, HU
        With any order of its axes.
    method : {"tutorial2d", "hilum"}
        The eight steps of the 2017 tutorial, or the stages of hilum's own method, which works on the whole volume.
    index : int, optional
        The slice, from 0 at the feet; without it the one with the most lung of the method ``"hilum"``.

    Returns
    -------
    matplotlib.figure.Figure
        The slice itself, and a panel for each step with its title.

    Raises
    ------
    InputError
        If there is no such method or slice.
    UnsupportedError
        If the voxels are not int16.
    """
    from hilum.ops.reorient import reorient

    if method not in METHODS:
        raise InputError(f"no steps of {one_line(method, limit=40)!r}, expected {', '.join(METHODS)}", code="option")
    if volume.array.dtype.newbyteorder("=") != np.int16:
        raise UnsupportedError(f"lungs are found in HU as int16, not {volume.array.dtype}", do="give the scan in HU")
    ct = reorient(volume)
    count = ct.shape[0]
    if index is not None and not 0 <= index < count:
        raise InputError(f"no slice {index}, there are 0 to {count - 1}", code="option")
    panels = _tutorial(ct, index) if method == "tutorial2d" else _own(ct, index)
    place, shown = panels
    height, width = size_mm(ct.geometry, _AXIAL)
    columns = 3 if method == "tutorial2d" else 4
    rows = -(-len(shown) // columns)
    size = (3.2 * columns, rows * (3.2 * height / width + 0.35) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (title, draw) in zip(axes, shown, strict=False):
        draw(panel)
        panel.set_title(title, fontsize=9)
        draw_letters(panel, _AXIAL)
    for panel in axes[len(shown) :]:
        panel.set_axis_off()
    named = {"tutorial2d": "2-D lungs of the 2017 tutorial", "hilum": "hilum's lungs"}[method]
    figure.suptitle(plain(f"{named}, slice {place + 1} of {count}"), fontsize=11)
    return figure


def _fullest(lungs: NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(lungs, axis=(1, 2)).argmax()) if lungs.any() else len(lungs) // 2


def _tutorial(ct: Volume, index: int | None) -> tuple[int, list[tuple[str, Any]]]:
    from hilum.ops.lungs.segment import segment_lungs

    place = _fullest(segment_lungs(ct).array) if index is None else index
    hu = np.ascontiguousarray(ct.array[place])
    found = steps2d(hu)
    areas = np.where(found.labeled > 0, (found.labeled - 1) % (_AREAS.N - 1) + 1, 0)
    size = size_mm(ct.geometry, _AXIAL)

    def flat(pixels: NDArray[Any]) -> Any:
        return lambda panel: draw_image(panel, pixels, size, cmap="gray", vmin=0, vmax=1, interpolation="nearest")

    def numbered(panel: Axes) -> None:
        draw_image(panel, areas, size, cmap=_AREAS, vmin=0, vmax=_AREAS.N - 1, interpolation="nearest")

    return place, [
        ("the slice, lung window", _gray(ct, place)),
        (f"1. air: below {AIR_BELOW:g} HU", flat(found.air)),
        ("2. what touches the border is cleared", flat(found.cleared)),
        (f"3. areas are labeled: {int(found.labeled.max())}", numbered),
        ("4. the two largest are kept", flat(found.largest)),
        (f"5. eroded by a disk of {ERODE_RADIUS} pixels", flat(found.eroded)),
        (f"6. closed by a disk of {CLOSE_RADIUS} pixels", flat(found.closed)),
        ("7. Roberts edges, holes filled: the mask", flat(found.filled)),
        (f"8. {OUTSIDE} HU outside the mask", _gray(ct, place, hu=found.masked)),
    ]


def _own(ct: Volume, index: int | None) -> tuple[int, list[tuple[str, Any]]]:
    from hilum.ops.lungs.cells import CELL_MM
    from hilum.ops.lungs.stages import lung_stages

    found = lung_stages(ct)
    place = _fullest(found.lungs) if index is None else index
    dense = np.count_nonzero(found.dense) * ct.geometry.voxel_volume / 1000

    def over(marks: Sequence[tuple[NDArray[np.bool_], str]]) -> Any:
        return _gray(ct, place, marks=[(mark[place], color) for mark, color in marks])

    def both(labels: NDArray[np.uint8]) -> list[tuple[NDArray[np.bool_], str]]:
        return [(labels == 1, RIGHT), (labels == 2, LEFT)]

    finished = [(found.lungs[place] == label, color) for label, color in ((1, RIGHT), (2, LEFT))]
    return place, [
        ("the slice, lung window", _gray(ct, place)),
        (f"1. cells of some {CELL_MM:g} mm", _gray(ct, place, hu=found.cells[place])),
        ("2. body, and the air inside it", over([(found.body, "#cc79a7"), (found.air, BAND)])),
        ("3. windpipe and bronchi", over([(found.airway, AIRWAYS)])),
        ("4. right and left, with a margin", over(both(found.sides))),
        (f"5. dense lung and masses: {dense:.0f} ml in all", over(both(found.dense))),
        ("6. on voxels: parted, closed, filled", over(both(found.lungs))),
        ("the finished lungs, outlined", _gray(ct, place, drawn=finished)),
    ]


def _gray(
    ct: Volume,
    place: int,
    *,
    hu: NDArray[Any] | None = None,
    marks: Sequence[tuple[NDArray[np.bool_], str]] = (),
    drawn: Sequence[tuple[NDArray[np.bool_], str]] = (),
) -> Any:
    """A function that draws the slice in the lung window, some of it colored or outlined."""
    gray, size = find_gray("lung"), size_mm(ct.geometry, _AXIAL)
    pixels = cut(ct.array, _AXIAL, place) if hu is None else hu

    def draw(panel: Axes) -> None:
        draw_image(panel, pixels, size, cmap="gray", vmin=gray.low, vmax=gray.high)
        for mark, color in marks:
            shown = np.ma.masked_where(~mark, np.ones(mark.shape))
            draw_image(panel, shown, size, cmap=ListedColormap([color]), alpha=0.55, interpolation="nearest")
        spacing = (ct.spacing[1], ct.spacing[2])
        draw_lines(panel, [(color, line) for mark, color in drawn for line in outlines(mark, spacing)], width=1.2)

    return draw
