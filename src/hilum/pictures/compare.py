"""Two recipes on one scan, side by side: their difference, and what mistakes of 2017 code would do to the scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hilum.pictures import colors
from hilum.pictures.drawing import draw_image, draw_letters, draw_slice, plain
from hilum.pictures.legacy_mistakes import displacements, measured_points, value_mistakes
from hilum.pictures.planes import PLANES, gray_range, size_mm, slice_at
from hilum.pictures.recipe_results import apply_recipes, hu_difference
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hilum.pictures.planes import Plane
    from hilum.pictures.recipe_results import RecipeResults
    from hilum.recipes import Recipe
    from hilum.scan import Scan
    from hilum.volume import Mask

MAX_DIFFERENCE_HU = 200.0
"""The end of the color scale."""


def compare(scan: Scan, first: Recipe, second: Recipe, *, preset: str = "lung") -> Figure:
    """Draw the results of two recipes on a scan, and their difference.

    Parameters
    ----------
    scan : Scan
        From `hilum.read`: HU on its own grid.
    first, second : Recipe
        Such as ``hilum.recipe("default")`` and ``hilum.recipe("tutorial2017")``.
    preset : str
        A key of `hilum.WINDOW_PRESETS`.

    Returns
    -------
    matplotlib.figure.Figure
        An axial and a coronal slice of both results, through the largest nodule or the middle of the lungs, and the
        second minus the first on the grid of the first. Below: how far mistakes of 2017 code would move the nodules
        (or corners of the lungs, if there are none), and their other effects.

    Raises
    ------
    HilumError
        If a recipe cannot be applied.
    """
    gray = gray_range(preset)
    results = apply_recipes(scan, first, second)
    names = [plain(r.name, limit=40) for r in (first, second)]
    target = _target(results.first)
    planes = [(name, PLANES[name]) for name in ("axial", "coronal")]
    sizes = [size_mm(results.first.ct.geometry, plane) for _, plane in planes]
    heights = [3.6 * height / width for height, width in sizes]
    figure = Figure(figsize=(12.0, sum(heights) + 3.4), layout="constrained")
    blocks: Any = figure.subfigures(2, 1, height_ratios=(sum(heights) + 0.6, 2.6))
    upper, lower = blocks
    rows = upper.subplots(2, 3, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (name, plane), panels in zip(planes, rows, strict=True):
        for panel, result, title in zip(panels[:2], (results.first, results.second), names, strict=True):
            index = slice_at(result.ct.geometry, plane, target)
            draw_slice(panel, result, plane, index, gray, caption="slice")
            panel.set_title(f"{title}, {name}", fontsize=9)
        _draw_difference(panels[2], results, plane, slice_at(results.first.ct.geometry, plane, target))
    bar = upper.colorbar(rows[1, 2].images[0], ax=rows[:, 2].tolist(), shrink=0.6, extend="both")
    bar.set_label(f"{names[1]} minus {names[0]}, HU", fontsize=8)
    figure.suptitle(_title(results, names), fontsize=10)
    _draw_mistakes(lower, scan, results.first.lungs)
    return figure


def _target(result: Scan) -> tuple[float, float, float]:
    """The point that the slices go through: the largest nodule, else the middle of the lungs, else of the scan."""
    if result.nodules:
        return max(result.nodules, key=lambda n: n.diameter_mm).center
    if result.lungs is None or not result.lungs.array.any():
        return result.ct.geometry.center
    voxels = np.argwhere(result.lungs.array[::4, ::4, ::4]) * 4
    x, y, z = result.lungs.geometry.index_to_world(np.median(voxels, axis=0)).tolist()
    return x, y, z


def _draw_difference(panel: Axes, results: RecipeResults, plane: Plane, index: int) -> None:
    difference = hu_difference(results, plane, index)
    size = size_mm(results.first.ct.geometry, plane)
    draw_image(panel, difference, size, cmap="PuOr", vmin=-MAX_DIFFERENCE_HU, vmax=MAX_DIFFERENCE_HU)
    draw_letters(panel, plane)
    finite = difference[np.isfinite(difference)]
    percent = 100 * float(np.mean(np.abs(finite) > 50)) if finite.size else 0.0
    panel.set_title(f"difference; {percent:.1f} % of the slice by more than 50 HU", fontsize=9)


def _title(results: RecipeResults, names: list[str]) -> str:
    lines = []
    for name, result in zip(names, (results.first, results.second), strict=True):
        lungs = "no lung mask"
        if result.lungs is not None:
            labels = [label for label in (RIGHT_LUNG, LEFT_LUNG) if (result.lungs.array == label).any()]
            volumes = " + ".join(f"{result.lungs.volume_ml(label):.0f} ml" for label in labels)
            lungs = f"lungs {volumes or 'not found'}"
        shape = " x ".join(map(str, result.ct.shape))
        spacing = " x ".join(f"{s:.5g}" for s in result.ct.spacing)
        lines.append(f"{name}: {shape} voxels of {spacing} mm, {lungs}")
    dice = "" if results.dice is None else f"; overlap of the lungs (Dice) {results.dice:.3f}"
    low, high = results.limits
    limits = "" if low <= -32768 else f"; compared within {low:g} to {high:g} HU, which both keep"
    return "\n".join([*lines, f"difference on the grid of {names[0]}{limits}{dice}"])


def _draw_mistakes(block: Any, scan: Scan, lungs: Mask | None) -> None:
    chart, text = block.subplots(1, 2, gridspec_kw={"width_ratios": (1.3, 1.0)})
    points, what = measured_points(scan, lungs)
    bars = displacements(scan.ct.geometry, points)
    for row, mm in enumerate(bars.values()):
        chart.barh(row, mm.max(), color=colors.SKY_BLUE, height=0.6)
        chart.plot(mm, np.full(len(mm), row), "o", color=colors.NODULE, markersize=4)
        label = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        chart.annotate(f"{mm.max():.2f} mm", (mm.max(), row), **label)
    chart.set_yticks(range(len(bars)), list(bars), fontsize=8)
    chart.invert_yaxis()
    chart.set_xlabel("mm from the true position")
    chart.set_xlim(0, max(1.0, 1.25 * max(float(mm.max()) for mm in bars.values())))
    chart.set_title(f"mistakes of 2017 code on this scan, at {len(points)} {what}", fontsize=9)
    text.set_axis_off()
    sentences = "\n\n".join(plain(sentence, limit=300) for sentence in value_mistakes(scan))
    text.text(0.0, 0.95, sentences, va="top", fontsize=8, wrap=True, transform=text.transAxes)
