"""Nodules at the wall: where the closed lung bridges a blob of tissue, the ball that the blob is part of is completed.

A ball that rolls along the wall (Pu et al., Comput Med Imaging Graph 2008;32(6):452-462 roll a disk) bridges a nodule,
but dips into it between its flanks, and knows nothing of the part of it that lies in the wall. Here it only finds the
blobs. What it has bridged and a small ball fits into is a nodule if

1. more of it lies bare in the lung than is grown together with the wall;
2. it is not too large;

and then the ball that fits its bare side best is added, with the part of it behind the wall, and a thin rim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hilum._kernels.bits import Bits, Shape

THIN_MM = 1.7
"""Radius of the ball that must fit into a nodule; what is thinner is vessel, fissure or rim."""

SIZE_MM = (3.0, 45.0)
"""A nodule with its vicinity is at least and at most so long."""

BARE_SHARE = 1.15
"""The bare surface of a nodule over that of its foot; a ridge or a corner has less than 1."""

RADIUS_MM = (2.0, 18.0)
GAP_MM = 0.8
GAP_SHARE = 0.2
"""The bare side of a nodule lies so close to a ball, in mm and as a share of the ball's radius; else it is no ball."""

RIM_MM = 1.0
"""The completed ball is larger by this: the border of a nodule is drawn by the eye outside of its half height."""

BONE_HU = 300

THICK_SLICE_MM = 3.5
"""In slices thicker than this disks are sought slice by slice."""


def complete_nodules(
    lung: Bits, air: Bits, hu: NDArray[np.int16], spacing: tuple[float, float, float], *, never: Bits
) -> None:
    """Add to a lung, in place, what belongs to the nodules that it bridges.

    Parameters
    ----------
    lung : ndarray of uint64, shape (z, y, ceil(x / 64))
        The lung with holes and dents filled.
    air : ndarray of uint64
        The same without anything filled.
    hu : ndarray of int16, shape (z, y, x), HU
    spacing : tuple of float, (z, y, x), mm
    never : ndarray of uint64
        Where no nodule is looked for.
    """
    from hilum._kernels import blobs, components, morphology

    shape: Shape = hu.shape
    flat = spacing[0] > THICK_SLICE_MM
    ball = morphology.ellipsoid(THIN_MM, (np.inf if flat else spacing[0], *spacing[1:]), shape)
    solid = morphology.open_(lung & ~air & ~never, shape[2], ball, workers=1)
    runs = components.find_components(solid, shape, corners=False, planes=flat, workers=1)
    if not runs.number:
        return
    boxes = components.boxes(runs)
    sums = blobs.surfaces(runs, boxes, air, lung, spacing, flat=flat)
    extent = (boxes[:, 3:] - boxes[:, :3]) * np.array(spacing)
    long = extent[:, 1:].max(axis=1) if flat else extent.max(axis=1)
    fits = (sums[:, blobs.FOOT] > 0) & (sums[:, blobs.BARE] >= BARE_SHARE * sums[:, blobs.FOOT])
    fits &= (long >= SIZE_MM[0]) & (long <= SIZE_MM[1])
    found = blobs.balls(sums, boxes, spacing, flat=flat)
    gap = np.maximum(GAP_MM, GAP_SHARE * found[:, 3])
    fits &= (found[:, 3] >= RADIUS_MM[0]) & (found[:, 3] <= RADIUS_MM[1]) & (found[:, 4] <= gap)
    found, within = found[fits], boxes[fits].astype(np.int64)
    found[:, 3] += RIM_MM
    around = np.ceil((0.75 * found[:, 3:4] + RIM_MM) / np.array(spacing)).astype(np.int64)
    if flat:
        around[:, 0] = 0
        found[:, 0] = within[:, 0] * spacing[0]
    blobs.draw(lung, hu, found, np.hstack([within[:, :3] - around, within[:, 3:] + around]), spacing, limit=BONE_HU)
