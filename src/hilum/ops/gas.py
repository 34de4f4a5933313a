"""Find gas with a wall around it, on cells of some millimetres: trachea, stomach, bowel, sinuses; no emphysema."""

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask, Shape
from hilum._kernels.components import labeling, selection

GAS_MAX_HU, GAS_RANGES_HU = -960, (25, 60)
"""The darkest cells of a scan with gas in view are at most this bright, whatever its scale. Cells of gas are at most so
much brighter; the first tells the trachea from emphysema that it leads to."""

WALL_RANGE_HU = 200
"""Cells of a wall, with their partial volume, are brighter than the darkest air by more."""

WALL_CELLS, WALLED = 2, 0.6
"""Gas has a wall around it if at least this fraction of the cells at this distance from it are wall."""


def find_walled_gas(cells: NDArray[np.int16], inside: NDArray[np.bool_]) -> BitMask:
    """Find the cores of gas that has a wall around it: in trachea, stomach, bowel and sinuses.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The mean value of each cell.
    inside : ndarray of bool, shape (cz, cy, cx)
        Air inside the body.

    Returns
    -------
    BitMask
    """
    shape: Shape = cells.shape
    if not inside.any():
        return BitMask.empty(shape)
    darkest = min(float(np.percentile(cells[inside], 0.1)), GAS_MAX_HU)
    walled, everywhere = BitMask.empty(shape), np.ones(shape, np.bool_)
    cross = morphology.ellipsoid(1.0, (1.0, 1.0, 1.0), shape)  # a cell and its neighbors
    for brighter in GAS_RANGES_HU:
        gas = bits.pack(inside & (cells <= darkest + brighter))
        runs = labeling.find_components(morphology.open_(gas, cross) & gas, corners=False)
        labels = selection.label_image(runs)
        nearer = coarse.grow_labels(labels, everywhere, steps=WALL_CELLS - 1)
        near = coarse.grow_labels(nearer, everywhere, steps=1)
        shell = (near > 0) & (nearer == 0)
        around = np.bincount(near[shell], minlength=runs.number + 1)[1:]
        wall = np.bincount(near[shell & (cells > darkest + WALL_RANGE_HU)], minlength=runs.number + 1)[1:]
        walled |= selection.select(runs, wall >= WALLED * around)
    return walled
