"""Measure a lung mask independently of the method that made it.

1. One pass over the volume counts the mask's voxels, and averages the volume and the mask over cells of some 5 mm.
2. The cells are divided into the air outside the patient, the body, and the air inside it. Mask outside the body is a
   leak. Air inside that the mask leaves out, and that is neither trachea nor bowel gas, is a missed part of a lung.
3. On sampled rows the voxels 3 mm to both sides of the mask's surface are compared. The surface of a lung has air
   inside and tissue outside; a mask that is too small has air on both sides, one that is too large tissue on both.
4. The cells also give the sides, the number of parts, the contact with the faces of the volume, and the trachea.
"""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.borders import THIN, count_faces
from hilum._kernels.bitmask.mask import BitMask, Shape
from hilum._kernels.bitmask.mask_stats import MaskStats, measure_mask
from hilum._kernels.components import labeling
from hilum.ops.coarse_grid import voxels_per_cell
from hilum.ops.finite import as_hu
from hilum.ops.gas import find_walled_gas
from hilum.ops.quality.chest_cells import CELL_MM, ChestCells, chest_cells
from hilum.ops.quality.missing_lung import (
    CROPPED_SHARE,
    GAS_MAX_HU,
    SMALLEST_ML,
    cropped_fraction,
    dense_fractions,
    missed_fraction,
    top_difference,
)
from hilum.ops.tissues import LUNG_AIR_MAX_HU, SOLID_MIN_HU
from hilum.volume import Mask, Volume

TRACHEA_MAX_HU = -975
"""A cell with a lower mean is pure air, as in the trachea; most emphysema is brighter."""

PADDING_MAX_HU = -1015
SURFACE_MM = 3.0
"""Distance from the mask's surface, to both sides, at which voxels are compared."""

EVERY_MM = (8.0, 4.0)
"""Distance between the sampled planes, and between the sampled rows and columns of a plane."""

LIMITS = (-950, -600, -500, -300, 32767)
LUMP_MM = 6.0
TRACHEA_WALL_MAX_HU = -800

FADING_SHARE = 0.03
"""From this fraction of dense lung beside the mask on, tissue at the border counts as its continuation."""

MIDLINE_MM = 15.0
"""The trachea lies within this distance of the body's middle; mask farther on the other side has the wrong label."""


def measure_lung_mask(ct: Volume, lungs: Mask, *, sides: bool = True, workers: int = 0) -> dict[str, float]:
    """Measure a lung mask.

    Parameters
    ----------
    ct : Volume
        HU, int16.
    lungs : Mask
        On the same grid: 1 right and 2 left, or 1 alone from a method that does not separate the sides.
    sides : bool
        Whether the method separates the sides.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    dict of str to float
        ``lowest_hu`` and ``highest_hu`` of the volume; ``lung_ml``; with separate sides ``lung_right_ml``,
        ``lung_left_ml`` and ``lung_side_ratio`` of the smaller to the larger. If the mask is not empty also:

        * ``lung_mean_hu``; the fractions of the mask ``lung_below_950_share``, ``lung_above_500_share``,
          ``lung_gas_share`` (in cells of pure air), ``lung_outside_share`` (outside the body), ``lung_heart_share``
          (in solid cells in the body's middle) and, with separate sides, ``lung_crossed_share`` (on the other lung's
          side); ``lung_threshold_dice``, the agreement of the thresholds -600 and -300 HU inside the mask;
        * ``lung_missed_share``, the missed air, as a fraction of the mask and this air;
        * the fractions of the surface ``lung_edge_air_share`` and ``lung_edge_solid_share`` (air or tissue on both
          sides), ``lung_edge_thin_share`` and ``lung_edge_padded_share``;
        * with separate sides, and unless the scan is cropped, ``lung_dense_share``, what lies between the mask and the
          ribs beside and behind it, as a fraction of both; ``lung_dense_side_share``, the same of the worse lung; and
          ``lung_top_difference_mm``, how far the top of one lung lies below the other's;
          ``lung_dense_edge_share`` is ``lung_edge_solid_share`` where some dense lung may be missing: the border fades;
        * ``lung_lump_ml``, the largest lump of solid tissue that a ball of 6 mm fits into, and ``lung_walled_gas_ml``,
          gas with a wall around it, as in bowel and trachea;
        * ``lung_cropped_share``, the contact area with the faces of the volume over the largest cross-section;
        * ``lung_parts``, the number of components, and ``lung_airway_ml``, the volume that looks like the trachea.
    """
    hu = as_hu(ct.array)
    factors = voxels_per_cell(ct.spacing, CELL_MM)
    rows = factors[0] * factors[1]  # of a cell: some of them suffice for its mean
    step = 1 if rows < 4 else 2 if rows < 9 else 3
    count = partial(measure_mask, hu, lungs.array, factors, air=LUNG_AIR_MAX_HU, limits=LIMITS, workers=workers)
    counted = count(step=step)
    low, high, right, left, both, total_hu = counted.totals[:6].tolist()
    voxel_ml = lungs.geometry.voxel_volume / 1000
    out = {"lowest_hu": float(low), "highest_hu": float(high), "lung_ml": (right + left) * voxel_ml}
    sides |= left > 0
    if sides:
        out |= {"lung_right_ml": right * voxel_ml, "lung_left_ml": left * voxel_ml}
        out["lung_side_ratio"] = min(right, left) / max(right, left, 1)
    if not both:
        return out
    if not counted.inside.any():  # the mask is so small that no sampled row meets it
        counted = count(step=1)
    out["lung_mean_hu"] = total_hu / both
    out |= _brightness(counted)
    out |= _surface_measurements(hu, lungs, workers)
    chest = chest_cells(counted, ct, factors)
    out |= _cell_measurements(chest, sides=sides)
    if out.get("lung_dense_share", 0.0) >= FADING_SHARE:
        out["lung_dense_edge_share"] = out["lung_edge_solid_share"]
    return out


def _brightness(counted: MaskStats) -> dict[str, float]:
    """Fractions of dark and bright voxels of the mask, on the sampled rows."""
    below_950, below_600, below_500, below_300, total = counted.totals[6:].tolist()
    return {
        "lung_below_950_share": below_950 / max(1, total),
        "lung_above_500_share": 1 - below_500 / max(1, total),
        "lung_threshold_dice": 2 * below_600 / max(1, below_600 + below_300),
    }


def _surface_measurements(hu: NDArray[np.int16], lungs: Mask, workers: int) -> dict[str, float]:
    """Fractions of the surface, by area, with air or tissue on both sides."""
    spacing = lungs.spacing
    steps = (max(1, round(EVERY_MM[0] / spacing[0])), max(1, round(EVERY_MM[1] / max(spacing[1:]))))
    depth: Shape = tuple(math.ceil(SURFACE_MM / s) for s in spacing)  # type: ignore[assignment]  # three of them
    faces = count_faces(
        hu, lungs.array, air=LUNG_AIR_MAX_HU, padding=PADDING_MAX_HU, steps=steps, depth=depth, workers=workers
    )
    areas = [spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]]
    air, _, inverted, solid, thin, padded = (np.array(areas) @ faces).tolist()
    classified = float((np.array(areas) @ faces[:, :THIN]).sum())
    total = classified + thin + padded
    return {
        "lung_edge_air_share": (air + inverted) / max(classified, 1e-9),
        "lung_edge_solid_share": (solid + inverted) / max(classified, 1e-9),
        "lung_edge_thin_share": thin / max(total, 1e-9),
        "lung_edge_padded_share": padded / max(total, 1e-9),
    }


def _cell_measurements(chest: ChestCells, *, sides: bool) -> dict[str, float]:
    """Measure parts, leaks, missed air, trachea and sides on cells."""
    mask_cells = float(chest.inside.sum())
    half = chest.inside >= 0.5
    gas = chest.inside[chest.hu < GAS_MAX_HU].sum()
    outside = chest.inside[chest.outside].sum()
    parts = labeling.find_components(bits.pack(half), corners=True)
    trachea = (chest.hu < TRACHEA_MAX_HU) & half & (np.abs(_from_middle(chest)) < MIDLINE_MM)
    cropped = cropped_fraction(chest)
    out = {
        "lung_gas_share": float(gas) / mask_cells,
        "lung_outside_share": float(outside) / mask_cells,
        "lung_missed_share": missed_fraction(chest, mask_cells),
        "lung_heart_share": float(chest.inside[in_heart(chest)].sum()) / mask_cells,
        "lung_parts": float((labeling.sizes(parts) * chest.cell_ml >= SMALLEST_ML).sum()),
        "lung_airway_ml": float(np.count_nonzero(trachea)) * chest.cell_ml,
        "lung_lump_ml": _largest(lump_cells(chest)) * chest.cell_ml,
        "lung_walled_gas_ml": int(walled_gas(chest).sum()) * chest.cell_ml,
    }
    if sides and cropped < CROPPED_SHARE:
        out["lung_dense_share"], out["lung_dense_side_share"] = dense_fractions(chest)
        out["lung_top_difference_mm"] = top_difference(chest)
    if sides:
        out["lung_crossed_share"] = float(crossed(chest).sum(dtype=np.float64)) / mask_cells
    out["lung_cropped_share"] = cropped
    return out


def _largest(cells: BitMask) -> int:
    """Number of cells of the largest component."""
    return int(labeling.sizes(labeling.find_components(cells, corners=False)).max(initial=0))


def lump_cells(chest: ChestCells) -> BitMask:
    """The cells of lumps of solid tissue in the mask that a ball fits into."""
    solid = bits.pack((chest.inside >= 0.5) & (chest.hu > 0))
    ball = morphology.ellipsoid(LUMP_MM, chest.size, chest.hu.shape)
    return morphology.open_(solid, ball)


def walled_gas(chest: ChestCells) -> NDArray[np.bool_]:
    """The cells of the mask near the cores of gas that has a wall around it."""
    gas = find_walled_gas(chest.hu, chest.enclosed | (chest.inside >= 0.5))
    near = morphology.dilate(gas, morphology.ellipsoid(1.0, (1.0, 1.0, 1.0), chest.hu.shape))
    return bits.unpack(near) & (chest.inside >= 0.5) & (chest.hu < TRACHEA_WALL_MAX_HU)


def in_heart(chest: ChestCells) -> NDArray[np.bool_]:
    """The solid cells in the body's middle."""
    return (chest.hu > SOLID_MIN_HU) & (np.abs(_from_middle(chest)) < MIDLINE_MM)


def _from_middle(chest: ChestCells) -> NDArray[np.float64]:
    """How far each cell lies to the left of the body's middle, mm, shape (cz, cy, cx)."""
    x = (np.arange(chest.hu.shape[2]) - chest.middle[:, None]) * chest.size[2]
    return np.broadcast_to(x[:, None, :], chest.hu.shape)


def crossed(chest: ChestCells) -> NDArray[np.float64]:
    """The fraction of each cell that has the label of the other lung's side."""
    x = _from_middle(chest)
    return np.where(x > MIDLINE_MM, chest.right, np.where(x < -MIDLINE_MM, chest.inside - chest.right, 0.0))
