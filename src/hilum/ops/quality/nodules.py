"""Did the annotations land? Figures of each nodule on the grid, and agreement of a lung mask with a given one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hilum.volume import Mask, Volume


def measure_each_nodule(
    ct: Volume, lungs: Mask | None, nodule_mask: Mask, *, count: int
) -> tuple[dict[str, float], ...]:
    """Measure each nodule of a mask.

    Parameters
    ----------
    ct : Volume
        int16 HU.
    lungs : Mask or None
        Labels above 0 are lung, on the same grid.
    nodule_mask : Mask
        Labels 1 to `count`, on the same grid.
    count : int
        Number of nodules, those that hold no voxel included.

    Returns
    -------
    tuple of dict of str to float
        For label 1, 2, ...: ``voxels``; where there are any, ``mean_hu``, and with lungs ``inside_lungs`` (share).
    """
    where = np.nonzero(nodule_mask.array)
    labels = nodule_mask.array[where]
    voxels = np.bincount(labels, minlength=count + 1)
    total_hu = np.bincount(labels, weights=ct.array[where], minlength=count + 1)
    in_lungs = np.bincount(labels[lungs.array[where] > 0], minlength=count + 1) if lungs is not None else None
    figures = []
    for label in range(1, count + 1):
        found = {"voxels": float(voxels[label])}
        if voxels[label]:
            found["mean_hu"] = round(float(total_hu[label] / voxels[label]), 4)
            if in_lungs is not None:
                found["inside_lungs"] = round(float(in_lungs[label] / voxels[label]), 4)
        figures.append(found)
    return tuple(figures)


def compare_with_given(mask: Mask, given: Mask) -> dict[str, float]:
    """How well a lung mask agrees with a given one, sides not asked for.

    Parameters
    ----------
    mask, given : Mask
        On the same grid; labels above 0 are lung.

    Returns
    -------
    dict of str to float
        ``given_lungs_dice``: twice the common volume over the sum of both; ``given_lungs_covered``: the share of the
        given lungs that the mask holds. Empty where the given mask is.
    """
    ours = theirs = both = 0
    for plane, other in zip(mask.array > 0, given.array > 0, strict=True):
        ours += int(np.count_nonzero(plane))
        theirs += int(np.count_nonzero(other))
        both += int(np.count_nonzero(plane & other))
    if not theirs:
        return {}
    return {
        "given_lungs_dice": round(2 * both / (ours + theirs), 4),
        "given_lungs_covered": round(both / theirs, 4),
    }
