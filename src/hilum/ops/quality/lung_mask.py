"""What a lung mask tells about itself, measured without the method that made it.

1. One pass over the volume counts what the mask holds, and sums it up on cells of some 5 mm.
2. On cells: the air outside the patient, the body, and the air inside it. What of the mask lies outside is a leak; air
   inside that the mask leaves out, and that is neither windpipe nor gas of the bowel, is a missed part of a lung.
3. On sampled rows: what lies 3 mm to both sides of the mask's surface. A lung's surface has air inside and tissue
   outside; a mask too small has air on both sides, one too large has tissue on both.
4. Sides, parts, contact with the faces of the volume, windpipe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.anatomy import coarse
from hilum._kernels.anatomy.hull import concavity
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.borders import THIN, count_faces
from hilum._kernels.bitmask.mask_stats import measure_mask
from hilum._kernels.components import labeling, selection
from hilum.ops.finite import as_hu
from hilum.ops.reorient import body_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum._kernels.bitmask.mask_stats import MaskStats
    from hilum.volume import Mask, Volume

    Size = tuple[float, float, float]

CELL_MM = 5.0
AIR_UP_TO = -400
"""HU half way between lung and soft tissue."""

PURE_AIR = -940
"""Mean HU of a cell below which it is air, not lung: healthy lung lies near -850, most of emphysema above -950."""

GAS = -960
"""As `PURE_AIR`, for gas in the bowel and the windpipe, told from lung by its share of a pocket."""

SOLID_FROM = -300
"""Mean HU of a cell above which there is no air to speak of."""

WINDPIPE = -975
"""Mean HU of a cell within the windpipe: nothing but air, unlike most of emphysema."""

GAS_SHARE = 0.35
"""A pocket of air with more of its cells below `GAS` is no lung."""

PADDING_UP_TO = -1015
EDGE_MM = 3.0
"""How far to both sides of the mask's surface is looked."""

EVERY_MM = (8.0, 4.0)
"""Distance of the planes, and of the rows and columns in them, on which the surface is looked at."""

LIMITS = (-950, -600, -500, -300, 32767)
SMALLEST_ML = 5.0
"""Pieces and missed pockets below this are not counted: 17 mm cubed."""

SMALLEST_PLANE_MM2 = 1000.0
"""A plane with less of a lung, at its top and bottom, tells nothing of its outline."""

MIDLINE_MM = 15.0
"""A windpipe lies within this of the body's middle; a lung with more than this beyond it is on both sides."""


@dataclass(frozen=True)
class _Chest:
    """Cells whose axes run to the head, the back and the left."""

    size: Size
    hu: NDArray[np.int16]
    right: NDArray[np.float32]
    inside: NDArray[np.float32]
    missed: NDArray[np.float32]
    outside: NDArray[np.bool_]
    enclosed: NDArray[np.bool_]
    middle: NDArray[np.float64]

    @property
    def cell_ml(self) -> float:
        return float(np.prod(self.size)) / 1000


def lung_figures(ct: Volume, lungs: Mask, *, sides: bool = True, workers: int = 0) -> dict[str, float]:
    """Measure a lung mask.

    Parameters
    ----------
    ct : Volume
        HU, int16.
    lungs : Mask
        On the same grid: 1 right and 2 left, or 1 alone from a method that does not tell sides.
    sides : bool
        Whether the method tells sides.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    dict of str to float
        ``lowest_hu`` and ``highest_hu`` of the volume; ``lung_ml``, and where sides are told ``lung_right_ml``,
        ``lung_left_ml`` and ``lung_side_ratio`` of the smaller to the larger. Where there is any label also:

        * ``lung_mean_hu``, and of the mask the shares ``lung_below_950_share``, ``lung_above_500_share``,
          ``lung_gas_share`` (in cells of pure air), ``lung_outside_share`` (outside the body), ``lung_heart_share``
          (in solid cells in the body's middle) and, where sides are told, ``lung_crossed_share`` (on the other lung's
          side); ``lung_threshold_dice``, the agreement of the thresholds -600 and -300 HU inside;
        * ``lung_missed_share``, the air left out, of mask and air;
        * of the surface the shares ``lung_edge_air_share``, ``lung_edge_solid_share`` (on both sides),
          ``lung_edge_thin_share`` and ``lung_edge_padded_share``;
        * ``lung_dent_share``, what lies in dents of the outlines along the ribs, of the mask;
        * ``lung_cropped_share``, the contact with the faces of the volume, of the largest cross-section;
        * ``lung_parts``, how many, and ``lung_airway_ml``, what looks like windpipe.
    """
    hu = as_hu(ct.array)
    factors: Shape = tuple(max(1, round(CELL_MM / s)) for s in ct.spacing)  # type: ignore[assignment]  # three of them
    rows = factors[0] * factors[1]  # of a block: some of them tell its mean and its shares
    step = 1 if rows < 4 else 2 if rows < 9 else 3
    count = partial(measure_mask, hu, lungs.array, factors, air=AIR_UP_TO, limits=LIMITS, workers=workers)
    counted = count(step=step)
    low, high, one, two, every, total = counted.totals[:6].tolist()
    voxel_ml = lungs.geometry.voxel_volume / 1000
    found = {"lowest_hu": float(low), "highest_hu": float(high), "lung_ml": (one + two) * voxel_ml}
    sides |= two > 0
    if sides:
        found |= {"lung_right_ml": one * voxel_ml, "lung_left_ml": two * voxel_ml}
        found["lung_side_ratio"] = min(one, two) / max(one, two, 1)
    if not every:
        return found
    if not counted.inside.any():  # none of the rows that were sampled meets so small a mask
        counted = count(step=1)
    found["lung_mean_hu"] = total / every
    found |= _brightness(counted)
    found |= _edges(hu, lungs, workers)
    chest = _chest(counted, ct, factors)
    found |= _places(chest, sides=sides)
    found["lung_cropped_share"] = _cropped(chest)
    return found


def _brightness(counted: MaskStats) -> dict[str, float]:
    """How dark the mask is, on the rows that were sampled."""
    below_950, below_600, below_500, below_300, every = counted.totals[6:].tolist()
    return {
        "lung_below_950_share": below_950 / max(1, every),
        "lung_above_500_share": 1 - below_500 / max(1, every),
        "lung_threshold_dice": 2 * below_600 / max(1, below_600 + below_300),
    }


def _edges(hu: NDArray[np.int16], lungs: Mask, workers: int) -> dict[str, float]:
    """What lies on both sides of the surface, weighted by area."""
    spacing = lungs.spacing
    steps = (max(1, round(EVERY_MM[0] / spacing[0])), max(1, round(EVERY_MM[1] / max(spacing[1:]))))
    depth: Shape = tuple(math.ceil(EDGE_MM / s) for s in spacing)  # type: ignore[assignment]  # three of them
    faces = count_faces(
        hu, lungs.array, air=AIR_UP_TO, padding=PADDING_UP_TO, steps=steps, depth=depth, workers=workers
    )
    areas = [spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]]
    air, _, inverted, solid, thin, padded = (np.array(areas) @ faces).tolist()
    told = float((np.array(areas) @ faces[:, :THIN]).sum())
    every = told + thin + padded
    return {
        "lung_edge_air_share": (air + inverted) / max(told, 1e-9),
        "lung_edge_solid_share": (solid + inverted) / max(told, 1e-9),
        "lung_edge_thin_share": thin / max(every, 1e-9),
        "lung_edge_padded_share": padded / max(every, 1e-9),
    }


def _chest(counted: MaskStats, ct: Volume, factors: Shape) -> _Chest:
    """The cells turned to the patient, the air around the body, and the air that the body encloses."""
    order, flips = body_axes(ct.geometry)
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    hu = np.ascontiguousarray(counted.hu.transpose(order)[step])
    shares = (counted.right, counted.inside, counted.missed)
    right, inside, missed = (np.ascontiguousarray(part.transpose(order)[step]) for part in shares)
    size: Size = tuple(ct.spacing[axis] * factors[axis] for axis in order)  # type: ignore[assignment]  # three of them
    shape: Shape = hu.shape
    pure = labeling.find_components(bits.below(hu, PURE_AIR), corners=False, planes=True)
    drained = selection.select(pure, labeling.touching_sides(pure))
    solid = ~bits.at_most(hu, AIR_UP_TO)
    ball = morphology.ellipsoid(CELL_MM, (np.inf, *size[1:]), shape)
    core = labeling.find_components(morphology.erode(solid, ball), corners=False)
    trunk = selection.select(core, labeling.sizes(core) == labeling.sizes(core).max(initial=1))
    body = coarse.grow_labels(bits.unpack(trunk).view(np.uint8), bits.unpack(solid), steps=3).view(np.bool_)
    outside = bits.unpack(drained)
    near = coarse.grow_labels(outside.view(np.uint8), hu <= AIR_UP_TO, steps=2).view(np.bool_)
    enclosed = (coarse.enclosure(body) >= 3) & ~near & ~body
    columns = (body | enclosed).sum(axis=1)  # (z, x): where the body lies in each plane
    weight = columns.sum(axis=1)
    each = (columns @ np.arange(shape[2]) + 0.0) / np.maximum(weight, 1)
    whole = float(each @ weight) / max(1, int(weight.sum())) if weight.any() else (shape[2] - 1) / 2
    middle = np.where(weight > 0, each, whole)
    return _Chest(size, hu, right, inside, missed, outside, enclosed, middle)


def _places(chest: _Chest, *, sides: bool) -> dict[str, float]:
    """Parts, leaks, missed air, windpipe and sides, on cells."""
    shape: Shape = chest.hu.shape
    mask = float(chest.inside.sum())
    half = chest.inside >= 0.5
    gas = chest.inside[chest.hu < GAS].sum()
    outside = chest.inside[chest.outside].sum()
    parts = labeling.find_components(bits.pack(half), corners=True)
    x = np.arange(shape[2]) - chest.middle[:, None]
    near = np.abs(x * chest.size[2]) < MIDLINE_MM
    near = np.broadcast_to(near[:, None, :], shape)
    tube = (chest.hu < WINDPIPE) & half & near
    heart = (chest.hu > SOLID_FROM) & near
    found = {
        "lung_gas_share": float(gas) / mask,
        "lung_outside_share": float(outside) / mask,
        "lung_missed_share": _missed(chest, mask),
        "lung_heart_share": float(chest.inside[heart].sum()) / mask,
        "lung_parts": float((labeling.sizes(parts) * chest.cell_ml >= SMALLEST_ML).sum()),
        "lung_airway_ml": float(np.count_nonzero(tube)) * chest.cell_ml,
    }
    found["lung_dent_share"] = _dented(chest, x[:, None, :], mask, sides=sides)
    if sides:
        far = (x * chest.size[2])[:, None, :]
        left = chest.inside - chest.right
        crossed = float(chest.right[np.broadcast_to(far > MIDLINE_MM, shape)].sum())
        crossed += float(left[np.broadcast_to(far < -MIDLINE_MM, shape)].sum())
        found["lung_crossed_share"] = crossed / mask
    return found


def _missed(chest: _Chest, mask: float) -> float:
    """Share of the lungs' air that the mask leaves out: pockets that are neither windpipe nor bowel."""
    left_out = chest.enclosed & (chest.missed >= 0.5)
    pockets = labeling.find_components(bits.pack(left_out), corners=False)
    if not pockets.number:
        return 0.0
    gas = coarse.component_means(pockets, (chest.hu < GAS).astype(np.int16) * 100, 0.0)[:, 3] / 100
    size = labeling.sizes(pockets)
    lung = size[(gas <= GAS_SHARE) & (size * chest.cell_ml >= SMALLEST_ML)].sum()
    return float(lung / (lung + mask))


def _dented(chest: _Chest, x: NDArray[np.float64], mask: float, *, sides: bool) -> float:
    """What lies in dents of the outlines along the ribs, of the mask: a lung is convex there, whatever its shape."""
    half = chest.inside >= 0.5
    right = half & (chest.right >= 0.5 * chest.inside) if sides else half & (x < 0)
    smallest = max(1, round(SMALLEST_PLANE_MM2 / (chest.size[1] * chest.size[2])))
    lack = concavity(right, outward=-1, smallest=smallest) + concavity(half & ~right, outward=1, smallest=smallest)
    return lack / mask


def _cropped(chest: _Chest) -> float:
    """Area in contact with the first and last plane and the four sides, of the largest cross-section along z."""
    inside, (dz, dy, dx) = chest.inside, chest.size
    largest = float(inside.sum(axis=(1, 2)).max()) * dy * dx
    ends = float(inside[0].sum() + inside[-1].sum()) * dy * dx if inside.shape[0] > 1 else largest
    sides = float(inside[:, 0].sum() + inside[:, -1].sum()) * dz * dx
    sides += float(inside[:, :, 0].sum() + inside[:, :, -1].sum()) * dz * dy
    return (ends + sides) / max(largest, 1e-9)
