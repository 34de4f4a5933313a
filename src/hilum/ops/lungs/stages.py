"""What hilum's own lung method saw on its way, for pictures; the method itself keeps none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum._kernels.anatomy.coarse import cell_means
from hilum.ops.lungs.cells import air_inside, find_lungs
from hilum.ops.lungs.hilum_method import both_lungs
from hilum.ops.reorient import reorient

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        The air of windpipe and bronchi, on voxels.
    sides : ndarray of uint8, shape (z, y, x)
        1 right and 2 left with a margin, on cells.
    dense : ndarray of uint8, shape (z, y, x)
        1 and 2 in dense parts and masses of the right and left lung, on cells.
    lungs : ndarray of uint8, shape (z, y, x)
        What the method gives: 1 right, 2 left.
    """

    cells: NDArray[np.int16]
    body: NDArray[np.bool_]
    air: NDArray[np.bool_]
    airway: NDArray[np.bool_]
    sides: NDArray[np.uint8]
    dense: NDArray[np.uint8]
    lungs: NDArray[np.uint8]


def lung_stages(volume: Volume, *, workers: int = 0) -> Stages:
    """Go through the method ``"hilum"`` and keep what it saw.

    Parameters
    ----------
    volume : Volume of int16, HU
        Axes in any order; the stages have them to the head, the back and the left.
    workers : int

    Returns
    -------
    Stages
    """
    turned = reorient(volume)
    hu = np.ascontiguousarray(turned.array, np.int16)
    found = find_lungs(hu, turned.spacing, workers=workers)
    means = cell_means(hu, found.factors, workers=workers)
    z, y, x = (s * f for s, f in zip(turned.spacing, found.factors, strict=True))
    _, body, air = air_inside(means, (z, y, x))
    airway = np.zeros(hu.shape, np.bool_)
    airway[tuple(found.airway.T)] = True
    at = np.ix_(*(np.arange(n) // f for n, f in zip(hu.shape, found.factors, strict=True)))
    return Stages(
        cells=means[at],
        body=body[at],
        air=air[at],
        airway=airway,
        sides=found.labels[at],
        dense=np.maximum(found.dense, found.masses)[at],
        lungs=both_lungs(turned, workers=workers),
    )
