"""Find labels in a volume, and measure how much of each voxel of a turned grid a label covers."""

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel

SAMPLES = 3  # along each edge of a voxel

_U = np.uint64
_ONES = np.uint64(0x0101010101010101)  # a label times this is a word of eight such voxels


@kernel()
def measure_runs(flat: Any, words: Any, columns: Any, rows: Any, table: Any, begin: Any, end: Any) -> None:
    """Count the voxels of each label in some slices, and widen its bounds.

    `flat` has the voxels, `words` the same ones in words of eight, without those that fill no word. A row of `table`
    has a label's count, then its first and last z, y and x; the first ones begin as large, the last ones as -1. A row
    without labels is read in words, and so are voxels with the label of the one before them.
    """
    for z in range(begin, end):
        for y in range(rows):
            start = (z * rows + y) * columns
            stop = start + columns
            first, last = (start + 7) >> 3, stop >> 3
            labeled = _U(first >= last)
            for k in range(first, last):
                labeled |= words[k]
            for i in range(start, min(first << 3, stop)):
                labeled |= _U(flat[i])
            for i in range(max(last << 3, start), stop):
                labeled |= _U(flat[i])
            if not labeled:
                continue
            value, since, i = 0, start, start
            while i < stop:
                if i & 7 == 0:
                    k, same = i >> 3, _U(value) * _ONES
                    while k < last and words[k] == same:
                        k += 1
                    i = k << 3
                until = min((i | 7) + 1, stop)
                while i < until:
                    here = int(flat[i])
                    if here != value:
                        if value:
                            _add_run(table, value, z, y, since - start, i - 1 - start)
                        value, since = here, i
                    i += 1
            if value:
                _add_run(table, value, z, y, since - start, stop - 1 - start)


@kernel()
def _add_run(table: Any, value: Any, z: Any, y: Any, first: Any, last: Any) -> None:
    """Add the voxels of a label from `first` to `last` in one row."""
    table[value, 0] += last - first + 1
    table[value, 1], table[value, 2] = min(table[value, 1], z), max(table[value, 2], z)
    table[value, 3], table[value, 4] = min(table[value, 3], y), max(table[value, 4], y)
    table[value, 5], table[value, 6] = min(table[value, 5], first), max(table[value, 6], last)


@kernel()
def paint_whole(shares: Any, whole: Any, out: Any, value: Any, begin: Any, end: Any) -> None:
    """Give a value to the voxels with the share `whole`, in slices from `begin` to `end`."""
    for z in range(begin, end):
        for y in range(shares.shape[1]):
            row, painted = shares[z, y], out[z, y]
            for x in range(row.size):
                painted[x] = value if row[x] == whole else painted[x]


@kernel()
def count_shares(shares: Any, whole: Any, by_slice: Any, by_row: Any, by_column: Any, parts: Any) -> None:
    """Count the voxels with the share `whole` in each slice, row and column, and those of a part in each slice."""
    for z in range(shares.shape[0]):
        for y in range(shares.shape[1]):
            row, full, some = shares[z, y], 0, 0
            for x in range(row.size):
                full += int(row[x] == whole)
                some += int(row[x] != 0)
            by_slice[z] += full
            by_row[y] += full
            parts[z] += some - full
            if full:
                for x in range(row.size):
                    by_column[x] += int(row[x] == whole)


@kernel()
def list_parts(flat: Any, words: Any, whole: Any, parts: Any) -> None:
    """List the voxels of which a part is covered; `flat` and `words` are as for `measure_runs`."""
    at, full = 0, _U(whole) * _ONES
    for k in range(words.size):
        if words[k] != _U(0) and words[k] != full:
            for i in range(8 * k, 8 * k + 8):
                if flat[i] != 0 and flat[i] != whole:
                    parts[at] = i
                    at += 1
    for i in range(8 * words.size, flat.size):
        if flat[i] != 0 and flat[i] != whole:
            parts[at] = i
            at += 1


@kernel()
def sum_parts(flat: Any, parts: Any, rows: Any, columns: Any, sums: Any) -> None:
    """Add the shares of the voxels in `parts`, and the shares times the z, y and x of each; `flat` has the voxels.

    Here and below the voxels in `parts` ascend, so that z and y are counted on: a division for each takes longer.
    """
    z, y, start = 0, 0, 0
    for k in range(parts.size):
        at = parts[k]
        while at >= start + columns:
            start, y = start + columns, y + 1
            if y == rows:
                z, y = z + 1, 0
        share = int(flat[at])
        sums[0] += share
        sums[1] += share * z
        sums[2] += share * y
        sums[3] += share * (at - start)


@kernel()
def rank_parts(
    flat: Any, parts: Any, rows: Any, columns: Any, middle: Any, curve: Any, slope: Any, scale: Any, keys: Any,
    counts: Any,
) -> None:  # fmt: skip
    """Give each voxel in `parts` a key from 0 to 65535, the least to the one of most worth, and count the keys.

    The worth is the share times `scale`, plus the sums over z, y and x of the distance from the middle times a slope,
    and of its square times a curve.
    """
    z, y, start = 0, 0, 0
    for k in range(parts.size):
        at = parts[k]
        while at >= start + columns:
            start, y = start + columns, y + 1
            if y == rows:
                z, y = z + 1, 0
        dz, dy, dx = z - middle[0], y - middle[1], at - start - middle[2]
        worth = dz * (curve[0] * dz + slope[0]) + dy * (curve[1] * dy + slope[1]) + dx * (curve[2] * dx + slope[2])
        key = int(min(max(32768.5 - worth - scale * flat[at], 0.0), 65535.0))
        keys[k] = key
        counts[key] += 1


@kernel()
def take_parts(
    parts: Any, keys: Any, last: Any, left: Any, rows: Any, columns: Any, chosen: Any, sums: Any
) -> None:  # fmt: skip
    """List the voxels in `parts` with keys below `last`, and the first `left` ones with that key; add z, y and x."""
    taken, z, y, start = 0, 0, 0, 0
    for k in range(parts.size):
        key = int(keys[k])
        if key > last or (key == last and left == 0):
            continue
        left -= int(key == last)
        at = parts[k]
        while at >= start + columns:
            start, y = start + columns, y + 1
            if y == rows:
                z, y = z + 1, 0
        chosen[taken] = at
        taken += 1
        sums[0] += z
        sums[1] += y
        sums[2] += at - start


@kernel()
def count_samples(source: Any, value: Any, step: Any, out: Any, begin: Any, end: Any) -> None:
    """Count the samples of each voxel of `out` that lie in a voxel of `source` with this value.

    `step` has three rows of four numbers: from an index (z, y, x, 1) of `out` to an index of `source`. A sample beyond
    the source counts as background.
    """
    depth, rows, columns = source.shape
    for z in range(begin, end):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                count = 0
                for k in range(SAMPLES * SAMPLES * SAMPLES):
                    dz = z + ((k // (SAMPLES * SAMPLES)) + 0.5) / SAMPLES - 0.5
                    dy = y + ((k // SAMPLES) % SAMPLES + 0.5) / SAMPLES - 0.5
                    dx = x + (k % SAMPLES + 0.5) / SAMPLES - 0.5
                    a = step[0, 0] * dz + step[0, 1] * dy + step[0, 2] * dx + step[0, 3] + 0.5
                    b = step[1, 0] * dz + step[1, 1] * dy + step[1, 2] * dx + step[1, 3] + 0.5
                    c = step[2, 0] * dz + step[2, 1] * dy + step[2, 2] * dx + step[2, 3] + 0.5
                    if a < 0.0 or b < 0.0 or c < 0.0 or a >= depth or b >= rows or c >= columns:
                        continue
                    if int(source[int(a), int(b), int(c)]) == value:
                        count += 1
                out[z, y, x] = count
