"""A small copy of a scan for a 3-D view of a tissue: everything else is air."""

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits, morphology
from hilum.ops.coarse_grid import voxels_per_cell
from hilum.ops.reorient import reorient
from hilum.ops.surfaces import cells_of, in_body
from hilum.volume import Mask, Volume

LONGEST = 224  # about so many cells along the longest side: more would not be seen, and need more memory to draw

AIR_HU = -1024


def body_cells(ct: Volume, *, workers: int = 0) -> Volume:
    """Average a scan over cells; the cells outside the patient, such as those of the table, are air.

    Parameters
    ----------
    ct : Volume of int16, HU
        In any orientation.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Volume of int16, HU
        Its axes run to the head, the back and the left.
    """
    oriented = reorient(ct)
    cell_mm = _cell_mm(oriented)
    cells = cells_of(oriented.array, oriented.geometry, cell_mm, workers)
    return _keep(cells, in_body(oriented, cells.shape, cell_mm, workers))


def lung_cells(ct: Volume, lungs: Mask, *, margin_mm: float, workers: int = 0) -> Volume:
    """Average a scan over cells; the cells outside the lungs, and near their surface, are air.

    Parameters
    ----------
    ct : Volume of int16, HU
        In any orientation.
    lungs : Mask
        On its voxels.
    margin_mm : float
        Cells are air as well whose centers lie so near to a cell outside; the edge of the scan does not count.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Volume of int16, HU
    """
    cell_mm = _cell_mm(ct)
    cells = cells_of(ct.array, ct.geometry, cell_mm, workers)
    factors = voxels_per_cell(ct.spacing, cell_mm)
    middles = (
        np.minimum(np.arange(c) * f + f // 2, n - 1) for c, f, n in zip(cells.shape, factors, ct.shape, strict=True)
    )
    inside = bits.pack(lungs.array[np.ix_(*middles)] > 0)
    ball = morphology.ellipsoid(margin_mm, cells.spacing, cells.shape)
    return _keep(cells, bits.unpack(morphology.erode(inside, ball, workers=workers)))


def _cell_mm(ct: Volume) -> float:
    longest = max(n * s for n, s in zip(ct.shape, ct.spacing, strict=True))
    return max(min(ct.spacing), longest / LONGEST)


def _keep(cells: Volume, kept: NDArray[np.bool_]) -> Volume:
    return Volume(np.where(kept, cells.array, np.int16(AIR_HU)), cells.geometry)
