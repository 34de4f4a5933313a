"""Work on a grid of cells, blocks of voxels some millimetres wide, where the shape of a chest is cheap to handle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.components.labeling import sizes
from hilum._kernels.threads import run_slabs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.bits import Bits, Shape
    from hilum._kernels.components.labeling import Runs


@kernel()
def _means(volume: Any, factors: tuple[int, int, int], cells: Any, column: Any, start: int, stop: int) -> None:
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
def _expand(cells: Any, label: int, factors: Any, nx: int, bits: Any, row: Any, start: int, stop: int) -> None:
    nz, ny, nw = bits.shape
    fz, fy, fx = factors
    for cz in range(start, stop):
        for cy in range(cells.shape[1]):
            row[:] = 0
            some = False
            for cx in range(cells.shape[2]):
                if cells[cz, cy, cx] == label:
                    some = True
                    for x in range(cx * fx, min(nx, cx * fx + fx)):
                        row[x >> 6] |= np.uint64(1) << np.uint64(x & 63)
            if some:
                for z in range(cz * fz, min(nz, cz * fz + fz)):
                    for y in range(cy * fy, min(ny, cy * fy + fy)):
                        for j in range(nw):
                            bits[z, y, j] = row[j]


@kernel()
def _borders(labels: Any, allowed: Any, z: int, y: int, x: int) -> bool:
    nz, ny, nx = labels.shape
    return bool(
        (z > 0 and allowed[z - 1, y, x] and not labels[z - 1, y, x])
        or (z < nz - 1 and allowed[z + 1, y, x] and not labels[z + 1, y, x])
        or (y > 0 and allowed[z, y - 1, x] and not labels[z, y - 1, x])
        or (y < ny - 1 and allowed[z, y + 1, x] and not labels[z, y + 1, x])
        or (x > 0 and allowed[z, y, x - 1] and not labels[z, y, x - 1])
        or (x < nx - 1 and allowed[z, y, x + 1] and not labels[z, y, x + 1])
    )


@kernel()
def _grow(labels: Any, allowed: Any, front: Any, level: Any, steps: int) -> None:
    nz, ny, nx = labels.shape
    moves = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
    begin, end = 0, 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if labels[z, y, x] and _borders(labels, allowed, z, y, x):
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
            for dz, dy, dx in moves:
                z, y, x = k + dz, j + dy, h + dx
                if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx or not allowed[z, y, x]:
                    continue
                if labels[z, y, x] == 0:
                    labels[z, y, x] = label
                    level[z, y, x] = mark
                    front[end] = (z * ny + y) * nx + x
                    end += 1
                elif level[z, y, x] == mark and label < labels[z, y, x]:
                    labels[z, y, x] = label
        begin = last


@kernel()
def _sums(first: Any, start: Any, stop: Any, component: Any, cells: Any, middle: float, sums: Any) -> None:
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


def means(runs: Runs, cells: NDArray[np.int16], middle: float) -> NDArray[np.float64]:
    """Averages over each component of a set of cells.

    Parameters
    ----------
    runs : Runs
    cells : ndarray of int16, shape (cz, cy, cx), HU
    middle : float
        A position along x.

    Returns
    -------
    ndarray of float64, shape (number, 5)
        Center z, y, x; mean HU; share of cells with x below `middle`.
    """
    sums = np.zeros((runs.number, 5))
    _sums(runs.first, runs.start, runs.stop, runs.component, np.ascontiguousarray(cells), middle, sums)
    out: NDArray[np.float64] = sums / sizes(runs)[:, None]
    return out


@kernel()
def _tally(places: Any, factors: tuple[int, int, int], counts: Any) -> None:
    for i in range(places.shape[0]):
        counts[places[i, 0] // factors[0], places[i, 1] // factors[1], places[i, 2] // factors[2]] += 1


@kernel()
def _look(body: Any, seen: Any, ahead: Any) -> None:
    nz, ny, nx = body.shape
    for z in range(nz):
        for backward in (False, True):
            ahead[:] = False
            for i in range(ny):
                y = ny - 1 - i if backward else i
                for x in range(nx):
                    ahead[x] |= body[z, y, x]
                    seen[z, y, x] += ahead[x]
        for y in range(ny):
            left, right = False, False
            for x in range(nx):
                left |= body[z, y, x]
                right |= body[z, y, nx - 1 - x]
                seen[z, y, x] += left
                seen[z, y, nx - 1 - x] += right


def look_around(body: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """In how many of the four directions of its plane each cell has body, shape (z, y, x), 0 to 4."""
    seen = np.zeros(body.shape, np.uint8)
    _look(body, seen, np.empty(body.shape[2], np.bool_))
    return seen


def shares(places: NDArray[np.int32], factors: Shape, shape: Shape) -> NDArray[np.float64]:
    """Which part of each cell some voxels fill.

    Parameters
    ----------
    places : ndarray of int32, shape (n, 3)
        Different voxels.
    factors, shape : tuple of int, (z, y, x)
        Voxels in a cell; number of cells.

    Returns
    -------
    ndarray of float64, shape (cz, cy, cx)
        0 to 1; a smaller cell at the end of an axis counts like the others.
    """
    counts = np.zeros(shape)
    _tally(places, factors, counts)
    return counts / math.prod(factors)


def cell_means(volume: NDArray[np.int16], factors: Shape, *, workers: int = 0) -> NDArray[np.int16]:
    """Mean of each block of voxels; the last blocks of an axis may be smaller.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
    factors : tuple of int, (z, y, x)
        Voxels in a block along each axis; at most 60000 in all, for the sum of a block is an int32.
    workers : int

    Returns
    -------
    ndarray of int16, shape (ceil(z / fz), ceil(y / fy), ceil(x / fx)), HU
        Rounded down.
    """
    shape = tuple(-(-n // f) for n, f in zip(volume.shape, factors, strict=True))
    cells = np.empty(shape, np.int16)
    volume = volume.view()
    volume.flags.writeable = False

    def work(start: int, stop: int) -> None:
        _means(volume, factors, cells, np.empty(volume.shape[2], np.int32), start, stop)

    run_slabs(work, shape[0], workers=workers)
    return cells


def expand(cells: NDArray[np.uint8], label: int, factors: Shape, shape: Shape, *, workers: int = 0) -> Bits:
    """The voxels of the blocks with a label.

    Parameters
    ----------
    cells : ndarray of uint8, shape of `cell_means`
    label : int
    factors, shape : tuple of int, (z, y, x)
        Voxels in a block, and of the volume.
    workers : int

    Returns
    -------
    ndarray of uint64, shape (z, y, ceil(x / 64))
    """
    bits = np.zeros((*shape[:2], (shape[2] + 63) // 64), np.uint64)

    def work(start: int, stop: int) -> None:
        _expand(cells, label, factors, shape[2], bits, np.empty(bits.shape[2], np.uint64), start, stop)

    run_slabs(work, cells.shape[0], workers=workers)
    return bits


def grow(labels: NDArray[np.uint8], allowed: NDArray[np.bool_], *, steps: int = 1 << 30) -> NDArray[np.uint8]:
    """Labels grown over the faces of allowed cells, all at the same pace.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    allowed : ndarray of bool, shape (z, y, x)
    steps : int
        How many cells far.

    Returns
    -------
    ndarray of uint8
        A cell reached by several labels in the same step gets the lowest.
    """
    grown = np.ascontiguousarray(labels).copy()
    front = np.empty(grown.size, np.int64)
    # The step in which a cell was reached, modulo 255: neighbors' steps differ by one at most.
    level = np.zeros_like(grown)
    _grow(grown, np.ascontiguousarray(allowed), front, level, steps)
    return grown
