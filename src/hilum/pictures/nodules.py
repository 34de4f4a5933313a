"""Each nodule of a scan as image, mask and overlay, in three planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hilum.errors import InputError
from hilum.ops.nodules.masks import mask_nodules
from hilum.pictures.drawing import draw_image, draw_letters, draw_lines, draw_note, draw_scale_bar, plain
from hilum.pictures.planes import NODULE, PLANES, SIDES, cut, find_gray, outlines, ring, size_mm, upright

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

    from hilum.scan import Nodule, Scan
    from hilum.volume import Mask, Volume

LEAST_MM, TIMES = 40.0, 2.5
"""What is shown around a nodule: so many times its diameter, and no less than this."""

MOST = 12
"""Nodules in one figure, the largest first."""


def nodules(scan: Scan, *, preset: str = "lung", level: float = 0.5, most: int = MOST) -> Figure:
    """Draw every nodule of a scan, with its mask, through its center in three planes.

    Parameters
    ----------
    scan : Scan
        In HU, with nodules.
    preset : str
        A key of `hilum.WINDOW_PRESETS`.
    level : float
        The share of readers who must have drawn a place, for nodules with readings.
    most : int
        Nodules drawn, the largest first; the title tells of how many.

    Returns
    -------
    matplotlib.figure.Figure
        A block for each nodule: rows are planes, columns are the image, the mask, and both.

    Raises
    ------
    InputError
        If there is no nodule inside the scan, or an option is out of range.
    """
    if most < 1:
        raise InputError(f"most is {most}, expected 1 or more", code="option")
    if not scan.nodules:
        raise InputError("the scan has no nodule to draw", do="give its annotations", code="nothing-to-draw")
    find_gray(preset)
    turned = upright(scan)
    inside = [k for k, n in enumerate(scan.nodules) if turned.ct.geometry.contains(n.center)]
    if not inside:
        raise InputError(
            "every nodule lies outside the scan", do="check which scan they belong to", code="nothing-to-draw"
        )
    shown = sorted(inside, key=lambda k: (-scan.nodules[k].diameter_mm, k))[:most]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(5.4 * columns, 5.9 * rows + 0.4), layout="constrained", facecolor="white")
    blocks = figure.subfigures(rows, columns, squeeze=False).ravel()
    for block, number in zip(blocks, shown, strict=False):
        _block(block, turned, number, preset, level)
    some = "the nodule" if len(scan.nodules) == 1 else f"{len(shown)} of {len(scan.nodules)} nodules, the largest first"
    told = f"{some}; window {preset}"
    if len(scan.nodules) > len(inside):
        told += f"; {len(scan.nodules) - len(inside)} lie outside the scan"
    figure.suptitle(plain(told), fontsize=11)
    return figure


def _block(block: SubFigure, scan: Scan, number: int, preset: str, level: float) -> None:
    nodule, gray = scan.nodules[number], find_gray(preset)
    near, place = _surroundings(scan.ct, nodule)
    mask = mask_nodules(near.geometry, [nodule], level=level)
    lungs = None if scan.lungs is None else _same_box(scan.lungs, near)
    axes = block.subplots(3, 3)
    for row, (name, plane) in zip(axes, PLANES.items(), strict=True):
        size = size_mm(near.geometry, plane)
        at = place[plane.axis]
        image, marked = cut(near.array, plane, at), cut(mask.array, plane, at) > 0
        spacing = (near.spacing[plane.rows], near.spacing[plane.columns])
        lines = [(NODULE, line) for line in outlines(marked, spacing)]
        if not nodule.readings and (circle := ring(near.geometry, plane, at, nodule)) is not None:
            lines.append((NODULE, circle))
        if lungs is not None:
            labels = cut(lungs.array, plane, at)
            lines += [(color, line) for label, color in SIDES.items() for line in outlines(labels == label, spacing)]
        style: dict[str, Any] = {"cmap": "gray", "interpolation": "nearest"}
        draw_image(row[0], image, size, vmin=gray.low, vmax=gray.high, **style)
        draw_image(row[1], marked, size, vmin=0, vmax=1, **style)
        draw_image(row[2], image, size, vmin=gray.low, vmax=gray.high, **style)
        draw_lines(row[2], lines, width=1.1)
        draw_scale_bar(row[0], size)
        for panel in row:
            draw_letters(panel, plane, all_sides=panel is row[0], fontsize=6)
        draw_note(row[0], 0.02, 0.98, name, fontsize=6, ha="left", va="top")
    for panel, title in zip(axes[0], ("image", "mask", "overlay"), strict=True):
        panel.set_title(title, fontsize=9)
    x, y, z = nodule.center
    volume = 1000 * mask.volume_ml()
    readers = len({reading.reader for reading in nodule.readings})
    drawn = f"{readers} readers, consensus {level:g}" if readers else "a sphere"
    told = (
        f"nodule {number + 1}: diameter {nodule.diameter_mm:.1f} mm, {volume:.0f} mm³",
        f"{drawn}, at ({x:.1f}, {y:.1f}, {z:.1f}) mm, LPS",
    )
    block.suptitle("\n".join(map(plain, told)), fontsize=9)


def _surroundings(ct: Volume, nodule: Nodule) -> tuple[Volume, tuple[int, ...]]:
    """The box around a nodule, and the voxel of it that holds the center."""
    voxel = ct.geometry.world_to_index(nodule.center)
    half = max(LEAST_MM, TIMES * nodule.diameter_mm) / 2
    reach = [half / s for s in ct.spacing]
    start = [max(0, int(np.floor(v - r + 0.5))) for v, r in zip(voxel, reach, strict=True)]
    stop = [min(n, int(np.ceil(v + r + 0.5))) for v, r, n in zip(voxel, reach, ct.shape, strict=True)]
    near = ct.crop(start, stop)
    place = [int(np.clip(np.rint(v - a), 0, n - 1)) for v, a, n in zip(voxel, start, near.shape, strict=True)]
    return near, tuple(place)


def _same_box(mask: Mask, near: Volume) -> Mask | None:
    """The part of a mask on the very voxels of a box; None where its grid is another."""
    start = np.rint(mask.geometry.world_to_index(near.geometry.origin)).astype(int)
    stop = start + near.shape
    if (start < 0).any() or (stop > mask.shape).any():
        return None
    part = mask.crop(start.tolist(), stop.tolist())
    return part if part.geometry.isclose(near.geometry) else None
