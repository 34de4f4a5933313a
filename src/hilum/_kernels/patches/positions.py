"""What cubic and linear rotation of patches have in common: positions, spans of rows, value ranges, and writing."""

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.resample.recursive_filter import VECTOR
from hilum._kernels.simd.transpose import transpose

_U = np.uint64


@kernel()
def lanes_of(vectors: Any) -> Any:
    """Numbers in a row of vectors, from a tuple with an entry for each: a constant of the compiled code."""
    return _U(len(vectors) * VECTOR)


@kernel(contract=True)
def locate_along(axis: Any, before: Any, first: Any, fractions: Any, vectors: Any) -> None:
    """Find the first voxel of each position along the axis, one for each number of a row, and its fraction of a voxel.

    `axis` is the first position, the spacing and the number of positions; the last one repeats. The first voxel lies
    `before` voxels before the one that holds the position.
    """
    origin, spacing, count = axis
    for j in range(lanes_of(vectors)):
        at = origin + spacing * min(np.float64(j), np.float64(count - 1))
        first[j] = np.int64(np.floor(at)) - before
        fractions[j] = np.float32(at - np.floor(at))


@kernel()
def locate_across(
    plane: Any, j: Any, before: Any, row_stride: Any, starts: Any, b_fractions: Any, c_fractions: Any, vectors: Any
) -> None:
    """Find the index of the first row of lanes of each position of row `j` of the patch, and its fractions.

    The first row lies `before` voxels before the one that holds the position, along both axes of the plane.
    """
    (bj, bk, b0, cj, ck, c0), _, wide = plane
    for k in range(_U(wide)):
        b = bj * j + (bk * np.float64(k) + b0)
        c = cj * j + (ck * np.float64(k) + c0)
        ib, ic = np.floor(b), np.floor(c)
        starts[k] = (np.int64(ib) - before) * row_stride + (np.int64(ic) - before) * np.int64(lanes_of(vectors))
        b_fractions[k], c_fractions[k] = np.float32(b - ib), np.float32(c - ic)


@kernel()
def find_spans(plane: Any, counts: Any, before: Any, after: Any, least: Any, spans: Any) -> None:
    """Find the coefficients that a rotated square needs of each row of the plane: first, and one past the last.

    A position needs `before` voxels before the one it lies in and `after` from that one on. Rows that are needed at all
    get at least `least` coefficients, as far as the box has them, because shorter rows are processed without vectors.
    """
    (bj, bk, b0, cj, ck, c0), high, wide = plane
    rows, columns = counts[1], counts[2]
    for b in range(rows):
        spans[b, 2], spans[b, 3] = columns, 0
    for n in range(2 * (high + wide)):  # the edges of the square
        if n < 2 * wide:
            j, k = (n % 2) * (high - 1), n // 2
        else:
            j, k = (n - 2 * wide) // 2, (n % 2) * (wide - 1)
        b, c = int(np.floor(bj * j + (bk * k + b0))), int(np.floor(cj * j + (ck * k + c0)))
        row = min(max(b, 0), rows - 1)
        spans[row, 2], spans[row, 3] = min(spans[row, 2], c - before), max(spans[row, 3], c + after)
    for b in range(rows):
        first, last = columns, 0
        for row in range(max(b - after + 1, 0), min(b + before + 1, rows)):
            first, last = min(first, spans[row, 2]), max(last, spans[row, 3])
        if first < last:
            last = max(min(last, columns), min(max(first, 0) + least, columns))
            first = max(min(first, last - least), 0)
        spans[b, 0], spans[b, 1] = first, last


@kernel()
def value_range(finish: Any) -> Any:
    """Factor, offset, lowest and highest value, and the mean to subtract last."""
    mode, lower, width, mean = finish
    if mode == 1:
        factor, low, high = 1 / width, np.float32(0), np.float32(1)
    else:
        factor, low, high = 1.0, np.float32(-np.inf), np.float32(np.inf)
    return np.float32(factor), np.float32(lower * factor), low, high, np.float32(mean)


@kernel()
def write_row(
    row: Any, wide: Any, lanes: Any, mode: Any, out: Any, to: Any, along: Any, across: Any, vectors: Any
) -> None:
    """Write a row of the plane, the first `lanes` values of each position, into the patch; one of two strides is 1.

    In mode 2 round half away from zero to the range of int16.
    """
    step = lanes_of(vectors)
    if mode == 2:
        for i in range(wide * step):
            v = row[i]
            v += np.float32(0.5) if v > np.float32(0) else np.float32(-0.5)
            row[i] = min(max(v, np.float32(-32768)), np.float32(32767))
    if across == _U(1):
        transpose(row, _U(0), step, out, to, along, wide, lanes)
        return
    for k in range(_U(0), wide):
        for i in range(lanes):
            out[to + k * across + i] = row[k * step + i]
