"""What lies on both sides of a mask's surface, looked at on sampled rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.bits import Shape

THIN, PADDED = 4, 5
"""Columns of the faces that tell nothing: mask or gap thinner than the distance looked at; padding outside."""


@kernel()
def _lung(label: Any) -> Any:
    """Whether a label is that of a lung: 1 or 2; others are airways and the like."""
    return (label == 1) | (label == 2)


@kernel()
def _kind(
    volume: Any, labels: Any, air: tuple[Any, Any], place: tuple[int, int, int], move: tuple[int, int, int]
) -> int:
    """Kind of the face that is met by a step of one voxel from `place`, looking `move` to both sides of it."""
    sz, sy, sx = np.sign(move[0]), np.sign(move[1]), np.sign(move[2])
    inside = _lung(labels[place])
    z, y, x = place[0] + move[0], place[1] + move[1], place[2] + move[2]
    k, j, i = place[0] - move[0] + sz, place[1] - move[1] + sy, place[2] - move[2] + sx
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
def _borders(
    volume: Any,
    labels: Any,
    steps: tuple[int, int],
    reach: tuple[int, int, int],
    air: tuple[Any, Any],
    faces: Any,
    first: int,
    stop: int,
) -> None:
    _, ny, nx = labels.shape
    for plane in range(first, stop):
        z = plane * steps[0]
        found = faces[plane]
        for y in range(0, ny, steps[1]):
            row = labels[z, y]
            before = False
            for x in range(nx):
                inside = _lung(row[x])
                if inside != before and x:
                    found[2, _kind(volume, labels, air, (z, y, x - 1), (0, 0, reach[2]))] += 1
                before = inside
                if z and inside != _lung(labels[z - 1, y, x]):
                    found[0, _kind(volume, labels, air, (z - 1, y, x), (reach[0], 0, 0))] += 1
        for y in range(1, ny):
            for x in range(0, nx, steps[1]):
                if _lung(labels[z, y, x]) != _lung(labels[z, y - 1, x]):
                    found[1, _kind(volume, labels, air, (z, y - 1, x), (0, reach[1], 0))] += 1


def borders(
    volume: NDArray[np.int16],
    labels: NDArray[np.uint8],
    *,
    air: int,
    padding: int,
    steps: tuple[int, int],
    reach: Shape,
    workers: int = 0,
) -> NDArray[np.int64]:
    """Sort the faces between the labels 1 and 2 and the rest by what lies on both sides.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
    labels : ndarray of uint8, shape (z, y, x)
    air : int, HU
        What is at most this bright is dark.
    padding : int, HU
        What is at most this bright, outside the mask, lies beyond the scanned field.
    steps : tuple of int
        Every how many planes, and every how many rows and columns of them, are looked at.
    reach : tuple of int, (z, y, x)
        How many voxels before and behind a face are looked at, at least 1.
    workers : int

    Returns
    -------
    ndarray of int64, shape (3, 6)
        For faces across z, y and x, how many are: dark on both sides; dark inside, bright outside; bright inside, dark
        outside; bright on both sides; thin (`THIN`): a mask or a gap that ends within `reach`, or another
        label outside; beside padding (`PADDED`).
    """
    volume, labels = np.ascontiguousarray(volume).view(), np.ascontiguousarray(labels).view()
    volume.flags.writeable = labels.flags.writeable = False  # one compiled kernel, whoever calls
    planes = -(-labels.shape[0] // steps[0])
    faces = np.zeros((planes, 3, 6), np.int64)
    bounds = (np.int16(padding), np.int16(air))
    run_slabs(lambda a, b: _borders(volume, labels, steps, reach, bounds, faces, a, b), planes, workers=workers)
    total: NDArray[np.int64] = faces.sum(axis=0)
    return total
