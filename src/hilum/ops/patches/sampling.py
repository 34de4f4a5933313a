"""Patches that lie turned, mirrored and zoomed in a volume, sampled from it once, and their labels."""

from __future__ import annotations

import threading
from math import floor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hilum._kernels.compile.kernel import ArrayTuple
from hilum._kernels.patches import rotate, rotate_linear
from hilum._kernels.patches.crops import permute_axes
from hilum._kernels.patches.rotate_labels import label_bounds, rotate_labels, rotate_labels_by_tile
from hilum._kernels.resample.recursive_filter import LANES
from hilum._kernels.simd.prefetch import empty_aligned
from hilum.errors import GeometryError
from hilum.ops.patches.boxes import cut_array, lies_inside
from hilum.ops.patches.label_tiles import TILE, LabelTiles, in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hilum.ops.patches.boxes import Box
    from hilum.ops.patches.poses import Matrix, Pose

Finish = tuple[int, float, float, float]
"""What becomes of sums: (1, lower, width, mean) scales them to float32, the others are `ROUND` and `KEEP`."""

KEEP: Finish = (0, 0.0, 1.0, 0.0)
ROUND: Finish = (2, 0.0, 1.0, 0.0)

Order = Literal[1, 3]
"""Of the spline that a patch is sampled with: linear, or cubic."""

_KERNELS: dict[int, tuple[int, int, Callable[..., None]]] = {
    1: (rotate_linear.BEFORE, rotate_linear.AFTER, rotate_linear.rotate_linear),
    3: (rotate.BEFORE, rotate.AFTER, rotate.rotate_cubic),
}
"""By order: how many voxels a place wants before the one it lies in and from that one on, and the kernel."""

_room = threading.local()


def sample(
    array: NDArray[Any] | None,
    shape: Box,
    cut: Callable[[Box, Box], NDArray[Any]],
    pose: Pose,
    out: NDArray[Any],
    finish: Finish,
    *,
    order: Order = 3,
) -> None:
    """Sample a patch of a volume by the interpolating cubic B-spline or linearly, at once to what a network takes.

    The filter that makes spline coefficients of voxels sees six voxels beyond those that the patch's own spline
    needs, and what lies further as their continuation: that differs from the spline of the whole volume by less
    than 0.5 HU, whatever lies there (by 0.13 HU where 4095 HU begin all round).

    Parameters
    ----------
    array : ndarray of int16 or float32, shape (z, y, x), or None
        The volume, C-contiguous, where it is there as an array.
    shape : tuple of int, (z, y, x)
        Of the volume.
    cut : callable
        Gives the box of a first voxel and a size where it reaches beyond the volume, or where there is no array.
    pose : Pose
    out : ndarray, shape (size, size, size)
        C-contiguous; filled. int16 wants the finish `ROUND`.
    finish : Finish
    order : {1, 3}
        Of the spline: linear, which wants no filter, or cubic.

    Raises
    ------
    GeometryError
        If no axis of the patch runs along one of the volume's.

    Notes
    -----
    The spline is that of M. Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing
    Magazine 16(6):22-38, 1999.
    """
    a, ours = _line(pose.matrix)
    b, c = (0, 1) if a == 2 else (1 - a, 2)
    j, k = (axis for axis in range(3) if axis != ours)
    before, after, kernel = _KERNELS[order]
    start, size = pose.box(before)
    flat, corner, strides = _flat(array, shape, cut, start, size)
    matrix, first, n = pose.matrix, pose.first, pose.size
    plane = (
        (matrix[b][j], matrix[b][k], first[b] - start[b], matrix[c][j], matrix[c][k], first[c] - start[c]),
        n,
        n,
    )
    pitch = (n * n, n, 1)
    room = _buffers(size[b] * size[c], max(size), n)
    filled = out.reshape(-1)
    for block in range(0, n, LANES):
        lanes = min(LANES, n - block)
        step = matrix[a][ours]
        place = first[a] - start[a] + step * block
        low, high = sorted((place, place + step * (lanes - 1)))
        begin = max(floor(low) - before, 0)
        count = min(floor(high) + after, size[a]) - begin
        kernel(
            flat, corner + begin * strides[a], (strides[a], strides[b], strides[c]), (count, size[b], size[c]),
            (place - begin, step, lanes), plane, finish, room,
            filled, block * pitch[ours], (pitch[ours], pitch[j], pitch[k]),
        )  # fmt: skip


def pick(
    array: NDArray[np.uint8] | None,
    shape: Box,
    cut: Callable[[Box, Box], NDArray[Any]],
    pose: Pose,
    *,
    tiles: LabelTiles | None = None,
) -> NDArray[np.uint8]:
    """The labels of a patch: of the nearest voxel each, 0 outside.

    Parameters
    ----------
    array, shape, cut, pose
        As for `sample`, of labels.
    tiles : LabelTiles, optional
        What is known of where the array holds any.

    Returns
    -------
    ndarray of uint8, shape (size, size, size)
    """
    start, size = pose.box(0)
    n, matrix, back = pose.size, pose.matrix, pose.inverse
    (z, y, x), (at_z, at_y, at_x) = pose.center, start
    center = (z - at_z, y - at_y, x - at_x)
    out = np.zeros((n, n, n), np.uint8)
    room = _label_room(n)
    if tiles is not None and lies_inside(shape, start, size):
        rotate_labels_by_tile(tiles.flat, tiles.known, shape, TILE, start, size, matrix, back, center, room, out)
        return out
    flat, corner, strides = _flat(array, shape, cut, start, size)
    reach, places = room.arrays
    label_bounds(in_words(flat), corner, strides, size, reach)
    if reach[0, 1]:
        rotate_labels(flat, corner, strides, reach, matrix, back, center, places, out)
    return out


def turned(
    array: NDArray[Any] | None,
    shape: Box,
    cut: Callable[[Box, Box], NDArray[Any]],
    pose: Pose,
    out: NDArray[Any],
    finish: Finish,
) -> None:
    """Copy a patch whose voxels are those of the volume, mirrored and with axes swapped; parameters as for `sample`.

    Parameters
    ----------
    array, shape, cut
        As for `sample`.
    pose : Pose
        Not `Pose.resampled`.
    out : ndarray, shape (size, size, size)
        Of the array's type, or float32 to be scaled.
    finish : Finish
    """
    n, matrix = pose.size, pose.matrix
    start = [round(c - (n - 1) / 2) for c in pose.center]
    flat, corner, strides = _flat(array, shape, cut, (start[0], start[1], start[2]), (n, n, n))
    steps = []
    for column in range(3):
        axis = next(row for row in range(3) if matrix[row][column])
        steps.append(int(matrix[axis][column]) * strides[axis])
        corner -= min(steps[-1], 0) * (n - 1)
    permute_axes(flat, corner, tuple(steps), out.reshape(-1), n, finish)


def _line(matrix: Matrix) -> tuple[int, int]:
    """The volume's axis and the patch's that run along each other, across all others."""
    for row, line in enumerate(matrix):
        along = [column for column in range(3) if line[column]]
        if len(along) == 1 and not any(other[along[0]] for other in matrix if other is not line):
            return row, along[0]
    raise GeometryError(f"no axis of the patch runs along one of the volume's in {matrix}")


def _flat(
    array: NDArray[Any] | None, shape: Box, cut: Callable[[Box, Box], NDArray[Any]], start: Box, size: Box
) -> tuple[NDArray[Any], int, Box]:
    """The volume's voxels in a line, where in it the box starts, and the strides; a padded copy where it must be."""
    if array is None or not lies_inside(shape, start, size):
        box = cut(start, size)
        flat, corner, strides = box.reshape(-1), 0, (size[1] * size[2], size[2], 1)
    else:
        strides = (shape[1] * shape[2], shape[2], 1)
        flat = array.reshape(-1)
        corner = sum(s * step for s, step in zip(start, strides, strict=True))
    flat.flags.writeable = False  # one compiled version, for a copy as for a volume's own voxels
    return flat, corner, strides


def _buffers(plane: int, line: int, size: int) -> ArrayTuple:
    """Working memory of the kernel, kept by each thread."""
    wanted = (plane, line, size)
    if any(n > m for n, m in zip(wanted, getattr(_room, "made", (0, 0, 0)), strict=True)):
        made = tuple(max(n, m) for n, m in zip(wanted, getattr(_room, "made", (0, 0, 0)), strict=True))
        _room.made = made
        even = made[1] + 15  # rows begin with a cache line
        _room.held = ArrayTuple(
            np.empty((made[1], 4), np.int64),
            (np.empty(LANES, np.int64), np.empty((4, LANES), np.float32)),
            empty_aligned((made[1] * even,), np.float32),
            empty_aligned((made[1] * even,), np.float32),
            empty_aligned((made[0] * LANES,), np.float32),
            empty_aligned((made[2] * LANES,), np.float32),
            np.empty(made[2], np.int64),
            np.empty((rotate.WEIGHTS, made[2]), np.float32),
        )
    held: ArrayTuple = _room.held
    return held


def _label_room(size: int) -> ArrayTuple:
    """Working memory of the kernels that turn labels, kept by each thread."""
    if getattr(_room, "labels_size", 0) < size:
        _room.labels_size = size
        _room.labels = ArrayTuple(np.empty((3, 2), np.int64), np.empty(size, np.int64))
    held: ArrayTuple = _room.labels
    return held


def cut_from(array: NDArray[Any], fill: float) -> Callable[[Box, Box], NDArray[Any]]:
    """The `cut` that `sample` and `pick` take, out of an array, `fill` outside."""
    return lambda start, size: cut_array(array, start, size, fill=fill)
