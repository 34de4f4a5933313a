"""Put parallel planes on a straight grid: shift each one within itself, and interpolate between them along z."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from hilum._kernels.resample.spline import Taps

_NEGLIGIBLE = 1e-3  # a shift of so few voxels is no shift
_DTYPES = ("int16", "uint8", "float32")  # that the kernels interpolate


def place_planes(
    array: NDArray[Any],
    places: NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    fill: float,
    order: int = 3,
    workers: int = 0,
) -> NDArray[Any]:
    """Put parallel planes on a straight grid.

    A plane is interpolated within itself alone, so that nothing is mixed across planes that lie on the grid. The cubic
    is that of Keys: unlike the spline's, its weights end after two voxels, so an edge changes nothing farther away.
    The result cannot leave the range of the voxels on both sides, so that an edge does not ring.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        The planes in order.
    places : ndarray, shape (z, 3), (z, y, x)
        Where the first voxel of each plane lies, in voxels of the grid; z ascends.
    shape : tuple of int, (z, y, x)
        Of the grid; every plane lies inside it, to half a voxel.
    fill : float
        The value beside a plane.
    order : {3, 0}
        Cubic convolution or nearest voxel within a plane. Between planes labels (0) take the nearest plane; the
        others are interpolated linearly.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray, shape `shape`
        Of the input's type.

    Notes
    -----
    Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics, Speech, and
    Signal Processing 29(6):1153-1160, 1981.
    """
    heights, shifts = places[:, 0], places[:, 1:]
    if shape[1:] == array.shape[1:] and np.abs(shifts).max() <= _NEGLIGIBLE:
        return _between(array, heights, shape[0], order)
    if (heights == np.rint(heights)).all():
        out = np.full(shape, fill, array.dtype)
        planes = heights.astype(int).tolist()
        _shift(array, shifts, out, planes, order, workers)
        fill_planes(out, planes, order=order)
        return out
    shifted = np.full((len(array), *shape[1:]), fill, array.dtype)
    _shift(array, shifts, shifted, list(range(len(array))), order, workers)
    return _between(shifted, heights, shape[0], order)


def fill_planes(volume: NDArray[Any], planes: Sequence[int], *, order: int = 1) -> None:
    """Interpolate the other planes between the two neighbors that are there, in place.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
        Changed in place.
    planes : sequence of int
        The planes that are there, ascending; includes the first and the last plane.
    order : int
        0 takes the nearest plane, any other is linear.
    """
    for low, high in pairwise(planes):
        for k in range(low + 1, high):
            if order == 0:
                volume[k] = volume[high if 2 * (k - low) >= high - low else low]
            else:  # whole weights keep the sum of integers exact; only the result is rounded
                wide = np.promote_types(np.int64, volume.dtype)
                total = volume[low].astype(wide) * (high - k) + volume[high].astype(wide) * (k - low)
                volume[k] = _rounded(total / (high - low), volume.dtype)


def _between(array: NDArray[Any], heights: NDArray[np.float64], count: int, order: int) -> NDArray[Any]:
    """The planes 0, 1, ... of the grid from planes at ascending heights; beyond the ends the last plane is repeated."""
    out = np.empty((count, *array.shape[1:]), array.dtype)
    for k in range(count):
        above = int(np.searchsorted(heights, k))
        if above == len(heights) or above == 0 or heights[above] == k:
            out[k] = array[min(above, len(heights) - 1)]
        else:
            low, high = heights[above - 1], heights[above]
            out[k] = _mix(array[above - 1], array[above], (k - low) / (high - low), order)
    return out


def _mix(low: NDArray[Any], high: NDArray[Any], share: float, order: int) -> NDArray[Any]:
    if order == 0:
        return high if share >= 0.5 else low
    return _rounded(low * (1 - share) + high * share, low.dtype)


def _rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return (np.rint(values) if dtype.kind in "iu" else values).astype(dtype, copy=False)


def _shift(
    array: NDArray[Any], shifts: NDArray[np.float64], out: NDArray[Any], planes: list[int], order: int, workers: int
) -> None:
    """Copy each plane into its plane of `out`, with its first voxel at its shift."""
    rows, columns = array.shape[1:]
    room = np.array(out.shape[1:]) - (rows, columns)
    whole = np.clip(np.floor(shifts + 0.5), 0, room).astype(int)
    rest = whole - shifts

    def work(start: int, stop: int) -> None:
        for k in range(start, stop):
            y, x = whole[k].tolist()
            out[planes[k], y : y + rows, x : x + columns] = _interpolated(array[k], rest[k].tolist(), order)

    run_slabs(work, len(array), workers=workers)


def _interpolated(plane: NDArray[Any], parts: list[float], order: int) -> NDArray[Any]:
    """A plane at positions that lie these parts of a voxel after its voxels, along y and x."""
    from hilum._kernels.resample.spline import interpolate  # late: few stacks are shifted

    moved = [axis for axis, part in enumerate(parts) if abs(part) > _NEGLIGIBLE] if order else []
    if not moved:
        return plane
    values = plane if plane.dtype.name in _DTYPES else plane.astype(np.float32)
    taps = [
        _taps(size, part) if k in moved else None for k, (size, part) in enumerate(zip(plane.shape, parts, strict=True))
    ]
    fine = interpolate(np.ascontiguousarray(values)[None], None, *taps)[0]
    low = high = values
    for axis in moved:
        low, high = (
            least(part, _next(part, axis, parts[axis])) for least, part in ((np.minimum, low), (np.maximum, high))
        )
    return _rounded(np.clip(fine, low, high, out=fine), plane.dtype)


def _taps(size: int, part: float) -> "Taps":
    from hilum._kernels.resample.spline import Taps
    from hilum._kernels.resample.spline_blocks import PAD

    base, t = (0, part) if part > 0 else (-1, 1 + part)
    s = 1 - t
    weights = (-t * s * s / 2, 1 - t * t * (2.5 - 1.5 * t), 1 - s * s * (2.5 - 1.5 * s), -s * t * t / 2)
    return Taps(size, np.arange(size) + base - 1 + PAD, np.tile(weights, size), 0.0)


def _next(values: NDArray[Any], axis: int, part: float) -> NDArray[Any]:
    """The next voxel along an axis, on the side of a part of a voxel; the last one is repeated."""
    size = values.shape[axis]
    return values.take(np.clip(np.arange(size) + (1 if part > 0 else -1), 0, size - 1), axis)
