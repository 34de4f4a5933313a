"""The histogram of Hounsfield units, with the ranges of tissues."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hilum.errors import GeometryError, InputError
from hilum.geometry import Geometry
from hilum.ops.statistics import HuHistogram, count_hu
from hilum.ops.tissues import TISSUES
from hilum.pictures import colors, planes
from hilum.pictures.figure import Figure
from hilum.volume import Mask, Volume

RANGE_HU = (-1100, 1500)  # the range of the axis; the title gives the number of voxels outside


def histogram(scan: planes.Drawn, *, mask: Mask | None = None, bins: int = 80) -> Figure:
    """Draw the histogram of a scan in HU, and below it the ranges of `hilum.TISSUES`.

    Parameters
    ----------
    scan : Scan, Volume or RunScan of int16, HU
        In any orientation.
    mask : Mask, optional
        Count only the voxels that it marks; it must be on the volume's grid.
    bins : int, default 80
        Of equal width, from -1100 to 1500 HU.

    Returns
    -------
    matplotlib.figure.Figure
        On the left the whole range on a logarithmic axis, on the right soft tissues with one bin per HU.

    Raises
    ------
    InputError
        If there is nothing to count, or bins is out of range.
    GeometryError
        If the mask is on another grid.
    UnsupportedError
        If the voxels are not int16.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.histogram(scan)
    >>> figure.savefig("histogram.png")
    """
    if not 2 <= bins <= RANGE_HU[1] - RANGE_HU[0]:
        raise InputError(f"bins is {bins}, expected 2 to {RANGE_HU[1] - RANGE_HU[0]}", code="option")
    counted = _count(planes.scan_of(scan).ct, mask)
    figure = Figure(figsize=(11.0, 5.6), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", gridspec_kw={"height_ratios": (1.5, 1.0), "width_ratios": (1.6, 1.0)})
    for column, (low, high) in enumerate((RANGE_HU, (-130, 130))):  # soft tissues a second time, on a wider axis
        ends = (low, high, bins + 1) if column == 0 else (low - 0.5, high - 0.5, high - low + 1)
        edges = np.linspace(*ends, dtype=np.float64)
        percent = 100 * _bin_counts(counted, edges) / counted.total
        upper, lower = grid[0, column], grid[1, column]
        upper.stairs(percent, edges, fill=True, color=colors.BLUE, alpha=0.85)
        upper.set_ylabel(f"% of voxels per {edges[1] - edges[0]:.3g} HU")
        upper.set_xlim(low, high)
        _draw_tissues(lower, upper, (low, high))
        lower.set_xlabel("Hounsfield units (HU)")
    if inside := _bin_counts(counted, np.array(RANGE_HU, float)).sum():  # a logarithmic axis needs a positive value
        grid[0, 0].set_yscale("log")
    grid[0, 1].set_ylim(bottom=0)
    grid[0, 0].set_title(f"{counted.total:,} voxels, {counted.total - inside:,} beyond this range", fontsize=9)
    grid[0, 1].set_title("soft tissue, every HU value", fontsize=9)
    what = "marked voxels" if mask is not None else "all voxels"
    percentiles = ", ".join(f"{p} %: {counted.percentile(p):g}" for p in (5, 50, 95))
    figure.suptitle(f"HU of {what}: mean {counted.mean():.1f}, percentiles {percentiles}", fontsize=11)
    return figure


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


def _draw_tissues(panel: Axes, above: Axes, limits: tuple[float, float]) -> None:
    """Draw a bar with its name for each tissue in range, and a faint band through the histogram above."""
    tissues = [t for t in TISSUES if t.upper >= limits[0] and t.lower <= limits[1]]
    narrow = 0.004 * (limits[1] - limits[0])
    for row, tissue in enumerate(tissues):
        low, high = max(tissue.lower - 0.5, limits[0]), min(tissue.upper + 0.5, limits[1])
        middle, width = (low + high) / 2, max(high - low, narrow)
        panel.barh(row, width, left=middle - width / 2, height=0.7, color=colors.SKY_BLUE)
        above.axvspan(low, high, color="0.5", alpha=0.12, linewidth=0)
        span = f"{tissue.lower:g}" if tissue.lower == tissue.upper else f"{tissue.lower:g} to {tissue.upper:g}"
        sign, align = (-1, "right") if middle > (limits[0] + limits[1]) / 2 else (1, "left")
        style: dict[str, Any] = {"ha": align, "va": "center", "fontsize": 7, "textcoords": "offset points"}
        panel.annotate(f"{tissue.name}, {span}", (middle + sign * width / 2, row), xytext=(4 * sign, 0), **style)
    panel.set_ylim(len(tissues) - 0.4, -0.6)
    panel.set_yticks([])
    for side in ("left", "right", "top"):
        panel.spines[side].set_visible(False)
