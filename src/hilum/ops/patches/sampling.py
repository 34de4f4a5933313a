"""Sample rotated, mirrored and zoomed patches of a volume, and their labels."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import floor
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import ArrayTuple
from hilum._kernels.patches import crops, rotate, rotate_linear
from hilum._kernels.patches.rotate_labels import UNKNOWN, label_bounds, rotate_labels, rotate_labels_by_tile
from hilum._kernels.resample.recursive_filter import LANES, VECTOR
from hilum._kernels.simd.prefetch import empty_aligned
from hilum.errors import GeometryError
from hilum.ops.patches.boxes import Box, lies_inside
from hilum.ops.patches.poses import Matrix, Pose

Finish = tuple[int, float, float, float]  # (1, lower, width, mean) scales values to float32; or `ROUND` or `KEEP`

KEEP: Finish = (0, 0.0, 1.0, 0.0)
ROUND: Finish = (2, 0.0, 1.0, 0.0)

Order = Literal[1, 3]  # order of the spline: linear or cubic

_KERNELS: dict[int, tuple[int, int, Callable[..., None]]] = {
    1: (rotate_linear.BEFORE, rotate_linear.AFTER, rotate_linear.rotate_linear),
    3: (rotate.BEFORE, rotate.AFTER, rotate.rotate_cubic),
}
"""For each order: how many voxels the kernel reads before a position's voxel, and from it on; and the kernel."""

_VECTORS = {1: ((32, (0,)), (LANES, (0,) * 4)), 3: ((16, (0,)), (32, (0, 0)), (LANES, (0,) * 4))}
"""For each order: up to how many positions along the axis a block takes a tuple with an entry for each vector of a row.

Thin patches do not pay for four vectors. Every entry is one more kernel for each type of volume and patch.
"""

TILE = 64  # voxels along a tile's edge; patches at one nodule use the same tiles, so most read no voxel for this

_buffers = threading.local()


class Source(NamedTuple):
    """A volume that patches are sampled from.

    Parameters
    ----------
    array : ndarray of int16, uint8 or float32, shape (z, y, x), or None
        The voxels, C-contiguous, if they are in memory or mapped.
    shape : tuple of int, (z, y, x)
        Number of voxels along each axis.
    cut : callable
        Takes the first voxel and the size of a box, and returns the padded box. Called for boxes that extend beyond
        the volume, and if there is no array.
    """

    array: NDArray[Any] | None
    shape: Box
    cut: Callable[[Box, Box], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LabelTiles:
    """A volume of labels that many patches are cut from.

    Parameters
    ----------
    flat : ndarray of uint8, shape (z * y * x,)
        C-contiguous and read-only.
    shape : tuple of int, (z, y, x)
        Number of voxels along each axis.
    """

    flat: NDArray[np.uint8]
    shape: Box

    @cached_property
    def known(self) -> ArrayTuple:
        """The voxels in words of eight; for each tile the first labeled voxel, and one past the last, along each axis.

        `hilum._kernels.patches.rotate_labels.tile_label_bounds` fills in the extents of the tiles.
        """
        tiles = [-(-n // TILE) for n in self.shape]
        return ArrayTuple(in_words(self.flat), np.full((*tiles, 3, 2), UNKNOWN, np.int64))


def in_words(flat: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """View voxels as words of eight, without the voxels that do not fill the last word."""
    return flat[: flat.size // 8 * 8].view(np.uint64)


def sample(source: Source, pose: Pose, out: NDArray[Any], finish: Finish, *, order: Order = 3) -> None:
    """Sample a patch of a volume by linear or cubic B-spline interpolation, and scale the values in the same pass.

    The filter that computes the coefficients of the cubic spline reads six voxels beyond those that the spline of the
    patch needs, and continues the last voxel further out. The result differs from the spline of the whole volume by
    less than 0.5 HU, whatever the volume contains there (by 0.13 HU if it is 4095 HU all around).

    Parameters
    ----------
    source : Source
        Of int16 or float32.
    pose : Pose
        Where the patch is, and how it is turned and zoomed.
    out : ndarray, of the pose's size
        C-contiguous; receives the patch. int16 needs the finish `ROUND`.
    finish : Finish
        How values are scaled.
    order : {1, 3}
        Order of the spline: linear or cubic.

    Raises
    ------
    GeometryError
        If no axis of the patch is parallel to one of the volume's.

    Notes
    -----
    The spline is that of M. Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing
    Magazine 16(6):22-38, 1999.
    """
    a, parallel = _parallel_axes(pose.matrix)
    b, c = (0, 1) if a == 2 else (1 - a, 2)
    j, k = (axis for axis in range(3) if axis != parallel)
    before, after, kernel = _KERNELS[order]
    start, size = pose.box(before)
    flat, corner, strides = _flat(source, start, size)
    matrix, first, n = pose.matrix, pose.first, pose.size[parallel]
    offsets = (matrix[b][j], matrix[b][k], first[b] - start[b], matrix[c][j], matrix[c][k], first[c] - start[c])
    rows, columns = pose.size[j], pose.size[k]
    out_strides = (pose.size[1] * pose.size[2], pose.size[2], 1)
    buffers = _sampling_buffers(size[b] * size[c], max(size), columns)
    flat_out = out.reshape(-1)
    block = 0
    while block < n:
        left = min(n - block, LANES)
        vectors = next(some for most, some in _VECTORS[order] if left <= most)
        lanes = min(left, len(vectors) * VECTOR)
        step = matrix[a][parallel]
        position = first[a] - start[a] + step * block
        low, high = sorted((position, position + step * (lanes - 1)))
        begin = max(floor(low) - before, 0)
        count = min(floor(high) + after, size[a]) - begin
        kernel(
            flat, corner + begin * strides[a], (strides[a], strides[b], strides[c]), (count, size[b], size[c]),
            (position - begin, step, lanes), (offsets, rows, columns), finish, buffers,
            flat_out, block * out_strides[parallel], (out_strides[parallel], out_strides[j], out_strides[k]), vectors,
        )  # fmt: skip
        block += lanes


def sample_labels(source: Source, pose: Pose, *, tiles: LabelTiles | None = None) -> NDArray[np.uint8]:
    """Sample the labels of a patch: each voxel gets the label of the nearest voxel, 0 outside the volume.

    Parameters
    ----------
    source : Source
        Of uint8.
    pose : Pose
        Where the patch is, and how it is turned and zoomed.
    tiles : LabelTiles, optional
        The tiles of the array.

    Returns
    -------
    ndarray of uint8, of the pose's size
    """
    start, size = pose.box(0)
    matrix, back = pose.matrix, pose.inverse
    (z, y, x), (at_z, at_y, at_x) = pose.center, start
    center = (z - at_z, y - at_y, x - at_x)
    out = np.zeros(pose.size, np.uint8)
    buffers = _label_buffers(pose.size[2])
    if tiles is not None and lies_inside(source.shape, start, size):
        rotate_labels_by_tile(
            tiles.flat, tiles.known, source.shape, TILE, start, size, matrix, back, center, buffers, out
        )
        return out
    flat, corner, strides = _flat(source, start, size)
    extent, indices = buffers.arrays
    label_bounds(in_words(flat), corner, strides, size, extent)
    if extent[0, 1]:
        rotate_labels(flat, corner, strides, extent, matrix, back, center, indices, out)
    return out


def copy_reoriented(source: Source, pose: Pose, out: NDArray[Any], finish: Finish) -> None:
    """Copy a patch that needs no interpolation: it is only mirrored, with its axes swapped.

    Parameters
    ----------
    source : Source
        The volume to copy from.
    pose : Pose
        Not `Pose.resampled`.
    out : ndarray, of the pose's size
        Receives the patch; of the array's type, or float32 if the finish scales.
    finish : Finish
        How values are scaled.
    """
    matrix = pose.matrix
    nz, ny, nx = (int(sum(abs(m) * n for m, n in zip(row, pose.size, strict=True))) for row in matrix)
    z, y, x = (round(c - (n - 1) / 2) for c, n in zip(pose.center, (nz, ny, nx), strict=True))
    flat, corner, strides = _flat(source, (z, y, x), (nz, ny, nx))
    steps = []
    for column in range(3):
        axis = next(row for row in range(3) if matrix[row][column])
        steps.append(int(matrix[axis][column]) * strides[axis])
        corner -= min(steps[-1], 0) * (pose.size[column] - 1)
    crops.permute_axes(flat, corner, tuple(steps), out.reshape(-1), pose.size, finish)


def _parallel_axes(matrix: Matrix) -> tuple[int, int]:
    """An axis of the volume, and the patch's axis that is parallel to it and perpendicular to the others."""
    for row, line in enumerate(matrix):
        along = [column for column in range(3) if line[column]]
        if len(along) == 1 and not any(other[along[0]] for other in matrix if other is not line):
            return row, along[0]
    raise GeometryError(f"no axis of the patch is parallel to an axis of the volume in the matrix {matrix}")


def _flat(source: Source, start: Box, size: Box) -> tuple[NDArray[Any], int, Box]:
    """Flattened voxels, the offset of the box in them, and the strides: of the volume itself, or of a padded copy."""
    array, shape, cut = source
    if array is None or not lies_inside(shape, start, size):
        flat, corner, strides = cut(start, size).reshape(-1), 0, (size[1] * size[2], size[2], 1)
    else:
        strides = (shape[1] * shape[2], shape[2], 1)
        flat = array.reshape(-1)
        corner = sum(s * step for s, step in zip(start, strides, strict=True))
    flat.flags.writeable = False  # so that the kernel is compiled once, for a copy and for a read-only volume
    return flat, corner, strides


def _sampling_buffers(plane: int, line: int, size: int) -> ArrayTuple:
    """Working memory of the sampling kernels, one per thread; it grows as needed."""
    needed, current = (plane, line, size), getattr(_buffers, "sizes", (0, 0, 0))
    if any(n > m for n, m in zip(needed, current, strict=True)):
        _buffers.sizes = plane, line, size = tuple(map(max, needed, current))
        padded = line + 15  # rows begin with a cache line
        _buffers.sampling = ArrayTuple(
            np.empty((line, 4), np.int64),
            (np.empty(LANES, np.int64), np.empty((4, LANES), np.float32)),
            empty_aligned((line * padded,), np.float32),
            empty_aligned((line * padded,), np.float32),
            empty_aligned((plane * LANES,), np.float32),
            empty_aligned((size * LANES,), np.float32),
            np.empty(size, np.int64),
            np.empty((rotate.WEIGHTS, size), np.float32),
        )
    buffers: ArrayTuple = _buffers.sampling
    return buffers


def _label_buffers(size: int) -> ArrayTuple:
    """Working memory of the kernels that rotate labels, one per thread."""
    if getattr(_buffers, "labels_size", 0) < size:
        _buffers.labels_size = size
        _buffers.labels = ArrayTuple(np.empty((3, 2), np.int64), np.empty(size, np.int64))
    buffers: ArrayTuple = _buffers.labels
    return buffers
