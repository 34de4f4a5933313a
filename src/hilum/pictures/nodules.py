"""The nodules of a scan as image, mask and overlay, in three planes."""

import numpy as np
from matplotlib.figure import SubFigure

from hilum.errors import InputError
from hilum.ops.nodules.masks import mask_nodules
from hilum.pictures import colors, drawing, planes
from hilum.pictures.figure import Figure
from hilum.scan import Nodule, Scan
from hilum.volume import Mask, Volume

MIN_WIDTH_MM, WIDTH_IN_DIAMETERS = 40.0, 2.5  # of the pictures: so many diameters of the nodule, at least the minimum


def nodules(
    scan: planes.Drawn, *, preset: str = "lung", level: float = 0.5, most: int = 12, lungs: Mask | None = None
) -> Figure:
    """Draw the nodules of a scan and their masks, through their centers in three planes.

    Parameters
    ----------
    scan : Scan or RunScan
        In HU, with nodules.
    preset : str, default "lung"
        A key of `hilum.WINDOW_PRESETS`.
    level : float, default 0.5
        The fraction of its readers who must have outlined a voxel, for nodules with readings.
    most : int, default 12
        The largest nodules are drawn; the title says how many there are.
    lungs : Mask, optional
        Replaces those of the scan; on its grid.

    Returns
    -------
    matplotlib.figure.Figure
        A block for each nodule: rows are planes, columns are image, mask, and both (the outline of the mask is red, the
        sphere of a nodule without readings yellow).

    Raises
    ------
    InputError
        If there is no nodule inside the scan, or an option is out of range.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("scan", annotations="annotations.csv")
    >>> figure = hilum.plot.nodules(scan, most=1)
    >>> figure.savefig("nodules.png")
    """
    if most < 1:
        raise InputError(f"most is {most}, expected 1 or more", code="option")
    scan = planes.scan_of(scan, lungs=lungs)
    if not scan.nodules:
        raise InputError("the scan has no nodule to draw", do="give its annotations", code="nothing-to-draw")
    gray = planes.gray_range(preset)
    scan = planes.reorient_hu(scan)
    if not (inside := [k for k, n in enumerate(scan.nodules) if scan.ct.geometry.contains(n.center)]):
        do = "check which scan the annotations belong to"
        raise InputError("every nodule is outside the scan", do=do, code="nothing-to-draw")
    drawn = sorted(inside, key=lambda k: (-scan.nodules[k].diameter_mm, k))[:most]
    columns = min(2, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(5.4 * columns, 5.9 * rows + 0.4), layout="constrained", facecolor="white")
    for block, number in zip(figure.subfigures(rows, columns, squeeze=False).ravel(), drawn, strict=False):
        _draw_nodule(block, scan, number, gray, level)
    count = len(scan.nodules)
    title = "the nodule" if count == 1 else f"{len(drawn)} of {count} nodules, the largest first"
    title += f"; window {preset}"
    if count > len(inside):
        title += f"; {count - len(inside)} are outside the scan"
    figure.suptitle(drawing.plain(title), fontsize=11)
    return figure


def _draw_nodule(block: SubFigure, scan: Scan, number: int, gray: planes.Pair, level: float) -> None:
    nodule = scan.nodules[number]
    near, center = _crop(scan.ct, nodule)
    mask = mask_nodules(near.geometry, [nodule], level=level)
    lungs = None if scan.lungs is None else _crop_mask(scan.lungs, near)
    axes = block.subplots(3, 3)
    for row, (name, plane) in zip(axes, planes.PLANES.items(), strict=True):
        size = planes.size_mm(near.geometry, plane)
        index = center[plane.axis]
        image, marked = planes.slice_pixels(near.array, plane, index), planes.slice_pixels(mask.array, plane, index) > 0
        spacing = (near.spacing[plane.rows], near.spacing[plane.columns])
        contours = [(colors.NODULE, line) for line in drawing.outlines(marked, spacing)]
        if not nodule.readings and (circle := drawing.nodule_circle(near.geometry, plane, index, nodule)) is not None:
            contours.insert(0, (colors.YELLOW, circle))
        if lungs is not None:
            contours += drawing.label_outlines(planes.slice_pixels(lungs.array, plane, index), spacing, cut=True)
        drawing.draw_gray(row[0], image, size, gray, interpolation="nearest")
        drawing.draw_image(row[1], marked, size, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        drawing.draw_gray(row[2], image, size, gray, interpolation="nearest")
        drawing.draw_lines(row[2], contours, width=1.1)
        drawing.draw_scale_bar(row[0], size)
        for panel in row:
            drawing.draw_letters(panel, plane, all_sides=panel is row[0], fontsize=6)
        drawing.draw_note(row[0], 0.02, 0.98, name, fontsize=6, ha="left", va="top")
    overlay = "mask red" if nodule.readings else "mask red, sphere yellow"
    for panel, title in zip(axes[0], ("image", "mask", overlay), strict=True):
        panel.set_title(title, fontsize=9)
    x, y, z = nodule.center
    volume = 1000 * mask.volume_ml()
    readers = len({reading.reader for reading in nodule.readings})
    source = f"{readers} readers, consensus {level:g}" if readers else "a sphere"
    what = f"nodule {number + 1}: diameter {nodule.diameter_mm:.1f} mm, {volume:.0f} mm³"
    where = f"{source}, at ({x:.1f}, {y:.1f}, {z:.1f}) mm, LPS"
    block.suptitle("\n".join(map(drawing.plain, (what, where))), fontsize=9)


def _crop(ct: Volume, nodule: Nodule) -> tuple[Volume, tuple[int, ...]]:
    """Crop a box around a nodule; give it and the voxel of the nodule's center in it."""
    voxel = ct.geometry.world_to_index(nodule.center)
    half_mm = max(MIN_WIDTH_MM, WIDTH_IN_DIAMETERS * nodule.diameter_mm) / 2
    half = [half_mm / s for s in ct.spacing]
    start = [max(0, int(np.floor(v - h + 0.5))) for v, h in zip(voxel, half, strict=True)]
    stop = [min(n, int(np.ceil(v + h + 0.5))) for v, h, n in zip(voxel, half, ct.shape, strict=True)]
    near = ct.crop(start, stop)
    center = [int(np.clip(np.rint(v - a), 0, n - 1)) for v, a, n in zip(voxel, start, near.shape, strict=True)]
    return near, tuple(center)


def _crop_mask(mask: Mask, near: Volume) -> Mask | None:
    """Crop a mask to the grid of a box; None if its grid is another."""
    start = np.rint(mask.geometry.world_to_index(near.geometry.origin)).astype(int)
    stop = start + near.shape
    if (start < 0).any() or (stop > mask.shape).any():
        return None
    part = mask.crop(start.tolist(), stop.tolist())
    return part if part.geometry.isclose(near.geometry) else None
