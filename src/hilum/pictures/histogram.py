"""The histogram of Hounsfield units, with the ranges of tissues."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from hilum.errors import GeometryError, InputError, one_line
from hilum.geometry import Geometry
from hilum.ops.statistics import HuHistogram, count_hu
from hilum.ops.tissues import TISSUES, Tissue
from hilum.pictures import colors, drawing, planes
from hilum.pictures.figure import NARROW, Figure, dots, figure_inches, letter_size, wrap
from hilum.volume import Mask, Volume

RANGE_HU = (-1100, 1500)  # the range of the axis; the title gives the number of voxels outside

SOFT_HU = (-130, 130)  # soft tissues a second time, on a wider axis


_HEAD = frozenset({"CSF", "white matter", "gray matter"})  # tissues of `hilum.TISSUES` that no chest has


def histogram(
    scan: planes.Drawn,
    *,
    mask: Mask | None = None,
    bins: int = 80,
    tissues: str | Sequence[str] = "chest",
    width_mm: float | None = None,
) -> Figure:
    """Draw the histogram of a scan in HU, and below it the ranges of tissues.

    Parameters
    ----------
    scan : Scan, Volume or RunScan of int16, HU
        In any orientation.
    mask : Mask, optional
        Count only the voxels that it marks; it must be on the volume's grid.
    bins : int, default 80
        Of equal width, from -1100 to 1500 HU.
    tissues : str or sequence of str, default "chest"
        The tissues of a chest, ``"all"`` of `hilum.TISSUES` (also those of the head), or their names.
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 11 inches.

    Returns
    -------
    matplotlib.figure.Figure
        The whole range on a logarithmic axis, and soft tissues with one bin per HU.

    Raises
    ------
    InputError
        If there is nothing to count, bins or width is out of range, or a tissue is unknown.
    GeometryError
        If the mask is on another grid.
    UnsupportedError
        If the voxels are not int16.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.histogram(scan, tissues=["air", "lung", "bone"])
    >>> figure.savefig("histogram.png")
    """
    if not 2 <= bins <= RANGE_HU[1] - RANGE_HU[0]:
        raise InputError(f"bins is {bins}, expected 2 to {RANGE_HU[1] - RANGE_HU[0]}", code="option")
    chosen = find_tissues(tissues)
    inches = figure_inches(width_mm, 11.0)
    counted = _count(planes.scan_of(scan).ct, mask)
    panels, figure = _panels(inches, dots(width_mm), len(chosen))
    small = letter_size(inches, 8.0)
    for (upper, lower), (low, high) in zip(panels, (RANGE_HU, SOFT_HU), strict=True):
        ends = (low, high, bins + 1) if (low, high) == RANGE_HU else (low - 0.5, high - 0.5, high - low + 1)
        edges = np.linspace(*ends, dtype=np.float64)
        percent = 100 * _bin_counts(counted, edges) / counted.total
        upper.stairs(percent, edges, fill=True, color=colors.BLUE, alpha=0.85)
        upper.set_ylabel(f"% of voxels per {edges[1] - edges[0]:.3g} HU", fontsize=small)
        upper.set_xlim(low, high)
        _draw_tissues(lower, upper, [t for t in chosen if t.upper >= low and t.lower <= high], narrow=inches < NARROW)
        lower.set_xlabel("Hounsfield units (HU)", fontsize=small)
        for panel in (upper, lower):
            panel.tick_params(labelsize=small)
    if inside := _bin_counts(counted, np.array(RANGE_HU, float)).sum():  # a logarithmic axis needs a positive value
        panels[0][0].set_yscale("log")
        panels[0][0].yaxis.set_major_formatter("{x:g}")  # an exponent would be smaller than can be read
        panels[0][0].yaxis.set_minor_formatter(NullFormatter())
    panels[1][0].set_ylim(bottom=0)
    beyond = f"{counted.total:,} voxels, {counted.total - inside:,} beyond this range"
    for (upper, _), title in zip(panels, (beyond, "soft tissue, every HU value"), strict=True):
        upper.set_title(title, fontsize=letter_size(inches, 9.0))
    what = "marked voxels" if mask is not None else "all voxels"
    percentiles = ", ".join(f"{p} %: {counted.percentile(p):g}" for p in (5, 50, 95))
    title = f"HU of {what}: mean {counted.mean():.1f}, percentiles {percentiles}; bars: HU of tissues"
    size = letter_size(inches, 10.0)
    figure.suptitle(wrap(drawing.plain(title), inches, size), fontsize=size)
    return figure


def find_tissues(tissues: str | Sequence[str]) -> list[Tissue]:
    """Look up tissues: ``"chest"``, ``"all"``, or names of `hilum.TISSUES`, also separated by commas."""
    if tissues == "chest":
        return [tissue for tissue in TISSUES if tissue.name not in _HEAD]
    if tissues == "all":
        return list(TISSUES)
    names = [name.strip() for name in tissues.split(",")] if isinstance(tissues, str) else list(tissues)
    known = {tissue.name: tissue for tissue in TISSUES}
    if unknown := [name for name in names if name not in known] or ([] if names else [""]):
        do = f"give chest, all, or some of: {', '.join(known)}"
        raise InputError(f"no tissue {one_line(unknown[0], limit=40)!r}", do=do, code="option")
    return [tissue for tissue in TISSUES if tissue.name in names]


def _panels(inches: float, dpi: int, tissues: int) -> tuple[list[tuple[Axes, Axes]], Figure]:
    """Make a pair of panels for the whole range and one for soft tissues: side by side, or below each other."""
    if inches < NARROW:
        bars = 0.6 + 0.26 * tissues
        figure = Figure(figsize=(inches, 2 * (2.0 + bars)), layout="constrained", dpi=dpi)
        one, two, three, four = figure.subplots(4, 1, height_ratios=(2.0, bars, 2.0, bars))
        pairs = [(one, two), (three, four)]
    else:
        figure = Figure(figsize=(inches, 3.6 + 0.25 * tissues), layout="constrained", dpi=dpi)
        grid = figure.subplots(2, 2, height_ratios=(3.0, 0.6 + 0.2 * tissues), width_ratios=(1.6, 1.0))
        pairs = [(grid[0, column], grid[1, column]) for column in range(2)]
    for upper, lower in pairs:
        lower.sharex(upper)
        upper.tick_params(labelbottom=False)
    return pairs, figure


def _count(volume: Volume, mask: Mask | None) -> HuHistogram:
    if mask is None:
        return count_hu(volume)
    if not mask.geometry.isclose(volume.geometry):
        raise GeometryError("the mask is not on the volume's grid", do="resample the mask")
    if not (chosen := volume.array[mask.array > 0]).size:
        raise InputError("the mask marks no voxel, so there is nothing to count", code="nothing-to-draw")
    return count_hu(Volume(chosen[None, None], Geometry((1, 1, chosen.size), (1.0, 1.0, 1.0))))


def _bin_counts(counted: HuHistogram, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the voxels from each edge (included) to the next (excluded)."""
    below = np.concatenate([[0], np.cumsum(counted.counts)])
    return np.diff(below[np.clip(np.ceil(edges).astype(np.int64) + 32768, 0, 65536)])


def _draw_tissues(panel: Axes, above: Axes, tissues: Sequence[Tissue], *, narrow: bool) -> None:
    """Draw a bar with its name for each tissue, and a faint band through the histogram above."""
    limits = above.get_xlim()
    least = 0.004 * (limits[1] - limits[0])
    for row, tissue in enumerate(tissues):
        low, high = max(tissue.lower - 0.5, limits[0]), min(tissue.upper + 0.5, limits[1])
        middle, width = (low + high) / 2, max(high - low, least)
        panel.barh(row, width, left=middle - width / 2, height=0.7, color=colors.SKY_BLUE)
        above.axvspan(low, high, color="0.5", alpha=0.12, linewidth=0)
        span = f"{tissue.lower:g}" if tissue.lower == tissue.upper else f"{tissue.lower:g} to {tissue.upper:g}"
        sign, align = (-1, "right") if middle > (limits[0] + limits[1]) / 2 else (1, "left")
        style: dict[str, Any] = {"ha": align, "va": "center", "fontsize": 6 if narrow else 7, "linespacing": 0.95}
        name = f"{tissue.name},\n{span}" if narrow else f"{tissue.name}, {span}"
        at = (middle + sign * width / 2, row)
        panel.annotate(name, at, xytext=(4 * sign, 0), textcoords="offset points", **style)
    panel.set_ylim(max(len(tissues), 1) - 0.4, -0.6)
    panel.set_yticks([])
    for side in ("left", "right", "top"):
        panel.spines[side].set_visible(False)
