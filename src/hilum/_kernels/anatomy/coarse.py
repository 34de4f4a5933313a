"""The coarse grid: cells are blocks of voxels some millimetres wide, so that work on the whole chest is cheap.

Voxels are averaged into cells, and labels grow over cells.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask.mask import FACE_STEPS, Shape
from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.components.labeling import Runs, sizes
from hilum._kernels.threads import run_slabs

Label = TypeVar("Label", np.uint8, np.int32)


@kernel()
def _cell_means(volume: Any, factors: tuple[int, int, int], cells: Any, column: Any, start: int, stop: int) -> None:
    nz, ny, nx = volume.shape
    fz, fy, fx = factors
    for cz in range(start, stop):
        z0, z1 = cz * fz, min(nz, cz * fz + fz)
        for cy in range(cells.shape[1]):
            y0, y1 = cy * fy, min(ny, cy * fy + fy)
            column[:] = 0
            for z in range(z0, z1):
                for y in range(y0, y1):
                    row = volume[z, y]
                    for x in range(nx):
                        column[x] += row[x]
            for cx in range(cells.shape[2]):
                x0, x1 = cx * fx, min(nx, cx * fx + fx)
                total = 0
                for x in range(x0, x1):
                    total += column[x]
                cells[cz, cy, cx] = total // ((z1 - z0) * (y1 - y0) * (x1 - x0))


@kernel()
def _can_grow(labels: Any, allowed: Any, z: int, y: int, x: int) -> bool:
    nz, ny, nx = labels.shape
    for dz, dy, dx in FACE_STEPS:
        k, j, i = z + dz, y + dy, x + dx
        if 0 <= k < nz and 0 <= j < ny and 0 <= i < nx and allowed[k, j, i] and not labels[k, j, i]:
            return True
    return False


@kernel()
def _grow_labels(labels: Any, allowed: Any, front: Any, reached_in: Any, steps: int) -> None:
    nz, ny, nx = labels.shape
    begin, end = 0, 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if labels[z, y, x] and _can_grow(labels, allowed, z, y, x):
                    front[end] = (z * ny + y) * nx + x
                    end += 1
    step = 0
    while begin < end and step < steps:
        step += 1
        mark = np.uint8(1 + step % 255)
        last = end
        for i in range(begin, last):
            k, j, h = front[i] // (ny * nx), front[i] // nx % ny, front[i] % nx
            label = labels[k, j, h]
            for dz, dy, dx in FACE_STEPS:
                z, y, x = k + dz, j + dy, h + dx
                if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx or not allowed[z, y, x]:
                    continue
                if labels[z, y, x] == 0:
                    labels[z, y, x] = label
                    reached_in[z, y, x] = mark
                    front[end] = (z * ny + y) * nx + x
                    end += 1
                elif reached_in[z, y, x] == mark and label < labels[z, y, x]:
                    labels[z, y, x] = label
        begin = last


@kernel()
def _component_sums(runs: Any, cells: Any, middle: float, sums: Any) -> None:
    first, start, stop, component = runs
    ny = cells.shape[1]
    for row in range(first.size - 1):
        z, y = row // ny, row % ny
        for run in range(first[row], first[row + 1]):
            part = sums[component[run]]
            for x in range(start[run], stop[run]):
                part[0] += z
                part[1] += y
                part[2] += x
                part[3] += cells[z, y, x]
                part[4] += x < middle


def component_means(runs: Runs, cells: NDArray[np.int16], middle: float) -> NDArray[np.float64]:
    """Average over each component of a set of cells.

    Parameters
    ----------
    runs : Runs
        The components, as runs of cells.
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The value of each cell.
    middle : float
        Position along x, in cells.

    Returns
    -------
    ndarray of float64, shape (number, 5)
        Center z, y, x; mean HU; share of cells with x below `middle`.
    """
    sums = np.zeros((runs.number, 5))
    _component_sums(runs.arrays, np.ascontiguousarray(cells), middle, sums)
    out: NDArray[np.float64] = sums / sizes(runs)[:, None]
    return out


@kernel()
def _enclosure(body: Any, directions: Any, ahead: Any) -> None:
    nz, ny, nx = body.shape
    for z in range(nz):
        for backward in (False, True):
            ahead[:] = False
            for i in range(ny):
                y = ny - 1 - i if backward else i
                for x in range(nx):
                    ahead[x] |= body[z, y, x]
                    directions[z, y, x] += ahead[x]
        for y in range(ny):
            left, right = False, False
            for x in range(nx):
                left |= body[z, y, x]
                right |= body[z, y, nx - 1 - x]
                directions[z, y, x] += left
                directions[z, y, nx - 1 - x] += right


def enclosure(body: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Count the directions of its plane, 0 to 4, in which each cell meets the body; shape (z, y, x)."""
    directions = np.zeros(body.shape, np.uint8)
    _enclosure(body, directions, np.empty(body.shape[2], np.bool_))
    return directions


def cell_means(volume: NDArray[np.int16], factors: Shape, *, workers: int = 1) -> NDArray[np.int16]:
    """Average the voxels of each cell; the last cells of an axis may be smaller.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
        The voxels.
    factors : tuple of int, (z, y, x)
        Voxels in a cell along each axis; at most 60000 in all, so that the sum of a cell fits an int32.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of int16, shape (ceil(z / fz), ceil(y / fy), ceil(x / fx)), HU
        Rounded down.
    """
    shape = tuple(-(-n // f) for n, f in zip(volume.shape, factors, strict=True))
    cells = np.empty(shape, np.int16)
    volume = read_only(volume)

    def work(start: int, stop: int) -> None:
        _cell_means(volume, factors, cells, np.empty(volume.shape[2], np.int32), start, stop)

    run_slabs(work, shape[0], workers=workers)
    return cells


def grow_labels(labels: NDArray[Label], allowed: NDArray[np.bool_], *, steps: int = 1 << 30) -> NDArray[Label]:
    """Grow labels over the faces of allowed cells, all at the same pace.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        The labels to start from, 0 elsewhere; not changed.
    allowed : ndarray of bool, shape (z, y, x)
        The cells that may get a label.
    steps : int
        Number of cells to grow by.

    Returns
    -------
    ndarray of uint8
        A cell that several labels reach in the same step gets the lowest.
    """
    grown = np.ascontiguousarray(labels).copy()
    front = np.empty(grown.size, np.int64)
    # Modulo 255; the steps in which neighbors are reached differ by at most one.
    reached_in = np.zeros_like(grown)
    _grow_labels(grown, np.ascontiguousarray(allowed), front, reached_in, steps)
    return grown
