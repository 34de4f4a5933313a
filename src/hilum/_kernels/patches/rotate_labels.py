"""Labels of patches that lie turned in a volume: of the nearest voxel each, looked for only where there are any."""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.simd.prefetch import fetch

_U = np.uint64
_AHEAD = 12
"""Rows of labels asked for before they are looked at."""

UNKNOWN = -1
"""In place of each number that says where a tile's labels lie: nobody has looked."""


@kernel()
def reach_of(words: Any, base: Any, strides: Any, counts: Any, reach: Any) -> None:
    """First and one past the last voxel (z, y, x) of a box between which labels may be; eight are looked at at once.

    Words that reach beyond the box are looked at whole, and of the volume's last voxels those that fill no word are
    taken for labels: what is found is never too little. Where there are none, the ends are 0.
    """
    for axis in range(3):
        reach[axis, 0], reach[axis, 1] = counts[axis], 0
    total, eight = _U(words.size), _U(3)
    for z in range(counts[0]):
        for y in range(counts[1]):
            at = _U(base + z * strides[0] + y * strides[1])
            ahead = min((at + _U(_AHEAD * strides[1])) >> eight, total - _U(1))
            fetch(words, ahead)
            fetch(words, min(ahead + _U(8), total - _U(1)))
            first, last = at >> eight, ((at + _U(counts[2]) - _U(1)) >> eight) + _U(1)
            found = _U(last > total)
            for k in range(first, min(last, total)):
                found |= words[k]
            if not found:
                continue
            reach[0, 0], reach[0, 1] = min(reach[0, 0], z), max(reach[0, 1], z + 1)
            reach[1, 0], reach[1, 1] = min(reach[1, 0], y), max(reach[1, 1], y + 1)
            for word in range(first, last):
                if word >= total or words[word]:
                    start = np.int64(word << eight) - np.int64(at)
                    reach[2, 0] = min(reach[2, 0], max(start, 0))
                    reach[2, 1] = max(reach[2, 1], min(start + 8, counts[2]))


@kernel()
def _look(words: Any, shape: Any, corner: Any, tile: Any, found: Any, known: Any) -> None:
    """Find where in a tile labels lie, and write it down in voxels of the volume."""
    sy, sz = shape[2], shape[1] * shape[2]
    counts = (min(tile, shape[0] - corner[0]), min(tile, shape[1] - corner[1]), min(tile, shape[2] - corner[2]))
    reach_of(words, corner[0] * sz + corner[1] * sy + corner[2], (sz, sy, 1), counts, found)
    for axis in range(3):
        known[axis, 0] = found[axis, 0] + corner[axis] if found[axis, 1] else 0
        known[axis, 1] = found[axis, 1] + corner[axis] if found[axis, 1] else 0


@kernel()
def reach_of_tile(words: Any, table: Any, shape: Any, tile: Any, place: Any, start: Any, size: Any, reach: Any) -> Any:
    """What `reach_of` finds in the part of a tile, the one at `place`, that a box holds: whether there are labels.

    Said from what is known of the tile; an unknown one is looked at. Threads that look at one time find the same, and
    what one has written in part is unknown to the others.
    """
    known = table[place[0], place[1], place[2]]
    if min(known[0, 0], known[1, 0], known[2, 0], known[0, 1], known[1, 1], known[2, 1]) < 0:
        _look(words, shape, (place[0] * tile, place[1] * tile, place[2] * tile), tile, reach, known)
    some = known[0, 1] > 0
    for axis in range(3):
        reach[axis, 0] = min(max(known[axis, 0] - start[axis], 0), size[axis])
        reach[axis, 1] = min(max(known[axis, 1] - start[axis], 0), size[axis])
        some &= reach[axis, 0] < reach[axis, 1]
    return some


@kernel()
def _part(row: Any, middle: Any, half: Any, size: Any) -> Any:
    """First and one past the last voxel along an axis of a patch that may be nearest to one of a box."""
    at = row[0] * middle[0] + row[1] * middle[1] + row[2] * middle[2] + 0.5 * (size - 1)
    wide = abs(row[0]) * half[0] + abs(row[1]) * half[1] + abs(row[2]) * half[2]
    return max(int(np.floor(at - wide)), 0), min(int(np.floor(at + wide)) + 2, size)


@kernel()
def _narrow(begin: Any, step: Any, first: Any, last: Any, start: Any, stop: Any) -> Any:
    """Of the numbers k from `start` on, less than `stop`, those for which begin + step * k may lie in [first, last)."""
    if step == 0:
        return start, stop if first <= begin < last else start
    one, other = (first - begin) / step, (last - begin) / step
    low, high = min(max(min(one, other), start), stop), max(min(max(one, other), stop), start)
    return max(int(np.floor(low)) - 1, start), min(int(np.floor(high)) + 2, stop)


@kernel()
def _inside(begin: Any, step: Any, k: Any, reach: Any) -> Any:
    z, y, x = begin[0] + step[0] * k, begin[1] + step[1] * k, begin[2] + step[2] * k
    return (
        reach[0, 0] <= z < reach[0, 1] and reach[1, 0] <= y < reach[1, 1] and reach[2, 0] <= x < reach[2, 1]
    )  # fmt: skip


@kernel()
def turn_labels(
    src: Any, base: Any, strides: Any, reach: Any, lines: Any, back: Any, center: Any, places: Any, out: Any
) -> None:
    """Take for every voxel of a patch the nearest of a flat volume's box, where that is within `reach`.

    `lines` (z, y, x of the box by the patch's z, y, x) turns the patch about `center`, in voxels of the box, and
    `back` turns it back. Which voxels of a row lie within is found first, then where all of them lie, and then they
    are looked at: so that nothing waits, and nothing outside is asked for. No sum here may be contracted: what one
    step of these finds has to be what the next one finds.
    """
    half = (0.5 * (reach[0, 1] - reach[0, 0]), 0.5 * (reach[1, 1] - reach[1, 0]), 0.5 * (reach[2, 1] - reach[2, 0]))
    middle = (
        reach[0, 0] + half[0] - 0.5 - center[0],
        reach[1, 0] + half[1] - 0.5 - center[1],
        reach[2, 0] + half[2] - 0.5 - center[2],
    )
    size = out.shape[0]
    i_first, i_last = _part(back[0], middle, half, size)
    j_first, j_last = _part(back[1], middle, half, size)
    edge = 0.5 * (size - 1)
    step = (lines[0][2], lines[1][2], lines[2][2])
    for i in range(i_first, i_last):
        for j in range(j_first, j_last):
            di, dj = i - edge, j - edge
            begin = (
                lines[0][0] * di + lines[0][1] * dj - step[0] * edge + center[0] + 0.5,
                lines[1][0] * di + lines[1][1] * dj - step[1] * edge + center[1] + 0.5,
                lines[2][0] * di + lines[2][1] * dj - step[2] * edge + center[2] + 0.5,
            )
            k, stop = 0, size
            for axis in range(3):
                k, stop = _narrow(begin[axis], step[axis], reach[axis, 0], reach[axis, 1], k, stop)
            while k < stop and not _inside(begin, step, np.float64(k), reach):
                k += 1
            while k < stop and not _inside(begin, step, np.float64(stop - 1), reach):
                stop -= 1
            first, count = _U(k), _U(stop - k)
            for n in range(count):
                at = np.float64(first + n)
                z, y, x = begin[0] + step[0] * at, begin[1] + step[1] * at, begin[2] + step[2] * at
                places[n] = base + np.int64(z) * strides[0] + np.int64(y) * strides[1] + np.int64(x)
            row = out[i, j]
            for n in range(count):
                row[first + n] = src[_U(places[n])]


@kernel()
def turn_known_labels(
    src: Any, known: Any, shape: Any, tile: Any, start: Any, size: Any, lines: Any, back: Any, center: Any, room: Any,
    out: Any,
) -> None:  # fmt: skip
    """What `turn_labels` does in a box of a whole volume, within what `reach_of_tile` finds tile by tile."""
    words, table = known
    reach, places = room
    strides = (shape[1] * shape[2], shape[2], 1)
    base = start[0] * strides[0] + start[1] * strides[1] + start[2]
    for z in range(start[0] // tile, (start[0] + size[0] - 1) // tile + 1):
        for y in range(start[1] // tile, (start[1] + size[1] - 1) // tile + 1):
            for x in range(start[2] // tile, (start[2] + size[2] - 1) // tile + 1):
                if reach_of_tile(words, table, shape, tile, (z, y, x), start, size, reach):
                    turn_labels(src, base, strides, reach, lines, back, center, places, out)
