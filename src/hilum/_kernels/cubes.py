"""Patches of a volume for training: cut and scaled in one pass, and the labels of turned ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from hilum._kernels.kernel import kernel
from hilum._kernels.prefetch import fetch_flat
from hilum._kernels.transpose import turn_over

_U = np.uint64
_AHEAD = 12
"""Rows of labels asked for before they are looked at."""

UNKNOWN = -1
"""In place of each number that says where a tile's labels lie: nobody has looked."""


@kernel()
def cut_scaled(src: Any, start: Any, out: Any, lower: Any, width: Any, mean: Any) -> None:
    """Copy the box that starts at a voxel; `lower` becomes 0, and what is `width` above 1, less `mean`."""
    low, wide, less = np.float32(lower), np.float32(width), np.float32(mean)
    zero, one = np.float32(0), np.float32(1)
    z0, y0, x0 = _U(start[0]), _U(start[1]), _U(start[2])
    for z in range(_U(0), _U(out.shape[0])):
        for y in range(_U(0), _U(out.shape[1])):
            for x in range(_U(0), _U(out.shape[2])):
                v = (np.float32(src[z0 + z, y0 + y, x0 + x]) - low) / wide
                out[z, y, x] = min(max(v, zero), one) - less


@kernel()
def _mirror(src: Any, at: Any, forth: Any, out: Any, to: Any, size: Any) -> None:
    """Copy a row, forth or back."""
    if forth:
        for x in range(size):
            out[to + x] = src[at + x]
    else:
        for x in range(size):
            out[to + x] = src[at - x]


@kernel()
def arrange(src: Any, base: Any, steps: Any, out: Any, size: Any, finish: Any) -> None:
    """Copy a flat cube with its axes swapped and mirrored, and bring it to the range of `cut_scaled` where asked to.

    So many voxels on, or back, for each step along the axes of `out`, which is flat, of int16 or float32.
    """
    n, along, across = _U(size), steps[2], _U(steps[2])
    mode, lower, width, mean = finish
    low, wide, less = np.float32(lower), np.float32(width), np.float32(mean)
    for z in range(n):
        at, to = _U(base) + z * _U(steps[0]), z * n * n
        if abs(steps[1]) == 1 and abs(along) != 1:
            # Rows of the patch are the volume's columns; back is forth from the other end, into the last row first.
            forth = steps[1] == 1
            first, last = (at, to) if forth else (at - (n - _U(1)), to + (n - _U(1)) * n)
            turn_over(src, first, across, out, last, n if forth else _U(0) - n, n, n)
        else:
            for y in range(n):
                row = at + y * _U(steps[1])
                if abs(along) == 1:
                    _mirror(src, row, along == 1, out, to + y * n, n)
                else:
                    for x in range(n):
                        out[to + y * n + x] = src[row + x * across]
        if mode == 1:
            for i in range(to, to + n * n):
                out[i] = min(max((np.float32(out[i]) - low) / wide, np.float32(0)), np.float32(1)) - less


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
            fetch_flat(words, ahead)
            fetch_flat(words, min(ahead + _U(8), total - _U(1)))
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
def reach_of_tiles(
    words: Any, table: Any, shape: Any, tile: Any, start: Any, size: Any, found: Any, reach: Any
) -> None:
    """What `reach_of` finds in a box of a whole volume, from what is known of its tiles; unknown ones are looked at.

    Threads that look at one time find the same, and what one has written in part is unknown to the others.
    """
    for axis in range(3):
        reach[axis, 0], reach[axis, 1] = size[axis], 0
    for z in range(start[0] // tile, (start[0] + size[0] - 1) // tile + 1):
        for y in range(start[1] // tile, (start[1] + size[1] - 1) // tile + 1):
            for x in range(start[2] // tile, (start[2] + size[2] - 1) // tile + 1):
                known = table[z, y, x]
                if min(known[0, 0], known[1, 0], known[2, 0], known[0, 1], known[1, 1], known[2, 1]) < 0:
                    _look(words, shape, (z * tile, y * tile, x * tile), tile, found, known)
                if not known[0, 1]:
                    continue
                empty = False
                for axis in range(3):
                    found[axis, 0] = min(max(known[axis, 0] - start[axis], 0), size[axis])
                    found[axis, 1] = min(max(known[axis, 1] - start[axis], 0), size[axis])
                    empty |= found[axis, 0] >= found[axis, 1]
                for axis in range(3):
                    if not empty:
                        reach[axis, 0] = min(reach[axis, 0], found[axis, 0])
                        reach[axis, 1] = max(reach[axis, 1], found[axis, 1])


@kernel()
def _part(row: Any, middle: Any, half: Any, size: Any) -> Any:
    """First and one past the last voxel along an axis of a patch that may be nearest to one of a box."""
    at = row[0] * middle[0] + row[1] * middle[1] + row[2] * middle[2] + 0.5 * (size - 1)
    wide = abs(row[0]) * half[0] + abs(row[1]) * half[1] + abs(row[2]) * half[2]
    return max(int(np.floor(at - wide)), 0), min(int(np.floor(at + wide)) + 2, size)


@kernel(fastmath=frozenset({"contract"}))
def turn_labels(
    src: Any, base: Any, strides: Any, reach: Any, lines: Any, back: Any, center: Any, places: Any, out: Any
) -> None:
    """Take for every voxel of a patch the nearest of a flat volume's box, where that is within `reach`.

    `lines` (z, y, x of the box by the patch's z, y, x) turns the patch about `center`, in voxels of the box, and
    `back` turns it back. Where a row's voxels lie is found for all of it before any is looked at: so that many are
    found at once.
    """
    z_first, z_last, y_first, y_last = reach[0, 0], reach[0, 1], reach[1, 0], reach[1, 1]
    x_first, x_last = reach[2, 0], reach[2, 1]
    (zz, zy, zx), (yz, yy, yx), (xz, xy, xx) = lines
    size = out.shape[0]
    half = (0.5 * (z_last - z_first), 0.5 * (y_last - y_first), 0.5 * (x_last - x_first))
    middle = (
        z_first + half[0] - 0.5 - center[0], y_first + half[1] - 0.5 - center[1], x_first + half[2] - 0.5 - center[2]
    )  # fmt: skip
    i_first, i_last = _part(back[0], middle, half, size)
    j_first, j_last = _part(back[1], middle, half, size)
    k_first, k_last = _part(back[2], middle, half, size)
    first, count, edge = _U(k_first), _U(max(k_last - k_first, 0)), 0.5 * (size - 1)
    for i in range(i_first, i_last):
        for j in range(j_first, j_last):
            di, dj, dk = i - edge, j - edge, k_first - edge
            z0 = zz * di + zy * dj + zx * dk + center[0] + 0.5
            y0 = yz * di + yy * dj + yx * dk + center[1] + 0.5
            x0 = xz * di + xy * dj + xx * dk + center[2] + 0.5
            for n in range(count):
                k = np.float64(n)
                z, y, x = (
                    np.int64(np.floor(z0 + zx * k)),
                    np.int64(np.floor(y0 + yx * k)),
                    np.int64(np.floor(x0 + xx * k)),
                )
                inside = (z_first <= z) & (z < z_last) & (y_first <= y) & (y < y_last) & (x_first <= x) & (x < x_last)
                at = base + z * strides[0] + y * strides[1] + x
                places[n] = at if inside else np.int64(-1)
            row = out[i, j]
            for n in range(count):
                if places[n] >= 0:
                    row[first + n] = src[_U(places[n])]


@kernel()
def turn_known_labels(
    src: Any, known: Any, shape: Any, tile: Any, start: Any, size: Any, lines: Any, back: Any, center: Any, room: Any,
    out: Any,
) -> None:  # fmt: skip
    """What `turn_labels` does in a box of a whole volume, within the reach that `reach_of_tiles` finds."""
    words, table = known
    found, reach, places = room
    reach_of_tiles(words, table, shape, tile, start, size, found, reach)
    if reach[0, 1]:
        strides = (shape[1] * shape[2], shape[2], 1)
        base = start[0] * strides[0] + start[1] * strides[1] + start[2]
        turn_labels(src, base, strides, reach, lines, back, center, places, out)
