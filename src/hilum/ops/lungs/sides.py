"""Right or left: the air inside the body parted on cells; axes run to the head, the back and the left.

1. The air is worn off, more and more, until a right and a left core stand apart.
2. A core of gas, darker than the lungs and low in the body, is stomach or bowel.
3. The cores grow back, darkest cells first, and meet at the bright seam where the lungs touch (a watershed). What
   the gas reached is dropped.
4. Pieces that hang together with no core are lung if they lie beside the middle and not low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import labeling, selection, watershed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum._kernels.components.labeling import Runs

Size = tuple[float, float, float]

RIGHT, LEFT, OTHER = 1, 2, 3

AIR_UP_TO = -400
"""HU of a cell half full of lung."""

WEAR_MM = (0.0, 3.2, 6.4, 9.6, 12.8)
"""How far the air is worn off to part right and left, tried in this order."""

ONE_SIDE = 0.7
"""A core is a right or a left lung if at least this share of it lies on that side of the middle."""

SECOND_LUNG = 0.1
"""The smaller lung has at least this share of the larger one's cells, or it is not looked for."""

LEAST_ML = 10.0
"""Less air than this inside the body is no lung."""

PIECE_ML = 2.0
"""A piece of lung cut off from the rest (by fluid, by a scar) holds at least this."""

GAS_HU = -975
"""Cells of gas without tissue in it are darker than this on the whole, lungs are not."""

LOW = 0.35
"""Gas lies low if it lies below this part of the lungs' height."""

OFF_MIDDLE_MM = 25.0
"""Loose air nearer to the middle than this is windpipe or gullet."""


def part_sides(cells: NDArray[np.int16], air: NDArray[np.bool_], size: Size, middle: float) -> NDArray[np.uint8]:
    """Label the air inside the body as right lung, left lung or other.

    Parameters
    ----------
    cells : ndarray of int16, shape (cz, cy, cx), HU
    air : ndarray of bool, shape (cz, cy, cx)
    size : tuple of float, (z, y, x), mm
    middle : float
        Where the middle of the body is along x, in cells.

    Returns
    -------
    ndarray of uint8, shape (cz, cy, cx)
        0, 1 right, 2 left, 3 other.
    """
    whole = _pieces(cells, air, size, middle, wear=0.0)
    if not len(whole.sizes) or whole.sizes.max() * float(np.prod(size)) < 1000 * LEAST_ML:
        return np.zeros(air.shape, np.uint8)
    best = None
    for wear in WEAR_MM:
        pieces = _pieces(cells, air, size, middle, wear=wear) if wear else whole
        names = _name_cores(pieces, size)
        if {RIGHT, LEFT} <= set(names.tolist()):
            best = pieces, names
            break
        if best is None and names.any():
            best = pieces, names
    if best is None:
        return _halves(whole, middle)
    seeds = selection.value_image(best[0].runs, best[1])
    labels = watershed.flood(cells, np.where(air, seeds, np.uint8(255)))
    return np.where(labels == 0, _loose(whole, labels, size, middle), labels)


class _Pieces(NamedTuple):
    """Pieces of air: runs, sizes in cells, centers (cz, cy, cx), mean HU, share right of the middle, boxes."""

    runs: Runs
    sizes: NDArray[np.int64]
    centers: NDArray[np.float64]
    hu: NDArray[np.float64]
    right: NDArray[np.float64]
    boxes: NDArray[np.int32]


def _pieces(cells: NDArray[np.int16], air: NDArray[np.bool_], size: Size, middle: float, *, wear: float) -> _Pieces:
    shape: Shape = air.shape
    worn = bits.pack(air)
    if wear:
        worn = morphology.erode(worn, morphology.ellipsoid(wear, size, shape))
    runs = labeling.find_components(worn, corners=False)
    means = coarse.component_means(runs, cells, middle)
    boxes = labeling.boxes(runs)
    return _Pieces(runs, labeling.sizes(runs), means[:, :3], means[:, 3], means[:, 4], boxes)


def _is_gas(pieces: _Pieces, main: int) -> NDArray[np.bool_]:
    """Whether a piece is gas in stomach or bowel: darker than the lungs, and low in the body."""
    low, high = pieces.boxes[main, 0], pieces.boxes[main, 3]
    dark = (pieces.hu < GAS_HU) | ((pieces.hu < pieces.hu[main] - 60) & (pieces.hu < -920))
    is_gas: NDArray[np.bool_] = dark & (pieces.centers[:, 0] < low + LOW * (high - low))
    return is_gas


def _name_cores(pieces: _Pieces, size: Size) -> NDArray[np.uint8]:
    """The label of each piece that is large enough for one; 0 leaves it to be reached from its neighbors."""
    names = np.zeros(len(pieces.sizes), np.uint8)
    if not len(names):
        return names
    main = int(np.argmax(np.where(pieces.hu > GAS_HU, pieces.sizes, 0)))
    gas = _is_gas(pieces, main)
    large = pieces.sizes >= SECOND_LUNG * pieces.sizes[main]
    names[large & (pieces.right >= ONE_SIDE)] = RIGHT
    names[large & (pieces.right <= 1 - ONE_SIDE)] = LEFT
    names[gas & (pieces.sizes * float(np.prod(size)) >= 1000 * PIECE_ML)] = OTHER
    if names[main] == OTHER or not names[main]:
        names[:] = 0
    return names


def _halves(whole: _Pieces, middle: float) -> NDArray[np.uint8]:
    """Right and left of the middle in the largest piece, where nothing else parts the lungs."""
    main = np.zeros(len(whole.sizes), np.uint8)
    main[np.argmax(whole.sizes)] = 1
    side = np.where(np.arange(whole.runs.shape[2]) < middle, RIGHT, LEFT).astype(np.uint8)
    return side * selection.value_image(whole.runs, main)


def _loose(whole: _Pieces, labels: NDArray[np.uint8], size: Size, middle: float) -> NDArray[np.uint8]:
    """Pieces of lung that hang together with no core: beside the middle, not low, of some size."""
    planes = np.flatnonzero(((labels == RIGHT) | (labels == LEFT)).any(axis=(1, 2)))
    low, high = planes[0], planes[-1] + 1
    off = (whole.centers[:, 2] - middle) * size[2]
    fits = (np.abs(off) >= OFF_MIDDLE_MM) & (whole.sizes * float(np.prod(size)) >= 1000 * PIECE_ML)
    fits &= (whole.centers[:, 0] >= low + LOW * (high - low)) & (whole.centers[:, 0] < high)
    names = np.where(off < 0, RIGHT, LEFT).astype(np.uint8) * fits
    return selection.value_image(whole.runs, names)
