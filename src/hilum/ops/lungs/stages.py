"""The stages of hilum's own lung method, recomputed for pictures."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.ops.lungs.cells import find_lung_cells
from hilum.ops.lungs.chest import divide_chest
from hilum.ops.lungs.hilum_method import both_lungs
from hilum.ops.lungs.wall_nodules import find_masses
from hilum.ops.reorient import reorient
from hilum.volume import Volume


class Stages(NamedTuple):
    """Stages of `hilum.ops.lungs.hilum_method` on a volume whose axes run to the head, the back and the left.

    Parameters
    ----------
    cells : ndarray of int16, shape (z, y, x), HU
        Means of cells of some 3 mm, on voxels.
    body, air : ndarray of bool, shape (z, y, x)
        The solid body, and the air inside it, on cells.
    airway : ndarray of bool, shape (z, y, x)
        The air of trachea and bronchi, on voxels.
    sides : ndarray of uint8, shape (z, y, x)
        1 right and 2 left with a margin, on cells.
    dense : ndarray of uint8, shape (z, y, x)
        1 and 2 in ground-glass and masses of the right and left lung, on cells.
    lungs : ndarray of uint8, shape (z, y, x)
        The result: 1 right, 2 left.
    """

    cells: NDArray[np.int16]
    body: NDArray[np.bool_]
    air: NDArray[np.bool_]
    airway: NDArray[np.bool_]
    sides: NDArray[np.uint8]
    dense: NDArray[np.uint8]
    lungs: NDArray[np.uint8]


def lung_stages(volume: Volume, *, workers: int = 0) -> Stages:
    """Run the method ``"hilum"`` and return its stages.

    Parameters
    ----------
    volume : Volume of int16, HU
        Axes in any order; the stages have them to the head, the back and the left.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Stages
    """
    oriented = reorient(volume)
    hu = np.ascontiguousarray(oriented.array, np.int16)
    cells = find_lung_cells(hu, oriented.spacing, workers=workers)
    _, body, air = divide_chest(cells.hu, cells.grid.size)
    airway = np.zeros(hu.shape, np.bool_)
    airway[tuple(cells.airway.T)] = True
    to_voxels = np.ix_(*(cells.grid.cell_of(axis) for axis in range(3)))
    return Stages(
        cells=cells.hu[to_voxels],
        body=body[to_voxels],
        air=air[to_voxels],
        airway=airway,
        sides=cells.near[to_voxels],
        dense=np.maximum(cells.ground_glass, find_masses(cells)[0])[to_voxels],
        lungs=both_lungs(oriented, workers=workers),
    )
