"""How much of each voxel of a grid a label covers.

If the axes of both grids are parallel, the share of a voxel is the product of the overlaps along the three axes, which
the kernel of linear interpolation computes with other weights. Otherwise samples inside each voxel are counted.
"""

from dataclasses import dataclass
from math import ceil, floor
from typing import NamedTuple
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import read_only
from hilum._kernels.resample.label_shares import SAMPLES, count_samples, measure_runs, paint_whole
from hilum._kernels.resample.spline import Taps, interpolate
from hilum._kernels.resample.spline_blocks import PAD, TAPS
from hilum._kernels.threads import run_slabs
from hilum.geometry import Box, Geometry
from hilum.volume import Mask

WHOLE = 240  # the share of a voxel that a label covers completely; shares are uint8

_MARGIN = TAPS  # zeros around a label: the taps of an output voxel that it touches reach so far
_WIDEST = 3.0  # source voxels in an output voxel that four neighbors cover wherever it lies


@dataclass(frozen=True)
class Axis:
    """Where the voxels of an output axis lie on the source's: the center of voxel i at ``step * i + first``."""

    step: float
    first: float
    size: int

    def touching(self, start: int, stop: int) -> slice:
        """The output voxels that touch the source voxels from `start` to before `stop`."""
        low = (start - 0.5 - self.first) / self.step - 0.5
        high = (stop - 0.5 - self.first) / self.step + 0.5
        first, last = max(0, floor(low)), min(self.size, ceil(high) + 1)
        return slice(first, max(first, last))

    def overlaps(self, voxels: slice, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """For output voxels, the first source voxel that each touches, and the shares of it in `count` from there."""
        left = self.step * (np.arange(voxels.start, voxels.stop) - 0.5) + self.first
        first = np.floor(left + 0.5)
        edges = first[:, None] - 0.5 + np.arange(count + 1)
        covered = np.clip(edges, left[:, None], left[:, None] + self.step)
        return first.astype(np.int64), np.diff(covered, axis=1) / self.step


class LabelExtent(NamedTuple):
    """How many voxels a label has, and their box."""

    voxels: int
    box: Box


_measured: dict[int, dict[int, LabelExtent]] = {}  # by the id of a mask, as long as it lives; `==` compares voxels


def measure_labels(array: NDArray[np.uint8], *, workers: int = 1) -> dict[int, LabelExtent]:
    """Count the voxels of each label, and find its box.

    Parameters
    ----------
    array : ndarray of uint8, shape (z, y, x)
        The labels, 0 for background.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    dict of int to LabelExtent
        By value, ascending; 0 and values that are not there are left out.
    """
    depth, rows, columns = array.shape
    flat = read_only(np.ascontiguousarray(array).reshape(-1))
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    tables = list[NDArray[np.int64]]()

    def measure(begin: int, end: int) -> None:
        table = np.tile(np.array([0, *[np.iinfo(np.int64).max, -1] * 3], np.int64), (256, 1))
        measure_runs(flat, words, columns, rows, table, begin, end)
        tables.append(table)

    run_slabs(measure, depth, workers=workers)
    voxels = np.sum([table[:, 0] for table in tables], axis=0)
    low = np.min([table[:, 1::2] for table in tables], axis=0)
    high = np.max([table[:, 2::2] for table in tables], axis=0) + 1
    return {
        value: LabelExtent(int(voxels[value]), (slice(z0, z1), slice(y0, y1), slice(x0, x1)))
        for value in np.flatnonzero(voxels).tolist()
        for (z0, y0, x0), (z1, y1, x1) in [(low[value].tolist(), high[value].tolist())]
    }


def label_extents(mask: Mask, *, workers: int = 1) -> dict[int, LabelExtent]:
    """As `measure_labels`; a mask never changes, so it is read once.

    Parameters
    ----------
    mask : Mask
        The labels, 0 for background.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    dict of int to LabelExtent
    """
    if (found := _measured.get(id(mask))) is None:
        found = _measured[id(mask)] = measure_labels(mask.array, workers=workers)
        finalize(mask, _measured.pop, id(mask), None)
    return found


def parallel_shares(
    array: NDArray[np.uint8], value: int, box: Box, axes: tuple[Axis, Axis, Axis], *, workers: int
) -> tuple[Box, NDArray[np.uint8]]:
    """The shares of a label in the voxels of a grid with parallel axes.

    Parameters
    ----------
    array : ndarray of uint8, shape (z, y, x)
        The labels, 0 for background.
    value : int
        The label.
    box : Box
        Of the label in `array`.
    axes : tuple of Axis
        Of the output, each along the same axis of `array`, in the same direction.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Box
        The output voxels that the label touches.
    ndarray of uint8
        The share of each, `WHOLE` for all of it.
    """
    z, y, x = (axis.touching(side.start, side.stop) for axis, side in zip(axes, box, strict=True))
    if not all(side.stop > side.start for side in (z, y, x)):
        return (z, y, x), np.zeros([side.stop - side.start for side in (z, y, x)], np.uint8)
    source = array[box]
    label = np.zeros([size + 2 * _MARGIN for size in source.shape], np.uint8)
    inner = label[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    for plane, marked in zip(source, inner, strict=True):  # by planes: no large array is made on the way
        np.multiply(plane == value, np.uint8(WHOLE), out=marked)
    taps: list[Taps | None] = []
    for k, (axis, side, voxels) in enumerate(zip(axes, box, (z, y, x), strict=True)):
        if axis.step > _WIDEST:
            label = _averaged(label, axis, side.start - _MARGIN, voxels, k)
            taps.append(None)
        else:
            first, shares = axis.overlaps(voxels, TAPS)
            taps.append(Taps(label.shape[k], first - side.start + _MARGIN + PAD, shares.reshape(-1), 0.0))
    return (z, y, x), interpolate(label, *taps, workers=workers)


def _averaged(label: NDArray[np.uint8], axis: Axis, start: int, voxels: slice, k: int) -> NDArray[np.uint8]:
    """The means of a label over output voxels that are wide along one axis; its first voxel has the index `start`."""
    count = ceil(axis.step) + 1
    first, shares = axis.overlaps(voxels, count)
    lines = np.moveaxis(label, k, 0)
    out = np.zeros((len(first), *lines.shape[1:]), np.float32)
    for tap in range(count):
        index = first - start + tap
        inside = (index >= 0) & (index < len(lines))
        out[inside] += shares[inside, tap, None, None].astype(np.float32) * lines[index[inside]]
    return np.ascontiguousarray(np.moveaxis(np.rint(out).astype(np.uint8), 0, k))


def sampled_shares(
    mask: Mask, value: int, box: Box, geometry: Geometry, *, workers: int
) -> tuple[Box, NDArray[np.uint8]]:
    """The shares of a label in the voxels of any grid; as `parallel_shares`."""
    corners = np.array(np.meshgrid(*((side.start - 0.5, side.stop - 0.5) for side in box))).reshape(3, 8).T
    index = geometry.world_to_index(mask.geometry.index_to_world(corners))
    low = np.clip(np.floor(index.min(axis=0)), 0, geometry.shape).astype(int)
    high = np.clip(np.ceil(index.max(axis=0)) + 1, low, geometry.shape).astype(int)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    counts = np.zeros(tuple((high - low).tolist()), np.uint8)
    if counts.size:
        step = (mask.geometry.inverse_affine @ geometry.affine)[:3].copy()
        step[:, 3] += step[:, :3] @ low
        source = read_only(np.ascontiguousarray(mask.array))
        run_slabs(lambda a, b: count_samples(source, value, step, counts, a, b), len(counts), workers=workers)
    shares = np.rint(counts * np.float32(WHOLE / SAMPLES**3)).astype(np.uint8)
    return (z, y, x), shares


def paint(shares: NDArray[np.uint8], out: NDArray[np.uint8], value: int, *, workers: int) -> None:
    """Give a value to the voxels that a label covers completely.

    Parameters
    ----------
    shares, out : ndarray of uint8, of the same shape
        How much of each voxel the label covers, and the labels to change.
    value : int
        The label.
    workers : int
        Threads; 0 for one per available core.
    """
    source = read_only(shares)
    run_slabs(lambda a, b: paint_whole(source, WHOLE, out, value, a, b), len(out), workers=workers)
