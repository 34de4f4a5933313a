"""Dilate masks by a distance in millimetres."""

import math
from dataclasses import replace
from typing import TypeVar, cast

from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.distance import nearest_label
from hilum.errors import InputError, check_number
from hilum.ops.arguments import expect
from hilum.scan import Scan
from hilum.volume import Mask, Volume

MaskOrScan = TypeVar("MaskOrScan", bound=Mask | Scan)


def dilate(mask: MaskOrScan, radius_mm: float, *, workers: int = 0) -> MaskOrScan:
    """Grow every label into the background by a distance.

    A background voxel gets a label if a voxel of that label has its center within `radius_mm`. Of several labels it
    gets the nearest one; at equal distances the lowest. Voxels with a label keep it. On a grid of 1 mm this is the
    dilation by a digital ball (``skimage.morphology.ball``).

    Parameters
    ----------
    mask : Mask or Scan
        Of a scan, its ``lungs`` are grown, as ``lungs.dilate_mm`` of a recipe does; the nodule mask stays.
    radius_mm : float, mm
        0 changes nothing.
    workers : int, default 0
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Mask or Scan
        On the same grid.

    Raises
    ------
    InputError
        If the radius is negative or not finite, or a scan has no lung mask.
    InputTypeError
        If the argument is neither a mask nor a scan.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> dot = hilum.Mask(np.pad(np.ones((1, 1, 1), np.uint8), 2), hilum.Geometry((5, 5, 5), (1.0, 1.0, 1.0)))
    >>> int(hilum.dilate(dot, 1.0).array.sum())
    7
    """
    if isinstance(mask, Scan):
        if mask.lungs is None:
            do = "replace(scan, lungs=hilum.segment_lungs(scan)) adds one"
            raise InputError("the scan has no lung mask to grow", do=do, code="lungs")
        return cast("MaskOrScan", replace(mask, lungs=_grow(mask.lungs, radius_mm, workers)))
    do = "hilum.segment_lungs(...) makes one" if isinstance(mask, Volume) else ""
    return cast("MaskOrScan", _grow(expect(mask, Mask, "mask", do=do), radius_mm, workers))


def _grow(mask: Mask, radius_mm: float, workers: int) -> Mask:
    check_number("radius_mm", radius_mm)
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
    return replace(mask, array=out)


def _in_several(sets: list[BitMask]) -> BitMask:
    once = twice = BitMask.empty(sets[0].shape)
    for one in sets:
        twice |= once & one
        once |= one
    return twice
