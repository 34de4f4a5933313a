"""Transfer a mask to another grid by world coordinates."""

from __future__ import annotations

import numpy as np

from hilum.geometry import Geometry
from hilum.volume import Mask

_HALF = 0.5 + 1e-6  # a position half way between two voxels rounds up, despite rounding errors of the affine


def regrid_mask(mask: Mask, geometry: Geometry) -> Mask:
    """Give each voxel of a grid the label of the nearest voxel of a mask, by world coordinates.

    Parameters
    ----------
    mask : Mask, shape (z, y, x)
    geometry : Geometry
        Any grid; its spacing, origin, shape and direction may differ from the mask's.

    Returns
    -------
    Mask
        On `geometry`; 0 where a voxel lies outside the mask's grid.
    """
    step = mask.geometry.inverse_affine @ geometry.affine  # from an index of the grid to an index of the mask
    rows, columns = np.arange(geometry.shape[1])[:, None], np.arange(geometry.shape[2])[None, :]
    out = np.zeros(geometry.shape, np.uint8)
    for z, plane in enumerate(out):
        inside = np.ones(plane.shape, np.bool_)
        indices = []
        for axis, size in enumerate(mask.shape):
            first = step[axis, 0] * z + step[axis, 3] + _HALF
            index = np.floor(first + step[axis, 1] * rows + step[axis, 2] * columns).astype(np.int64)
            inside &= (index >= 0) & (index < size)
            indices.append(np.clip(index, 0, size - 1))
        plane[:] = np.where(inside, mask.array[tuple(indices)], 0)
    return Mask(out, geometry)
