"""Stored values of frames to Hounsfield units, where nothing about them is odd; from memory, or from open files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.kernel import Intrinsic, kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def _reader() -> Callable[..., Any]:
    def declared(_context: Any, file: Any, buffer: Any, size: Any, place: Any) -> Any:
        from llvmlite import ir
        from numba import types
        from numba.core import cgutils as typed

        cgutils: Any = typed  # its functions have no types

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            wide, number = ir.IntType(64), ir.IntType(32)
            view = context.make_array(signature.args[1])(context, builder, arguments[1])
            start = builder.bitcast(view.data, ir.IntType(8).as_pointer())
            told = ir.FunctionType(wide, [number, start.type, wide, wide])
            pread = cgutils.get_or_insert_function(builder.module, told, "pread")
            return builder.call(pread, [builder.trunc(arguments[0], number), start, *arguments[2:]])

        return types.int64(file, buffer, size, place), code

    return declared


_read_at = Intrinsic(_reader())
"""``_read_at(file, array, size, place)``: POSIX's pread into a contiguous array; how many bytes came, -1 for an error.

All operands but the array are int64.
"""


@kernel()
def _shift(stored: Any, by: int, out: Any, ends: Any) -> None:
    """One pass over a frame that was read a moment ago and is in the cache."""
    first, last = stored[0, 0], stored[0, 0]
    step = np.int16(by)
    for y in range(stored.shape[0]):
        row, target = stored[y], out[y]
        for x in range(stored.shape[1]):
            value = row[x]
            first = min(first, value)
            last = max(last, value)
            target[x] = np.int16(value) + step
    ends[0], ends[1] = first, last


@kernel()
def _shift_from(frames: Any, scratch: Any, out: Any, ends: Any) -> None:
    """A frame at a time, in a buffer that stays in the cache."""
    size = np.int64(scratch.size * scratch.itemsize)
    for k in range(frames.shape[0]):
        ends[k, 0], ends[k, 1] = 1, 0
        if _read_at(frames[k, 0], scratch, size, frames[k, 1]) == size:
            _shift(scratch, frames[k, 3], out[frames[k, 2]], ends[k])


def shift(stored: NDArray[Any], *, by: int, out: NDArray[np.int16]) -> tuple[int, int]:
    """Add a whole number to every value of a frame, and find its ends.

    Parameters
    ----------
    stored : ndarray of int16 or uint16, shape (row, column)
    by : int
        What to add, within int16.
    out : ndarray of int16, shape (row, column)
        Filled; sums that int16 cannot hold wrap around, which the ends tell. Never the memory of `stored`.

    Returns
    -------
    tuple of int
        The smallest and the largest value of `stored`.
    """
    ends = np.empty(2, np.int64)
    _shift(stored, by, out, ends)
    return int(ends[0]), int(ends[1])


def shift_from(frames: NDArray[np.int64], scratch: NDArray[Any], *, out: NDArray[np.int16]) -> NDArray[np.int64]:
    """Read frames from open files, add a whole number to every value of each, and find their ends.

    One call for many frames: threads that go through Python for each wait for each other.

    Parameters
    ----------
    frames : ndarray of int64, shape (n, 4)
        Of each the file descriptor, the offset in bytes, the plane of `out`, and what to add, within int16.
    scratch : ndarray of int16 or uint16, shape (row, column)
        Contiguous, as the frames are stored; overwritten.
    out : ndarray of int16, shape (plane, row, column)
        The planes named are filled.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        The smallest and the largest stored value of each; (1, 0) for one that could not be read, or not all of it.
    """
    ends = np.empty((len(frames), 2), np.int64)
    _shift_from(frames, scratch, out, ends)
    return ends
