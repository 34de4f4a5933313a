"""Draw a preview of a preprocessed scan: a strip of small pictures, and the histogram.

The preview is drawn while the scan is in memory, with numpy alone: importing a plotting library would take longer than
drawing. The pixels are indices into a palette (`hilum.ops.preview_slices`), so that the picture compresses well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hilum._kernels.intensity.tables import count_scaled
from hilum.ops import finite, intensity, reorient, statistics
from hilum.ops.preview_slices import HEIGHT, Picture, View, draw_close_up, draw_slice
from hilum.ops.quality.doubtful_places import FIELDS, DoubtfulPlace, doubtful_places
from hilum.scan import Scan
from hilum.volume import Volume

GAP = 2  # pixels between pictures; two close-ups and a gap between them are not higher than a slice

CLOSE_UPS = 4  # largest number of close-ups of nodules

DOUBTS = 2  # largest number of slices of doubtful places

HALF_INSIDE = 0.5  # a nodule with less of it in the lungs is shown before larger ones

LUNG_SHARES = (0.2, 0.5, 0.8)  # each axial slice has this fraction of the lungs below it

_EVERY = 4  # every fourth voxel of the lung mask along each axis is enough to locate the lungs


@dataclass(frozen=True)
class Panel:
    """One picture of a strip.

    Parameters
    ----------
    plane : str
        ``coronal``, ``axial``, ``doubt`` (axial, where the lung mask is doubtful) or ``nodule`` (an axial close-up).
    left, top, width, height : int
        Its position and size in the strip, in pixels.
    place : int
        The index of the slice, counted from the front (``coronal``) or from the feet (the others).
    nodule : int
        The number of the nodule in a close-up, from 1; else 0.
    code : str
        The alarm that a ``doubt`` shows the place of; else empty.
    """

    plane: str
    left: int
    top: int
    width: int
    height: int
    place: int
    nodule: int = 0
    code: str = ""


@dataclass(frozen=True, eq=False)
class Preview:
    """A strip of pictures and the histogram of a scan.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
        Indices into `hilum.ops.preview_slices.LABEL_PALETTE`; without labels and doubtful places into its `PALETTE`.
    panels : tuple of Panel
        From left to right.
    histogram : HuHistogram
        Of all voxels, in HU.
    cut : tuple of float or None
        The range, HU, to which values were clipped before they were counted; None if they were not.
    """

    pixels: Picture
    panels: tuple[Panel, ...]
    histogram: statistics.HuHistogram
    cut: tuple[float, float] | None


def draw_preview(scan: Scan, *, unit_range: intensity.UnitRange | None = None, workers: int = 0) -> Preview:
    """Draw a preprocessed scan in the lung window: a coronal slice, axial slices, and close-ups of its nodules.

    Parameters
    ----------
    scan : Scan
        The result of `hilum.preprocess`.
    unit_range : UnitRange, optional
        How the voxels were scaled; without it they are HU.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Preview
        In the radiologist's view: the patient's right on the left, the head or the front on top. Lungs and the labels
        of label maps are outlined, nodules have a ring. The same scan gives the same bytes.

    Raises
    ------
    InputError
        If a voxel is NaN or infinite.
    """
    finite.check_finite(scan.ct.array)
    pixels, panels = draw_strip(scan, unit_range=unit_range)
    if unit_range is None:
        return Preview(pixels, panels, statistics.count_hu(scan.ct, workers=workers), None)
    offset = unit_range.mean * unit_range.width + unit_range.lower
    counts = count_scaled(scan.ct.array, scale=unit_range.width, offset=offset, workers=workers)
    return Preview(pixels, panels, statistics.HuHistogram(counts), (unit_range.lower, unit_range.upper))


def draw_strip(
    scan: Scan,
    *,
    unit_range: intensity.UnitRange | None = None,
    window: intensity.Window = intensity.WINDOW_PRESETS["lung"],
    fill: Mapping[int, int] | None = None,
) -> tuple[Picture, tuple[Panel, ...]]:
    """Draw the strip of a preview without counting voxels; it reads the voxels of the drawn slices alone.

    Parameters
    ----------
    scan : Scan
        In any orientation; NaN is black.
    unit_range : UnitRange, optional
        As in `draw_preview`.
    window : Window
        The values drawn from black to white.
    fill : mapping of int to int, optional
        Palette indices by which the labels of the lung mask are filled instead of outlined.

    Returns
    -------
    pixels : ndarray of uint8, shape (rows, columns)
    panels : tuple of Panel
    """
    label_maps, oriented = scan.label_maps, reorient.reorient(replace(scan, label_maps={}))
    centers = [nodule.center for nodule in scan.nodules] or np.empty((0, 3))
    voxels = oriented.ct.geometry.world_to_index(centers)
    view = View(replace(oriented, label_maps=label_maps), voxels, unit_range, window, fill)
    coronal, axial = _slice_indices(view)
    pictures = [(_panel("coronal", coronal), draw_slice(view, 1, coronal))] if oriented.ct.shape[0] > 1 else []
    for code, place in _doubts(view).items():
        index = round(place.voxel[0])
        pictures.append((_panel("doubt", index, code=code), draw_slice(view, 0, index, place)))
    pictures += [(_panel("axial", index), draw_slice(view, 0, index)) for index in axial]
    for number in _first_nodules(view):
        index = int(np.rint(view.voxels[number][0]))
        pictures.append((_panel("nodule", index, nodule=number + 1), draw_close_up(view, number, index)))
    return _join(pictures)


def _panel(plane: str, place: int, *, nodule: int = 0, code: str = "") -> Panel:
    """A panel that has no position yet."""
    return Panel(plane, 0, 0, 0, 0, place, nodule, code)


def _slice_indices(view: View) -> tuple[int, list[int]]:
    """The coronal slice with the largest area of lung, and the axial slices by `LUNG_SHARES`."""
    shape = view.scan.ct.shape
    if view.scan.lungs is not None:
        inside = view.scan.lungs.array[::_EVERY, ::_EVERY, ::_EVERY] > 0
        if inside.any():
            below = np.cumsum(inside.sum(axis=(1, 2)))
            axial = [int(np.searchsorted(below, share * below[-1])) * _EVERY for share in LUNG_SHARES]
            return int(inside.sum(axis=(0, 2)).argmax()) * _EVERY, list(dict.fromkeys(axial))
    return shape[1] // 2, list(dict.fromkeys(int(share * shape[0]) for share in LUNG_SHARES))


def _doubts(view: View) -> dict[str, DoubtfulPlace]:
    """The places of the first alarms about the lung mask."""
    scan, unit = view.scan, view.unit_range
    codes = list(dict.fromkeys(note.code for note in scan.notes if note.code in FIELDS))[:DOUBTS]
    if not codes or scan.lungs is None or view.fill is not None or (unit is None and scan.ct.array.dtype != np.int16):
        return {}
    ct = scan.ct if unit is None else Volume(np.rint(unit.to_hu(scan.ct.array)).astype(np.int16), scan.ct.geometry)
    return doubtful_places(ct, scan.lungs, codes)


def _first_nodules(view: View) -> list[int]:
    """The nodules for the close-ups: those whose center lies in the volume; beside the lungs first, then by size."""
    nearest = np.rint(view.voxels)
    inside = np.flatnonzero(((nearest >= 0) & (nearest < view.scan.ct.shape)).all(axis=1)).tolist()
    beside = {k for k, one in enumerate(view.scan.nodule_figures) if one.get("inside_lungs", 1.0) < HALF_INSIDE}
    return sorted(inside, key=lambda k: (k not in beside, -view.scan.nodules[k].diameter_mm, k))[:CLOSE_UPS]


def _join(pictures: Sequence[tuple[Panel, Picture]]) -> tuple[Picture, tuple[Panel, ...]]:
    """Arrange slices side by side, followed by close-ups in pairs, one above the other."""
    panels: list[Panel] = []
    left = 0
    for panel, picture in pictures:
        height, width = picture.shape
        if panels and panel.plane == panels[-1].plane == "nodule" and panels[-1].top == 0:
            left, top = panels[-1].left, panels[-1].height + GAP
        else:
            top = 0 if panel.plane == "nodule" else (HEIGHT - height) // 2
        panels.append(replace(panel, left=left, top=top, width=width, height=height))
        left += width + GAP
    pixels = np.zeros((HEIGHT, left - GAP), np.uint8)
    for panel, (_, picture) in zip(panels, pictures, strict=True):
        pixels[panel.top : panel.top + panel.height, panel.left : panel.left + panel.width] = picture
    return pixels, tuple(panels)
