"""Two recipes on one scan, side by side: their difference, and what mistakes of 2017 code would do to the scan."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hilum.ops.intensity import UnitRange
from hilum.pictures import colors, drawing, legacy_mistakes
from hilum.pictures.figure import NARROW, SMALLEST_PT, Figure, dots, figure_inches, letter_size, wrap
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
    window_text,
)
from hilum.pipeline import preprocess
from hilum.recipes import Recipe, recipe
from hilum.scan import LEFT_LUNG, RIGHT_LUNG, Scan
from hilum.volume import Mask, Volume

_MISTAKES = {  # what the bars say
    "wrong scale": "index scaled by the spacings,\nalthough zoom keeps the\nfirst and last voxel in place",
    "slices out of order": "slices sorted by whole\nmillimeters, so that some\nchange places (worst case)",
    "axis directions ignored": "flipped or turned axes of\nthe scan ignored",
}


class RecipeResults(NamedTuple):
    """Two results of one scan in HU, each on its own grid, the HU range that both keep, and the lungs' Dice.

    The Dice is None if a recipe makes no lung mask.
    """

    first: Scan
    second: Scan
    limits: tuple[float, float]
    dice: float | None


def compare(
    scan: Drawn,
    first: Recipe | str | Path,
    second: Recipe | str | Path,
    *,
    preset: str = "lung",
    width_mm: float | None = None,
) -> Figure:
    """Draw the results of two recipes on a scan, and their difference.

    Parameters
    ----------
    scan : Scan, Volume or RunScan
        From `hilum.read`: HU on its own grid.
    first, second : Recipe, str or Path
        A recipe, its name (``"default"``, ``"tutorial2017"``), or its TOML file.
    preset : str, default "lung"
        A key of `hilum.WINDOW_PRESETS`.
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 12 inches.

    Returns
    -------
    matplotlib.figure.Figure
        An axial and a coronal slice of both results, through the largest nodule or the middle of the lungs, and the
        second minus the first on the grid of the first. Below: how far mistakes of 2017 code would move the nodules
        (or corners of the lungs, if there are none), and their other effects.

    Raises
    ------
    HilumError
        If a recipe cannot be applied, or the width is out of range.

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
    inches = figure_inches(width_mm, 12.0)
    size, narrow = letter_size(inches, 9.0), inches < NARROW
    heights = [0.3 * inches * height / width for height, width in sizes]
    title = wrap(_title(results, names, window_text(preset)), inches, size)
    blocks = (sum(heights) + (1.9 if narrow else 1.4) + 0.02 * size * (title.count("\n") + 1), 3.4 if narrow else 2.8)
    figure = Figure(figsize=(inches, sum(blocks)), layout="constrained", dpi=dots(width_mm))
    upper, lower = cast("Any", figure.subfigures(2, 1, height_ratios=blocks))
    rows = upper.subplots(2, 3, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (name, plane), panels in zip(planes, rows, strict=True):
        for panel, result, recipe_name in zip(panels[:2], (results.first, results.second), names, strict=True):
            drawing.draw_slice(panel, result, plane, slice_at(result.ct.geometry, plane, target), gray, caption="slice")
            panel.set_title(wrap(f"{recipe_name}, {name}", 0.28 * inches, size), fontsize=size)
        _draw_difference(panels[2], results, plane, slice_at(results.first.ct.geometry, plane, target), inches)
    drawing.draw_scale_bar(rows[0, 1], sizes[0], fontsize=SMALLEST_PT)
    bar = upper.colorbar(rows[1, 2].images[0], ax=rows.ravel().tolist(), location="bottom", extend="both", shrink=0.6)
    bar.set_label(wrap(f"difference: {names[1]} minus {names[0]}, HU", inches, size), fontsize=size)
    bar.ax.tick_params(labelsize=letter_size(inches, 8.0))
    upper.suptitle(title, fontsize=size)
    _draw_mistakes(lower, scan, results.first.lungs, inches)
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


def _draw_difference(panel: Axes, results: RecipeResults, plane: Plane, index: int, inches: float) -> None:
    difference = hu_difference(results, plane, index)
    size = size_mm(results.first.ct.geometry, plane)
    drawing.draw_image(panel, difference, size, cmap="PuOr", vmin=-200.0, vmax=200.0)
    drawing.draw_letters(panel, plane)
    finite = difference[np.isfinite(difference)]
    percent = 100 * float(np.mean(np.abs(finite) > 50)) if finite.size else 0.0
    letters = letter_size(inches, 9.0)
    title = f"difference, {percent:.1f}\u00a0% above 50\u00a0HU"
    panel.set_title(wrap(title, 0.28 * inches, letters), fontsize=letters)


def _title(results: RecipeResults, names: list[str], window: str) -> str:
    lines = []
    for name, result in zip(names, (results.first, results.second), strict=True):
        lungs = "no lung mask"
        if result.lungs is not None:
            sides = {"right (blue)": RIGHT_LUNG, "left (orange, dashed)": LEFT_LUNG}
            volumes = {side: result.lungs.volume_ml(label) for side, label in sides.items()}
            told = ", ".join(f"{side} {ml:.0f} ml" for side, ml in volumes.items() if ml)
            if not volumes["left (orange, dashed)"] and volumes["right (blue)"]:  # some methods give both one label
                told = f"{volumes['right (blue)']:.0f} ml, all with label {RIGHT_LUNG} (blue)"
            lungs = f"lungs {told or 'not found'}"
        shape = " x ".join(map(str, result.ct.shape))
        spacing = " x ".join(f"{s:.5g}" for s in result.ct.spacing)
        lines.append(f"Recipe {name}: {shape} voxels of {spacing} mm (z, y, x); {lungs}")
    low, high = results.limits
    limits = "" if low <= -32768 else f" Values are cut to {low:g} to {high:g} HU, the range that both recipes keep."
    dice = (
        f" Overlap of the lungs (Dice): {results.dice:.3f}; 1 is equal, 0 is apart." if results.dice is not None else ""
    )
    rings = "; yellow rings: nodules" if results.first.nodules else ""
    return "\n".join([*lines, f"Slices: {window}{rings}.{limits}{dice}"])


def _draw_mistakes(block: Any, scan: Scan, lungs: Mask | None, inches: float) -> None:
    narrow, size = inches < NARROW, letter_size(inches, 8.0)
    chart = block.subplots(1, 1 if narrow else 2, squeeze=False, width_ratios=(1.0,) if narrow else (1.3, 1.0))[0, 0]
    points, what = legacy_mistakes.measured_points(scan, lungs)
    bars = legacy_mistakes.displacements(scan.ct.geometry, points)
    for row, mm in enumerate(bars.values()):
        chart.barh(row, mm.max(), color=colors.SKY_BLUE, height=0.6)
        chart.plot(mm, np.full(len(mm), row), "o", color=colors.MARK, markersize=4)
        label = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": size}
        chart.annotate(f"{mm.max():.2f} mm" if mm.max() >= 0.005 else "0 mm, no effect here", (mm.max(), row), **label)
    chart.set_yticks(range(len(bars)), [_MISTAKES[name] for name in bars], fontsize=size)
    chart.invert_yaxis()
    chart.set_xlabel("distance from the true position, mm", fontsize=size)
    chart.tick_params(axis="x", labelsize=size)
    chart.locator_params(axis="x", nbins=5)
    chart.set_xlim(0, max(1.0, (1.5 if narrow else 1.25) * max(float(mm.max()) for mm in bars.values())))
    title = f"How far three mistakes of code from 2017 would move {what} of this scan (dots; bar: the farthest)"
    chart.set_title(wrap(title, 0.55 * inches, size), fontsize=size)
    width = 0.95 * inches if narrow else 0.4 * inches
    sentences = [wrap(drawing.plain(one, limit=300), width, size) for one in legacy_mistakes.value_mistakes(scan)]
    if narrow:
        block.supxlabel("\n".join(sentences), x=0.02, ha="left", fontsize=size)
        return
    text = block.axes[1]
    text.set_axis_off()
    text.text(0.0, 0.95, "\n\n".join(sentences), va="top", fontsize=size, transform=text.transAxes)


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
