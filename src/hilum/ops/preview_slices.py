"""Slices of a scan as small pictures of few colors: gray in a window, with outlines of lungs and labels and rings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.ops import intensity
from hilum.ops.labels import overlay
from hilum.ops.quality.doubtful_places import DoubtfulPlace
from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG, Scan
from hilum.volume import Mask

Picture = NDArray[np.uint8]

GRAYS = 32  # Gray levels: enough for a small picture. On noise 256 levels take twice the bytes.

RIGHT_COLOR, LEFT_COLOR, AIRWAYS_COLOR, NODULE_COLOR = range(GRAYS, GRAYS + 4)  # palette indices, after the gray levels

DOUBT_RGB = (255, 80, 80)

COLORS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66))  # sky blue, orange, green, yellow (Okabe, Ito)

HEIGHT, WIDTH = 128, 160  # largest size of a slice in the strip, in pixels of 2 to 3 mm for an adult chest

CLOSE_PIXELS, CLOSE_MM = 62, 50.0  # side of a close-up in pixels and in mm

DOUBT_MM = 8.0  # smallest radius of the ring around a doubtful place

_LUNG_COLORS = {RIGHT_LUNG: RIGHT_COLOR, LEFT_LUNG: LEFT_COLOR, AIRWAYS: AIRWAYS_COLOR}

_LEVELS = np.rint(np.linspace(0, 255, GRAYS)).astype(np.uint8)
# Red, green and blue of each index, shape (36, 3).
PALETTE: Picture = np.vstack([np.repeat(_LEVELS[:, None], 3, axis=1), np.array(COLORS, np.uint8)])
# With the colors of labels after them, and that of the ring around a doubtful place.
LABEL_PALETTE: Picture = np.vstack([PALETTE, np.array(overlay.COLORS, np.uint8), np.array([DOUBT_RGB], np.uint8)])
DOUBT_COLOR = len(LABEL_PALETTE) - 1


@dataclass(frozen=True, eq=False)
class View:
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


def draw_slice(view: View, axis: int, index: int, place: DoubtfulPlace | None = None) -> Picture:
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


def draw_close_up(view: View, number: int, index: int) -> Picture:
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
