"""The nodules of a scan as image, mask and overlay, in three planes."""

import numpy as np
from matplotlib.figure import SubFigure

from hilum.errors import InputError
from hilum.ops.nodules.masks import mask_nodules
from hilum.pictures import colors, drawing, planes
from hilum.pictures.figure import SMALLEST_PT, Figure, dots, figure_inches, letter_size, wrap
from hilum.scan import Nodule, Scan
from hilum.volume import Mask, Volume

MIN_WIDTH_MM, WIDTH_IN_DIAMETERS = 40.0, 2.5  # of the pictures: so many diameters of the nodule, at least the minimum

_TWO_COLUMNS_MM = 160.0  # a narrower figure has one column of nodules


def nodules(
    scan: planes.Drawn,
    *,
    preset: str = "lung",
    level: float = 0.5,
    most: int = 12,
    lungs: Mask | None = None,
    width_mm: float | None = None,
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
    width_mm : float, optional
        Width of the figure, 80 to 500; 85 is a column of a paper. The default is 5.4 inches a column.

    Returns
    -------
    matplotlib.figure.Figure
        A block for each nodule: rows are planes, columns are image, mask, and both (the outline of the mask is yellow,
        the sphere of a nodule without readings purple and dotted).

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
    columns = min(2, len(drawn)) if width_mm is None or width_mm > _TWO_COLUMNS_MM else 1
    rows = -(-len(drawn) // columns)
    inches = figure_inches(width_mm, 5.4 * columns)
    size, each = letter_size(inches, 9.0), inches / columns
    figure = Figure(
        figsize=(inches, (1.02 * each + 0.4) * rows + 0.6), layout="constrained", facecolor="white", dpi=dots(width_mm)
    )
    for block, number in zip(figure.subfigures(rows, columns, squeeze=False).ravel(), drawn, strict=False):
        _draw_nodule(block, scan, number, gray, level, letters=(each, size))
    count = len(scan.nodules)
    title = "the nodule" if count == 1 else f"{len(drawn)} of {count} nodules, the largest first"
    title += f"; {planes.window_text(preset)}"
    if count > len(inside):
        title += f"; {count - len(inside)} are outside the scan"
    if scan.lungs is not None:
        title += "; lungs: right blue, left orange and dashed"
    figure.suptitle(wrap(drawing.plain(title), inches, size), fontsize=size)
    return figure


def _draw_nodule(
    block: SubFigure, scan: Scan, number: int, gray: planes.Pair, level: float, *, letters: planes.Pair
) -> None:
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
            contours.insert(0, (colors.SPHERE, circle))
        if lungs is not None:
            contours += drawing.label_outlines(planes.slice_pixels(lungs.array, plane, index), spacing, cut=True)
        drawing.draw_gray(row[0], image, size, gray, interpolation="nearest")
        drawing.draw_image(row[1], marked, size, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        drawing.draw_gray(row[2], image, size, gray, interpolation="nearest")
        drawing.draw_lines(row[2], contours, width=1.1)
        drawing.draw_scale_bar(row[0], size, fontsize=SMALLEST_PT)
        for panel in row:
            drawing.draw_letters(panel, plane, all_sides=panel is row[0], fontsize=SMALLEST_PT)
        drawing.draw_note(row[0], 0.02, 0.98, name, fontsize=SMALLEST_PT, ha="left", va="top")
    overlay = "both" if nodule.readings else "both; sphere purple"
    inches, points = letters
    for panel, title in zip(axes[0], ("image", "mask", overlay), strict=True):
        panel.set_title(wrap(title, 0.3 * inches, points), fontsize=points)
    x, y, z = nodule.center
    volume = 1000 * mask.volume_ml()
    readers = len({reading.reader for reading in nodule.readings})
    source = f"{readers} readers, consensus {level:g}" if readers else "a sphere"
    what = f"nodule {number + 1}: diameter {nodule.diameter_mm:.1f} mm, {volume:.0f} mm³"
    where = f"mask (yellow): {source}, at ({x:.1f}, {y:.1f}, {z:.1f}) mm, LPS"
    block.suptitle("\n".join(wrap(drawing.plain(text), inches, points) for text in (what, where)), fontsize=points)


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
