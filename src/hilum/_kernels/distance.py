"""The exact Euclidean distance transform, one axis after the other; and the nearest of several labels.

Source of the transform: P. Felzenszwalb, D. Huttenlocher, "Distance transforms of sampled functions", Theory of
Computing 8, 2012.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.bitmask.morphology import ROUNDING
from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel()
def _line(values: Any, step: float, parabola: Any, edge: Any, out: Any) -> None:
    """Lower envelope of the parabolas of a line of squared distances; infinite values have no parabola."""
    last = -1
    for q in range(values.size):
        if values[q] == np.inf:
            continue
        height, x = values[q], q * step
        start = -np.inf
        while last >= 0:
            before = parabola[last] * step
            start = (height + x * x - values[parabola[last]] - before * before) / (2 * (x - before))
            if start > edge[last]:
                break
            last -= 1
        if last < 0:
            start = -np.inf
        last += 1
        parabola[last], edge[last] = q, start
    if last < 0:
        out[:] = np.inf
        return
    k = 0
    for q in range(values.size):
        x = q * step
        while k < last and edge[k + 1] < x:
            k += 1
        far = x - parabola[k] * step
        out[q] = far * far + values[parabola[k]]


@kernel()
def _transform(line: Any, step: float, parabola: Any, edge: Any, values: Any, out: Any) -> None:
    """Transform a line in place, by way of contiguous buffers."""
    for i in range(line.size):
        values[i] = line[i]
    _line(values, step, parabola, edge, out)
    for i in range(line.size):
        line[i] = out[i]


@kernel()
def _planes(squared: Any, step: float, along: int, parabola: Any, lines: Any, start: int, stop: int) -> None:
    """Transform the rows (axis 2) or columns (axis 1) of some planes."""
    edge, values, out = lines[0], lines[1], lines[2]
    others = squared.shape[1] if along == 2 else squared.shape[2]
    for z in range(start, stop):
        for k in range(others):
            line = squared[z, k] if along == 2 else squared[z, :, k]
            _transform(line, step, parabola, edge, values, out)


@kernel()
def _stack(squared: Any, step: float, parabola: Any, lines: Any, start: int, stop: int) -> None:
    """Transform along axis 0, for some rows of every plane."""
    edge, values, out = lines[0], lines[1], lines[2]
    for y in range(start, stop):
        for x in range(squared.shape[2]):
            _transform(squared[:, y, x], step, parabola, edge, values, out)


def squared_distance(
    chosen: NDArray[np.bool_], spacing: tuple[float, float, float], *, workers: int = 1
) -> NDArray[np.float64]:
    """Compute the squared distance of each voxel from the nearest chosen one.

    Parameters
    ----------
    chosen : ndarray of bool, shape (z, y, x)
    spacing : tuple of float, (z, y, x), mm
    workers : int

    Returns
    -------
    ndarray of float64, shape (z, y, x)
        mm squared; infinite if no voxel is chosen.
    """
    squared = np.where(chosen, 0.0, np.inf)

    def buffers(along: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return np.empty(squared.shape[along], np.int64), np.empty((3, squared.shape[along]))

    run_slabs(lambda a, b: _planes(squared, spacing[2], 2, *buffers(2), a, b), squared.shape[0], workers=workers)
    run_slabs(lambda a, b: _planes(squared, spacing[1], 1, *buffers(1), a, b), squared.shape[0], workers=workers)
    run_slabs(lambda a, b: _stack(squared, spacing[0], *buffers(0), a, b), squared.shape[1], workers=workers)
    return squared


@kernel()
def _nearest(labels: Any, voxels: Any, offsets: Any, ranks: Any, out: Any, start: int, stop: int) -> None:
    nz, ny, nx = labels.shape
    for i in range(start, stop):
        best, rank = 0, -1
        for k in range(offsets.shape[0]):
            if best and ranks[k] != rank:
                break
            z, y, x = voxels[i, 0] + offsets[k, 0], voxels[i, 1] + offsets[k, 1], voxels[i, 2] + offsets[k, 2]
            if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                continue
            label = labels[z, y, x]
            if label and (best == 0 or label < best):
                best, rank = label, ranks[k]
        out[i] = best


def nearest_label(
    labels: NDArray[np.uint8],
    voxels: NDArray[np.int64],
    element: NDArray[np.int64],
    spacing: tuple[float, float, float],
    *,
    workers: int = 1,
) -> NDArray[np.uint8]:
    """Find the label nearest to each of some voxels; of labels at the same distance the lowest.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    voxels : ndarray of int64, shape (n, 3)
    element : ndarray of int64, shape (m, 3)
        The neighborhood to search, from `ellipsoid`.
    spacing : tuple of float, (z, y, x)
    workers : int

    Returns
    -------
    ndarray of uint8, shape (n,)
        0 where the neighborhood holds no label.
    """
    offsets = np.array([(dz, dy, dx) for dz, dy, half in element.tolist() for dx in range(-half, half + 1)], np.int64)
    squared = ((offsets * np.array(spacing)) ** 2).sum(axis=1)
    order = np.argsort(squared, kind="stable")
    gaps = np.diff(squared[order]) > ROUNDING * squared.max()
    ranks = np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    out = np.zeros(len(voxels), np.uint8)
    labels = read_only(np.ascontiguousarray(labels))
    run_slabs(lambda a, b: _nearest(labels, voxels, offsets[order], ranks, out, a, b), len(voxels), workers=workers)
    return out
