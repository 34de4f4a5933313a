"""Two recipes on one scan, side by side: their difference, and what mistakes of 2017 code would do to the scan."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hilum.ops.intensity import UnitRange
from hilum.pictures import colors, drawing, legacy_mistakes
from hilum.pictures.figure import Figure
from hilum.pictures.planes import (
    PLANES,
    Drawn,
    Plane,
    gray_range,
    reorient_hu,
    scan_of,
    size_mm,
    slice_at,
    slice_pixels,
)
from hilum.pipeline import preprocess
from hilum.recipes import Recipe, recipe
from hilum.scan import LEFT_LUNG, RIGHT_LUNG, Scan
from hilum.volume import Mask, Volume


class RecipeResults(NamedTuple):
    """Two results of one scan in HU, each on its own grid, the HU range that both keep, and the lungs' Dice.

    The Dice is None if a recipe makes no lung mask.
    """

    first: Scan
    second: Scan
    limits: tuple[float, float]
    dice: float | None


def compare(scan: Drawn, first: Recipe | str | Path, second: Recipe | str | Path, *, preset: str = "lung") -> Figure:
    """Draw the results of two recipes on a scan, and their difference.

    Parameters
    ----------
    scan : Scan, Volume or RunScan
        From `hilum.read`: HU on its own grid.
    first, second : Recipe, str or Path
        A recipe, its name (``"default"``, ``"tutorial2017"``), or its TOML file.
    preset : str, default "lung"
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

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.compare(scan, "small.toml", "small.toml")
    >>> figure.savefig("compare.png")
    """
    gray = gray_range(preset)
    scan = scan_of(scan)
    recipes = [recipe(one) for one in (first, second)]
    results = apply_recipes(scan, *recipes)
    names = [drawing.plain(one.name, limit=40) for one in recipes]
    target = _target(results.first)
    planes = [(name, PLANES[name]) for name in ("axial", "coronal")]
    sizes = [size_mm(results.first.ct.geometry, plane) for _, plane in planes]
    heights = [3.6 * height / width for height, width in sizes]
    figure = Figure(figsize=(12.0, sum(heights) + 3.4), layout="constrained")
    upper, lower = cast("Any", figure.subfigures(2, 1, height_ratios=(sum(heights) + 0.6, 2.6)))
    rows = upper.subplots(2, 3, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (name, plane), panels in zip(planes, rows, strict=True):
        for panel, result, title in zip(panels[:2], (results.first, results.second), names, strict=True):
            drawing.draw_slice(panel, result, plane, slice_at(result.ct.geometry, plane, target), gray, caption="slice")
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
    drawing.draw_image(panel, difference, size, cmap="PuOr", vmin=-200.0, vmax=200.0)
    drawing.draw_letters(panel, plane)
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
    points, what = legacy_mistakes.measured_points(scan, lungs)
    bars = legacy_mistakes.displacements(scan.ct.geometry, points)
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
    sentences = "\n\n".join(drawing.plain(sentence, limit=300) for sentence in legacy_mistakes.value_mistakes(scan))
    text.text(0.0, 0.95, sentences, va="top", fontsize=8, wrap=True, transform=text.transAxes)


def apply_recipes(scan: Scan, first: Recipe, second: Recipe) -> RecipeResults:
    """Apply two recipes and convert the results to HU, with axes to the head, the back and the left."""
    results = [reorient_hu(_to_hu_scan(preprocess(scan, recipe), recipe)) for recipe in (first, second)]
    ranges = [(r.intensity.lower, r.intensity.upper) for r in (first, second) if r.intensity.output == "unit"]
    limits = (max([-32768.0, *(low for low, _ in ranges)]), min([32767.0, *(high for _, high in ranges)]))
    return RecipeResults(results[0], results[1], limits, _dice(*results))


def hu_difference(results: RecipeResults, plane: Plane, index: int) -> NDArray[np.float64]:
    """Subtract the first result from the second, HU, on a slice of the first's grid; NaN outside the second."""
    first = results.first.ct
    other = interpolate(results.second.ct, first.geometry.index_to_world(_slice_voxels(first.shape, plane, index)))
    own = slice_pixels(first.array, plane, index).astype(np.float64)
    return np.clip(other, *results.limits) - np.clip(own, *results.limits)


def interpolate(volume: Volume, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate a volume linearly at points (x, y, z), LPS mm; NaN outside the volume."""
    index = volume.geometry.world_to_index(world)
    inside = ((index >= -0.5) & (index <= np.array(volume.shape) - 0.5)).all(axis=-1)
    index = np.clip(index, 0, np.array(volume.shape) - 1)
    low = np.minimum(np.floor(index).astype(int), np.maximum(np.array(volume.shape) - 2, 0))
    part = index - low
    values = np.zeros(index.shape[:-1])
    for corner in np.ndindex(2, 2, 2):
        at = np.minimum(low + corner, np.array(volume.shape) - 1)
        weight = np.prod(np.where(np.array(corner) == 1, part, 1 - part), axis=-1)
        values += weight * volume.array[at[..., 0], at[..., 1], at[..., 2]]
    return np.where(inside, values, np.nan)


def _slice_voxels(shape: tuple[int, ...], plane: Plane, index: int) -> NDArray[np.float64]:
    """The voxel indices of a slice, shape (rows, columns, 3), in the order of `slice_pixels`."""
    rows, columns = np.meshgrid(np.arange(shape[plane.rows]), np.arange(shape[plane.columns]), indexing="ij")
    voxels = np.empty((*rows.shape, 3))
    voxels[..., plane.axis], voxels[..., plane.rows], voxels[..., plane.columns] = index, rows, columns
    return voxels if plane.axis == 0 else voxels[::-1]


def _to_hu_scan(result: Scan, recipe: Recipe) -> Scan:
    step = recipe.intensity
    if step.output == "hu":
        return result
    hu = UnitRange(step.lower, step.upper, step.mean).to_hu(result.ct.array)
    return replace(result, ct=Volume(hu, result.ct.geometry))


def _dice(first: Scan, second: Scan) -> float | None:
    """The overlap of both lung masks, without regard to labels, at every third voxel of the first."""
    if first.lungs is None or second.lungs is None:
        return None
    axes = [np.arange(0, n, 3) for n in first.lungs.shape]
    own = first.lungs.array[np.ix_(*axes)] > 0
    affine = second.lungs.geometry.inverse_affine @ first.lungs.geometry.affine
    z, y, x = np.ix_(*axes)
    index = [np.rint(row[0] * z + row[1] * y + row[2] * x + row[3]).astype(np.int64) for row in affine[:3]]
    clipped = [np.clip(i, 0, n - 1) for i, n in zip(index, second.lungs.shape, strict=True)]
    inside = np.logical_and.reduce([i == c for i, c in zip(index, clipped, strict=True)])
    other = (second.lungs.array[clipped[0], clipped[1], clipped[2]] > 0) & inside
    total = int(own.sum()) + int(other.sum())
    return 2 * int((own & other).sum()) / total if total else None
