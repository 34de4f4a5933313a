"""Find domes of the diaphragm: liver and spleen inside a ring of lung in an axial plane.

1. In each plane of cells, thick solid parts are those that a disk of some millimetres fits into.
2. From the feet up, a thick part in a hole of the lungs is a dome if most of it lies on a dome, or on a solid part
   outside the holes, in the plane below. A mass in the lung has no solid tissue right below its first plane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.components import labeling, selection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bitmask.mask import Shape
    from hilum.geometry import Vector

THICK_MM = 6.4
"""Radius of the disk; thinner solid parts in the lungs are vessels and nodules."""

SUPPORTED = 0.6
"""At least this fraction of a dome has solid tissue right below it."""

HIGH = 0.6
"""Domes lie below this fraction of the lungs' height."""


def find_domes(
    solid: NDArray[np.bool_], lungs: NDArray[np.bool_], size: Vector
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Find the cells of the domes of the diaphragm, and of gas within them.

    Parameters
    ----------
    solid, lungs : ndarray of bool, shape (cz, cy, cx)
        Cells of tissue, and of air in the lungs. The first axis runs to the head.
    size : tuple of float, (z, y, x), mm
        Size of a cell.

    Returns
    -------
    domes : ndarray of uint8, shape (cz, cy, cx)
        1 in the domes, in the cells that they enclose in a plane, and in a margin of one cell.
    gas : ndarray of uint8, shape (cz, cy, cx)
        1 in the cells that the domes enclose in a plane (gas in the stomach), and in a margin of one cell.
    """
    shape: Shape = solid.shape
    air = bits.pack(lungs)
    holes = selection.fill_planes(air) & ~air
    disk = morphology.ellipsoid(THICK_MM, (np.inf, *size[1:]), shape)
    tissue = bits.pack(solid)
    thick = morphology.open_(tissue, disk) & tissue
    runs = labeling.find_components(thick & holes, corners=False, planes=True)
    planes = np.flatnonzero(lungs.any(axis=(1, 2)))
    if not runs.number or not planes.size:
        return np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    top = planes[0] + HIGH * (planes[-1] + 1 - planes[0])
    below = bits.unpack(thick & ~holes)
    labeled = selection.label_image(runs)
    sizes, boxes = labeling.sizes(runs), labeling.boxes(runs)
    domes = np.zeros(runs.number, np.uint8)
    for index in range(runs.number):  # numbered plane by plane, from the feet up
        z, y0, x0, _, y1, x1 = boxes[index].tolist()
        if z == 0 or z > top:
            continue
        part = labeled[z, y0:y1, x0:x1] == index + 1
        if np.count_nonzero(part & below[z - 1, y0:y1, x0:x1]) >= SUPPORTED * sizes[index]:
            domes[index] = 1
            below[z, y0:y1, x0:x1] |= part
    dome = bits.equal(selection.value_image(runs, domes), 1)
    ring = morphology.ellipsoid(1.0, (np.inf, 1.0, 1.0), shape)
    gas = selection.fill_planes(dome) & ~dome
    grown, grown_gas = (bits.unpack(morphology.dilate(part, ring)).view(np.uint8) for part in (dome | gas, gas))
    return grown, grown_gas
