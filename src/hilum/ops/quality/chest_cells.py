"""A chest and its lung mask on cells of some 5 mm, for measurements."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import Shape
from hilum._kernels.bitmask.mask_stats import MaskStats
from hilum._kernels.components import labeling, selection
from hilum.geometry import Vector
from hilum.ops.coarse_grid import cell_size
from hilum.ops.reorient import body_axes, reorient_array
from hilum.ops.tissues import LUNG_AIR_MAX_HU
from hilum.volume import Volume

CELL_MM = 5.0
PURE_AIR_MAX_HU = -940
"""A cell with a lower mean is air, not lung: healthy lung lies near -850, most emphysema above -950."""


@dataclass(frozen=True)
class ChestCells:
    """Cells of some 5 mm whose axes run to the head, the back and the left; arrays of shape (cz, cy, cx).

    Parameters
    ----------
    size : tuple of float, (z, y, x), mm
        Of a cell.
    hu : ndarray of int16
        Mean HU.
    right, inside, missed : ndarray of float32
        The fraction of a cell in the right lung, in both lungs, and of air outside the mask.
    outside, enclosed : ndarray of bool
        Air outside the patient, and what the body encloses.
    middle : ndarray of float64, shape (cz,)
        The middle of the body along x, in cells.
    """

    size: Vector
    hu: NDArray[np.int16]
    right: NDArray[np.float32]
    inside: NDArray[np.float32]
    missed: NDArray[np.float32]
    outside: NDArray[np.bool_]
    enclosed: NDArray[np.bool_]
    middle: NDArray[np.float64]

    @property
    def cell_ml(self) -> float:
        """Volume of a cell, ml."""
        return float(np.prod(self.size)) / 1000


def chest_cells(counted: MaskStats, ct: Volume, factors: Shape) -> ChestCells:
    """Reorient the cells to the patient; find the air around the body, and the air that the body encloses.

    Parameters
    ----------
    counted : MaskStats
        Of the volume and the mask.
    ct : Volume
        The volume in HU.
    factors : tuple of int, (z, y, x)
        Voxels in a cell.

    Returns
    -------
    ChestCells
    """
    parts = (counted.hu, counted.right, counted.inside, counted.missed)
    hu, right, inside, missed = (np.ascontiguousarray(reorient_array(part, ct.geometry)) for part in parts)
    axis_size, (order, _) = cell_size(ct.spacing, factors), body_axes(ct.geometry)
    size = (axis_size[order[0]], axis_size[order[1]], axis_size[order[2]])
    shape: Shape = hu.shape
    pure = labeling.find_components(bits.below(hu, PURE_AIR_MAX_HU), corners=False, planes=True)
    drained = selection.select(pure, labeling.touching_sides(pure))
    solid = ~bits.at_most(hu, LUNG_AIR_MAX_HU)
    ball = morphology.ellipsoid(CELL_MM, (np.inf, *size[1:]), shape)
    core = labeling.find_components(morphology.erode(solid, ball), corners=False)
    trunk = selection.select(core, labeling.sizes(core) == labeling.sizes(core).max(initial=1))
    body = coarse.grow_labels(bits.unpack(trunk).view(np.uint8), bits.unpack(solid), steps=3).view(np.bool_)
    outside = bits.unpack(drained)
    near = coarse.grow_labels(outside.view(np.uint8), hu <= LUNG_AIR_MAX_HU, steps=2).view(np.bool_)
    enclosed = (coarse.enclosure(body) >= 3) & ~near & ~body
    columns = (body | enclosed).sum(axis=1)  # (z, x): the body's extent in each plane
    weight = columns.sum(axis=1)
    plane_middle = (columns @ np.arange(shape[2]) + 0.0) / np.maximum(weight, 1)
    overall = float(plane_middle @ weight) / max(1, int(weight.sum())) if weight.any() else (shape[2] - 1) / 2
    middle = np.where(weight > 0, plane_middle, overall)
    return ChestCells(size, hu, right, inside, missed, outside, enclosed, middle)
