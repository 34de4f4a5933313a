"""Domes of the diaphragm: liver and spleen that lie within a ring of lung in an axial plane, and are no nodules.

1. Thick solid parts of each plane of cells: what a disk of some millimetres fits into.
2. Those that lie in a hole of the lungs, from the feet up: one that rests on solid parts outside the lungs' holes, or
   on a dome, in the plane below is a dome. A mass in the lung does not begin with solid tissue right under it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.bits import Bits, Shape

THICK_MM = 6.4
"""Radius of the disk; thinner solid parts in the lungs are vessels and nodules."""

RESTS = 0.6
"""The share of a dome that has solid tissue right below it."""

HIGH = 0.6
"""Domes lie below this part of the lungs' height."""


def find_domes(
    solid: NDArray[np.bool_], lungs: NDArray[np.bool_], size: tuple[float, float, float]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cells of the domes of the diaphragm, and of gas within them.

    Parameters
    ----------
    solid, lungs : ndarray of bool, shape (cz, cy, cx)
        Cells of tissue, and of air in the lungs. The first axis runs to the head.
    size : tuple of float, (z, y, x), mm
        Of a cell.

    Returns
    -------
    domes : ndarray of uint8, shape (cz, cy, cx)
        1 in the domes, what they enclose, and a cell around them in each plane.
    gas : ndarray of uint8, shape (cz, cy, cx)
        1 in what the domes enclose in a plane and a cell around it: gas in the stomach.
    """
    from hilum._kernels.bitmask import bits, morphology
    from hilum._kernels.components import labeling, selection

    shape: Shape = solid.shape
    none = np.zeros(shape, np.uint8)
    air = bits.between(lungs.view(np.uint8), 1, 1, workers=1)
    holes = selection.fill_planes(air, shape, workers=1) & ~air
    disk = morphology.ellipsoid(THICK_MM, (np.inf, *size[1:]), shape)
    tissue = bits.between(solid.view(np.uint8), 1, 1, workers=1)
    thick = morphology.open_(tissue, shape[2], disk, workers=1) & tissue
    runs = labeling.find_components(thick & holes, shape, corners=False, planes=True, workers=1)
    planes = np.flatnonzero(lungs.any(axis=(1, 2)))
    if not runs.number or not planes.size:
        return none, none.copy()
    top = planes[0] + HIGH * (planes[-1] + 1 - planes[0])
    below = bits.paint(thick & ~holes, none.copy(), workers=1).view(np.bool_)
    labeled = selection.label_image(runs)
    sizes, boxes = labeling.sizes(runs), labeling.boxes(runs)
    domes = np.zeros(runs.number, np.uint8)
    for index in range(runs.number):  # numbered plane by plane, from the feet up
        z, y0, x0, _, y1, x1 = boxes[index].tolist()
        if z == 0 or z > top:
            continue
        part = labeled[z, y0:y1, x0:x1] == index + 1
        if np.count_nonzero(part & below[z - 1, y0:y1, x0:x1]) >= RESTS * sizes[index]:
            domes[index] = 1
            below[z, y0:y1, x0:x1] |= part
    found = bits.between(selection.named_image(runs, domes), 1, 1, workers=1)
    ring = morphology.ellipsoid(1.0, (np.inf, 1.0, 1.0), shape)
    gas = selection.fill_planes(found, shape, workers=1) & ~found
    return _grown(found | gas, ring, none), _grown(gas, ring, none)


def _grown(part: Bits, rods: NDArray[np.int64], none: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from hilum._kernels.bitmask import bits, morphology

    return bits.paint(morphology.dilate(part, none.shape[2], rods, workers=1), none.copy(), workers=1)
