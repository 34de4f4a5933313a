"""Labels of rotated patches: the label of the nearest voxel, looked up only within the bounds of the labels."""

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.simd.prefetch import prefetch_l1

_U = np.uint64
_AHEAD = 12  # how many rows ahead labels are prefetched

UNKNOWN = -1  # fills the bounds of a tile whose labels have not been searched


@kernel()
def label_bounds(words: Any, base: Any, strides: Any, counts: Any, bounds: Any) -> None:
    """Bound the labels in a box: first voxel and one past the last along z, y and x; the latter is 0 without labels.

    Eight voxels are tested at once. Words that extend beyond the box are tested whole, and voxels after the last full
    word of the volume count as labels. So the bounds may be too wide, but never too narrow.
    """
    for axis in range(3):
        bounds[axis, 0], bounds[axis, 1] = counts[axis], 0
    total, eight = _U(words.size), _U(3)
    for z in range(counts[0]):
        for y in range(counts[1]):
            at = _U(base + z * strides[0] + y * strides[1])
            ahead = min((at + _U(_AHEAD * strides[1])) >> eight, total - _U(1))
            prefetch_l1(words, ahead)
            prefetch_l1(words, min(ahead + _U(8), total - _U(1)))
            first, last = at >> eight, ((at + _U(counts[2]) - _U(1)) >> eight) + _U(1)
            labeled = _U(last > total)
            for k in range(first, min(last, total)):
                labeled |= words[k]
            if not labeled:
                continue
            bounds[0, 0], bounds[0, 1] = min(bounds[0, 0], z), max(bounds[0, 1], z + 1)
            bounds[1, 0], bounds[1, 1] = min(bounds[1, 0], y), max(bounds[1, 1], y + 1)
            for word in range(first, last):
                if word >= total or words[word]:
                    start = np.int64(word << eight) - np.int64(at)
                    bounds[2, 0] = min(bounds[2, 0], max(start, 0))
                    bounds[2, 1] = max(bounds[2, 1], min(start + 8, counts[2]))


@kernel()
def _find_tile_bounds(words: Any, shape: Any, corner: Any, tile: Any, local: Any, known: Any) -> None:
    """Bound the labels in a tile, and store the bounds in voxels of the volume."""
    sy, sz = shape[2], shape[1] * shape[2]
    counts = (min(tile, shape[0] - corner[0]), min(tile, shape[1] - corner[1]), min(tile, shape[2] - corner[2]))
    label_bounds(words, corner[0] * sz + corner[1] * sy + corner[2], (sz, sy, 1), counts, local)
    for axis in range(3):
        known[axis, 0] = local[axis, 0] + corner[axis] if local[axis, 1] else 0
        known[axis, 1] = local[axis, 1] + corner[axis] if local[axis, 1] else 0


@kernel()
def tile_label_bounds(
    words: Any, table: Any, shape: Any, tile: Any, index: Any, start: Any, size: Any, bounds: Any
) -> Any:
    """Bound the labels in the part of a tile that lies in a box; return whether there are any.

    `table` keeps the bounds of each tile, and is filled when a tile is first needed. Threads that fill the same tile
    write the same numbers; bounds that are only partly written count as unknown.
    """
    known = table[index[0], index[1], index[2]]
    if min(known[0, 0], known[1, 0], known[2, 0], known[0, 1], known[1, 1], known[2, 1]) < 0:
        _find_tile_bounds(words, shape, (index[0] * tile, index[1] * tile, index[2] * tile), tile, bounds, known)
    any_label = known[0, 1] > 0
    for axis in range(3):
        bounds[axis, 0] = min(max(known[axis, 0] - start[axis], 0), size[axis])
        bounds[axis, 1] = min(max(known[axis, 1] - start[axis], 0), size[axis])
        any_label &= bounds[axis, 0] < bounds[axis, 1]
    return any_label


@kernel()
def _candidates(row: Any, middle: Any, half: Any, size: Any) -> Any:
    """First voxel along an axis of a patch whose nearest voxel may lie in the box, and one past the last."""
    at = row[0] * middle[0] + row[1] * middle[1] + row[2] * middle[2] + 0.5 * (size - 1)
    wide = abs(row[0]) * half[0] + abs(row[1]) * half[1] + abs(row[2]) * half[2]
    return max(int(np.floor(at - wide)), 0), min(int(np.floor(at + wide)) + 2, size)


@kernel()
def _narrow(begin: Any, step: Any, first: Any, last: Any, start: Any, stop: Any) -> Any:
    """Narrow the range ``start:stop`` to the k for which begin + step * k may lie in [first, last)."""
    if step == 0:
        return start, stop if first <= begin < last else start
    one, other = (first - begin) / step, (last - begin) / step
    low, high = min(max(min(one, other), start), stop), max(min(max(one, other), stop), start)
    return max(int(np.floor(low)) - 1, start), min(int(np.floor(high)) + 2, stop)


@kernel()
def _inside(begin: Any, step: Any, k: Any, bounds: Any) -> Any:
    z, y, x = begin[0] + step[0] * k, begin[1] + step[1] * k, begin[2] + step[2] * k
    return (
        bounds[0, 0] <= z < bounds[0, 1] and bounds[1, 0] <= y < bounds[1, 1] and bounds[2, 0] <= x < bounds[2, 1]
    )  # fmt: skip


@kernel()
def rotate_labels(
    src: Any, base: Any, strides: Any, bounds: Any, matrix: Any, inverse: Any, center: Any, indices: Any, out: Any
) -> None:
    """Write the nearest voxel of a box of a flat volume to each voxel of a patch, where it lies within `bounds`.

    `matrix` (z, y, x of the box by z, y, x of the patch) rotates the patch about `center`, in voxels of the box;
    `inverse` is its inverse. For each row of the patch, first find which voxels lie within the bounds, then compute all
    their indices, then read them: so reads do not wait for computations and stay within the bounds. Sums must not be
    contracted: all three steps have to compute the same positions.
    """
    half = (
        0.5 * (bounds[0, 1] - bounds[0, 0]),
        0.5 * (bounds[1, 1] - bounds[1, 0]),
        0.5 * (bounds[2, 1] - bounds[2, 0]),
    )
    middle = (
        bounds[0, 0] + half[0] - 0.5 - center[0],
        bounds[1, 0] + half[1] - 0.5 - center[1],
        bounds[2, 0] + half[2] - 0.5 - center[2],
    )
    i_first, i_last = _candidates(inverse[0], middle, half, out.shape[0])
    j_first, j_last = _candidates(inverse[1], middle, half, out.shape[1])
    i_edge, j_edge, edge = 0.5 * (out.shape[0] - 1), 0.5 * (out.shape[1] - 1), 0.5 * (out.shape[2] - 1)
    step = (matrix[0][2], matrix[1][2], matrix[2][2])
    for i in range(i_first, i_last):
        for j in range(j_first, j_last):
            di, dj = i - i_edge, j - j_edge
            begin = (
                matrix[0][0] * di + matrix[0][1] * dj - step[0] * edge + center[0] + 0.5,
                matrix[1][0] * di + matrix[1][1] * dj - step[1] * edge + center[1] + 0.5,
                matrix[2][0] * di + matrix[2][1] * dj - step[2] * edge + center[2] + 0.5,
            )
            k, stop = 0, out.shape[2]
            for axis in range(3):
                k, stop = _narrow(begin[axis], step[axis], bounds[axis, 0], bounds[axis, 1], k, stop)
            while k < stop and not _inside(begin, step, np.float64(k), bounds):
                k += 1
            while k < stop and not _inside(begin, step, np.float64(stop - 1), bounds):
                stop -= 1
            first, count = _U(k), _U(stop - k)
            for n in range(count):
                at = np.float64(first + n)
                z, y, x = begin[0] + step[0] * at, begin[1] + step[1] * at, begin[2] + step[2] * at
                indices[n] = base + np.int64(z) * strides[0] + np.int64(y) * strides[1] + np.int64(x)
            row = out[i, j]
            for n in range(count):
                row[first + n] = src[_U(indices[n])]


@kernel()
def rotate_labels_by_tile(
    src: Any, known: Any, shape: Any, tile: Any, start: Any, size: Any, matrix: Any, inverse: Any, center: Any,
    buffers: Any, out: Any,
) -> None:  # fmt: skip
    """Do what `rotate_labels` does tile by tile, in a box of a whole volume, within `tile_label_bounds`."""
    words, table = known
    bounds, indices = buffers
    strides = (shape[1] * shape[2], shape[2], 1)
    base = start[0] * strides[0] + start[1] * strides[1] + start[2]
    for z in range(start[0] // tile, (start[0] + size[0] - 1) // tile + 1):
        for y in range(start[1] // tile, (start[1] + size[1] - 1) // tile + 1):
            for x in range(start[2] // tile, (start[2] + size[2] - 1) // tile + 1):
                if tile_label_bounds(words, table, shape, tile, (z, y, x), start, size, bounds):
                    rotate_labels(src, base, strides, bounds, matrix, inverse, center, indices, out)
