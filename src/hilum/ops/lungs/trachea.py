"""Find the trachea: a chain of small round dark spots near the middle of the body, grown on voxels.

1. Find dark spots of the size of a trachea near the middle of the body, in each axial plane of cells.
2. Find the longest chain of spots that lie below each other.
3. From the darkest cells of the chain, grow a region on voxels with a rising threshold. The last threshold before the
   region leaks into the lungs counts (as in Mori et al., IEEE Trans Med Imaging 2000;19(2):103-114).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import airway, canonical
from hilum._kernels.anatomy.canonical import CellGrid
from hilum._kernels.bitmask import bits
from hilum._kernels.bitmask.mask import Shape
from hilum._kernels.components import labeling, selection
from hilum.geometry import Vector

LUMEN_MAX_HU = -800
"""Cells of at most this value may be the lumen of the trachea."""

AREA_MM2 = (60.0, 700.0)
WIDEST_MM = 40.0
OFF_MIDDLE_MM = 45.0
CHAIN_MM = 20.0
"""The chain has at least this length,"""

CROPPED = 0.7
"""or, in a volume of few slices, at least this fraction of its height."""

LIMIT_ML = 150.0
"""A larger region is a leak: trachea and main bronchi have less volume."""

LEAP_ML = 12.0
"""A region that grows by more at one rise of the threshold is a leak."""

LEAP = 16.0
"""The first region is a leak if it has so many times the volume of the chain's darker half."""

COARSE_MM = 4.5
"""In voxels that are wider than this, half a trachea, its wall is thinner than partial volume."""

RISE_HU = 20


class _Spot(NamedTuple):
    plane: int
    y: float
    x: float
    area: float
    component: int


def find_airway(
    hu: NDArray[np.int16],
    spacing: Vector,
    cells: NDArray[np.int16],
    grid: CellGrid,
    inside: NDArray[np.bool_],
    middle: float,
) -> NDArray[np.int32]:
    """Find the air in the trachea and bronchi.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x), HU
        Axes to the head, the back and the left.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.
    cells : ndarray of int16, shape (cz, cy, cx), HU
        The mean value of each cell.
    grid : CellGrid
        Where the cells lie on the voxels.
    inside : ndarray of bool, shape (cz, cy, cx)
        Air inside the body.
    middle : float
        The middle of the body along x, in cells.

    Returns
    -------
    ndarray of int32, shape (n, 3)
        Voxels; empty if no trachea was found, or if it could not be separated from the lungs.
    """
    seeds = _seeds(cells, inside, grid.size, middle)
    if not len(seeds):
        return np.zeros((0, 3), np.int32)
    start = float(np.median(cells[tuple(seeds.T)]))
    coarse = max(spacing[1:]) > COARSE_MM  # on such voxels the region leaks; it is grown on cells
    if coarse:
        volume, step_mm, starts = cells, grid.size, seeds
    else:
        at = [np.rint(grid.centers(axis)[seeds[:, axis]]) for axis in range(3)]
        starts = np.unique(np.clip(np.stack(at, axis=1), 0, np.array(hu.shape) - 1).astype(np.int64), axis=0)
        volume, step_mm = hu, spacing
    thresholds = np.arange(start + RISE_HU, start + 15 * RISE_HU, RISE_HU).astype(np.int64)
    z, y, x = (1 if s < 2 else 0 for s in step_mm)
    voxel_ml = float(np.prod(step_mm)) / 1000
    limit = int(LIMIT_ML / voxel_ml) + 1
    order, counts = airway.grow_airway(volume, starts, thresholds, half_box=(z, y, x), limit=limit)
    number = 0
    for step, count in enumerate(counts.tolist()):
        leap_ml = LEAP_ML if step else LEAP * len(seeds) * grid.cell_mm**3 / 1000
        if count < 0 or (count - number) * voxel_ml > leap_ml:
            break
        number = count
    if not coarse:
        return order[:number]
    chosen = np.zeros(cells.shape, np.bool_)
    chosen[tuple(order[:number].T)] = True
    return bits.coordinates(canonical.to_voxels(chosen, grid)).astype(np.int32)


def _seeds(cells: NDArray[np.int16], inside: NDArray[np.bool_], size: Vector, middle: float) -> NDArray[np.int64]:
    """The darkest cells of the trachea, shape (n, 3)."""
    shape: Shape = cells.shape
    dark = inside & (cells <= LUMEN_MAX_HU)
    runs = labeling.find_components(bits.pack(dark), corners=False, planes=True)
    chain = _chain(_spots(labeling.sizes(runs), labeling.boxes(runs), size, middle), size, shape[0])
    if not chain:
        return np.zeros((0, 3), np.int64)
    in_chain = np.zeros(runs.number, np.bool_)
    in_chain[[spot.component for spot in chain]] = True
    coordinates = bits.coordinates(selection.select(runs, in_chain))
    values = cells[tuple(coordinates.T)]
    seeds: NDArray[np.int64] = coordinates[values <= np.percentile(values, 50)]
    return seeds


def _spots(sizes: NDArray[np.int64], boxes: NDArray[np.int32], size: Vector, middle: float) -> list[_Spot]:
    area = sizes * size[1] * size[2]
    high, wide = (boxes[:, 4] - boxes[:, 1]) * size[1], (boxes[:, 5] - boxes[:, 2]) * size[2]
    y, x = (boxes[:, 1] + boxes[:, 4] - 1) / 2, (boxes[:, 2] + boxes[:, 5] - 1) / 2
    fits = (area >= AREA_MM2[0]) & (area <= AREA_MM2[1]) & (np.maximum(high, wide) <= WIDEST_MM)
    fits &= (np.abs(x - middle) * size[2] <= OFF_MIDDLE_MM) & (area >= 0.5 * high * wide)
    return [_Spot(int(boxes[i, 0]), float(y[i]), float(x[i]), float(area[i]), i) for i in np.flatnonzero(fits).tolist()]


def _chain(spots: list[_Spot], size: Vector, planes: int) -> list[_Spot]:
    """The longest chain of spots in successive planes, from the head to the feet."""
    chains: dict[int, list[_Spot]] = {}
    above: list[_Spot] = []
    near = max(5.0, size[0])
    for spot in sorted(spots, key=lambda spot: (-spot.plane, spot.component)):
        chains_above = [
            chains[up.component]
            for up in above
            if up.plane == spot.plane + 1
            and np.hypot((up.y - spot.y) * size[1], (up.x - spot.x) * size[2]) <= near
            and 0.4 <= up.area / spot.area <= 2.5
        ]
        longest = max(chains_above, key=lambda chain: (len(chain), -chain[-1].component), default=[])
        chains[spot.component] = [*longest, spot]
        above = [up for up in above if up.plane <= spot.plane + 1] + [spot]
    chain = max(chains.values(), key=lambda chain: (len(chain), chain[-1].component), default=[])
    return chain if len(chain) >= max(2.0, min(CHAIN_MM / size[0], CROPPED * planes)) else []
