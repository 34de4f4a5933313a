"""Sets of voxels as bits: 64 voxels of a row in one word, so that a whole chest fits into the cache.

A set of voxels of a volume of shape (z, y, x) is a uint64 array of shape (z, y, ceil(x / 64)); bit ``k`` of word
``j`` is the voxel at ``x = 64 j + k``. Bits past the end of a row are always 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]

Shape = tuple[int, int, int]


def _count_trailing_zeros(context: Any, word: Any) -> Any:  # noqa: ARG001 - numba's protocol
    """Position of the lowest set bit of a uint64, one machine instruction; 64 for 0."""
    from llvmlite import ir
    from numba import types

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), code


def _count_ones(context: Any, word: Any) -> Any:  # noqa: ARG001 - numba's protocol
    """Number of set bits of a uint64, one machine instruction."""
    from numba import types

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


count_trailing_zeros = Intrinsic(_count_trailing_zeros)
count_ones = Intrinsic(_count_ones)


@kernel()
def _pack(volume: Any, low: Any, high: Any, bits: Any, start: int, stop: int) -> None:
    nx = volume.shape[2]
    full = nx // 64
    for z in range(start, stop):
        for y in range(volume.shape[1]):
            row = volume[z, y]
            for j in range(full):
                word = np.uint64(0)
                for k in range(64):
                    value = row[64 * j + k]
                    word |= np.uint64((value >= low) & (value <= high)) << np.uint64(k)
                bits[z, y, j] = word
            if 64 * full < nx:
                word = np.uint64(0)
                for k in range(nx - 64 * full):
                    value = row[64 * full + k]
                    word |= np.uint64((value >= low) & (value <= high)) << np.uint64(k)
                bits[z, y, full] = word


@kernel()
def _unpack(bits: Any, label: Any, out: Any, start: int, stop: int) -> None:
    nx = out.shape[2]
    for z in range(start, stop):
        for y in range(bits.shape[1]):
            for j in range(bits.shape[2]):
                word = bits[z, y, j]
                if word == np.uint64(0):
                    continue
                base = 64 * j
                if word == ~np.uint64(0):
                    out[z, y, base : base + 64] = label
                    continue
                for k in range(min(64, nx - base)):
                    if (word >> np.uint64(k)) & np.uint64(1):
                        out[z, y, base + k] = label


@kernel()
def _count(bits: Any, counts: Any, start: int, stop: int) -> None:
    for z in range(start, stop):
        total = np.uint64(0)
        for y in range(bits.shape[1]):
            for j in range(bits.shape[2]):
                total += count_ones(bits[z, y, j])
        counts[z] = np.int64(total)


@kernel()
def _combine(volume: Any, seen: Any, start: int, stop: int) -> None:
    for z in range(start, stop):
        every = np.uint8(0)
        for y in range(volume.shape[1]):
            for value in volume[z, y]:
                every |= value
        seen[z] = every


def _words(nx: int) -> int:
    return (nx + 63) // 64


def tail_mask(nx: int) -> np.uint64:
    """The bits of a row's last word that are voxels."""
    return np.uint64((1 << (nx - 64 * (_words(nx) - 1))) - 1)


def empty(shape: Shape) -> Bits:
    """A set without voxels.

    Parameters
    ----------
    shape : tuple of int, (z, y, x)

    Returns
    -------
    ndarray of uint64, shape (z, y, ceil(x / 64))
    """
    return np.zeros((shape[0], shape[1], _words(shape[2])), np.uint64)


def between(volume: NDArray[Any], low: float, high: float, *, workers: int = 0) -> Bits:
    """The voxels whose value lies between two bounds, both included.

    Parameters
    ----------
    volume : ndarray of int16, uint8 or float32, shape (z, y, x)
    low, high : float
        For integers they must be whole numbers within the range of the type.
    workers : int

    Returns
    -------
    ndarray of uint64, shape (z, y, ceil(x / 64))
    """
    volume = np.ascontiguousarray(volume).view()
    volume.flags.writeable = False  # one compiled kernel, whoever calls
    bits = np.empty((*volume.shape[:2], _words(volume.shape[2])), np.uint64)
    kind = volume.dtype.type
    run_slabs(lambda a, b: _pack(volume, kind(low), kind(high), bits, a, b), volume.shape[0], workers=workers)
    return bits


def at_most(volume: NDArray[Any], limit: float, *, workers: int = 0) -> Bits:
    """The voxels whose value is not above a limit; of HU as int16, or as any other number taken as float32.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
    limit : float
        Within the range of the type.
    workers : int

    Returns
    -------
    ndarray of uint64, shape (z, y, ceil(x / 64))
    """
    if volume.dtype == np.int16:
        return between(volume, -32768, int(np.floor(limit)), workers=workers)
    return between(np.asarray(volume, np.float32), -np.inf, limit, workers=workers)


def below(volume: NDArray[Any], limit: float, *, workers: int = 0) -> Bits:
    """The voxels whose value is below a limit; as `at_most` without the limit itself."""
    if volume.dtype == np.int16:
        return at_most(volume, int(np.ceil(limit)) - 1, workers=workers)
    return at_most(volume, float(np.nextafter(np.float32(limit), np.float32(-np.inf))), workers=workers)


def paint(bits: Bits, out: NDArray[np.uint8], *, label: int = 1, workers: int = 0) -> NDArray[np.uint8]:
    """Write a label where the set has voxels, and leave the others as they are.

    Parameters
    ----------
    bits : ndarray of uint64, shape (z, y, ceil(x / 64))
    out : ndarray of uint8, shape (z, y, x)
        Changed in place.
    label : int
    workers : int

    Returns
    -------
    ndarray of uint8
        `out`.
    """
    run_slabs(lambda a, b: _unpack(bits, np.uint8(label), out, a, b), out.shape[0], workers=workers)
    return out


def complement(bits: Bits, nx: int) -> Bits:
    """The voxels that are not in the set.

    Parameters
    ----------
    bits : ndarray of uint64, shape (z, y, ceil(x / 64))
    nx : int
        Length of a row, in voxels.

    Returns
    -------
    ndarray of uint64
    """
    out = ~bits
    out[..., -1] &= tail_mask(nx)
    return out


def count(bits: Bits, *, workers: int = 0) -> NDArray[np.int64]:
    """Number of voxels of the set in each plane, shape (z,)."""
    counts = np.zeros(bits.shape[0], np.int64)
    run_slabs(lambda a, b: _count(bits, counts, a, b), bits.shape[0], workers=workers)
    return counts


@kernel()
def _bounds(bits: Any, bounds: Any) -> None:
    nz, ny, nw = bits.shape
    for z in range(nz):
        for y in range(ny):
            for j in range(nw):
                if bits[z, y, j]:
                    bounds[0], bounds[3] = min(bounds[0], z), z + 1
                    bounds[1], bounds[4] = min(bounds[1], y), max(bounds[4], y + 1)
                    bounds[2], bounds[5] = min(bounds[2], j), max(bounds[5], j + 1)


def box(bits: Bits) -> tuple[slice, slice, slice] | None:
    """Planes, rows and words between which all voxels of the set lie, or None for an empty set."""
    bounds = np.array([*bits.shape, 0, 0, 0])
    _bounds(bits, bounds)
    z0, y0, w0, z1, y1, w1 = bounds.tolist()
    return (slice(z0, z1), slice(y0, y1), slice(w0, w1)) if z1 else None


@kernel()
def _list(bits: Any, places: Any) -> None:
    at = 0
    for z in range(bits.shape[0]):
        for y in range(bits.shape[1]):
            for j in range(bits.shape[2]):
                word = bits[z, y, j]
                while word != np.uint64(0):
                    places[at, 0], places[at, 1] = z, y
                    places[at, 2] = 64 * j + np.int64(count_trailing_zeros(word))
                    word &= word - np.uint64(1)
                    at += 1


def places(bits: Bits) -> NDArray[np.int64]:
    """The voxels of the set in raster order, shape (n, 3): z, y, x."""
    found = np.empty((int(count(bits, workers=1).sum()), 3), np.int64)
    _list(bits, found)
    return found


def margin(inside: tuple[slice, ...], by: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box made larger on all sides by some planes, rows and words, as far as the volume's words reach."""
    return tuple(slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in zip(inside, by, shape, strict=True))


def labels_in(array: NDArray[np.uint8], *, workers: int = 0) -> tuple[int, ...]:
    """The labels that occur in an array, without 0, ascending.

    Parameters
    ----------
    array : ndarray of uint8, shape (z, y, x)
    workers : int

    Returns
    -------
    tuple of int
    """
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    seen = np.zeros(array.shape[0], np.uint8)
    run_slabs(lambda a, b: _combine(array, seen, a, b), array.shape[0], workers=workers)
    every = int(np.bitwise_or.reduce(seen))
    if every & (every - 1) == 0:  # one bit at most: that value or 0, no need to look closer
        return (every,) if every else ()
    candidates = [value for value in range(1, 256) if not value & ~every]
    return tuple(value for value in candidates if between(array, value, value, workers=workers).any())
