"""The exact Euclidean distance transform, one axis after the other; and the nearest of several labels.

Source of the transform: P. Felzenszwalb, D. Huttenlocher, "Distance transforms of sampled functions", Theory of
Computing 8, 2012.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import Spacing
from hilum._kernels.bitmask.morphology import ROUNDING
from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.threads import run_slabs


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
def _transform(squared: Any, step: float, parabola: Any, buffers: Any, start: int, stop: int) -> None:
    """Transform the lines along the middle axis in place, by way of contiguous buffers."""
    edge, values, out = buffers[0], buffers[1], buffers[2]
    for k in range(start, stop):
        for j in range(squared.shape[2]):
            line = squared[k, :, j]
            for i in range(line.size):
                values[i] = line[i]
            _line(values, step, parabola, edge, out)
            for i in range(line.size):
                line[i] = out[i]


def squared_distance(chosen: NDArray[np.bool_], spacing: Spacing, *, workers: int = 1) -> NDArray[np.float64]:
    """Compute the squared distance of each voxel from the nearest chosen one.

    Parameters
    ----------
    chosen : ndarray of bool, shape (z, y, x)
        The voxels to measure from.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of float64, shape (z, y, x)
        mm squared; infinite if no voxel is chosen.
    """
    squared = np.where(chosen, 0.0, np.inf)

    def work(axis: int, start: int, stop: int) -> None:
        lines = np.moveaxis(squared, axis, 1)
        parabola, buffers = np.empty(lines.shape[1], np.int64), np.empty((3, lines.shape[1]))
        _transform(lines, spacing[axis], parabola, buffers, start, stop)

    for axis in (2, 1, 0):
        run_slabs(partial(work, axis), squared.shape[0 if axis else 1], workers=workers)
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
    spacing: Spacing,
    *,
    workers: int = 1,
) -> NDArray[np.uint8]:
    """Find the label nearest to each of some voxels; of labels at the same distance the lowest.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        The labels, 0 for background.
    voxels : ndarray of int64, shape (n, 3)
        Where to look from, (z, y, x).
    element : ndarray of int64, shape (m, 3)
        The neighborhood to search, from `ellipsoid`.
    spacing : tuple of float, (z, y, x)
        Distance of voxel centers in any unit.
    workers : int
        Threads; 0 for one per available core.

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
