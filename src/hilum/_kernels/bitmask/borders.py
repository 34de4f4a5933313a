"""Faces between a lung mask and the rest, sorted by whether the voxels on both sides are dark or bright.

The mask is scanned along sampled rows and columns. A few voxels before and behind each face decide its kind.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import Shape
from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.threads import run_slabs

THIN, PADDED = 4, 5  # columns of faces without information: mask or gap thinner than the depth; padding outside


@kernel()
def _lung(label: Any) -> Any:
    """Whether a label is 1 or 2, a lung."""
    return (label == 1) | (label == 2)


@kernel()
def _kind(
    volume: Any, labels: Any, air: tuple[Any, Any], voxel: tuple[int, int, int], move: tuple[int, int, int]
) -> int:
    """Kind of the face between `voxel` and the next one in the direction of `move`, which is as long as the depth."""
    sz, sy, sx = np.sign(move[0]), np.sign(move[1]), np.sign(move[2])
    inside = _lung(labels[voxel])
    z, y, x = voxel[0] + move[0], voxel[1] + move[1], voxel[2] + move[2]
    k, j, i = voxel[0] - move[0] + sz, voxel[1] - move[1] + sy, voxel[2] - move[2] + sx
    nz, ny, nx = labels.shape
    z, y, x = min(max(z, 0), nz - 1), min(max(y, 0), ny - 1), min(max(x, 0), nx - 1)
    k, j, i = min(max(k, 0), nz - 1), min(max(j, 0), ny - 1), min(max(i, 0), nx - 1)
    if (
        _lung(labels[z, y, x]) == inside
        or _lung(labels[k, j, i]) != inside
        or labels[z, y, x] > 2
        or labels[k, j, i] > 2
    ):
        return 4
    here, there = volume[k, j, i], volume[z, y, x]
    if not inside:
        here, there = there, here
    return 5 if there <= air[0] else 2 * (here > air[1]) + (there > air[1])


@kernel()
def _count_faces(
    volume: Any, labels: Any, steps: tuple[int, int], depth: tuple[int, int, int], air: tuple[Any, Any], faces: Any,
    first: int, stop: int,
) -> None:  # fmt: skip
    _, ny, nx = labels.shape
    for plane in range(first, stop):
        z = plane * steps[0]
        counts = faces[plane]
        for y in range(0, ny, steps[1]):
            row = labels[z, y]
            before = False
            for x in range(nx):
                inside = _lung(row[x])
                if inside != before and x:
                    counts[2, _kind(volume, labels, air, (z, y, x - 1), (0, 0, depth[2]))] += 1
                before = inside
                if z and inside != _lung(labels[z - 1, y, x]):
                    counts[0, _kind(volume, labels, air, (z - 1, y, x), (depth[0], 0, 0))] += 1
        for y in range(1, ny):
            for x in range(0, nx, steps[1]):
                if _lung(labels[z, y, x]) != _lung(labels[z, y - 1, x]):
                    counts[1, _kind(volume, labels, air, (z, y - 1, x), (0, depth[1], 0))] += 1


def count_faces(
    volume: NDArray[np.int16],
    labels: NDArray[np.uint8],
    *,
    air: int,
    padding: int,
    steps: tuple[int, int],
    depth: Shape,
    workers: int = 1,
) -> NDArray[np.int64]:
    """Count the faces between the labels 1 and 2 and the rest by what lies on both sides.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
        The voxels.
    labels : ndarray of uint8, shape (z, y, x)
        1 and 2 for the two lungs; other values count as the rest.
    air : int, HU
        Voxels are dark up to this value.
    padding : int, HU
        Voxels outside the mask are padding up to this value.
    steps : tuple of int
        Every how many planes, and every how many of their rows and columns, are scanned.
    depth : tuple of int, (z, y, x)
        How many voxels before and behind a face decide its kind, at least 1.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of int64, shape (3, 6)
        For faces across z, y and x, how many are: dark on both sides; dark inside, bright outside; bright inside, dark
        outside; bright on both sides; without information because the mask or the gap ends within `depth` or another
        label lies outside (`THIN`); next to padding (`PADDED`).
    """
    volume, labels = read_only(np.ascontiguousarray(volume)), read_only(np.ascontiguousarray(labels))
    planes = -(-labels.shape[0] // steps[0])
    faces = np.zeros((planes, 3, 6), np.int64)
    bounds = (np.int16(padding), np.int16(air))
    run_slabs(lambda a, b: _count_faces(volume, labels, steps, depth, bounds, faces, a, b), planes, workers=workers)
    total: NDArray[np.int64] = faces.sum(axis=0)
    return total
