"""Bit masks from volumes, labels and lists of voxels; and back to arrays, counts, boxes and lists."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import BitMask, Box, Shape
from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.threads import run_slabs


def _word_intrinsic(emit: Callable[[Any, Any], Any]) -> Intrinsic:
    """Make an intrinsic that turns one uint64 into another with one machine instruction."""

    def declare(_context: Any, word: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return emit(builder, arguments[0])

        return word(word), code

    return Intrinsic(declare)


def _trailing_zeros(builder: Any, word: Any) -> Any:
    from llvmlite import ir

    return builder.cttz(word, ir.IntType(1)(0))


count_trailing_zeros = _word_intrinsic(_trailing_zeros)  # position of the lowest set bit of a uint64; 64 for 0

count_ones = _word_intrinsic(lambda builder, word: builder.ctpop(word))  # number of set bits of a uint64


@kernel()
def _threshold(volume: Any, low: Any, high: Any, words: Any, start: int, stop: int) -> None:
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
                words[z, y, j] = word
            if 64 * full < nx:
                word = np.uint64(0)
                for k in range(nx - 64 * full):
                    value = row[64 * full + k]
                    word |= np.uint64((value >= low) & (value <= high)) << np.uint64(k)
                words[z, y, full] = word


@kernel()
def _write_label(words: Any, label: Any, out: Any, start: int, stop: int) -> None:
    nx = out.shape[2]
    for z in range(start, stop):
        for y in range(words.shape[1]):
            for j in range(words.shape[2]):
                word = words[z, y, j]
                if word == np.uint64(0):
                    continue
                base = 64 * j
                if word == ~np.uint64(0):
                    out[z, y, base : base + 64] = label
                    continue
                for k in range(min(64, nx - base)):
                    if (word >> np.uint64(k)) & np.uint64(1):
                        out[z, y, base + k] = label


def threshold(volume: NDArray[Any], low: float, high: float, *, workers: int = 1) -> BitMask:
    """The voxels whose value lies between two bounds, both included.

    Parameters
    ----------
    volume : ndarray of int16, uint8 or float32, shape (z, y, x)
        The voxels to compare.
    low, high : float
        For integers they must be whole numbers within the range of the type.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    BitMask
    """
    volume = read_only(np.ascontiguousarray(volume))
    mask = BitMask.empty(volume.shape)
    bounds = volume.dtype.type(low), volume.dtype.type(high)
    run_slabs(lambda a, b: _threshold(volume, *bounds, mask.words, a, b), volume.shape[0], workers=workers)
    return mask


def at_most(volume: NDArray[Any], limit: float, *, workers: int = 1) -> BitMask:
    """The voxels whose value is at most a limit. Values other than int16 are compared as float32.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
        The voxels to compare.
    limit : float
        Within the range of the type.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    BitMask
    """
    if volume.dtype == np.int16:
        return threshold(volume, -32768, int(np.floor(limit)), workers=workers)
    return threshold(np.asarray(volume, np.float32), -np.inf, limit, workers=workers)


def below(volume: NDArray[Any], limit: float, *, workers: int = 1) -> BitMask:
    """The voxels whose value is less than a limit; otherwise as `at_most`."""
    if volume.dtype == np.int16:
        return at_most(volume, int(np.ceil(limit)) - 1, workers=workers)
    return at_most(volume, float(np.nextafter(np.float32(limit), np.float32(-np.inf))), workers=workers)


def equal(labels: NDArray[np.uint8], label: int, *, workers: int = 1) -> BitMask:
    """The voxels that have a label, in an array of shape (z, y, x)."""
    return threshold(labels, label, label, workers=workers)


def pack(array: NDArray[np.bool_], *, workers: int = 1) -> BitMask:
    """Turn a boolean array of shape (z, y, x) into a bit mask."""
    return threshold(np.ascontiguousarray(array).view(np.uint8), 1, 1, workers=workers)


def unpack(mask: BitMask, *, workers: int = 1) -> NDArray[np.bool_]:
    """Turn a bit mask into a boolean array of shape (z, y, x)."""
    return write_label(mask, np.zeros(mask.shape, np.uint8), workers=workers).view(np.bool_)


def write_label(mask: BitMask, out: NDArray[np.uint8], *, label: int = 1, workers: int = 1) -> NDArray[np.uint8]:
    """Write a label where the mask has voxels; the other voxels stay as they are.

    Parameters
    ----------
    mask : BitMask
        The voxels that get the label.
    out : ndarray of uint8, shape (z, y, x)
        Changed in place.
    label : int
        The value to write, 0 to 255.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of uint8
        `out`.
    """
    run_slabs(lambda a, b: _write_label(mask.words, np.uint8(label), out, a, b), out.shape[0], workers=workers)
    return out


@kernel()
def _bounding_box(words: Any, bounds: Any) -> None:
    nz, ny, nw = words.shape
    for z in range(nz):
        for y in range(ny):
            for j in range(nw):
                if words[z, y, j]:
                    bounds[0], bounds[3] = min(bounds[0], z), z + 1
                    bounds[1], bounds[4] = min(bounds[1], y), max(bounds[4], y + 1)
                    bounds[2], bounds[5] = min(bounds[2], j), max(bounds[5], j + 1)


def bounding_box(mask: BitMask) -> Box | None:
    """The smallest box of planes, rows and words that holds all voxels of the mask; None for an empty mask."""
    bounds = np.array([*mask.words.shape, 0, 0, 0])
    _bounding_box(mask.words, bounds)
    z0, y0, w0, z1, y1, w1 = bounds.tolist()
    return (slice(z0, z1), slice(y0, y1), slice(w0, w1)) if z1 else None


@kernel()
def _coordinates(words: Any, out: Any) -> None:
    i = 0
    for z in range(words.shape[0]):
        for y in range(words.shape[1]):
            for j in range(words.shape[2]):
                word = words[z, y, j]
                while word != np.uint64(0):
                    out[i, 0], out[i, 1] = z, y
                    out[i, 2] = 64 * j + np.int64(count_trailing_zeros(word))
                    word &= word - np.uint64(1)
                    i += 1


def coordinates(mask: BitMask) -> NDArray[np.int64]:
    """List the voxels of the mask in raster order; shape (n, 3): z, y, x."""
    out = np.empty((int(np.bitwise_count(mask.words).sum()), 3), np.int64)
    _coordinates(mask.words, out)
    return out


@kernel()
def _set_bits(coordinates: Any, words: Any) -> None:
    for i in range(coordinates.shape[0]):
        z, y, x = coordinates[i, 0], coordinates[i, 1], coordinates[i, 2]
        words[z, y, x >> 6] |= np.uint64(1) << np.uint64(x & 63)


def from_coordinates(coordinates: NDArray[np.int32], shape: Shape) -> BitMask:
    """Make a bit mask of a list of voxels, shape (n, 3): z, y, x."""
    mask = BitMask.empty(shape)
    _set_bits(coordinates, mask.words)
    return mask


def labels_in(array: NDArray[np.uint8], *, workers: int = 1) -> tuple[int, ...]:
    """List the labels that occur in an array of shape (z, y, x), ascending and without 0."""
    bits = int(np.bitwise_or.reduce(array, axis=None))
    if bits & (bits - 1) == 0:  # at most one bit: all values are 0 or this one
        return (bits,) if bits else ()
    candidates = [value for value in range(1, 256) if not value & ~bits]
    return tuple(value for value in candidates if equal(array, value, workers=workers).any())
