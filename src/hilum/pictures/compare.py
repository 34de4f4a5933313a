"""Two recipes on one scan, side by side: what differs, and what some habits of 2017 would do to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hilum.ops.nodules.masks import mask_nodules
from hilum.pictures.comparison import Comparison, compare_results, difference
from hilum.pictures.drawing import draw_image, draw_letters, draw_lines, draw_note, plain
from hilum.pictures.legacy_mistakes import place_shifts
from hilum.pictures.planes import NODULE, PLANES, cut, find_gray, size_mm, slice_outlines
from hilum.scan import Nodule, Scan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hilum.pictures.planes import Gray, Plane
    from hilum.recipes import Recipe
    from hilum.volume import Volume

MOST_HU = 200.0
"""The difference at which its colors end."""

_WATER_UNIT = 1000 / 1400
"""What 0 HU becomes when [-1000, 400] HU is brought to [0, 1]."""


def compare(scan: Scan, first: Recipe, second: Recipe, *, preset: str = "lung") -> Figure:
    """Draw what two recipes make of a scan, and where they differ.

    Parameters
    ----------
    scan : Scan
        As `hilum.read` gives it: HU on its own grid.
    first, second : Recipe
        ``hilum.recipe("default")`` and ``hilum.recipe("tutorial2017")``, say.
    preset : str
        A key of `hilum.WINDOW_PRESETS`.

    Returns
    -------
    matplotlib.figure.Figure
        An axial and a coronal slice of both results, through the largest nodule or the middle of the lungs, and the
        second less the first on the grid of the first. Below: by how many mm habits of 2017 miss the nodules (places
        in the lungs, where there are none), and what else they do.

    Raises
    ------
    HilumError
        If a recipe cannot be applied.
    """
    gray = find_gray(preset)
    found = compare_results(scan, first, second)
    names = [plain(r.name, limit=40) for r in (first, second)]
    target = _target(found.first)
    planes = [(name, PLANES[name]) for name in ("axial", "coronal")]
    sizes = [size_mm(found.first.ct.geometry, plane) for _, plane in planes]
    heights = [3.6 * height / width for height, width in sizes]
    figure = Figure(figsize=(12.0, sum(heights) + 3.4), layout="constrained")
    blocks: Any = figure.subfigures(2, 1, height_ratios=(sum(heights) + 0.6, 2.6))
    upper, lower = blocks
    rows = upper.subplots(2, 3, squeeze=False, gridspec_kw={"height_ratios": heights})
    shown: Any = None
    for (name, plane), panels in zip(planes, rows, strict=True):
        for panel, result, title in zip(panels, (found.first, found.second), names, strict=False):
            _draw(panel, result, plane, target, gray)
            panel.set_title(f"{title}, {name}", fontsize=9)
        shown = _difference(panels[2], found, plane, target)
    bar = upper.colorbar(shown, ax=rows[:, 2].tolist(), shrink=0.6, extend="both")
    bar.set_label(f"{names[1]} less {names[0]}, HU", fontsize=8)
    figure.suptitle(_told(found, names), fontsize=10)
    _habits(lower, scan, found)
    return figure


def _target(result: Scan) -> tuple[float, float, float]:
    """The place that is looked at: the largest nodule, the middle of the lungs, or of the scan."""
    if result.nodules:
        return max(result.nodules, key=lambda n: n.diameter_mm).center
    if result.lungs is None or not result.lungs.array.any():
        return result.ct.geometry.center
    places = np.argwhere(result.lungs.array[::4, ::4, ::4]) * 4
    x, y, z = result.lungs.geometry.index_to_world(np.median(places, axis=0)).tolist()
    return x, y, z


def _place(volume: Volume, plane: Plane, target: tuple[float, float, float]) -> int:
    index = volume.geometry.world_to_index(target)[plane.axis]
    return int(np.clip(np.rint(index), 0, volume.shape[plane.axis] - 1))


def _draw(panel: Axes, result: Scan, plane: Plane, target: tuple[float, float, float], gray: Gray) -> None:
    place = _place(result.ct, plane, target)
    size = size_mm(result.ct.geometry, plane)
    pixels = cut(result.ct.array, plane, place)
    draw_image(panel, pixels, size, cmap="gray", vmin=gray.low, vmax=gray.high)
    draw_lines(panel, slice_outlines(result, plane, place))
    draw_letters(panel, plane)
    draw_note(panel, 0.02, 0.02, f"slice {place + 1}/{result.ct.shape[plane.axis]}", fontsize=6)


def _difference(panel: Axes, found: Comparison, plane: Plane, target: tuple[float, float, float]) -> Any:
    place = _place(found.first.ct, plane, target)
    gap = difference(found, plane, place)
    size = size_mm(found.first.ct.geometry, plane)
    draw_image(panel, gap, size, cmap="PuOr", vmin=-MOST_HU, vmax=MOST_HU)
    draw_letters(panel, plane)
    share = 100 * float(np.mean(np.abs(gap[np.isfinite(gap)]) > 50)) if np.isfinite(gap).any() else 0.0
    panel.set_title(f"difference; {share:.1f} % of the slice by more than 50 HU", fontsize=9)
    return panel.images[0]


def _told(found: Comparison, names: list[str]) -> str:
    lines = []
    for name, result in zip(names, (found.first, found.second), strict=True):
        volumes = "no lung mask"
        if result.lungs is not None:
            parts = [f"{result.lungs.volume_ml(k):.0f} ml" for k in (1, 2) if (result.lungs.array == k).any()]
            volumes = "lungs " + (" + ".join(parts) or "not found")
        sizes = " x ".join(map(str, result.ct.shape))
        steps = " x ".join(f"{s:.5g}" for s in result.ct.spacing)
        lines.append(f"{name}: {sizes} voxels of {steps} mm, {volumes}")
    agreed = "" if found.dice is None else f"; overlap of the lungs (Dice) {found.dice:.3f}"
    low, high = found.limits
    kept = "" if low <= -32768 else f"; compared within {low:g} to {high:g} HU, which both keep"
    return "\n".join([*lines, f"difference on the grid of {names[0]}{kept}{agreed}"])


def _habits(block: Any, scan: Scan, found: Comparison) -> None:
    chart, words = block.subplots(1, 2, gridspec_kw={"width_ratios": (1.3, 1.0)})
    places, what = habit_places(scan, found)
    shifts = place_shifts(scan.ct.geometry, places)
    for row, shift in enumerate(shifts):
        chart.barh(row, shift.mm.max(), color="#56b4e9", height=0.6)
        chart.plot(shift.mm, np.full(len(shift.mm), row), "o", color=NODULE, markersize=4)
        chart.annotate(f"{shift.mm.max():.2f} mm", (shift.mm.max(), row), xytext=(6, 0), textcoords="offset points",
                       va="center", fontsize=8)  # fmt: skip
    chart.set_yticks(range(len(shifts)), [shift.name for shift in shifts], fontsize=8)
    chart.invert_yaxis()
    chart.set_xlabel("mm beside the true place")
    chart.set_xlim(0, max(1.0, 1.25 * max(float(shift.mm.max()) for shift in shifts)))
    chart.set_title(f"habits of 2017 on this scan, at {len(places)} {what}", fontsize=9)
    words.set_axis_off()
    words.text(0.0, 0.95, "\n\n".join(plain(line, limit=300) for line in habit_lines(scan)), va="top", fontsize=8,
               wrap=True, transform=words.transAxes)  # fmt: skip


def habit_places(scan: Scan, found: Comparison) -> tuple[NDArray[np.float64], str]:
    """Where habits are measured: at the nodules, else at the corners of the box around the lungs, else of the scan.

    Parameters
    ----------
    scan : Scan
    found : Comparison

    Returns
    -------
    places : ndarray, shape (n, 3), (x, y, z), LPS mm
    what : str
        What they are.
    """
    if scan.nodules:
        return np.array([n.center for n in scan.nodules]), "nodules" if len(scan.nodules) > 1 else "nodule"
    grid, low, high = scan.ct.geometry, np.zeros(3), np.array(scan.ct.shape) - 1.0
    what = "corners of the scan"
    if found.first.lungs is not None and found.first.lungs.array.any():
        grid, what = found.first.lungs.geometry, "corners of the box around the lungs"
        marked = found.first.lungs.array > 0
        spans = [np.flatnonzero(marked.any(axis=tuple(a for a in range(3) if a != k))) for k in range(3)]
        low, high = np.array([s[0] for s in spans], float), np.array([s[-1] for s in spans], float)
    corners = np.array([np.where(corner, high, low) for corner in np.ndindex(2, 2, 2)])
    return grid.index_to_world(corners), what


def habit_lines(scan: Scan) -> list[str]:
    """What habits do that is no shift: the diameter taken for a radius, padding made water.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    list of str
    """
    lines = []
    if scan.nodules:
        largest = max(scan.nodules, key=lambda n: n.diameter_mm)
        right, wrong = (
            mask_nodules(scan.ct.geometry, [Nodule(largest.center, d)]).volume_ml()
            for d in (largest.diameter_mm, 2 * largest.diameter_mm)
        )
        lines.append(
            f"The diameter taken for a radius: the mask of the largest nodule, {largest.diameter_mm:.1f} mm, grows "
            f"from {right:.2f} to {wrong:.2f} ml."
        )
    padded = sum(
        int(m.group(1)) for n in scan.notes if n.code == "padding-to-air" and (m := re.match(r"(\d+)", n.text))
    )
    if padded:
        size = scan.ct.array.size
        lines.append(
            f"Padding made water (0 HU) in place of air: {padded:,} voxels, {100 * padded / size:.1f} % of the scan; "
            f"the mean after [-1000, 400] HU is brought to [0, 1] rises by {_WATER_UNIT * padded / size:.3f}."
        )
    else:
        lines.append("Padding made water: nothing to be spoiled, this scan was read without padding.")
    return lines
