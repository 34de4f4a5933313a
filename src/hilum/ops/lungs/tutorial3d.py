"""The lung mask of the 2017 tutorial: one threshold, largest components.

1. Voxels above -320 HU are tissue, the others are air.
2. Air connected (over corners) with the voxel [0, 0, 0] is the air around the patient, and counts as tissue. If that
   voxel is tissue, or if the table divides the air, the air around the patient remains and may win in step 5. With
   `sides`, all air connected with a side of the volume counts as tissue.
3. With `fill`, all solid components of a plane except the largest (connected over corners) become lung: vessels,
   nodules, and the smaller of two arms.
4. The remaining air is divided into components (connected over corners).
5. The largest component is the lungs; of several the first in raster order.
"""

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.bitmask import bits
from hilum._kernels.components import labeling, selection

TUTORIAL_AIR_MAX_HU = -320.0
"""Voxels above this are tissue."""


def largest_pocket(hu: NDArray[np.int16], *, fill: bool, sides: bool = False, workers: int = 0) -> NDArray[np.uint8]:
    """Compute the tutorial's lung mask, voxel for voxel.

    Parameters
    ----------
    hu : ndarray of int16 or float32, shape (z, y, x), HU
        The volume.
    fill : bool
        Whether vessels and nodules become part of the mask.
    sides : bool
        Whether all air connected with the four sides of the planes is the air around the patient in step 2, instead of
        the air connected with the voxel [0, 0, 0]. A lung that touches a side is then missing.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        1 in the lungs; the tutorial does not separate right and left.
    """
    air = bits.at_most(hu, TUTORIAL_AIR_MAX_HU, workers=workers)
    components = labeling.find_components(air, corners=True, workers=workers)
    selected = np.ones(components.number, np.bool_)
    if sides:
        selected &= ~labeling.touching_sides(components)
    elif air.words[0, 0, 0] & np.uint64(1):
        selected[0] = False  # components are numbered in raster order
    if fill:
        tissue = ~selection.select(components, selected, workers=workers)
        solid = labeling.find_components(tissue, corners=True, planes=True, workers=workers)
        largest = selection.largest_by_plane(solid, keep=1)
        inside = ~selection.select(solid, largest, workers=workers)
        components = labeling.find_components(inside, corners=True, workers=workers)
        selected = np.ones(components.number, np.bool_)
    voxels = labeling.sizes(components) * selected
    selected[:] = False
    if voxels.any():
        selected[np.argmax(voxels)] = True
    return bits.unpack(selection.select(components, selected, workers=workers), workers=workers).view(np.uint8)
