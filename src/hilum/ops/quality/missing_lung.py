"""Measure what a lung mask leaves out: air, dense lung before the ribs, and what the volume crops."""

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import labeling, selection
from hilum.ops.gas import find_walled_gas
from hilum.ops.quality.chest_cells import ChestCells
from hilum.ops.tissues import BONE_MIN_HU

GAS_MAX_HU = -960
"""A cell with a lower mean may be gas in the bowel or the trachea."""

GAS_SHARE = 0.35
"""A component of air with a larger fraction of cells below `GAS_MAX_HU` is not lung."""

SMALLEST_ML = 5.0
"""Smaller components and missed parts are not counted: 17 mm cubed."""

SMALLEST_PLANE_MM2 = 1000.0
"""The outline of a lung is ignored in planes with less of it, at the top and the bottom."""

RIB_GAP_MM = 13.0
"""Half the distance between two ribs: what lies this far above or below a rib is behind the rib cage."""

WALL_MM = 10.0
"""Muscle and pleura between a lung and the ribs are thinner."""

LONGEST_MM = 90.0
"""What is farther from the lung, behind its front above the diaphragm, is liver or spleen."""

APEX_MM = 25.0
"""Below the top of a lung muscles lie between it and the ribs."""

TOP_MM2 = 600.0
"""The top of a lung is the highest plane with this area of it, which a trachea does not have."""

CROPPED_SHARE = 0.1
"""From this contact with the faces of the volume on, a lung is not in view as a whole."""


def missed_fraction(chest: ChestCells, mask_cells: float) -> float:
    """Fraction of the lungs' air that the mask leaves out beside it, without trachea and bowel gas."""
    components, missed = _missed_components(chest)
    lung = labeling.sizes(components)[missed].sum()
    return float(lung / (lung + mask_cells))


def missed_cells(chest: ChestCells) -> NDArray[np.bool_]:
    """The cells of the lungs' air that the mask leaves out."""
    return bits.unpack(selection.select(*_missed_components(chest)))


def _missed_components(chest: ChestCells) -> tuple[labeling.Runs, NDArray[np.bool_]]:
    """Air that the mask leaves out, and which of its components are lung."""
    cross, wide = (morphology.ellipsoid(cells, (1.0, 1.0, 1.0), chest.hu.shape) for cells in (1.0, 2.0))
    near_gas = morphology.dilate(find_walled_gas(chest.hu, chest.enclosed), wide)
    missed = bits.pack(chest.enclosed & (chest.missed >= 0.5)) & ~near_gas
    components = labeling.find_components(morphology.open_(missed, cross), corners=False)
    if not components.number:
        return components, np.zeros(0, np.bool_)
    mask = chest.inside >= 0.5
    near = bits.unpack(morphology.dilate(bits.pack(mask), cross)) | mask.any(axis=(1, 2), keepdims=True)
    beside, gas = (
        coarse.component_means(components, cells.astype(np.int16) * 100, 0.0)[:, 3] / 100
        for cells in (near, chest.hu < GAS_MAX_HU)
    )
    size = labeling.sizes(components)
    return components, (beside > 0) & (gas <= GAS_SHARE) & (size * chest.cell_ml >= SMALLEST_ML)


def dense_fractions(chest: ChestCells) -> tuple[float, float]:
    """Volume between the mask and the ribs beside and behind it, beyond the chest wall's, as a fraction of both.

    Of both lungs, and of the worse one. The mask has sides, and shows the lungs as a whole: beside the bases alone lies
    the liver.
    """
    missing = [float(part.sum()) for part in dense_cells(chest)]
    cells = [float(chest.inside[lung].sum()) for lung in _lungs(chest)]
    worse = max(m / max(1.0, m + c) for m, c in zip(missing, cells, strict=True))
    return sum(missing) / max(1.0, sum(missing) + float(chest.inside.sum())), worse


def dense_cells(chest: ChestCells) -> list[NDArray[np.bool_]]:
    """The cells between each lung's mask and the ribs beside and behind it, beyond the chest wall."""
    element = morphology.ellipsoid(RIB_GAP_MM, (chest.size[0], np.inf, np.inf), chest.hu.shape)
    ribs = bits.unpack(morphology.dilate(bits.threshold(chest.hu, BONE_MIN_HU, 32767), element))
    half, found = chest.inside >= 0.5, []
    for lung, outward in zip(_lungs(chest), (-1, 1), strict=True):
        tall = lung.sum(axis=(1, 2)) * chest.size[1] * chest.size[2] >= SMALLEST_PLANE_MM2
        tall[max(0, int(np.max(np.flatnonzero(tall), initial=0)) - round(APEX_MM / chest.size[0])) :] = False
        beside = np.zeros(lung.shape, np.bool_)
        for axis, step in ((1, 1), (2, outward)):
            wall, longest = (round(mm / chest.size[axis]) for mm in (WALL_MM, LONGEST_MM))
            beside |= before_ribs(lung, ribs, axis, step, wall=wall, longest=longest) & tall[:, None, None]
        found.append(beside & ~half)
    return found


def top_difference(chest: ChestCells) -> float:
    """How far the top of one lung lies below the top of the other, mm."""
    areas = [lung.sum(axis=(1, 2)) * chest.size[1] * chest.size[2] for lung in _lungs(chest)]
    right, left = (int(np.max(np.flatnonzero(area >= TOP_MM2), initial=0)) for area in areas)
    return abs(right - left) * chest.size[0]


def _lungs(chest: ChestCells) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The cells of the right and of the left lung."""
    half = chest.inside >= 0.5
    right = half & (chest.right >= 0.5 * chest.inside)
    return right, half & ~right


def before_ribs(
    lung: NDArray[np.bool_], ribs: NDArray[np.bool_], axis: int, step: int, *, wall: int, longest: int
) -> NDArray[np.bool_]:
    """Find the cells of each line between the last cell of the lung, a wall after it, and the first rib.

    Parameters
    ----------
    lung, ribs : ndarray of bool, shape (cz, cy, cx)
        The cells of the lung, and those of the ribs.
    axis, step : int
        The axis of the lines, and 1 or -1 for their direction.
    wall : int
        So many cells after the lung are left out.
    longest : int
        Lines with more cells between the lung and the rib are left out.

    Returns
    -------
    ndarray of bool, shape (cz, cy, cx)
    """
    lung, ribs = (np.moveaxis(part, axis, 2)[..., ::step] for part in (lung, ribs))
    after = np.maximum.accumulate(lung, axis=2) & ~np.maximum.accumulate(lung[..., ::-1], axis=2)[..., ::-1]
    ribs = ribs & after
    before_rib = after & ~np.maximum.accumulate(ribs, axis=2) & ribs.any(axis=2, keepdims=True)
    before_rib &= before_rib.sum(axis=2, keepdims=True) <= longest
    before_rib[..., wall:] &= before_rib[..., : before_rib.shape[2] - wall].copy()
    before_rib[..., :wall] = False
    return np.moveaxis(before_rib[..., ::step], 2, axis)


def cropped_fraction(chest: ChestCells) -> float:
    """Contact area with the first and last plane and the four sides, over the largest cross-section along z."""
    inside, (dz, dy, dx) = chest.inside, chest.size
    largest = float(inside.sum(axis=(1, 2)).max()) * dy * dx
    ends = float(inside[0].sum() + inside[-1].sum()) * dy * dx if inside.shape[0] > 1 else largest
    sides = float(inside[:, 0].sum() + inside[:, -1].sum()) * dz * dx
    sides += float(inside[:, :, 0].sum() + inside[:, :, -1].sum()) * dz * dy
    return (ends + sides) / max(largest, 1e-9)
