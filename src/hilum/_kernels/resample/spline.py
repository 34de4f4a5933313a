"""Separable interpolation of an array by cubic B-splines, lines or the nearest voxel.

The interpolating spline of Unser (IEEE Signal Processing Magazine 16(6):22-38, 1999): a recursive filter runs along
each axis forward and backward and turns samples into B-spline coefficients. An output is a weighted sum of four
coefficients along each axis. Beyond its edges the array continues with its edge samples; both directions of the filter
start from a closed form for this extension, so nothing is padded.

1. An axis whose positions are the samples themselves is skipped.
2. Lines are processed in blocks that are contiguous across lines, for the vector registers. The forward pass of a block
   goes into a buffer that fits the second-level cache, the backward pass from there into the outputs.
3. y and x are interpolated slice by slice; for x a block of rows is transposed into a buffer, and back afterward.
4. If z remains, the result goes to a float32 buffer for a band of rows, and from there along z into the output, rounded
   in the same pass. A band needs some rows beyond its own for the filter to settle.
5. An axis on which the grid gets coarser has no filter if its taps are `WideTaps`: an output is a weighted sum of all
   samples around it, in single precision (`hilum._kernels.resample.wide_sums`).
6. The weights include the filter's gain, so that a coefficient costs two multiply-adds.

Sums are in double precision, of values relative to a level near the mean. Buffers between axes have single precision.
A constant array stays exactly constant.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import read_only
from hilum._kernels.resample.spline_blocks import PAD, TAPS, WIDTH
from hilum._kernels.resample.spline_lines import copy_voxels, interpolate_lines, interpolate_planes, round_values
from hilum._kernels.resample.wide_taps import WideTaps
from hilum._kernels.simd.prefetch import empty_aligned
from hilum._kernels.threads import run_slabs

Voxels = NDArray[Any]
Indices = NDArray[np.int64]
Finish = tuple[float, float, float, float]  # level to add, lowest and highest value, and 0.5 to round to integers, or 0

_POLES = {3: 3.0**0.5 - 2.0, 1: 0.0}  # of the recursive filter by order; with a pole of 0, for linear, it does nothing

_SETTLE = 16  # rows after which the start of the filter has no effect: the pole to the 16th power is 7e-10

_BAND_BYTES, _BAND_ROWS = 64 << 20, 64
"""Largest buffer between the axes: fresh memory costs more than computing some rows twice. And the fewest rows of a
band, so that the rows computed twice are few."""


@dataclass(frozen=True, eq=False)
class Taps:
    """The coefficients of each output along one axis, and their weights.

    Parameters
    ----------
    size : int
        Number of input samples.
    first : ndarray of int64, shape (n,)
        First of the four coefficients of each output, counted from the start of the padded line; ascending.
    weights : ndarray of float64, shape (4 n,)
        Four for each output, the filter's gain included.
    pole : float
        The pole of the spline's prefilter; 0 for none.
    """

    size: int
    first: Indices
    weights: NDArray[np.float64]
    pole: float

    def part(self, start: int, stop: int) -> tuple[int, int, tuple[Any, ...]]:
        """The samples that the outputs `start` to `stop` need, first and one past the last; and their taps."""
        begin = max(0, int(self.first[start]) - PAD - _SETTLE)
        end = min(self.size, int(self.first[stop - 1]) - PAD + 4 + _SETTLE)
        return begin, end, (self.first[start:stop] - begin, self.weights[TAPS * start : TAPS * stop], self.pole)


def make_taps(positions: NDArray[np.float64], *, size: int, order: int) -> Taps | None:
    """Tabulate one axis.

    Parameters
    ----------
    positions : ndarray, shape (n,), ascending
        Where to interpolate, in input voxels, at most half a voxel outside.
    size : int
        Number of input samples.
    order : int
        3 for the cubic spline, 1 for linear interpolation.

    Returns
    -------
    Taps or None
        None where the positions are the samples.
    """
    if len(positions) == size and np.array_equal(positions, np.arange(size)):
        return None
    base = np.floor(positions)
    t = positions - base
    s = 1 - t
    if order == 3:
        weights = np.stack([s**3 / 6, 2 / 3 - t**2 * (2 - t) / 2, 2 / 3 - s**2 * (2 - s) / 2, t**3 / 6], axis=1)
    else:
        weights = np.stack([0 * t, s, t, 0 * t], axis=1)
    pole = _POLES[order]
    return Taps(size, base.astype(np.int64) - 1 + PAD, (weights * (1 - pole) ** 2).reshape(-1), pole)


def coefficient_taps(size: int) -> Taps:
    """Tabulate an axis so that `interpolate` gives the cubic spline's coefficients, with `PAD` beyond each end."""
    index, pole = np.arange(-PAD, size + PAD), _POLES[3]
    first = np.clip(index - 1, -PAD, size - PAD)
    weights = np.zeros((len(index), TAPS))
    weights[index + PAD, index - first] = (1 - pole) ** 2
    return Taps(size, first + PAD, weights.reshape(-1), pole)


AnyTaps = Taps | WideTaps | None


def interpolate(array: Voxels, z: AnyTaps, y: AnyTaps, x: AnyTaps, *, workers: int = 1) -> Voxels:
    """Interpolate along every axis that has taps.

    Parameters
    ----------
    array : ndarray of int16, uint8 or float32, shape (z, y, x)
        Any memory layout; finite.
    z, y, x : Taps, WideTaps or None
        None leaves an axis as it is.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    ndarray
        Of the input's type; integers are rounded half away from zero and clipped to their range.
    """
    shape = tuple(n if taps is None else len(taps.first) for n, taps in zip(array.shape, (z, y, x), strict=True))
    out = np.empty(shape, array.dtype)
    source = read_only(array)
    level = _middle(source)
    bounds = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
    finish = (level, float(bounds.min), float(bounds.max), 0.5) if bounds else (level, -np.inf, np.inf, 0.0)
    if y is None and x is None:
        if z is not None:
            _along_z(np.ascontiguousarray(source), out, 0, z, level, finish, workers)
        else:
            out[...] = array
        return out
    if z is None:
        _slices(source, out, y, x, finish, workers)
        return out
    bands = max(1, min(-(-len(array) * shape[1] * shape[2] * 4 // _BAND_BYTES), shape[1] // _BAND_ROWS))
    edges = [shape[1] * k // bands for k in range(bands + 1)]
    buffers = np.empty(len(array) * shape[2] * max(np.diff(edges)), np.float32)
    for top, bottom in pairwise(edges):
        band = buffers[: len(array) * shape[2] * (bottom - top)].reshape(len(array), bottom - top, shape[2])
        _band(source, band, (top, bottom), y, x, level, workers)
        _along_z(band, out, top, z, 0.0, finish, workers)
    return out


def nearest(array: Voxels, z: Indices, y: Indices, x: Indices, *, workers: int = 1) -> Voxels:
    """Pick voxels by their index along each axis, as ``array[np.ix_(z, y, x)]`` does.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        The voxels to pick from.
    z, y, x : ndarray of int64
        Indices inside the array.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray, shape (len(z), len(y), len(x))
    """
    source = read_only(np.ascontiguousarray(array))
    out = np.empty((len(z), len(y), len(x)), array.dtype)
    run_slabs(lambda a, b: copy_voxels(source, out, a, b, z, y, x), len(out), workers=workers)
    return out


def _arrays(taps: Taps | WideTaps | None) -> tuple[Any, ...]:
    if isinstance(taps, WideTaps):
        return taps.table(slice(None), 0, taps.size)
    return (np.empty(0, np.int64), np.empty(0), 0.0) if taps is None else (taps.first, taps.weights, taps.pole)


def _buffers(rows: int, columns: int, out_shape: tuple[int, int]) -> tuple[Voxels, ...]:
    """Buffers of `interpolate_planes`: a plane after y, the filter's rows, a block of lines before and after x."""
    high, wide = out_shape
    sizes = (high * columns, columns * WIDTH, wide * WIDTH)
    plane, before, after = (empty_aligned((size,), np.float32) for size in sizes)
    return plane, _work_rows(max(rows, columns)), before, after


def _work_rows(samples: int) -> NDArray[np.float64]:
    return empty_aligned(((samples + 2 * PAD) * WIDTH,), np.float64)


def _slices(source: Voxels, out: Voxels, y: AnyTaps, x: AnyTaps, finish: Finish, workers: int) -> None:
    """Interpolate along y and x only, and round."""
    rows, columns = source.shape[1:]
    out_shape, flat_out = out.shape[1:], out.reshape(-1)
    y_taps, x_taps = _arrays(y), _arrays(x)

    def work(a: int, b: int) -> None:
        one = np.empty(out_shape[0] * out_shape[1], np.float32)
        buffers = _buffers(rows, columns, out_shape)
        for k in range(a, b):
            flat = np.ascontiguousarray(source[k]).reshape(-1)
            interpolate_planes(flat, (1, rows, columns), (0, rows), one, out_shape, y_taps, x_taps, finish[0], buffers)
            round_values(one, flat_out, k * one.size, finish)

    run_slabs(work, len(source), workers=workers)


def _band(
    source: Voxels,
    band: NDArray[np.float32],
    rows: tuple[int, int],
    y: AnyTaps,
    x: AnyTaps,
    level: float,
    workers: int,
) -> None:
    """Interpolate along y and x into a buffer for some `rows` of the output: the first and one past the last."""
    top, bottom, y_taps = (*rows, _arrays(None)) if y is None else y.part(*rows)
    out_shape, x_taps = band.shape[1:], _arrays(x)

    def work(a: int, b: int) -> None:
        slab = np.ascontiguousarray(source[a:b])  # copies a slab of a rotated or cropped view, and nothing else
        buffers = _buffers(bottom - top, source.shape[2], out_shape)
        flat, flat_band = slab.reshape(-1), band[a:b].reshape(-1)
        interpolate_planes(flat, slab.shape, (top, bottom), flat_band, out_shape, y_taps, x_taps, level, buffers)

    run_slabs(work, len(source), workers=workers, slabs=16)  # also with one thread: keeps the copies small


def _along_z(
    source: Voxels, out: Voxels, top: int, z: Taps | WideTaps, level: float, finish: Finish, workers: int
) -> None:
    """Interpolate along z, less a level, into the rows of `out` from `top` on."""
    u, flat, flat_out = np.uint64, source.reshape(-1), out.reshape(-1)
    depth, columns, stride = u(len(source)), source[0].size, u(out[0].size)
    blocks = max(1, columns // WIDTH)  # the last one takes the rest, too
    taps = _arrays(z)

    def work(a: int, b: int) -> None:
        begin, end = a * WIDTH, columns if b == blocks else b * WIDTH
        to, rows = u(top * out.shape[2] + begin), _work_rows(len(source))
        interpolate_lines(
            flat, u(begin), u(columns), depth, u(end - begin), taps, level, flat_out, to, stride, finish, rows
        )

    run_slabs(work, blocks, workers=workers)


def _middle(array: Voxels) -> float:
    """The value of a coarse sample that is closest to the sample's mean; exact for a constant array."""
    sample = array[tuple(slice(None, None, max(1, n // 16)) for n in array.shape)].astype(np.float64)
    return float(sample.flat[np.abs(sample - sample.mean()).argmin()])
