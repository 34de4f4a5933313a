"""What can be measured on a finished scan, and which of it looks wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hilum.volume import Mask, Volume

SMALLEST_LUNG_ML = 200.0
"""A lung below this volume is a remnant or a miss: adult lungs hold 1000 to 4000 ml each in inspiration."""

LARGEST_LUNG_ML = 6000.0
"""A lung above this volume has leaked out of the chest."""


def measure(ct: Volume, lungs: Mask | None, nodule_mask: Mask | None) -> dict[str, float]:
    """Measure a scan in Hounsfield units.

    Parameters
    ----------
    ct : Volume
        int16 HU.
    lungs : Mask or None
        Labels 1 right and 2 left (or 1 alone, from a method that does not tell sides), on the same grid.
    nodule_mask : Mask or None
        Labels 1, 2, ... on the same grid.

    Returns
    -------
    dict of str to float
        ``lowest_hu``, ``highest_hu``; with lungs ``lung_ml``, ``lung_right_ml``, ``lung_left_ml`` (where sides are
        told) and ``lung_mean_hu``; with nodules ``nodule_mean_hu`` and ``nodule_inside_lungs`` (share of voxels).
    """
    figures = {"lowest_hu": float(ct.array.min()), "highest_hu": float(ct.array.max())}
    if lungs is not None:
        counts = [int(np.count_nonzero(lungs.array == label)) for label in (1, 2)]
        milliliters = [count * lungs.geometry.voxel_volume / 1000 for count in counts]
        figures["lung_ml"] = sum(milliliters)
        if counts[1]:
            figures["lung_right_ml"], figures["lung_left_ml"] = milliliters
        if sum(counts):
            figures["lung_mean_hu"] = _sum_inside(ct, lungs) / sum(counts)
    if nodule_mask is not None and nodule_mask.array.any():
        where = np.nonzero(nodule_mask.array)
        figures["nodule_mean_hu"] = float(ct.array[where].mean(dtype=np.float64))
        if lungs is not None:
            figures["nodule_inside_lungs"] = float((lungs.array[where] > 0).mean())
    return {name: round(value, 4) for name, value in figures.items()}


def _sum_inside(ct: Volume, mask: Mask) -> float:
    """Sum of the voxels inside a mask, plane by plane: a whole volume of chosen voxels would be copied for nothing."""
    planes = zip(ct.array, mask.array, strict=True)
    return float(sum(int(plane[inside > 0].sum(dtype=np.int64)) for plane, inside in planes))


def judge(figures: Mapping[str, float]) -> tuple[Note, ...]:
    """Name what looks wrong in the figures of a chest scan.

    Parameters
    ----------
    figures : mapping of str to float
        From `measure`.

    Returns
    -------
    tuple of Note
        Empty where all is plausible.
    """
    found = []
    if "lung_ml" in figures:
        sides = [figures.get("lung_right_ml"), figures.get("lung_left_ml")]
        if not figures["lung_ml"]:
            found.append(Note("lungs-not-found", "no lung was found: look at this scan"))
        elif None not in sides and min(s for s in sides if s is not None) < SMALLEST_LUNG_ML:
            found.append(Note("small-lung", f"a lung below {SMALLEST_LUNG_ML:.0f} ml: cropped, diseased or missed"))
        elif max(s for s in [*sides, figures["lung_ml"] / 2] if s is not None) > LARGEST_LUNG_ML:
            found.append(Note("leak", f"a lung above {LARGEST_LUNG_ML:.0f} ml: the mask has left the chest"))
    return tuple(found)
