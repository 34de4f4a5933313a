"""Two recipes on one scan, side by side: what differs, and what some habits of 2017 would do to it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from hilum.ops.habits import place_shifts
from hilum.ops.nodules import mask_nodules
from hilum.ops.preview import UnitRange
from hilum.pictures.drawing import draw_image, draw_letters, draw_lines, draw_note, plain
from hilum.pictures.planes import NODULE, PLANES, cut, find_gray, size_mm, slice_outlines, upright
from hilum.pipeline import preprocess
from hilum.scan import Nodule, Scan
from hilum.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hilum.pictures.planes import Gray, Plane
    from hilum.recipes import Recipe

MOST_HU = 200.0
"""The difference at which its colors end."""

_EVERY = 3
"""Lungs are compared on every third voxel along each axis."""

_WATER_UNIT = 1000 / 1400
"""What 0 HU becomes when [-1000, 400] HU is brought to [0, 1]."""


class Comparison(NamedTuple):
    """Two results of one scan, both in HU, on their own grids; and how much of the lungs both mark."""

    first: Scan
    second: Scan
    limits: tuple[float, float]
    dice: float | None


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


def compare_results(scan: Scan, first: Recipe, second: Recipe) -> Comparison:
    """Apply two recipes and bring the results to HU, within the range that both keep.

    Parameters
    ----------
    scan : Scan
    first, second : Recipe

    Returns
    -------
    Comparison
        Axes to the head, the back and the left; ``dice`` is None where a recipe finds no lungs at all.
    """
    results = [upright(_in_hu(preprocess(scan, chosen), chosen)) for chosen in (first, second)]
    ranges = [(r.intensity.lower, r.intensity.upper) for r in (first, second) if r.intensity.output == "unit"]
    limits = (max([-32768.0, *(low for low, _ in ranges)]), min([32767.0, *(high for _, high in ranges)]))
    return Comparison(results[0], results[1], limits, _dice(*results))


def difference(found: Comparison, plane: Plane, place: int) -> NDArray[np.float64]:
    """The second result less the first, on a slice of the first's grid.

    Parameters
    ----------
    found : Comparison
    plane : Plane
    place : int

    Returns
    -------
    ndarray, shape (rows, columns), HU
        NaN where the second has no voxel.
    """
    one = found.first.ct
    index = _plane_index(one.shape, plane, place)
    other = sample(found.second.ct, one.geometry.index_to_world(index))
    own = cut(one.array, plane, place).astype(np.float64)
    low, high = found.limits
    gap: NDArray[np.float64] = np.clip(other, low, high) - np.clip(own, low, high)
    return gap


def sample(volume: Volume, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a volume between its voxels, linearly.

    Parameters
    ----------
    volume : Volume
    world : ndarray, shape (..., 3), (x, y, z), LPS mm

    Returns
    -------
    ndarray, shape (...)
        NaN outside the volume.
    """
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


def _plane_index(shape: tuple[int, ...], plane: Plane, place: int) -> NDArray[np.float64]:
    rows, columns = np.meshgrid(np.arange(shape[plane.rows]), np.arange(shape[plane.columns]), indexing="ij")
    index = np.empty((*rows.shape, 3))
    index[..., plane.axis], index[..., plane.rows], index[..., plane.columns] = place, rows, columns
    return index if plane.axis == 0 else index[::-1]


def _in_hu(result: Scan, chosen: Recipe) -> Scan:
    step = chosen.intensity
    if step.output == "hu":
        return result
    hu = UnitRange(step.lower, step.upper, step.mean).to_hu(result.ct.array)
    return replace(result, ct=Volume(hu, result.ct.geometry))


def _dice(first: Scan, second: Scan) -> float | None:
    """Overlap of the lungs of both, whatever their labels; on every third voxel of the first."""
    if first.lungs is None or second.lungs is None:
        return None
    axes = [np.arange(0, n, _EVERY) for n in first.lungs.shape]
    own = first.lungs.array[np.ix_(*axes)] > 0
    affine = second.lungs.geometry.inverse_affine @ first.lungs.geometry.affine
    z, y, x = np.ix_(*axes)
    at = [np.rint(row[0] * z + row[1] * y + row[2] * x + row[3]).astype(np.int64) for row in affine[:3]]
    there = np.ones(own.shape, np.bool_)
    for a, n in zip(at, second.lungs.shape, strict=True):
        there &= (a >= 0) & (a < n)
    clipped = [np.clip(a, 0, n - 1) for a, n in zip(at, second.lungs.shape, strict=True)]
    other = (second.lungs.array[clipped[0], clipped[1], clipped[2]] > 0) & there
    both = int(own.sum()) + int(other.sum())
    return 2 * int((own & other).sum()) / both if both else None


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
