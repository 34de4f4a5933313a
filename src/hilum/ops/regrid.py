"""A mask on another grid: every voxel takes the label of the place where it lies in the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum.volume import Mask

if TYPE_CHECKING:
    from hilum.geometry import Geometry

_HALF = 0.5 + 1e-6
"""Halfway between two voxels the later one is taken, whatever the last digit of the affine says."""


def place_mask(mask: Mask, geometry: Geometry) -> Mask:
    """Give each voxel of a grid the label of the nearest voxel of a mask, by world coordinates alone.

    Parameters
    ----------
    mask : Mask, shape (z, y, x)
    geometry : Geometry
        Any grid: of another spacing, origin, size or direction.

    Returns
    -------
    Mask
        On `geometry`; 0 where a voxel lies outside the mask's grid.
    """
    step = mask.geometry.inverse_affine @ geometry.affine  # from an index of the grid to one of the mask
    rows, columns = np.arange(geometry.shape[1])[:, None], np.arange(geometry.shape[2])[None, :]
    out = np.zeros(geometry.shape, np.uint8)
    for z, plane in enumerate(out):
        inside = np.ones(plane.shape, np.bool_)
        places = []
        for axis, size in enumerate(mask.shape):
            first = step[axis, 0] * z + step[axis, 3] + _HALF
            place = np.floor(first + step[axis, 1] * rows + step[axis, 2] * columns).astype(np.int64)
            inside &= (place >= 0) & (place < size)
            places.append(np.clip(place, 0, size - 1))
        plane[:] = np.where(inside, mask.array[tuple(places)], 0)
    return Mask(out, geometry)
