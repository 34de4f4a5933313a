"""Draw a preview of a preprocessed scan: a strip of small pictures, and the histogram.

The preview is drawn while the scan is in memory, with numpy alone: importing a plotting library would take longer than
drawing. The pixels are indices into a palette, gray levels first, so that the picture compresses well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.intensity.tables import count_scaled
from hilum.ops import finite, intensity, reorient, statistics
from hilum.ops.labels import overlay
from hilum.ops.quality.doubtful_places import FIELDS, DoubtfulPlace, doubtful_places
from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG, Scan
from hilum.volume import Mask, Volume

Picture = NDArray[np.uint8]

GRAYS = 32  # Gray levels: enough for a small picture. On noise 256 levels take twice the bytes.

RIGHT_COLOR, LEFT_COLOR, AIRWAYS_COLOR, NODULE_COLOR = range(GRAYS, GRAYS + 4)  # palette indices, after the gray levels

DOUBT_RGB = (255, 80, 80)

COLORS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66))  # sky blue, orange, green, yellow (Okabe, Ito)

HEIGHT, WIDTH = 128, 160  # largest size of a slice in the strip, in pixels of 2 to 3 mm for an adult chest

CLOSE_PIXELS, CLOSE_MM, CLOSE_UPS = 62, 50.0, 4  # side in pixels and in mm, and largest number of close-ups of nodules

GAP = 2  # pixels between pictures; two close-ups and a gap between them are not higher than a slice

DOUBTS, DOUBT_MM = 2, 8.0  # largest number of slices of doubtful places, and smallest radius of the ring around one

HALF_INSIDE = 0.5  # a nodule with less of it in the lungs is shown before larger ones

LUNG_SHARES = (0.2, 0.5, 0.8)  # each axial slice has this fraction of the lungs below it

_EVERY = 4  # every fourth voxel of the lung mask along each axis is enough to locate the lungs

_LUNG_COLORS = {RIGHT_LUNG: RIGHT_COLOR, LEFT_LUNG: LEFT_COLOR, AIRWAYS: AIRWAYS_COLOR}


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
        Indices into `LABEL_PALETTE`; without label maps into `PALETTE`.
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


_LEVELS = np.rint(np.linspace(0, 255, GRAYS)).astype(np.uint8)
# Red, green and blue of each index, shape (36, 3).
PALETTE: Picture = np.vstack([np.repeat(_LEVELS[:, None], 3, axis=1), np.array(COLORS, np.uint8)])
# With the colors of labels after them, and that of the ring around a doubtful place.
LABEL_PALETTE: Picture = np.vstack([PALETTE, np.array(overlay.COLORS, np.uint8), np.array([DOUBT_RGB], np.uint8)])
DOUBT_COLOR = len(LABEL_PALETTE) - 1


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
    view = _View(replace(oriented, label_maps=label_maps), voxels, unit_range, window, fill)
    coronal, axial = _slice_indices(view)
    pictures = [(_panel("coronal", coronal), _slice(view, 1, coronal))] if oriented.ct.shape[0] > 1 else []
    for code, place in _doubts(view).items():
        index = round(place.voxel[0])
        pictures.append((_panel("doubt", index, code=code), _slice(view, 0, index, place)))
    pictures += [(_panel("axial", index), _slice(view, 0, index)) for index in axial]
    for number in _first_nodules(view):
        index = int(np.rint(view.voxels[number][0]))
        pictures.append((_panel("nodule", index, nodule=number + 1), _close_up(view, number, index)))
    return _join(pictures)


def _panel(plane: str, place: int, *, nodule: int = 0, code: str = "") -> Panel:
    """A panel that has no position yet."""
    return Panel(plane, 0, 0, 0, 0, place, nodule, code)


@dataclass(frozen=True, eq=False)
class _View:
    """A scan whose axes run to the head, the back and the left, with label maps on any grid; and how it is drawn."""

    scan: Scan
    voxels: NDArray[np.float64]  # of the nodules
    unit_range: intensity.UnitRange | None
    window: intensity.Window
    fill: Mapping[int, int] | None

    def gray(self, values: NDArray[Any]) -> Picture:
        """Gray levels of voxels in the window."""
        hu = values.astype(np.float32) if self.unit_range is None else self.unit_range.to_hu(values)
        levels = (hu - (self.window.center - self.window.width / 2)) * (GRAYS / self.window.width)
        gray: Picture = np.nan_to_num(np.clip(levels, 0, GRAYS - 1)).astype(np.uint8)
        return gray

    def draw_labels(self, picture: Picture, index: tuple[NDArray[np.int64], ...]) -> None:
        """Draw lungs and label maps on the picture of the voxels with these indices (z, y, x), as `np.ix_` gives."""
        if self.scan.lungs is not None and self.fill is not None:
            labels = self.scan.lungs.array[index].reshape(picture.shape)
            for label, color in self.fill.items():
                picture[labels == label] = color
        elif self.scan.lungs is not None:
            _outline(picture, self.scan.lungs.array[index].reshape(picture.shape), _LUNG_COLORS)
        maps = self.scan.label_maps
        if not maps:
            return
        voxels = np.stack(np.broadcast_arrays(*index), axis=-1).reshape(-1, 3)
        world = self.scan.ct.geometry.index_to_world(voxels)
        for name, colors in overlay.number_colors({name: one.values for name, one in maps.items()}).items():
            labels = _labels_at(maps[name].mask, world).reshape(picture.shape)
            _outline(picture, labels, {value: len(PALETTE) + color for value, color in colors.items()})


def _labels_at(mask: Mask, world: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The labels of the voxels nearest to points (x, y, z), LPS mm; 0 beyond the mask."""
    nearest = np.rint(mask.geometry.world_to_index(world)).astype(np.int64)
    within = np.clip(nearest, 0, np.array(mask.shape) - 1)
    inside = np.equal(nearest, within).all(axis=1)
    labels: NDArray[np.uint8] = mask.array[tuple(within.T)] * inside
    return labels


def _slice_indices(view: _View) -> tuple[int, list[int]]:
    """The coronal slice with the largest area of lung, and the axial slices by `LUNG_SHARES`."""
    shape = view.scan.ct.shape
    if view.scan.lungs is not None:
        inside = view.scan.lungs.array[::_EVERY, ::_EVERY, ::_EVERY] > 0
        if inside.any():
            below = np.cumsum(inside.sum(axis=(1, 2)))
            axial = [int(np.searchsorted(below, share * below[-1])) * _EVERY for share in LUNG_SHARES]
            return int(inside.sum(axis=(0, 2)).argmax()) * _EVERY, list(dict.fromkeys(axial))
    return shape[1] // 2, list(dict.fromkeys(int(share * shape[0]) for share in LUNG_SHARES))


def _doubts(view: _View) -> dict[str, DoubtfulPlace]:
    """The places of the first alarms about the lung mask."""
    scan, unit = view.scan, view.unit_range
    codes = list(dict.fromkeys(note.code for note in scan.notes if note.code in FIELDS))[:DOUBTS]
    if not codes or scan.lungs is None or view.fill is not None or (unit is None and scan.ct.array.dtype != np.int16):
        return {}
    ct = scan.ct if unit is None else Volume(np.rint(unit.to_hu(scan.ct.array)).astype(np.int16), scan.ct.geometry)
    return doubtful_places(ct, scan.lungs, codes)


def _first_nodules(view: _View) -> list[int]:
    """The nodules for the close-ups: those whose center lies in the volume; beside the lungs first, then by size."""
    nearest = np.rint(view.voxels)
    inside = np.flatnonzero(((nearest >= 0) & (nearest < view.scan.ct.shape)).all(axis=1)).tolist()
    beside = {k for k, one in enumerate(view.scan.nodule_figures) if one.get("inside_lungs", 1.0) < HALF_INSIDE}
    return sorted(inside, key=lambda k: (k not in beside, -view.scan.nodules[k].diameter_mm, k))[:CLOSE_UPS]


def _slice(view: _View, axis: int, index: int, place: DoubtfulPlace | None = None) -> Picture:
    """Draw a slice, true to scale, with outlines and rings; around a doubtful place in it a red one."""
    ct = view.scan.ct
    rows, columns = [a for a in range(3) if a != axis]
    extent = [ct.shape[a] * ct.spacing[a] for a in (rows, columns)]
    scale = max(extent[0] / HEIGHT, extent[1] / WIDTH)
    size = [max(1, round(length / scale)) for length in extent]
    plane = ct.array[(slice(None),) * axis + (index,)]
    picture = view.gray(shrink(shrink(plane, size[0], 0), size[1], 1))
    nearest = [_nearest(ct.shape[a], n) for a, n in zip((rows, columns), size, strict=True)]
    nearest.insert(axis, np.array([index]))
    view.draw_labels(picture, np.ix_(*nearest))
    for voxel, nodule in zip(view.voxels, view.scan.nodules, strict=True):
        if abs(voxel[axis] - index) * ct.spacing[axis] <= nodule.diameter_mm / 2:
            middle = [(voxel[a] + 0.5) * ct.spacing[a] / scale - 0.5 for a in (rows, columns)]
            _ring(picture, middle, nodule.diameter_mm / 2 / scale + 3)
    if place is not None:
        middle = [(place.voxel[a] + 0.5) * ct.spacing[a] / scale - 0.5 for a in (rows, columns)]
        _ring(picture, middle, max(place.radius_mm, DOUBT_MM) / scale, DOUBT_COLOR)
    return picture if axis == 0 else picture[::-1]


def _close_up(view: _View, number: int, index: int) -> Picture:
    """Draw the axial surroundings of a nodule; pixels outside the scan are black."""
    scan, middle, step = view.scan, view.voxels[number], CLOSE_MM / CLOSE_PIXELS
    offsets = (np.arange(CLOSE_PIXELS) - (CLOSE_PIXELS - 1) / 2) * step
    rows, columns = (np.rint(middle[a] + offsets / scan.ct.spacing[a]).astype(np.int64) for a in (1, 2))
    _, height, width = scan.ct.shape
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    nearest = np.ix_([index], np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))
    picture = view.gray(scan.ct.array[nearest][0])
    view.draw_labels(picture, nearest)
    if scan.nodule_mask is not None:
        _outline(picture, scan.nodule_mask.array[nearest][0] > 0, {1: NODULE_COLOR})
    else:
        _ring(picture, [(CLOSE_PIXELS - 1) / 2] * 2, scan.nodules[number].diameter_mm / 2 / step + 1)
    return np.where(inside, picture, np.uint8(0))


def shrink(plane: NDArray[Any], count: int, axis: int) -> NDArray[Any]:
    """Resize an axis to a number of pixels: means of neighbors, or the nearest voxels if there are fewer voxels."""
    size = plane.shape[axis]
    if size <= count:
        return np.take(plane, _nearest(size, count), axis=axis)
    starts = np.arange(count) * size // count
    sums = np.add.reduceat(plane, starts, axis=axis, dtype=np.float32)
    lengths = np.diff(np.append(starts, size)).astype(np.float32)
    return sums / (lengths[:, None] if axis == 0 else lengths)


def _nearest(size: int, count: int) -> NDArray[np.int64]:
    return (2 * np.arange(count) + 1) * size // (2 * count)


def _outline(picture: Picture, labels: NDArray[Any], colors: dict[int, int]) -> None:
    """Color the pixels of each label that touch another label."""
    edge = np.zeros(labels.shape, np.bool_)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = labels[one] != labels[other]
        edge[one] |= differs
        edge[other] |= differs
    for label, color in colors.items():
        picture[edge & (labels == label)] = color


def _ring(picture: Picture, middle: Sequence[float], radius: float, color: int = NODULE_COLOR) -> None:
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    distance = np.hypot(rows - middle[0], columns - middle[1])
    picture[np.abs(distance - radius) < 0.7] = color


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
