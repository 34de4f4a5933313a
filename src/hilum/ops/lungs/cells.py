"""Which air is lung, decided on cells of some 3 mm; axes run to the head, the back and the left.

1. Air outside: dark cells joined to a side of their axial plane, unless that cuts through a lung. Seen plane by
   plane, an open mouth or a windpipe that leaves the scan at the top does not drain the lungs.
2. The body: the largest solid piece that is left when thin shells (tables, blankets) are worn off.
3. Air inside: pockets in an axial plane that are not outside, and with body in at least three of the four directions
   for half of their cells; the foam of a table has body in one.
4. The windpipe (`hilum.ops.lungs.trachea`) is taken out.
5. What remains is parted into right, left and other (`hilum.ops.lungs.sides`).
6. Domes of the diaphragm are found (`hilum.ops.lungs.dome`), lest they are filled like a nodule; dense lung
   (`hilum.ops.lungs.dense`) and masses at the wall (`hilum.ops.lungs.wall_nodules`), lest they are lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import labeling, selection
from hilum._kernels.threads import run_slabs
from hilum.ops.lungs.dense import find_dense
from hilum.ops.lungs.dome import find_domes
from hilum.ops.lungs.sides import AIR_UP_TO, LEFT, OTHER, RIGHT, Size, part_sides
from hilum.ops.lungs.trachea import find_airway
from hilum.ops.lungs.wall_nodules import find_masses

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum._kernels.components.labeling import Runs

CELL_MM = 3.0
SHELL_MM = 4.0
"""Solid parts thinner than twice this are no body: tables, blankets, tubes."""

REGAIN_CELLS = 3
"""How far the body is grown back from its thick parts, so that a thin chest wall belongs to it."""

LUNG_HU = -940
"""The air around a patient is darker on the average, whatever lies in it; lungs are brighter."""

LEAST_MM2 = 150.0
THICK_MM = 4.5
ENCLOSED = 3
"""Air inside the body has body in at least so many of the four directions of its plane, in half of its cells."""


@dataclass(frozen=True)
class Cells:
    """What the cells tell.

    Parameters
    ----------
    labels : ndarray of uint8, shape (cz, cy, cx)
        1 right, 2 left, and a margin of a cell or two around them; 0 elsewhere.
    factors : tuple of int, (z, y, x)
        Voxels in a cell along each axis.
    airway : ndarray of int32, shape (n, 3)
        Voxels of the air in the windpipe and bronchi.
    domes : ndarray of uint8, shape (cz, cy, cx)
        1 where liver or spleen bulge into a lung, and a cell around them.
    dense : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in parts of the right and left lung that are as dense as soft tissue.
    masses : ndarray of uint8, shape (cz, cy, cx)
        1 and 2 in large nodules at the wall of the right and of the left lung.
    balls : two ndarray of float64, shape (n, 4)
        The balls that these are part of: center z, y, x from the first voxel, and radius, mm.
    """

    labels: NDArray[np.uint8]
    factors: Shape
    airway: NDArray[np.int32]
    domes: NDArray[np.uint8]
    dense: NDArray[np.uint8]
    masses: NDArray[np.uint8]
    balls: tuple[NDArray[np.float64], NDArray[np.float64]]


def find_lungs(
    hu: NDArray[np.int16], spacing: tuple[float, float, float], *, dense: bool = True, workers: int = 0
) -> Cells:
    """Right and left lung on cells, and the windpipe on voxels.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x), HU
        Axes to the head, the back and the left.
    spacing : tuple of float, (z, y, x), mm
    dense : bool
        Whether dense parts of the lungs are looked for.
    workers : int

    Returns
    -------
    Cells
    """
    factors: Shape = tuple(max(1, round(CELL_MM / s)) for s in spacing)  # type: ignore[assignment]  # three of them
    size: Size = tuple(s * f for s, f in zip(spacing, factors, strict=True))  # type: ignore[assignment]  # as above
    cells = coarse.cell_means(hu, factors, workers=workers)
    outside, body, inside = air_inside(cells, size)
    columns = (body | inside).sum(axis=(0, 1))
    middle = float(np.average(np.arange(columns.size), weights=columns)) if columns.any() else columns.size / 2
    airway = find_airway(hu, spacing, cells, factors, inside, middle)
    tube = coarse.filled_shares(airway, factors, inside.shape)
    labels = part_sides(cells, inside & (tube < 0.2), size, middle)
    first: Size = tuple(0.5 * (f - 1) * s for s, f in zip(spacing, factors, strict=True))  # type: ignore[assignment]
    lungs = np.where(labels == OTHER, np.uint8(0), labels)

    def find_margin() -> NDArray[np.uint8]:
        sets = [bits.equal(labels, label) for label in (RIGHT, LEFT, OTHER)]
        allowed = bits.pack(~outside & (tube < 0.6))
        # Two of thick slices would reach through the diaphragm into gas.
        grown = morphology.grow(sets, allowed, steps=2, planes=size[0] > THICK_MM)
        margin = bits.write_label(grown[0], np.zeros(labels.shape, np.uint8), label=RIGHT)
        return bits.write_label(grown[1], margin, label=LEFT)

    def find_parts() -> NDArray[np.uint8]:
        return find_dense(cells, lungs, body, size, middle) if dense else np.zeros_like(lungs)

    def find_rounded() -> tuple[Any, ...]:
        domes, gas = find_domes(cells > AIR_UP_TO, lungs > 0, size)
        return domes, gas, *find_masses(lungs, domes, size, first)

    tasks: tuple[Callable[[], Any], ...] = (find_parts, find_margin, find_rounded)
    done: dict[int, Any] = {}

    def work(first: int, stop: int) -> None:
        done.update((k, tasks[k]()) for k in range(first, stop))

    run_slabs(work, len(tasks), workers=workers)
    domes, gas, masses, balls = done[2]
    for parts in (done[0], done[1]):
        parts[gas > 0] = 0
    return Cells(done[1], factors, airway, domes, done[0], masses, balls)


def air_inside(cells: NDArray[np.int16], size: Size) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Air outside the patient, the solid body, and the air inside it.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
    size : tuple of float, (z, y, x), mm
        Of a cell.

    Returns
    -------
    outside, body, inside : ndarray of bool, shape (cz, cy, cx)
    """
    shape: Shape = cells.shape
    dark = bits.at_most(cells, AIR_UP_TO)
    planes = labeling.find_components(dark, corners=False, planes=True)
    ball = morphology.ellipsoid(SHELL_MM, (np.inf, *size[1:]), shape)
    solid = ~dark
    core = labeling.find_components(morphology.erode(solid, ball), corners=False)
    trunk = labeling.sizes(core) == labeling.sizes(core).max(initial=1)
    worn = selection.select(core, trunk)
    body = bits.unpack(morphology.grow([worn], solid, steps=REGAIN_CELLS)[0])
    seen = coarse.enclosure(body).astype(np.int16)
    side, cut = labeling.touching_sides(planes), _cut_lungs(cells, planes, seen, size)
    enclosed = coarse.component_means(planes, (seen >= ENCLOSED) * np.int16(100), 0.0)[:, 3] >= 50
    outside = bits.unpack(selection.select(planes, side & ~cut))
    inside = bits.unpack(selection.select(planes, (enclosed & ~side) | cut))
    return outside, body, inside


def _cut_lungs(cells: NDArray[np.int16], planes: Runs, seen: NDArray[np.int16], size: Size) -> NDArray[np.bool_]:
    """Which dark parts of planes are lung, though they reach the side of a volume that cuts through the chest.

    They are as bright as lung away from their rim, and have body in two of the four directions or more.
    """
    hu, around = (coarse.component_means(planes, values, 0.0)[:, 3] for values in (cells, (seen >= 2) * np.int16(100)))
    lung = labeling.touching_sides(planes) & (hu > LUNG_HU) & (around >= 50)
    lung &= labeling.sizes(planes) * size[1] * size[2] >= LEAST_MM2
    boxes = labeling.boxes(planes)
    for index in np.flatnonzero(lung).tolist():
        z, y0, x0, _, y1, x1 = boxes[index].tolist()
        local = cells[z, y0:y1, x0:x1]
        inner = np.pad(local <= AIR_UP_TO, 1, mode="edge")
        inner = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        lung[index] = inner.any() and local[inner].mean() > LUNG_HU
    return lung
