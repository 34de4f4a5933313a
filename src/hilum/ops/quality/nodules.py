"""Measure each nodule on the grid, and compare a lung mask with a reference mask."""

import numpy as np

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
        Number of nodules, including those without a voxel.

    Returns
    -------
    tuple of dict of str to float
        For label 1, 2, ...: ``voxels``; if there are any also ``mean_hu``, and with lungs ``inside_lungs``, a fraction.
    """
    where = np.nonzero(nodule_mask.array)
    labels = nodule_mask.array[where]
    voxels = np.bincount(labels, minlength=count + 1)
    total_hu = np.bincount(labels, weights=ct.array[where], minlength=count + 1)
    in_lungs = np.bincount(labels[lungs.array[where] > 0], minlength=count + 1) if lungs is not None else None
    measurements = []
    for label in range(1, count + 1):
        nodule = {"voxels": float(voxels[label])}
        if voxels[label]:
            nodule["mean_hu"] = round(float(total_hu[label] / voxels[label]), 4)
            if in_lungs is not None:
                nodule["inside_lungs"] = round(float(in_lungs[label] / voxels[label]), 4)
        measurements.append(nodule)
    return tuple(measurements)


def compare_with_reference(mask: Mask, reference: Mask) -> dict[str, float]:
    """Measure how well a lung mask agrees with a reference mask; right and left count as one.

    Parameters
    ----------
    mask, reference : Mask
        On the same grid; labels above 0 are lung.

    Returns
    -------
    dict of str to float
        ``given_lungs_dice``: twice the common volume over the sum of both; ``given_lungs_covered``: the fraction of
        the reference that the mask contains. Empty if the reference is empty.
    """
    in_mask, in_reference = mask.array > 0, reference.array > 0
    total = int(np.count_nonzero(in_reference))
    if not total:
        return {}
    both = int(np.count_nonzero(in_mask & in_reference))
    return {
        "given_lungs_dice": round(2 * both / (int(np.count_nonzero(in_mask)) + total), 4),
        "given_lungs_covered": round(both / total, 4),
    }
