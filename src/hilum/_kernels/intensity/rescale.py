"""Stored values of plain frames to Hounsfield units, from memory or from open files."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel


def _declare_read(_context: Any, file: Any, buffer: Any, size: Any, offset: Any) -> Any:
    """Declare ``_read_at(file, array, size, offset)``: call POSIX pread into a contiguous array.

    Returns the number of bytes read, -1 for an error. All operands but the array are int64.
    """
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int64, int32 = ir.IntType(64), ir.IntType(32)
        view = context.make_array(signature.args[1])(context, builder, arguments[1])
        start = builder.bitcast(view.data, ir.IntType(8).as_pointer())
        pread_type = ir.FunctionType(int64, [int32, start.type, int64, int64])
        pread = cgutils.get_or_insert_function(builder.module, pread_type, "pread")
        return builder.call(pread, [builder.trunc(arguments[0], int32), start, *arguments[2:]])

    return types.int64(file, buffer, size, offset), code


_read_at = Intrinsic(_declare_read)


class ShiftRule(NamedTuple):
    """How the words of a frame become Hounsfield units.

    Parameters
    ----------
    offset : int
        Added to every word.
    plain_low, plain_high : int
        A frame whose words all lie in this range is only added to; any other frame is searched for padding.
    air : int, HU
        Replaces padding.
    low_limit : int, HU
        Lower values that are not padding are counted.
    span_first, span_last : int
        Words in this range are padding; there is no such range where the first is larger.
    word_1, word_2, word_3, word_4, word_5, word_6 : int
        Single words that are padding.
    """

    offset: int
    plain_low: int
    plain_high: int
    air: int
    low_limit: int
    span_first: int
    span_last: int
    word_1: int
    word_2: int
    word_3: int
    word_4: int
    word_5: int
    word_6: int


RULE_SIZE = len(ShiftRule._fields)

STATS_SIZE = 6  # numbers about the words of a frame; see `shift`


@kernel()
def _shift(stored: Any, rule: Any, out: Any, stats: Any) -> None:
    """Add the offset in one pass over a frame that is in the cache; search it for padding in a second, if needed."""
    lowest, highest = stored[0, 0], stored[0, 0]
    offset = np.int16(rule[0])
    for y in range(stored.shape[0]):
        row, target = stored[y], out[y]
        for x in range(stored.shape[1]):
            value = row[x]
            lowest = min(lowest, value)
            highest = max(highest, value)
            target[x] = np.int16(value) + offset
    stats[0], stats[1], stats[2], stats[3], stats[4], stats[5] = lowest, highest, 0, 0, lowest, highest
    if lowest < rule[1] or highest > rule[2]:
        _set_padding(stored, rule, out, stats)


@kernel()
def _biased(word: Any, stats: Any, bias: Any, absent: Any) -> Any:
    """Move a word into the range of int16; a word beyond those of the frame becomes one that the frame lacks."""
    return np.int16((word if stats[0] <= word <= stats[1] else absent) + bias)


@kernel()
def _set_padding(stored: Any, rule: Any, out: Any, stats: Any) -> None:
    """Set the padding of a shifted frame to air, and count the rest.

    The word of all four corners is padding too, if it is below air. The loop compares int16, of which a vector has the
    most lanes: a bias moves large unsigned words into its range.
    """
    lowest, highest = stats[0], stats[1]
    bias = -32768 if highest > 32767 else 0
    absent = highest + 1 if highest + bias < 32767 else lowest - 1
    if absent + bias < -32768:  # the frame has both ends of its type: tell the caller to rescale it another way
        stats[4], stats[5] = absent, highest + 1
        return
    offset, air, low_limit = rule[0], rule[3], rule[4]
    first_corner = np.int64(stored[0, 0])
    same_corners = first_corner == stored[0, -1] and first_corner == stored[-1, 0] and first_corner == stored[-1, -1]
    corner = _biased(first_corner if same_corners and first_corner + offset < air else absent, stats, bias, absent)
    word_1, word_2 = _biased(rule[7], stats, bias, absent), _biased(rule[8], stats, bias, absent)
    word_3, word_4 = _biased(rule[9], stats, bias, absent), _biased(rule[10], stats, bias, absent)
    word_5, word_6 = _biased(rule[11], stats, bias, absent), _biased(rule[12], stats, bias, absent)
    begin, end = max(rule[5], lowest), min(rule[6], highest)
    has_span = begin <= end
    span_first = np.int16((begin if has_span else absent) + bias)
    span_last = np.int16((end if has_span else absent) + bias)
    limit = np.int16(max(low_limit - offset + bias, -32768))
    air_value, step = np.int16(air), np.int16(offset - bias)
    bottom, top = np.int16(lowest + bias), np.int16(highest + bias)
    padding, low, lowest_other, highest_other = 0, 0, top, bottom
    for y in range(stored.shape[0]):
        row, target = stored[y], out[y]
        padding_here, low_here = np.int32(0), np.int32(0)
        for x in range(stored.shape[1]):
            value = np.int16(row[x] + bias)
            padded = (value == corner) | (value == word_1) | (value == word_2) | (value == word_3) | (value == word_4)
            padded |= (value == word_5) | (value == word_6) | ((value >= span_first) & (value <= span_last))
            padding_here = np.int32(padding_here + padded)
            low_here = np.int32(low_here + ((value < limit) & (not padded)))
            lowest_other = min(lowest_other, top if padded else value)
            highest_other = max(highest_other, bottom if padded else value)
            target[x] = air_value if padded else np.int16(value + step)
        padding += int(padding_here)
        low += int(low_here)
    stats[2], stats[3], stats[4], stats[5] = padding, low, lowest_other - bias, highest_other - bias


@kernel()
def _shift_files(frames: Any, rules: Any, scratch: Any, out: Any, stats: Any) -> None:
    """Read and shift one frame at a time, in a buffer that stays in the cache."""
    size = np.int64(scratch.size * scratch.itemsize)
    for k in range(frames.shape[0]):
        stats[k, 0], stats[k, 1] = 1, 0
        if _read_at(frames[k, 0], scratch, size, frames[k, 1]) == size:
            _shift(scratch, rules[k], out[frames[k, 2]], stats[k])


def shift(stored: NDArray[Any], rule: NDArray[np.int64], *, out: NDArray[np.int16]) -> NDArray[np.int64]:
    """Add a whole number to every word of a frame, and set its padding to air.

    Parameters
    ----------
    stored : ndarray of int16 or uint16, shape (row, column)
        The words of the frame.
    rule : ndarray of int64, shape (RULE_SIZE,)
        A `ShiftRule`.
    out : ndarray of int16, shape (row, column), HU
        Filled; sums that int16 cannot hold wrap around. Must not share the memory of `stored`.

    Returns
    -------
    ndarray of int64, shape (STATS_SIZE,)
        The lowest and the highest word (1 and 0 if the frame could not be read), the number of padding words, the
        number of other words below the limit, and the lowest and the highest of these other words (undefined if there
        are none).
    """
    stats = np.empty(STATS_SIZE, np.int64)
    _shift(stored, rule, out, stats)
    return stats


def shift_files(
    frames: NDArray[np.int64], rules: NDArray[np.int64], scratch: NDArray[Any], *, out: NDArray[np.int16]
) -> NDArray[np.int64]:
    """Read frames from open files, and do to each what `shift` does.

    One call reads many frames: threads that return to Python after each frame wait for each other.

    Parameters
    ----------
    frames : ndarray of int64, shape (n, 3)
        For each frame the file descriptor, the offset in bytes, and the plane of `out`.
    rules : ndarray of int64, shape (n, RULE_SIZE)
        A `ShiftRule` for each frame.
    scratch : ndarray of int16 or uint16, shape (row, column)
        A contiguous buffer of the frames' type; overwritten.
    out : ndarray of int16, shape (plane, row, column), HU
        The planes in `frames` are filled.

    Returns
    -------
    ndarray of int64, shape (n, STATS_SIZE)
        For each frame what `shift` returns.
    """
    stats = np.empty((len(frames), STATS_SIZE), np.int64)
    _shift_files(frames, rules, scratch, out, stats)
    return stats
