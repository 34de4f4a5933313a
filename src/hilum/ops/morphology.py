"""Dilate, erode and close masks by a distance in millimetres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import BitMask
from hilum._kernels.distance import nearest_label
from hilum.errors import InputError
from hilum.volume import Mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


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
    _check(radius_mm)
    labels = bits.labels_in(mask.array, workers=workers)
    if not labels or radius_mm < min(mask.spacing):
        return mask
    ball = morphology.ellipsoid(radius_mm, mask.spacing, mask.shape)
    grown = []
    for label in labels:
        seed = bits.equal(mask.array, label, workers=workers)
        grown.append(morphology.dilate(seed, ball, workers=workers))
    if len(labels) == 1:
        return Mask(
            bits.write_label(grown[0], np.zeros(mask.shape, np.uint8), label=labels[0], workers=workers), mask.geometry
        )
    free = bits.equal(mask.array, 0, workers=workers)
    grown = [voxels & free for voxels in grown]
    out = mask.array.copy()
    for label, voxels in zip(labels, grown, strict=True):
        bits.write_label(voxels, out, label=label, workers=workers)
    contested = bits.coordinates(_in_several(grown))
    if len(contested):
        out[tuple(contested.T)] = nearest_label(mask.array, contested, ball, mask.spacing, workers=workers)
    return Mask(out, mask.geometry)


def erode(mask: Mask, *, radius_mm: float, workers: int = 0) -> Mask:
    """Shrink every label by a distance.

    A voxel keeps its label if every voxel with its center within `radius_mm` has the same label. Positions outside the
    grid count as the same label.

    Parameters
    ----------
    mask : Mask
    radius_mm : float, mm
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Mask
        On the same grid.

    Raises
    ------
    InputError
        If the radius is negative or not finite.
    """
    _check(radius_mm)
    return Mask(_change_labels(mask, morphology.erode, radius_mm, workers), mask.geometry)


def close(mask: Mask, *, radius_mm: float, workers: int = 0) -> Mask:
    """Fill the gaps and dents of every label that a ball does not fit into.

    Each label is dilated and then eroded on its own; the borders of the grid are treated as by
    `skimage.morphology.closing`. Voxels with a label keep it. A background voxel that two labels would fill gets the
    lower one.

    Parameters
    ----------
    mask : Mask
    radius_mm : float, mm
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Mask
        On the same grid.

    Raises
    ------
    InputError
        If the radius is negative or not finite.
    """
    _check(radius_mm)
    out = _change_labels(mask, morphology.close, radius_mm, workers)
    np.copyto(out, mask.array, where=mask.array != 0)
    return Mask(out, mask.geometry)


def _change_labels(mask: Mask, operation: Callable[..., BitMask], radius_mm: float, workers: int) -> NDArray[np.uint8]:
    """Apply an operation to each label on its own; where two results overlap, the lower label wins."""
    ball = morphology.ellipsoid(radius_mm, mask.spacing, mask.shape)
    out = np.zeros(mask.shape, np.uint8)
    for label in reversed(bits.labels_in(mask.array, workers=workers)):
        changed = operation(bits.equal(mask.array, label, workers=workers), ball, workers=workers)
        bits.write_label(changed, out, label=label, workers=workers)
    return out


def _in_several(sets: list[BitMask]) -> BitMask:
    once = twice = BitMask.empty(sets[0].shape)
    for one in sets:
        twice |= once & one
        once |= one
    return twice


def _check(radius_mm: float) -> None:
    if not (math.isfinite(radius_mm) and radius_mm >= 0):
        raise InputError(f"radius_mm is {radius_mm}, expected a distance of 0 mm or more", code="radius")
