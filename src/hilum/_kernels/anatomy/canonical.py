"""The canonical grid: cubic cells of a fixed size, centered in the volume, whatever the voxels' size.

The same patient gives the same cells on any grid, so decisions on cells do not depend on the scan's spacing.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits
from hilum._kernels.bitmask.mask import BitMask, Box, Shape, Spacing
from hilum._kernels.compile.kernel import kernel, read_only
from hilum._kernels.threads import run_slabs

STEPS = 16
"""Points of a cell along an axis at which the volume is interpolated."""

LEAST_HU = -1024
"""Darker voxels are padding, and count as air."""


@dataclass(frozen=True, eq=False)
class CellGrid:
    """Cubic cells over a volume.

    Parameters
    ----------
    cell_mm : float
        Size of a cell.
    shape : tuple of int, (z, y, x)
        Number of cells.
    first : tuple of float, (z, y, x), mm
        From the center of the first voxel to the center of the first cell.
    voxels : tuple of int, (z, y, x)
        Shape of the volume.
    spacing : tuple of float, (z, y, x), mm
        Of the volume.
    """

    cell_mm: float
    shape: Shape
    first: Spacing
    voxels: Shape
    spacing: Spacing

    @property
    def size(self) -> Spacing:
        """Size of a cell, (z, y, x), mm."""
        return (self.cell_mm,) * 3

    def crop(self, box: Box) -> "CellGrid":
        """The grid of a box of cells; voxels beyond it belong to the cells at its faces."""
        shape = tuple(part.stop - part.start for part in box)
        first = tuple(at + part.start * self.cell_mm for at, part in zip(self.first, box, strict=True))
        return replace(self, shape=shape, first=first)

    def halve(self) -> "CellGrid":
        """The grid of the eight halves of each cell."""
        (z, y, x), (nz, ny, nx), offset = self.first, self.shape, self.cell_mm / 4
        first = (z - offset, y - offset, x - offset)
        return replace(self, cell_mm=self.cell_mm / 2, shape=(2 * nz, 2 * ny, 2 * nx), first=first)

    def centers(self, axis: int) -> NDArray[np.float64]:
        """The centers of the cells along an axis, in voxels."""
        centers: NDArray[np.float64] = np.arange(self.shape[axis], dtype=np.float64) * self.cell_mm
        return (centers + self.first[axis]) / self.spacing[axis]

    def cell_of(self, axis: int) -> NDArray[np.int64]:
        """The cell of each voxel along an axis."""
        at = (np.arange(self.voxels[axis]) * self.spacing[axis] - self.first[axis]) / self.cell_mm
        cells: NDArray[np.int64] = np.clip(np.floor(at + 0.5).astype(np.int64), 0, self.shape[axis] - 1)
        return cells

    def contains(self, voxels: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Tell which voxels, of shape (n, 3), lie in a cell, or within half a cell of the faces."""
        at = (voxels * np.array(self.spacing) - self.first) / self.cell_mm
        inside: NDArray[np.bool_] = ((at > -1) & (at < self.shape)).all(axis=1)
        return inside


def make_grid(shape: Shape, spacing: Spacing, cell_mm: float) -> CellGrid:
    """Cover a volume with an odd number of cells along each axis; those at its ends may stick out by half a cell."""
    z, y, x = (2 * int(n * s / (2 * cell_mm)) + 1 for n, s in zip(shape, spacing, strict=True))
    first = ((n - 1) / 2 * s - (m - 1) / 2 * cell_mm for n, s, m in zip(shape, spacing, (z, y, x), strict=True))
    return CellGrid(cell_mm, (z, y, x), (next(first), next(first), next(first)), shape, spacing)


def _taps(grid: CellGrid, axis: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """First voxel and weights (cells, voxels) of the mean over each cell of the linearly interpolated volume."""
    last, centers = grid.voxels[axis] - 1, grid.centers(axis)
    offsets = ((np.arange(STEPS) + 0.5) / STEPS - 0.5) * grid.cell_mm / grid.spacing[axis]
    at = np.clip(centers[:, None] + offsets, 0, last)
    below = np.minimum(at.astype(np.int64), max(last - 1, 0))
    first = below[:, 0]
    weights = np.zeros((len(first), int((below[:, -1] - first).max()) + 2), np.float32)
    rows = np.arange(len(first))[:, None]
    np.add.at(weights, (rows, below - first[:, None]), (1 - at + below) / STEPS)
    np.add.at(weights, (rows, below - first[:, None] + 1), (at - below) / STEPS)
    return first, weights


@kernel()
def _average(volume: Any, least: int, taps: Any, plane: Any, row: Any, cells: Any, start: int, stop: int) -> None:
    nz, ny, nx = volume.shape
    (z_first, z_weights), (y_first, y_weights), (x_first, x_weights) = taps
    top, bottom = y_first[0], min(ny, y_first[-1] + y_weights.shape[1])
    left, right = x_first[0], min(nx, x_first[-1] + x_weights.shape[1])
    for cz in range(start, stop):
        plane[top:bottom, left:right] = 0
        for k in range(z_weights.shape[1]):
            weight = z_weights[cz, k]
            if weight == 0:
                continue
            z = min(nz - 1, z_first[cz] + k)
            for y in range(top, bottom):
                source, sums = volume[z, y, left:right], plane[y, left:right]
                for x in range(sums.size):
                    sums[x] += weight * np.float32(max(least, source[x]))
        for cy in range(cells.shape[1]):
            row[left:right] = 0
            for k in range(y_weights.shape[1]):
                weight = y_weights[cy, k]
                if weight == 0:
                    continue
                y = min(ny - 1, y_first[cy] + k)
                source, sums = plane[y, left:right], row[left:right]
                for x in range(sums.size):
                    sums[x] += weight * source[x]
            for cx in range(cells.shape[2]):
                total = np.float32(0)
                for k in range(x_weights.shape[1]):
                    total += x_weights[cx, k] * row[min(nx - 1, x_first[cx] + k)]
                cells[cz, cy, cx] = np.int16(np.floor(total + np.float32(0.5)))


def average(volume: NDArray[np.int16], grid: CellGrid, *, workers: int = 1) -> NDArray[np.int16]:
    """Average a volume over the cells of a grid, interpolated linearly between voxels.

    Parameters
    ----------
    volume : ndarray of int16, shape (z, y, x), HU
        The voxels.
    grid : CellGrid
        Of the volume.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of int16, shape of the grid, HU
    """
    cells = np.empty(grid.shape, np.int16)
    taps = tuple(_taps(grid, axis) for axis in range(3))
    volume = read_only(volume)

    def work(start: int, stop: int) -> None:
        plane, row = np.empty(volume.shape[1:], np.float32), np.empty(volume.shape[2], np.float32)
        _average(volume, LEAST_HU, taps, plane, row, cells, start, stop)

    run_slabs(work, grid.shape[0], workers=workers)
    return cells


@kernel()
def _to_voxels(chosen: Any, z_cell: Any, y_cell: Any, x_cell: Any, words: Any, start: int, stop: int) -> None:
    for z in range(start, stop):
        for y in range(y_cell.size):
            if z > start and z_cell[z] == z_cell[z - 1]:
                for j in range(words.shape[2]):
                    words[z, y, j] = words[z - 1, y, j]
            elif y > 0 and y_cell[y] == y_cell[y - 1]:
                for j in range(words.shape[2]):
                    words[z, y, j] = words[z, y - 1, j]
            else:
                row = chosen[z_cell[z], y_cell[y]]
                for x in range(x_cell.size):
                    if row[x_cell[x]]:
                        words[z, y, x >> 6] |= np.uint64(1) << np.uint64(x & 63)


def to_voxels(chosen: NDArray[np.bool_], grid: CellGrid, *, workers: int = 1) -> BitMask:
    """Make a bit mask of the voxels whose centers lie in the chosen cells.

    Parameters
    ----------
    chosen : ndarray of bool, shape of the grid
        The cells to take.
    grid : CellGrid
        Where the cells lie on the voxels.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    BitMask
        Of the volume's shape.
    """
    mask = BitMask.empty(grid.voxels)
    if not chosen.any():
        return mask
    chosen = np.ascontiguousarray(chosen)
    z_cell, y_cell, x_cell = (grid.cell_of(axis) for axis in range(3))

    def work(start: int, stop: int) -> None:
        _to_voxels(chosen, z_cell, y_cell, x_cell, mask.words, start, stop)

    run_slabs(work, grid.voxels[0], workers=workers)
    return mask


def smooth_to_voxels(chosen: NDArray[np.bool_], grid: CellGrid) -> BitMask:
    """Make a bit mask of the chosen cells with a smooth surface: interpolated linearly between centers, from 1/2 on.

    Parameters
    ----------
    chosen : ndarray of bool, shape of the grid
        The cells to take.
    grid : CellGrid
        Where the cells lie on the voxels.

    Returns
    -------
    BitMask
        Of the volume's shape.
    """
    share: NDArray[np.float32] = chosen.astype(np.float32)
    corner = []
    for axis, (n, step) in enumerate(zip(grid.voxels, grid.spacing, strict=True)):
        cells = np.flatnonzero(chosen.any(axis=tuple({0, 1, 2} - {axis})))
        if not cells.size:
            return BitMask.empty(grid.voxels)
        low, high = (grid.first[axis] + grid.cell_mm * np.array([cells[0] - 1, cells[-1] + 1])) / step
        voxels = np.arange(max(0, math.ceil(low)), min(n, math.floor(high) + 1))
        at = np.clip((voxels * step - grid.first[axis]) / grid.cell_mm, 0, grid.shape[axis] - 1)
        below = at.astype(np.int64)
        above = np.minimum(below + 1, grid.shape[axis] - 1)
        weight = (at - below).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        share = share.take(below, axis) * (1 - weight) + share.take(above, axis) * weight
        corner.append(voxels[0])
    return bits.from_coordinates((np.argwhere(share >= 0.5) + corner).astype(np.int32), grid.voxels)


def filled_shares(voxels: NDArray[np.int32], grid: CellGrid) -> NDArray[np.float64]:
    """Measure which fraction of each cell some voxels fill, 0 to 1; shape of the grid.

    Parameters
    ----------
    voxels : ndarray of int32, shape (n, 3)
        Without repetition.
    grid : CellGrid
        Where the cells lie on the voxels.
    """
    shares = np.zeros(grid.shape, np.float64)
    voxels = voxels[grid.contains(voxels)]
    if not len(voxels):
        return shares
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    chosen = np.zeros(high - low + 1, np.bool_)
    chosen[tuple((voxels - low).T)] = True
    near, inside = [], []
    for axis in range(3):  # cells whose centers lie in the voxels' box
        at = np.rint(grid.centers(axis)).astype(np.int64) - low[axis]
        near.append(np.flatnonzero((at >= 0) & (at < chosen.shape[axis])))
        inside.append(at[near[-1]])
    shares[np.ix_(*near)] = chosen[np.ix_(*inside)]  # a voxel larger than a cell fills all cells in it
    cells = tuple(grid.cell_of(axis)[voxels[:, axis]] for axis in range(3))
    index, number = np.unique(np.ravel_multi_index(cells, grid.shape), return_counts=True)
    flat = shares.reshape(-1)
    flat[index] = np.maximum(flat[index], np.minimum(number * math.prod(grid.spacing) / grid.cell_mm**3, 1.0))
    return shares
