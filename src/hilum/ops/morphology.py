"""Dilate masks by a distance in millimetres."""

import math

from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.distance import nearest_label
from hilum.errors import InputError
from hilum.volume import Mask


def dilate(mask: Mask, *, radius_mm: float, workers: int = 0) -> Mask:
    """Grow every label into the background by a distance.

    A background voxel gets a label if a voxel of that label has its center within `radius_mm`. Of several labels it
    gets the nearest one; at equal distances the lowest. Voxels with a label keep it. On a grid of 1 mm this is the
    dilation by a digital ball (``skimage.morphology.ball``).

    Parameters
    ----------
    mask : Mask
    radius_mm : float, mm
        0 changes nothing.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Mask
        On the same grid.

    Raises
    ------
    InputError
        If the radius is negative or not finite.
    """
    if not (math.isfinite(radius_mm) and radius_mm >= 0):
        raise InputError(f"radius_mm is {radius_mm}, expected a distance of 0 mm or more", code="radius")
    labels = bits.labels_in(mask.array, workers=workers)
    if not labels or radius_mm < min(mask.spacing):
        return mask
    ball = morphology.ellipsoid(radius_mm, mask.spacing, mask.shape)
    seeds = [bits.equal(mask.array, label, workers=workers) for label in labels]
    grown = [morphology.dilate(seed, ball, workers=workers) for seed in seeds]
    out = mask.array.copy()
    if len(labels) > 1:
        free = bits.equal(mask.array, 0, workers=workers)
        grown = [voxels & free for voxels in grown]
    for label, voxels in zip(labels, grown, strict=True):
        bits.write_label(voxels, out, label=label, workers=workers)
    contested = bits.coordinates(_in_several(grown))
    if len(contested):
        out[tuple(contested.T)] = nearest_label(mask.array, contested, ball, mask.spacing, workers=workers)
    return Mask(out, mask.geometry, mask.names)


def _in_several(sets: list[BitMask]) -> BitMask:
    once = twice = BitMask.empty(sets[0].shape)
    for one in sets:
        twice |= once & one
        once |= one
    return twice
