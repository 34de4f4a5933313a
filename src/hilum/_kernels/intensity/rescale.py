"""Stored values of frames to Hounsfield units, where nothing about them is odd; from memory, or from open files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel

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


RULE = 13
"""Numbers that say how words become Hounsfield units: what to add; the smallest and the largest word to which nothing
else is done; what padding becomes; the value below which others are counted; the first and the last of a span of words
that are padding (none where the first is larger), and six single ones."""

TOLD = 6
"""Numbers told of a frame: its smallest and largest word (1 and 0 where it could not be read), how many words are
padding, how many others are low, and the smallest and the largest of these others (anything where there are none)."""


@kernel()
def _shift(stored: Any, rule: Any, out: Any, told: Any) -> None:
    """One pass over a frame that was read a moment ago and is in the cache; a second where it holds odd words."""
    first, last = stored[0, 0], stored[0, 0]
    step = np.int16(rule[0])
    for y in range(stored.shape[0]):
        row, target = stored[y], out[y]
        for x in range(stored.shape[1]):
            value = row[x]
            first = min(first, value)
            last = max(last, value)
            target[x] = np.int16(value) + step
    told[0], told[1], told[2], told[3], told[4], told[5] = first, last, 0, 0, first, last
    if first < rule[1] or last > rule[2]:
        _pad(stored, rule, out, told)


@kernel()
def _as_held(word: Any, told: Any, bias: Any, absent: Any) -> Any:
    """A word, as those of a frame are compared; what is beyond them becomes one that the frame does not hold."""
    return np.int16((word if told[0] <= word <= told[1] else absent) + bias)


@kernel()
def _pad(stored: Any, rule: Any, out: Any, told: Any) -> None:
    """Set padding in a frame that was added to, and look at the rest.

    Padding is also the word of all four corners, if it is too small to be anything else. All is done in int16, of which
    a register holds the most: large unsigned words are moved into its range.
    """
    first, last = told[0], told[1]
    bias = -32768 if last > 32767 else 0
    absent = last + 1 if last + bias < 32767 else first - 1
    if absent + bias < -32768:  # the frame holds the ends of int16, or of uint16: it is left to others
        told[4], told[5] = absent, last + 1
        return
    corner = np.int64(stored[0, 0])
    alike = corner == stored[0, -1] and corner == stored[-1, 0] and corner == stored[-1, -1]
    a = _as_held(corner if alike and corner + rule[0] < rule[3] else absent, told, bias, absent)
    b, c = _as_held(rule[7], told, bias, absent), _as_held(rule[8], told, bias, absent)
    d, e = _as_held(rule[9], told, bias, absent), _as_held(rule[10], told, bias, absent)
    f, g = _as_held(rule[11], told, bias, absent), _as_held(rule[12], told, bias, absent)
    begin, end = max(rule[5], first), min(rule[6], last)
    span = begin <= end
    h, i = np.int16((begin if span else absent) + bias), np.int16((end if span else absent) + bias)
    limit = np.int16(max(rule[4] - rule[0] + bias, -32768))
    air, step = np.int16(rule[3]), np.int16(rule[0] - bias)
    bottom, top = np.int16(first + bias), np.int16(last + bias)
    padded, low, least, most = 0, 0, top, bottom
    for y in range(stored.shape[0]):
        row, target = stored[y], out[y]
        some, few = np.int32(0), np.int32(0)
        for x in range(stored.shape[1]):
            value = np.int16(row[x] + bias)
            odd = (value == a) | (value == b) | (value == c) | (value == d) | (value == e) | (value == f)
            odd |= (value == g) | ((value >= h) & (value <= i))
            some = np.int32(some + odd)
            few = np.int32(few + ((value < limit) & (not odd)))
            least = min(least, top if odd else value)
            most = max(most, bottom if odd else value)
            target[x] = air if odd else np.int16(value + step)
        padded += int(some)
        low += int(few)
    told[2], told[3], told[4], told[5] = padded, low, least - bias, most - bias


@kernel()
def _shift_from(frames: Any, rules: Any, scratch: Any, out: Any, told: Any) -> None:
    """A frame at a time, in a buffer that stays in the cache."""
    size = np.int64(scratch.size * scratch.itemsize)
    for k in range(frames.shape[0]):
        told[k, 0], told[k, 1] = 1, 0
        if _read_at(frames[k, 0], scratch, size, frames[k, 1]) == size:
            _shift(scratch, rules[k], out[frames[k, 2]], told[k])


def shift(stored: NDArray[Any], rule: NDArray[np.int64], *, out: NDArray[np.int16]) -> NDArray[np.int64]:
    """Add a whole number to every word of a frame, set padding, and tell what it held.

    Parameters
    ----------
    stored : ndarray of int16 or uint16, shape (row, column)
    rule : ndarray of int64, shape (RULE,)
    out : ndarray of int16, shape (row, column)
        Filled; sums that int16 cannot hold wrap around, which is told. Never the memory of `stored`.

    Returns
    -------
    ndarray of int64, shape (TOLD,)
    """
    told = np.empty(TOLD, np.int64)
    _shift(stored, rule, out, told)
    return told


def shift_from(
    frames: NDArray[np.int64], rules: NDArray[np.int64], scratch: NDArray[Any], *, out: NDArray[np.int16]
) -> NDArray[np.int64]:
    """Read frames from open files and do to each what `shift` does.

    One call for many frames: threads that go through Python for each wait for each other.

    Parameters
    ----------
    frames : ndarray of int64, shape (n, 3)
        Of each the file descriptor, the offset in bytes, and the plane of `out`.
    rules : ndarray of int64, shape (n, RULE)
    scratch : ndarray of int16 or uint16, shape (row, column)
        Contiguous, as the frames are stored; overwritten.
    out : ndarray of int16, shape (plane, row, column)
        The planes named are filled.

    Returns
    -------
    ndarray of int64, shape (n, TOLD)
    """
    told = np.empty((len(frames), TOLD), np.int64)
    _shift_from(frames, rules, scratch, out, told)
    return told
