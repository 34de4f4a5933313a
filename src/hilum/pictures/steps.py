"""The steps of a lung segmentation, on one slice."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

from hilum.errors import InputError, UnsupportedError, one_line
from hilum.ops.lungs import cells, segment, tutorial2d
from hilum.ops.lungs.stages import lung_stages
from hilum.ops.reorient import reorient
from hilum.pictures import colors, planes
from hilum.pictures.drawing import draw_gray, draw_image, draw_letters, draw_lines, draw_scale_bar, outlines, plain
from hilum.pictures.figure import NARROW, Figure, dots, figure_inches, letter_size, wrap
from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG
from hilum.volume import Volume

ColoredMask = tuple[NDArray[np.bool_], str]
Step = tuple[str, Callable[[Axes], None]]

METHODS = {"tutorial2d": "2-D lungs of the 2017 tutorial", "hilum": "hilum's lungs"}  # by name, with their titles

_AXIAL = planes.PLANES["axial"]
_COMPONENTS = ListedColormap(["black", *colors.ALL])  # colors of numbered components; they repeat if there are more


def steps(
    scan: planes.Drawn, *, method: str = "tutorial2d", index: int | None = None, width_mm: float | None = None
) -> Figure:
    """Draw the steps of a lung segmentation on one axial slice.

    Parameters
    ----------
    scan : Scan, Volume or RunScan of int16, HU
        In any orientation.
    method : {"tutorial2d", "hilum"}, default "tutorial2d"
        The eight steps of the 2017 tutorial, or the stages of hilum's own method, which runs on the whole volume.
    index : int, optional
        The slice, from 0 at the feet; by default the one with the most lung by the method ``"hilum"``.
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 3.2 inches for each column of panels.

    Returns
    -------
    matplotlib.figure.Figure
        The slice, and a panel with a title for each step.

    Raises
    ------
    InputError
        If the method is unknown, there is no such slice, or the width is out of range.
    UnsupportedError
        If the voxels are not int16.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.steps(scan, index=24)
    >>> figure.savefig("steps.png")
    """
    if method not in METHODS:
        raise InputError(f"no steps of {one_line(method, limit=40)!r}, expected {', '.join(METHODS)}", code="option")
    volume = planes.scan_of(scan).ct
    if volume.array.dtype.newbyteorder("=") != np.int16:
        what = f"lungs are segmented in HU as int16, not {volume.array.dtype}"
        raise UnsupportedError(what, do="give the scan in HU")
    ct = reorient(volume)
    planes.check_slice(index, ct.shape[0])
    index, drawn = _tutorial_steps(ct, index) if method == "tutorial2d" else _hilum_steps(ct, index)
    height, width = planes.size_mm(ct.geometry, _AXIAL)
    columns = 3 if method == "tutorial2d" else 4
    inches = figure_inches(width_mm, 3.2 * columns)
    columns = 2 if inches < NARROW else columns
    rows, each, size = -(-len(drawn) // columns), inches / columns, letter_size(inches, 9.0)
    high = rows * (each * height / width + 0.4) + 0.5
    figure = Figure(figsize=(inches, high), layout="constrained", dpi=dots(width_mm))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (title, draw) in zip(axes, drawn, strict=False):
        draw(panel)
        panel.set_title(wrap(title, 0.92 * each, size), fontsize=size)
        draw_letters(panel, _AXIAL)
    draw_scale_bar(axes[0], (height, width), fontsize=letter_size(inches, 7.0))
    for panel in axes[len(drawn) :]:
        panel.set_axis_off()
    title = f"{METHODS[method]}, axial slice {index + 1} of {ct.shape[0]}"
    figure.suptitle(wrap(plain(title), inches, letter_size(inches, 10.0)), fontsize=letter_size(inches, 10.0))
    return figure


def _tutorial_steps(ct: Volume, index: int | None) -> tuple[int, list[Step]]:
    index = planes.largest_lung_slice(segment.segment_lungs(ct).array) if index is None else index
    steps = tutorial2d.steps2d(np.ascontiguousarray(ct.array[index]))
    numbers = np.where(steps.labeled > 0, (steps.labeled - 1) % (_COMPONENTS.N - 1) + 1, 0)
    size, window = planes.size_mm(ct.geometry, _AXIAL), planes.window_text("lung")

    def pixels(values: NDArray[Any], cmap: str | ListedColormap = "gray", most: int = 1) -> Callable[[Axes], None]:
        return lambda panel: draw_image(panel, values, size, cmap=cmap, vmin=0, vmax=most, interpolation="nearest")

    return index, [
        (f"the slice, {window}", _gray(ct, ct.array[index])),
        (f"1. air: below {tutorial2d.AIR_BELOW:g} HU", pixels(steps.air)),
        ("2. components at the border are cleared", pixels(steps.cleared)),
        (
            f"3. components are labeled, a color each: {int(steps.labeled.max())}",
            pixels(numbers, _COMPONENTS, _COMPONENTS.N - 1),
        ),
        ("4. the two largest are kept", pixels(steps.largest)),
        (f"5. eroded by a disk of {tutorial2d.ERODE_RADIUS} pixels", pixels(steps.eroded)),
        (f"6. closed by a disk of {tutorial2d.CLOSE_RADIUS} pixels", pixels(steps.closed)),
        ("7. Roberts edges, holes filled: the mask", pixels(steps.filled)),
        (f"8. {tutorial2d.OUTSIDE} HU outside the mask", _gray(ct, steps.masked)),
    ]


def _hilum_steps(ct: Volume, index: int | None) -> tuple[int, list[Step]]:
    stages = lung_stages(ct)
    index = planes.largest_lung_slice(stages.lungs) if index is None else index
    dense_ml = np.count_nonzero(stages.dense) * ct.geometry.voxel_volume / 1000

    def sides(labels: NDArray[np.uint8]) -> list[ColoredMask]:
        return [(labels[index] == label, colors.LABELS[label]) for label in (RIGHT_LUNG, LEFT_LUNG)]

    hu, airway = ct.array[index], (stages.airway[index], colors.LABELS[AIRWAYS])
    body = [(stages.body[index], colors.PURPLE), (stages.air[index], colors.BLUE)]
    return index, [
        (f"the slice, {planes.window_text('lung')}", _gray(ct, hu)),
        (f"1. cells of about {cells.CELL_MM:g} mm", _gray(ct, stages.cells[index])),
        ("2. body (pink), and the air inside it (dark blue)", _gray(ct, hu, filled=body)),
        ("3. trachea and bronchi (green)", _gray(ct, hu, filled=[airway])),
        ("4. right (light blue) and left (orange, dashed), with a margin", _gray(ct, hu, filled=sides(stages.sides))),
        (f"5. ground-glass and masses: {dense_ml:.0f} ml in total", _gray(ct, hu, filled=sides(stages.dense))),
        ("6. on voxels: separated, closed, filled", _gray(ct, hu, filled=sides(stages.lungs))),
        ("the finished lungs, outlined (left dashed)", _gray(ct, hu, outlined=sides(stages.lungs))),
    ]


def _gray(
    ct: Volume, pixels: NDArray[Any], *, filled: Sequence[ColoredMask] = (), outlined: Sequence[ColoredMask] = ()
) -> Callable[[Axes], None]:
    """Give a function that draws a slice in the lung window, with masks filled or outlined in color."""
    size = planes.size_mm(ct.geometry, _AXIAL)

    def draw(panel: Axes) -> None:
        draw_gray(panel, pixels, size, planes.gray_range("lung"))
        for mask, color in filled:
            layer = np.ma.masked_where(~mask, np.ones(mask.shape))
            draw_image(panel, layer, size, cmap=ListedColormap([color]), alpha=0.55, interpolation="nearest")
        spacing = (ct.spacing[1], ct.spacing[2])
        drawn = [*filled, *outlined]  # an outline gives a filled mask the line style of its color
        draw_lines(panel, [(color, line) for mask, color in drawn for line in outlines(mask, spacing)], width=1.0)

    return draw
