"""Which slices of a scan a sheet of slices shows: those of the lungs, else those of the body."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.ops.coarse_grid import cell_size, voxels_per_cell
from hilum.ops.labels.shares import measure_labels
from hilum.ops.lungs.chest import divide_chest
from hilum.pictures.planes import Plane
from hilum.scan import AIRWAYS, Scan

AIR_HU, BODY_SHARE = -500, 0.01  # a slice through the body has more than this share of pixels above

FULLEST_SHARE = 0.1  # and more than this share of the fullest slice's, which an arm above the head has not

CELL_MM = 4.0  # of the grid on which the body is separated from the table


class Extent(NamedTuple):
    """The slices that are drawn, how many the scan has, and what the others do not show."""

    indices: range
    total: int
    what: str


def drawn_slices(scan: Scan, plane: Plane, every: int) -> Extent:
    """Choose every n-th slice of a reoriented scan that shows something.

    Of known lungs, the slices from the first to the last with lung or the center of a nodule; else those with body,
    without the table; all slices if neither was found.
    """
    count = scan.ct.shape[plane.axis]
    every_slice = range(0, count, every)
    if (ends := _lung_ends(scan, plane)) is not None:
        first, last = -(-ends[0] // every), ends[1] // every
        first = min(first, last)  # thin lungs between two slices: the one before them
        return Extent(every_slice[first : last + 1], count, "lung")
    shares = _body_share(scan, plane)
    body = np.flatnonzero(shares[::every] > np.maximum(BODY_SHARE, FULLEST_SHARE * shares.max()))
    return Extent(every_slice[body[0] : body[-1] + 1] if body.size else every_slice, count, "body")


def _lung_ends(scan: Scan, plane: Plane) -> tuple[int, int] | None:
    """The first and the last slice with lung or the center of a nodule; None if no lung is known."""
    if scan.lungs is None:
        return None
    found = measure_labels(scan.lungs.array, workers=0)
    boxes = [one.box[plane.axis] for label, one in found.items() if label != AIRWAYS]
    if not boxes:
        return None
    inside = [n.center for n in scan.nodules if scan.ct.geometry.contains(n.center)]
    there = [round(float(scan.ct.geometry.world_to_index(center)[plane.axis])) for center in inside]
    return min([*(box.start for box in boxes), *there]), max([*(box.stop - 1 for box in boxes), *there])


def _body_share(scan: Scan, plane: Plane) -> NDArray[np.float64]:
    """The share of each slice that is tissue of the body; any tissue counts if no body was found."""
    others = tuple(axis for axis in range(3) if axis != plane.axis)
    factors = voxels_per_cell(scan.ct.spacing, CELL_MM)
    # One voxel of each cell is enough, because noise does not decide where the body ends.
    sampled = tuple(slice(min(f // 2, n - 1), None, f) for f, n in zip(factors, scan.ct.shape, strict=True))
    cells = np.ascontiguousarray(np.clip(scan.ct.array[sampled], -32768, 32767).astype(np.int16))
    _, body, _ = divide_chest(cells, cell_size(scan.ct.spacing, factors))
    if not body.any():
        every: NDArray[np.float64] = (scan.ct.array > AIR_HU).mean(axis=others)
        return every
    shares: NDArray[np.float64] = (body & (cells > AIR_HU)).mean(axis=others)
    nearest = np.minimum(np.arange(scan.ct.shape[plane.axis]) // factors[plane.axis], len(shares) - 1)
    return shares[nearest]
