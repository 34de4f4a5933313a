"""Separable interpolation of an array by cubic B-splines, lines or the nearest voxel.

The interpolating spline of Unser (IEEE Signal Processing Magazine 16(6):22-38, 1999): a recursive filter that runs
along each axis forth and back turns samples into B-spline coefficients, and an output is a weighted sum of four
coefficients an axis. Beyond its edges the array goes on forever with its edge samples; for that extension both
directions of the filter start from a closed form, so nothing is padded.

1. An axis whose positions are the samples themselves is left out.
2. Lines are done in blocks that lie side by side in memory, as vector registers like it. Each block goes forth into a
   buffer that the second cache holds, and back from there into the outputs.
3. y and x are done slice by slice; for x a block of rows is transposed into a buffer first, and back afterwards.
4. Where z is left, the result goes to a float32 buffer for a band of rows, and from there along z into the output,
   rounded in the same pass. A band needs some rows more than its own for the filter to settle.
5. The filter's gain is part of the weights, so that a coefficient costs two multiply-adds.

Sums are made in double precision of values relative to a level near the mean: what is stored between axes is
single precision, and a constant array stays exactly constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.resample.spline_blocks import PAD, TAPS, WIDTH
from hilum._kernels.resample.spline_lines import pick, planes, settle, stack
from hilum._kernels.simd.prefetch import aligned
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

Finish = tuple[float, float, float, float]
"""Level to add, lowest and highest value, and what is added before a value is cut to a whole number: half, or zero."""

_POLES = {3: 3.0**0.5 - 2.0, 1: 0.0}
"""Pole of the recursive filter; lines need none, and with a pole of zero the filter does nothing."""

_SETTLE = 16
"""Rows after which the filter has forgotten its start: the pole to the 16th power is 7e-10."""

_BAND_BYTES, _BAND_ROWS = 64 << 20, 64
"""Memory that the buffer between the axes may take, as fresh memory costs more than the rows done twice; and rows that
a band has at the least, so that those are few beside its own."""


@dataclass(frozen=True, eq=False)
class Taps:
    """Which coefficients make each output along one axis, and with what weights.

    Parameters
    ----------
    size : int
        Number of input samples.
    first : ndarray of int64, shape (n,)
        First of the four coefficients of each output, counted from the start of the padded line; ascending.
    weights : ndarray of float64, shape (4 n,)
        Four for each output, the filter's gain included.
    pole : float
    """

    size: int
    first: NDArray[np.int64]
    weights: NDArray[np.float64]
    pole: float

    def part(self, start: int, stop: int) -> tuple[int, int, tuple[Any, ...]]:
        """The samples that the outputs `start` to `stop` need, as first and one past the last, and their taps."""
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
        3 for the cubic spline, 1 for lines.

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


def interpolate(
    array: NDArray[Any], z: Taps | None, y: Taps | None, x: Taps | None, *, workers: int = 1
) -> NDArray[Any]:
    """Interpolate along every axis that has taps.

    Parameters
    ----------
    array : ndarray of int16, uint8 or float32, shape (z, y, x)
        Any memory layout; finite.
    z, y, x : Taps or None
        None leaves an axis as it is.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    ndarray
        Of the input's type; integers are rounded half away from zero and kept within their range.
    """
    shape = tuple(n if taps is None else len(taps.first) for n, taps in zip(array.shape, (z, y, x), strict=True))
    out = np.empty(shape, array.dtype)
    source = array.view()
    source.flags.writeable = False  # one compiled version, for writable arrays as for a volume's
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
    room = np.empty(len(array) * shape[2] * max(np.diff(edges)), np.float32)
    for top, bottom in pairwise(edges):
        band = room[: len(array) * shape[2] * (bottom - top)].reshape(len(array), bottom - top, shape[2])
        _band(source, band, (top, bottom), y, x, level, workers)
        _along_z(band, out, top, z, 0.0, finish, workers)
    return out


def nearest(
    array: NDArray[Any],
    z: NDArray[np.int64],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    *,
    workers: int = 1,
) -> NDArray[Any]:
    """Pick voxels by their index along each axis, as ``array[np.ix_(z, y, x)]`` does.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
    z, y, x : ndarray of int64
        Indices inside the array.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray, shape (len(z), len(y), len(x))
    """
    source = np.ascontiguousarray(array).view()
    source.flags.writeable = False
    out = np.empty((len(z), len(y), len(x)), array.dtype)
    run_slabs(lambda a, b: pick(source, out, a, b, z, y, x), len(out), workers=workers)
    return out


def _arrays(taps: Taps | None) -> tuple[Any, ...]:
    empty = (np.empty(0, np.int64), np.empty(0), 0.0)
    return empty if taps is None else (taps.first, taps.weights, taps.pole)


def _room(rows: int, columns: int, made: tuple[int, int]) -> tuple[NDArray[Any], ...]:
    """Buffers of `planes`: a plane after y, the filter's lines, a block of lines before and after x."""
    high, wide = made
    sizes = (high * columns, columns * WIDTH, wide * WIDTH)
    plane, before, after = (aligned((size,), np.float32) for size in sizes)
    return plane, _working(max(rows, columns)), before, after


def _working(samples: int) -> NDArray[np.float64]:
    return aligned(((samples + 2 * PAD) * WIDTH,), np.float64)


def _slices(
    source: NDArray[Any], out: NDArray[Any], y: Taps | None, x: Taps | None, finish: Finish, workers: int
) -> None:
    """Interpolate along y and x only, and round."""
    rows, columns = source.shape[1:]
    made, flat_out = out.shape[1:], out.reshape(-1)

    def work(a: int, b: int) -> None:
        one = np.empty(made[0] * made[1], np.float32)
        room = _room(rows, columns, made)
        for k in range(a, b):
            flat = np.ascontiguousarray(source[k]).reshape(-1)
            planes(flat, (1, rows, columns), (0, rows), one, made, _arrays(y), _arrays(x), finish[0], room)
            settle(one, flat_out, k * one.size, finish)

    run_slabs(work, len(source), workers=workers)


def _band(
    source: NDArray[Any],
    band: NDArray[np.float32],
    rows: tuple[int, int],
    y: Taps | None,
    x: Taps | None,
    level: float,
    workers: int,
) -> None:
    """Interpolate along y and x into a buffer for the output's rows from the first to one before the second."""
    top, bottom, y_taps = (*rows, _arrays(None)) if y is None else y.part(*rows)
    made = band.shape[1:]

    def work(a: int, b: int) -> None:
        slab = np.ascontiguousarray(source[a:b])  # a copy only for a turned or cropped view, and only of a slab
        room = _room(bottom - top, source.shape[2], made)
        flat, flat_band = slab.reshape(-1), band[a:b].reshape(-1)
        planes(flat, slab.shape, (top, bottom), flat_band, made, y_taps, _arrays(x), level, room)

    run_slabs(work, len(source), workers=workers, slabs=16)  # as many with one thread, for the copy's sake


def _along_z(
    source: NDArray[Any], out: NDArray[Any], top: int, z: Taps, level: float, finish: Finish, workers: int
) -> None:
    """Interpolate along z, less a level, into the rows of `out` from `top` on."""
    depth, columns = len(source), source[0].size
    flat, flat_out, taps = source.reshape(-1), out.reshape(-1), _arrays(z)
    sizes = (depth, columns, out[0].size, top * out.shape[2])
    blocks = max(1, columns // WIDTH)  # the last has what is left over, too

    def work(a: int, b: int) -> None:
        end = columns if b == blocks else b * WIDTH
        stack(flat, flat_out, a * WIDTH, end, sizes, taps, level, finish, _working(depth))

    run_slabs(work, blocks, workers=workers)


def _middle(array: NDArray[Any]) -> float:
    """The value, of a coarse sample, that is closest to the sample's mean: exact for a constant array."""
    sample = array[tuple(slice(None, None, max(1, n // 16)) for n in array.shape)].astype(np.float64)
    return float(sample.flat[np.abs(sample - sample.mean()).argmin()])
