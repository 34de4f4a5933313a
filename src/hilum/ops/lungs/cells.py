"""Decide which air is lung, on cubic cells of a fixed size whose axes run to the head, the back and the left.

The cells are the same on every grid of a scan, so that its voxels decide only where the border runs.

1. The chest is divided into the air outside, the body, and the air inside it (`hilum.ops.lungs.chest`).
2. Parenchyma with ribs beside it is lung (`hilum.ops.lungs.sides`). Without it there is no lung.
3. The trachea is found (`hilum.ops.lungs.trachea`).
4. The air inside is labeled as right lung, left lung or other air (`hilum.ops.lungs.sides`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import canonical
from hilum._kernels.anatomy.canonical import CellGrid
from hilum._kernels.bitmask import bits, morphology
from hilum.geometry import Vector
from hilum.ops.bounding_box import bounding_box, expand_box
from hilum.ops.gas import find_walled_gas
from hilum.ops.lungs.chest import divide_chest, find_middle, find_organs
from hilum.ops.lungs.sides import OTHER_AIR, find_ground_glass, find_parenchyma, label_sides
from hilum.ops.lungs.trachea import find_airway
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

CELL_MM = 3.0
WALL_HU = 40
"""Muscle of the chest wall."""

AROUND_CELLS = 15
"""The chest is cropped to the air inside the body and so many cells around it."""

MARGIN_CELLS = 2
"""The border of a lung lies within so many cells around its cells of air."""

AIRWAY_SHARE, WALL_SHARE = 0.2, 0.6
"""A cell belongs to the airways from this fraction of them on; a lung's margin does not grow into fuller cells."""


@dataclass(frozen=True)
class LungCells:
    """Lungs, airways and organs on cells.

    Parameters
    ----------
    grid : CellGrid
        Where the cells lie on the voxels.
    hu : ndarray of int16, shape (cz, cy, cx)
        Mean HU.
    labels : ndarray of uint8, shape (cz, cy, cx)
        1 in the air of the right and 2 in the air of the left lung.
    near : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 also in a margin around them.
    ground_glass : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in ground-glass of the right and of the left lung.
    border_hu : int
        Half way between the scan's own parenchyma and the chest wall.
    airway : ndarray of int32, shape (n, 3)
        Voxels of the air in the trachea and bronchi.
    organs : ndarray of bool, shape (cz, cy, cx)
        Heart, liver, spleen and what they join.
    """

    grid: CellGrid
    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    near: NDArray[np.uint8]
    ground_glass: NDArray[np.uint8]
    border_hu: int
    airway: NDArray[np.int32]
    organs: NDArray[np.bool_]


def find_lung_cells(hu: NDArray[np.int16], spacing: Vector, *, workers: int = 0) -> LungCells:
    """Find the right and left lung on cells, and the trachea on voxels.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x), HU
        Axes to the head, the back and the left.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    LungCells
        Without labels where there is no lung.
    """
    grid = canonical.make_grid(hu.shape, spacing, CELL_MM)
    cells = canonical.average(hu, grid, workers=workers)
    outside, body, inside = divide_chest(cells, grid.size)
    box = bounding_box(inside)
    if box is None:
        return _no_lungs(grid, cells)
    box = expand_box(box, AROUND_CELLS, grid.shape)
    grid, cells = grid.crop(box), np.ascontiguousarray(cells[box])
    outside, body, inside = (np.ascontiguousarray(part[box]) for part in (outside, body, inside))
    gas = find_walled_gas(cells, inside)
    parenchyma = find_parenchyma(cells, inside, gas, grid.size)
    lung = bits.unpack(parenchyma)
    if not lung.any():
        return _no_lungs(grid, cells)
    middle = find_middle(cells, body, lung, grid.size)
    airway = find_airway(hu, spacing, cells, grid, inside, middle)
    trachea = canonical.filled_shares(airway, grid)
    labels = label_sides(cells, inside, parenchyma, gas, trachea >= AIRWAY_SHARE, grid.size, middle)
    sets = [bits.equal(labels, label) for label in (RIGHT_LUNG, LEFT_LUNG, OTHER_AIR)]
    grown = morphology.grow(sets, bits.pack(~outside & (trachea < WALL_SHARE)), steps=MARGIN_CELLS)
    near = bits.write_label(grown[0], np.zeros(labels.shape, np.uint8), label=RIGHT_LUNG)
    bits.write_label(grown[1], near, label=LEFT_LUNG)
    lungs = np.where(labels == OTHER_AIR, np.uint8(0), labels)
    border = round((float(np.median(cells[lung])) + WALL_HU) / 2)
    ground_glass, organs = find_ground_glass(cells, labels, grid.size), bits.unpack(find_organs(cells, grid.size))
    return LungCells(grid, cells, lungs, near, ground_glass, border, airway, organs)


def _no_lungs(grid: CellGrid, cells: NDArray[np.int16]) -> LungCells:
    none = np.zeros(grid.shape, np.uint8)
    return LungCells(grid, cells, none, none, none, 0, np.zeros((0, 3), np.int32), none.view(np.bool_))
