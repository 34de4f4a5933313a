"""Where a lung mask is most doubtful: what a person looks at first."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits
from hilum._kernels.bitmask.mask_stats import measure_mask
from hilum._kernels.components import labeling, selection
from hilum.ops.coarse_grid import voxels_per_cell
from hilum.ops.finite import as_hu
from hilum.ops.quality.chest_cells import CELL_MM, ChestCells, chest_cells
from hilum.ops.quality.lung_mask import LIMITS, crossed, in_heart, lump_cells, walled_gas
from hilum.ops.quality.missing_lung import GAS_MAX_HU, dense_cells, missed_cells
from hilum.ops.tissues import LUNG_AIR_MAX_HU
from hilum.volume import Mask, Volume

Cells = NDArray[np.bool_]


@dataclass(frozen=True)
class DoubtfulPlace:
    """The axial slice with most of the largest part of what an alarm is about, and a circle within that part.

    Parameters
    ----------
    voxel : tuple of float, (z, y, x)
        The middle of the circle.
    radius_mm : float
        Of the largest circle in it.
    """

    voxel: tuple[float, float, float]
    radius_mm: float


FIELDS: dict[str, Callable[[ChestCells], Cells]] = {
    "missed-lung": missed_cells,
    "dense-lung-missing": lambda chest: np.logical_or.reduce(dense_cells(chest)),
    "organ-included": lambda chest: bits.unpack(lump_cells(chest)),
    "gas-included": walled_gas,
    "heart-included": lambda chest: in_heart(chest) & (chest.inside >= 0.5),
    "leak": lambda chest: chest.outside & (chest.inside >= 0.5),
    "not-lung": lambda chest: (chest.hu < GAS_MAX_HU) & (chest.inside >= 0.5),
    "sides-mixed": lambda chest: crossed(chest) >= 0.5,
}
"""For each alarm that has a place, the cells that it counts: also those that it counts wrongly."""


def doubtful_places(ct: Volume, lungs: Mask, codes: Iterable[str], *, workers: int = 0) -> dict[str, DoubtfulPlace]:
    """Find where a mask is most doubtful.

    Parameters
    ----------
    ct : Volume
        HU, int16; its axes run to the head, the back and the left.
    lungs : Mask
        On the same grid: 1 right and 2 left, or 1 alone.
    codes : iterable of str
        Alarms from `hilum.ops.quality.measure.quality_notes`.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    dict of str to DoubtfulPlace
        In the order of the codes; an alarm without a place is left out.
    """
    known = [code for code in codes if code in FIELDS]
    if not known:
        return {}
    factors, hu = voxels_per_cell(ct.spacing, CELL_MM), as_hu(ct.array)
    counted = measure_mask(hu, lungs.array, factors, air=LUNG_AIR_MAX_HU, limits=LIMITS, step=1, workers=workers)
    chest = chest_cells(counted, ct, factors)
    found = {}
    for code in known:
        parts = labeling.find_components(bits.pack(FIELDS[code](chest)), corners=False)
        if not parts.number:
            continue
        sizes = labeling.sizes(parts)
        largest = bits.unpack(selection.select(parts, np.arange(parts.number) == sizes.argmax()))
        areas = largest.sum(axis=(1, 2))
        z = int(areas.argmax())
        (y, x), depth = _deepest(largest[z])
        voxel = [(at + 0.5) * n - 0.5 for at, n in zip((z, y, x), factors, strict=True)]
        found[code] = DoubtfulPlace((voxel[0], voxel[1], voxel[2]), depth * max(chest.size[1:]))
    return found


def _deepest(plane: Cells) -> tuple[tuple[float, float], int]:
    """The middle of the cells that are farthest from the edge of a plane's region, and how far, in cells."""
    depth = 0
    while plane.any():
        last, depth = plane, depth + 1
        padded = np.pad(plane, 1)
        plane = plane & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    rows, columns = np.nonzero(last)
    middle = np.hypot(rows - rows.mean(), columns - columns.mean()).argmin()
    return (float(rows[middle]), float(columns[middle])), depth
