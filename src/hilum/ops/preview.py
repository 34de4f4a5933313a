"""What a person wants to see of a preprocessed scan at a glance: a strip of small pictures, and its histogram.

Drawn while the scan is in memory, with numpy alone: a plotting library takes longer to import than this to draw.
The pictures are indices into a palette, gray levels first, so that they pack well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.intensity.histogram import count_scaled
from hilum.ops.finite import check_finite
from hilum.ops.intensity import WINDOW_PRESETS
from hilum.ops.reorient import reorient
from hilum.ops.statistics import HuHistogram, count_hu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.scan import Nodule, Scan
    from hilum.volume import Volume

    Picture = NDArray[np.uint8]

GRAYS = 32
"""Gray levels: enough for an eye on a small picture, and half the bytes of 256 on noise."""

RIGHT, LEFT, AIRWAY, NODULE = GRAYS, GRAYS + 1, GRAYS + 2, GRAYS + 3
"""Indices of the colors of outlines, after the gray levels; labels 1, 2 and 3 of a lung mask have the first three."""

COLORS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66))
"""Sky blue, orange, green and yellow of Okabe and Ito (2008), which color-blind eyes tell apart, on dark gray too."""

HEIGHT, WIDTH = 128, 160
"""The most pixels of a slice in the strip: 2 to 3 mm each on an adult chest."""

CLOSE_PIXELS, CLOSE_MM, CLOSE_UPS = 62, 50.0, 4
"""A close-up of a nodule: pixels and mm along a side, and how many there are at most, the largest nodules first."""

GAP = 2
"""Pixels between pictures; two close-ups and a gap between them are not higher than a slice."""

LUNG_SHARES = (0.2, 0.5, 0.8)
"""Axial slices lie where this share of the lungs is below them."""

_EVERY = 4
"""Of the lung mask every fourth voxel along each axis tells where the lungs are."""


@dataclass(frozen=True)
class Panel:
    """One picture of a strip.

    Parameters
    ----------
    plane : str
        ``coronal``, ``axial`` or ``nodule`` (an axial close-up).
    left, top, width, height : int
        Where it lies in the strip, in pixels.
    place : int
        The slice's index along the axis that runs to the back (``coronal``) or the head (the others), counted from
        the front and from the feet.
    nodule : int
        The number of the nodule in a close-up, from 1; else 0.
    """

    plane: str
    left: int
    top: int
    width: int
    height: int
    place: int
    nodule: int = 0


@dataclass(frozen=True, eq=False)
class Preview:
    """A strip of pictures and the histogram of a scan.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (rows, columns)
        Indices into `PALETTE`.
    panels : tuple of Panel
        From left to right.
    histogram : HuHistogram
        Of all voxels, in HU.
    cut : tuple of float or None
        The HU beyond which values were cut off before they were counted, where they were.
    """

    pixels: Picture
    panels: tuple[Panel, ...]
    histogram: HuHistogram
    cut: tuple[float, float] | None


@dataclass(frozen=True)
class UnitRange:
    """How Hounsfield units became what a volume holds: ``(hu - lower) / (upper - lower) - mean``."""

    lower: float
    upper: float
    mean: float

    @property
    def width(self) -> float:
        """HU from the lower end to the upper."""
        return self.upper - self.lower

    def to_hu(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Turn values back into HU, as far as they were not cut off."""
        hu: NDArray[np.float32] = ((values + self.mean) * self.width + self.lower).astype(np.float32)
        return hu


def _palette() -> Picture:
    gray = np.rint(np.linspace(0, 255, GRAYS)).astype(np.uint8)
    return np.vstack([np.repeat(gray[:, None], 3, axis=1), np.array(COLORS, np.uint8)])


PALETTE: Picture = _palette()
"""Red, green and blue of each index, shape (36, 3)."""


def draw_preview(scan: Scan, *, unit_range: UnitRange | None = None, workers: int = 0) -> Preview:
    """Draw a preprocessed scan small: coronal, axial, and close-ups of its nodules, in the lung window.

    Parameters
    ----------
    scan : Scan
        As `hilum.preprocess` gives it.
    unit_range : UnitRange, optional
        How its voxels were made of HU; without it they are HU.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Preview
        In the radiologist's view: the patient's right on the left, the head or the front on top. The lungs are
        outlined, nodules ringed; the same scan gives the same bytes.

    Raises
    ------
    InputError
        If the voxels hold NaN or infinity.
    """
    check_finite(scan.ct.array)
    ct = reorient(scan.ct)
    view = _View(
        ct=ct,
        lungs=None if scan.lungs is None else reorient(scan.lungs).array,
        drawn=None if scan.nodule_mask is None else reorient(scan.nodule_mask).array,
        nodules=scan.nodules,
        voxels=ct.geometry.world_to_index([n.center for n in scan.nodules] or np.empty((0, 3))),
        unit_range=unit_range,
    )
    coronal, axial = _places(view)
    shown = [("coronal", coronal, 0, _slice(view, 1, coronal))]
    shown += [("axial", place, 0, _slice(view, 0, place)) for place in axial]
    for number in _largest(view):
        place = int(np.rint(view.voxels[number][0]))
        shown.append(("nodule", place, number + 1, _close_up(view, number, place)))
    pixels, panels = _join(shown)
    return Preview(pixels, panels, _count(scan.ct, unit_range, workers), _cut(unit_range))


@dataclass(frozen=True, eq=False)
class _View:
    """A scan whose axes run to the head, the back and the left, in views of its arrays."""

    ct: Volume
    lungs: Picture | None
    drawn: Picture | None
    nodules: tuple[Nodule, ...]
    voxels: NDArray[np.float64]
    unit_range: UnitRange | None

    def gray(self, values: NDArray[Any]) -> Picture:
        """Gray levels of voxels."""
        hu = values.astype(np.float32) if self.unit_range is None else self.unit_range.to_hu(values)
        window = WINDOW_PRESETS["lung"]
        shade = (hu - (window.center - window.width / 2)) * (GRAYS / window.width)
        levels: Picture = np.clip(shade, 0, GRAYS - 1).astype(np.uint8)
        return levels


def _places(view: _View) -> tuple[int, list[int]]:
    """Where to cut: the coronal slice that shows most of the lungs, and axial ones from their bases to their tips."""
    shape = view.ct.shape
    if view.lungs is not None:
        inside = view.lungs[::_EVERY, ::_EVERY, ::_EVERY] > 0
        if inside.any():
            along = np.cumsum(inside.sum(axis=(1, 2)))
            axial = [int(np.searchsorted(along, share * along[-1])) * _EVERY for share in LUNG_SHARES]
            return int(inside.sum(axis=(0, 2)).argmax()) * _EVERY, axial
    return shape[1] // 2, [int(share * shape[0]) for share in LUNG_SHARES]


def _largest(view: _View) -> list[int]:
    """The nodules to be shown close up: those in the volume, the largest first."""
    nearest = np.rint(view.voxels)
    inside = np.flatnonzero(((nearest >= 0) & (nearest < view.ct.shape)).all(axis=1)).tolist()
    return sorted(inside, key=lambda k: (-view.nodules[k].diameter_mm, k))[:CLOSE_UPS]


def _slice(view: _View, axis: int, place: int) -> Picture:
    """One slice, true to scale, outlined."""
    rows, columns = [a for a in range(3) if a != axis]
    extent = [view.ct.shape[a] * view.ct.spacing[a] for a in (rows, columns)]
    scale = max(extent[0] / HEIGHT, extent[1] / WIDTH)
    size = [max(1, round(length / scale)) for length in extent]
    picture = view.gray(_shrink(_shrink(_cut_out(view.ct.array, axis, place), size[0], 0), size[1], 1))
    nearest = np.ix_(*(_nearest(view.ct.shape[a], n) for a, n in zip((rows, columns), size, strict=True)))
    if view.lungs is not None:
        _outline(picture, _cut_out(view.lungs, axis, place)[nearest], (0, RIGHT, LEFT, AIRWAY))
    for voxel, nodule in zip(view.voxels, view.nodules, strict=True):
        if abs(voxel[axis] - place) * view.ct.spacing[axis] <= nodule.diameter_mm / 2:
            middle = [(voxel[a] + 0.5) * view.ct.spacing[a] / scale - 0.5 for a in (rows, columns)]
            _ring(picture, middle, nodule.diameter_mm / 2 / scale + 3)
    return picture if axis == 0 else picture[::-1]


def _close_up(view: _View, number: int, place: int) -> Picture:
    """The axial surroundings of a nodule; what lies outside the scan is black."""
    middle, step = view.voxels[number], CLOSE_MM / CLOSE_PIXELS
    offsets = (np.arange(CLOSE_PIXELS) - (CLOSE_PIXELS - 1) / 2) * step
    rows, columns = (np.rint(middle[a] + offsets / view.ct.spacing[a]).astype(np.int64) for a in (1, 2))
    _, height, width = view.ct.shape
    there = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    at = np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))
    picture = view.gray(view.ct.array[place][at])
    if view.lungs is not None:
        _outline(picture, view.lungs[place][at], (0, RIGHT, LEFT, AIRWAY))
    if view.drawn is not None:
        _outline(picture, (view.drawn[place][at] > 0).astype(np.uint8), (0, NODULE))
    else:
        _ring(picture, [(CLOSE_PIXELS - 1) / 2] * 2, view.nodules[number].diameter_mm / 2 / step + 1)
    return np.where(there, picture, np.uint8(0))


def _cut_out(array: NDArray[Any], axis: int, place: int) -> NDArray[Any]:
    return array[place] if axis == 0 else array[:, place]


def _shrink(plane: NDArray[Any], count: int, axis: int) -> NDArray[Any]:
    """Bring an axis to a number of pixels: means of neighbors, or the nearest where there are fewer voxels."""
    size = plane.shape[axis]
    if size <= count:
        return np.take(plane, _nearest(size, count), axis=axis)
    starts = np.arange(count) * size // count
    sums = np.add.reduceat(plane, starts, axis=axis, dtype=np.float32)
    lengths = np.diff(np.append(starts, size)).astype(np.float32)
    means: NDArray[Any] = sums / (lengths[:, None] if axis == 0 else lengths)
    return means


def _nearest(size: int, count: int) -> NDArray[np.int64]:
    return (2 * np.arange(count) + 1) * size // (2 * count)


def _outline(picture: Picture, labels: NDArray[Any], colors: tuple[int, ...]) -> None:
    """Color the pixels of each label that touch another one."""
    edge = np.zeros(labels.shape, np.bool_)
    upright = labels[1:] != labels[:-1]
    edge[1:] |= upright
    edge[:-1] |= upright
    across = labels[:, 1:] != labels[:, :-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    for label, color in enumerate(colors):
        if label:
            picture[edge & (labels == label)] = color


def _ring(picture: Picture, middle: Sequence[float], radius: float) -> None:
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    distance = np.hypot(rows - middle[0], columns - middle[1])
    picture[np.abs(distance - radius) < 0.7] = NODULE


def _join(shown: Sequence[tuple[str, int, int, Picture]]) -> tuple[Picture, tuple[Panel, ...]]:
    """Put slices side by side, and close-ups after them, two above each other."""
    panels: list[Panel] = []
    left = 0
    for plane, place, number, picture in shown:
        height, width = picture.shape
        lower = plane == "nodule" and bool(panels) and panels[-1].plane == plane and panels[-1].top == 0
        if lower:
            left, top = panels[-1].left, panels[-1].height + GAP
        else:
            top = 0 if plane == "nodule" else (HEIGHT - height) // 2
        panels.append(Panel(plane, left, top, width, height, place, number))
        left += width + GAP
    pixels = np.zeros((HEIGHT, left - GAP), np.uint8)
    for panel, (_, _, _, picture) in zip(panels, shown, strict=True):
        pixels[panel.top : panel.top + panel.height, panel.left : panel.left + panel.width] = picture
    return pixels, tuple(panels)


def _count(ct: Volume, unit_range: UnitRange | None, workers: int) -> HuHistogram:
    if unit_range is None:
        return count_hu(ct, workers=workers)

    offset = unit_range.mean * unit_range.width + unit_range.lower
    return HuHistogram(count_scaled(ct.array, scale=unit_range.width, offset=offset, workers=workers))


def _cut(unit_range: UnitRange | None) -> tuple[float, float] | None:
    return None if unit_range is None else (unit_range.lower, unit_range.upper)
