"""Decide which air is lung, on cells of some 3 mm whose axes run to the head, the back and the left.

1. Air outside the patient: dark cells connected to a side of their axial plane, unless the side cuts through a lung.
   Because each plane is separate, an open mouth or a trachea that leaves the scan does not connect the lungs to it.
2. The body: the largest solid component after an erosion that removes thin shells (tables, blankets).
3. Air inside the body: components of an axial plane that are not outside, and whose cells mostly have body in at least
   three of the four directions; the foam of a table has body in one.
4. The trachea (`hilum.ops.lungs.trachea`) is removed.
5. The rest is labeled as right lung, left lung or other air (`hilum.ops.lungs.sides`).
6. Domes of the diaphragm (`hilum.ops.lungs.dome`) are excluded from filling. Dense lung (`hilum.ops.lungs.dense`) and
   masses at the wall (`hilum.ops.lungs.wall_nodules`) are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import labeling, selection
from hilum._kernels.threads import run_slabs
from hilum.ops.coarse_grid import cell_size, voxels_per_cell
from hilum.ops.lungs.dense import find_dense
from hilum.ops.lungs.dome import find_domes
from hilum.ops.lungs.sides import OTHER_AIR, label_sides
from hilum.ops.lungs.trachea import find_airway
from hilum.ops.lungs.wall_nodules import find_masses
from hilum.ops.tissues import LUNG_AIR_MAX_HU
from hilum.scan import LEFT_LUNG, RIGHT_LUNG

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum._kernels.components.labeling import Runs
    from hilum.geometry import Vector

CELL_MM = 3.0
SHELL_MM = 4.0
"""Solid parts thinner than twice this are not the body: tables, blankets, tubes."""

REGROW_CELLS = 3
"""The body is grown back from its thick parts by this, to include a thin chest wall."""

OUTSIDE_AIR_MAX_HU = -940
"""The air around a patient has a lower mean, whatever lies in it; lungs have a higher one."""

LEAST_MM2 = 150.0
THICK_MM = 4.5
ENCLOSED = 3
"""Half of the cells of air inside the body have body in at least so many of the four directions of the plane."""


@dataclass(frozen=True)
class LungCells:
    """Lungs, airways and other structures on the coarse grid.

    Parameters
    ----------
    labels : ndarray of uint8, shape (cz, cy, cx)
        1 in the right and 2 in the left lung and in a margin of a cell or two around them.
    factors : tuple of int, (z, y, x)
        Voxels in a cell along each axis.
    airway : ndarray of int32, shape (n, 3)
        Voxels of the air in the trachea and bronchi.
    domes : ndarray of uint8, shape (cz, cy, cx)
        1 where liver or spleen bulge into a lung, and a cell around them.
    dense : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in parts of the right and left lung that are as dense as soft tissue.
    masses : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in large nodules at the wall of the right and of the left lung.
    balls : two ndarray of float64, shape (n, 4)
        The balls that were fitted to the masses: center z, y, x from the first voxel, and radius, mm.
    """

    labels: NDArray[np.uint8]
    factors: Shape
    airway: NDArray[np.int32]
    domes: NDArray[np.uint8]
    dense: NDArray[np.uint8]
    masses: NDArray[np.uint8]
    balls: tuple[NDArray[np.float64], NDArray[np.float64]]


def find_lung_cells(hu: NDArray[np.int16], spacing: Vector, *, dense: bool = True, workers: int = 0) -> LungCells:
    """Find the right and left lung on cells, and the trachea on voxels.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x), HU
        Axes to the head, the back and the left.
    spacing : tuple of float, (z, y, x), mm
    dense : bool
        Whether to look for dense parts of the lungs.
    workers : int

    Returns
    -------
    LungCells
    """
    factors = voxels_per_cell(spacing, CELL_MM)
    size = cell_size(spacing, factors)
    cells = coarse.cell_means(hu, factors, workers=workers)
    outside, body, inside = divide_chest(cells, size)
    columns = (body | inside).sum(axis=(0, 1))
    middle = float(np.average(np.arange(columns.size), weights=columns)) if columns.any() else columns.size / 2
    airway = find_airway(hu, spacing, cells, factors, inside, middle)
    trachea = coarse.filled_shares(airway, factors, inside.shape)
    labels = label_sides(cells, inside & (trachea < 0.2), size, middle)
    z, y, x = (0.5 * (f - 1) * s for s, f in zip(spacing, factors, strict=True))
    lungs = np.where(labels == OTHER_AIR, np.uint8(0), labels)

    def add_margin() -> NDArray[np.uint8]:
        sets = [bits.equal(labels, label) for label in (RIGHT_LUNG, LEFT_LUNG, OTHER_AIR)]
        allowed = bits.pack(~outside & (trachea < 0.6))
        # A margin of two thick slices would extend through the diaphragm into gas.
        grown = morphology.grow(sets, allowed, steps=2, planes=size[0] > THICK_MM)
        margin = bits.write_label(grown[0], np.zeros(labels.shape, np.uint8), label=RIGHT_LUNG)
        return bits.write_label(grown[1], margin, label=LEFT_LUNG)

    def find_dense_parts() -> NDArray[np.uint8]:
        return find_dense(cells, lungs, body, size, middle) if dense else np.zeros_like(lungs)

    def find_domes_and_masses() -> tuple[Any, ...]:
        domes, gas = find_domes(cells > LUNG_AIR_MAX_HU, lungs > 0, size)
        return domes, gas, *find_masses(lungs, domes, size, (z, y, x))

    tasks: tuple[Callable[[], Any], ...] = (find_dense_parts, add_margin, find_domes_and_masses)
    results: dict[int, Any] = {}

    def work(first: int, stop: int) -> None:
        results.update((k, tasks[k]()) for k in range(first, stop))

    run_slabs(work, len(tasks), workers=workers)
    dense_parts, with_margin, (domes, gas, masses, balls) = (results[k] for k in range(len(tasks)))
    for part in (dense_parts, with_margin):
        part[gas > 0] = 0
    return LungCells(with_margin, factors, airway, domes, dense_parts, masses, balls)


def divide_chest(
    cells: NDArray[np.int16], size: Vector
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Divide a chest into the air outside the patient, the solid body, and the air inside the body.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
    size : tuple of float, (z, y, x), mm
        Size of a cell.

    Returns
    -------
    outside, body, inside : ndarray of bool, shape (cz, cy, cx)
    """
    shape: Shape = cells.shape
    dark = bits.at_most(cells, LUNG_AIR_MAX_HU)
    planes = labeling.find_components(dark, corners=False, planes=True)
    ball = morphology.ellipsoid(SHELL_MM, (np.inf, *size[1:]), shape)
    solid = ~dark
    thick = labeling.find_components(morphology.erode(solid, ball), corners=False)
    largest = labeling.sizes(thick) == labeling.sizes(thick).max(initial=1)
    trunk = selection.select(thick, largest)
    body = bits.unpack(morphology.grow([trunk], solid, steps=REGROW_CELLS)[0])
    enclosure = coarse.enclosure(body).astype(np.int16)
    side, cut = labeling.touching_sides(planes), _cropped_lungs(cells, planes, enclosure, size)
    enclosed = coarse.component_means(planes, (enclosure >= ENCLOSED) * np.int16(100), 0.0)[:, 3] >= 50
    outside = bits.unpack(selection.select(planes, side & ~cut))
    inside = bits.unpack(selection.select(planes, (enclosed & ~side) | cut))
    return outside, body, inside


def _cropped_lungs(
    cells: NDArray[np.int16], planes: Runs, enclosure: NDArray[np.int16], size: Vector
) -> NDArray[np.bool_]:
    """Tell which dark components that touch the side of the volume are lung, in a volume that crops the chest.

    Away from their rim they are as bright as lung, and they have body in at least two of the four directions.
    """
    half_enclosed = (enclosure >= 2) * np.int16(100)
    hu, around = (coarse.component_means(planes, values, 0.0)[:, 3] for values in (cells, half_enclosed))
    lung = labeling.touching_sides(planes) & (hu > OUTSIDE_AIR_MAX_HU) & (around >= 50)
    lung &= labeling.sizes(planes) * size[1] * size[2] >= LEAST_MM2
    boxes = labeling.boxes(planes)
    for index in np.flatnonzero(lung).tolist():
        z, y0, x0, _, y1, x1 = boxes[index].tolist()
        local = cells[z, y0:y1, x0:x1]
        inner = np.pad(local <= LUNG_AIR_MAX_HU, 1, mode="edge")
        inner = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        lung[index] = inner.any() and local[inner].mean() > OUTSIDE_AIR_MAX_HU
    return lung
