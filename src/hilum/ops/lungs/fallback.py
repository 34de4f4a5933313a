"""Other settings that are tried, one after the other, if a lung mask is probably wrong.

A plausible mask costs nothing more. Each fallback gives another mask, which is measured like the first one
(`hilum.ops.quality.measure`). The first plausible mask is the result; if none is, the best one, with its alarms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.ops.finite import as_hu
from hilum.ops.lungs.segment import segment_lungs
from hilum.ops.quality.measure import ALARM_BELOW, lung_rank, measure_lungs
from hilum.ops.reorient import body_axes
from hilum.ops.tissues import SOLID_MIN_HU
from hilum.scan import LEFT_LUNG, RIGHT_LUNG, Note
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Segment = Callable[[Volume], Mask]
    Fallback = Callable[[Volume, Segment, int], Mask]

STEP_HU = 150
"""Change of the thresholds."""

MARGIN = 0.05
"""Another mask replaces the first only if its rank (`hilum.ops.quality.measure.lung_rank`) is higher by more."""


def _brightened(ct: Volume, by_hu: int) -> Volume:
    return Volume(np.clip(ct.array.astype(np.int32) + by_hu, -32768, 32767).astype(np.int16), ct.geometry)


def _smoothed(ct: Volume) -> Volume:
    """Average each plane twice along rows and columns, with weights 1-2-1, against noise and ring artifacts."""
    array = ct.array.astype(np.int32)
    for axis in (1, 2, 1, 2):
        last = array.shape[axis] - 1
        before, after = (array.take(np.clip(np.arange(last + 1) + step, 0, last), axis=axis) for step in (-1, 1))
        array = (before + 2 * array + after) >> 2
    return Volume(np.clip(array, -32768, 32767).astype(np.int16), ct.geometry)


def _tutorial3d(ct: Volume, _segment: Segment, workers: int) -> Mask:
    """The mask of the tutorial, divided into right and left at the middle of the body."""
    mask = segment_lungs(ct, method="tutorial3d", workers=workers)
    return Mask(_with_sides(mask.array, ct), ct.geometry)


def _with_sides(mask: NDArray[np.uint8], ct: Volume) -> NDArray[np.uint8]:
    """Label the sides of a mask, as divided by the middle of all solid voxels."""
    (_, _, across), (_, _, flip) = body_axes(ct.geometry)
    along = np.count_nonzero(ct.array > SOLID_MIN_HU, axis=tuple({0, 1, 2} - {across}))
    middle = float(np.average(np.arange(along.size), weights=along)) if along.any() else along.size / 2
    right = np.arange(along.size) <= middle
    sides = np.where(right != flip, RIGHT_LUNG, LEFT_LUNG).astype(np.uint8)
    shape = [1, 1, 1]
    shape[across] = -1
    return (mask > 0) * sides.reshape(shape)


OWN_METHOD = "the method 'hilum'"

FALLBACKS: dict[str, Fallback] = {
    OWN_METHOD: lambda ct, _segment, workers: segment_lungs(ct, workers=workers),
    "a smoothed scan": lambda ct, segment, _workers: segment(_smoothed(ct)),
    f"thresholds {STEP_HU} HU lower": lambda ct, segment, _workers: segment(_brightened(ct, STEP_HU)),
    "the method 'tutorial3d', divided at the middle": _tutorial3d,
    f"thresholds {STEP_HU} HU higher": lambda ct, segment, _workers: segment(_brightened(ct, -STEP_HU)),
}
"""The fallbacks in the order in which they are tried, by their names in the note."""


class LungResult(NamedTuple):
    """A lung mask and its measurements.

    Parameters
    ----------
    mask : Mask
    figures : dict of str to float
        From `hilum.ops.quality.measure.measure_lungs`.
    notes : tuple of Note
        Empty if the first mask was plausible; else one note: ``lungs-fallback`` if another mask replaced it,
        ``lungs-doubtful`` if no other mask was better.
    """

    mask: Mask
    figures: dict[str, float]
    notes: tuple[Note, ...] = ()


def find_lungs(
    ct: Volume, segment: Segment, *, own: bool = True, sides: bool = True, fallback: bool = True, workers: int = 0
) -> LungResult:
    """Segment the lungs, and try fallbacks if the mask is probably wrong.

    Parameters
    ----------
    ct : Volume
        HU, int16.
    segment : callable
        From a volume to a mask: a method with its options, but without dilation, which would raise an alarm.
    own : bool
        Whether `segment` is the method ``"hilum"``, which then is not tried again.
    sides : bool
        Whether the method separates the sides.
    fallback : bool
        Whether fallbacks are tried.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    LungResult
    """
    hu = as_hu(ct.array)
    ct = ct if hu is ct.array else Volume(hu, ct.geometry)
    mask = segment(ct)
    first = LungResult(mask, measure_lungs(ct, mask, sides=sides, workers=workers))
    if not fallback or first.figures["lung_score"] >= ALARM_BELOW:
        return first
    fallbacks = {name: attempt for name, attempt in FALLBACKS.items() if not (own and name == OWN_METHOD)}
    best, best_name = first, ""
    for name, attempt in fallbacks.items():
        mask = attempt(ct, segment, workers)
        if np.array_equal(mask.array, first.mask.array):
            continue
        result = LungResult(mask, measure_lungs(ct, mask, workers=workers))
        margin = 0.0 if best_name else MARGIN
        if lung_rank(result.figures) > lung_rank(best.figures) + margin:
            best, best_name = result, name
        if best.figures["lung_score"] >= ALARM_BELOW:
            break
    before, after = (f"{result.figures['lung_score']:.2f}" for result in (first, best))
    if not best_name:
        text = f"the mask's score is {before} of 1, and none of {len(fallbacks)} other settings gave a better mask"
        return first._replace(notes=(Note("lungs-doubtful", text),))
    text = f"the mask's score was {before} of 1; {best_name} gave a better mask, with a score of {after}"
    return best._replace(notes=(Note("lungs-fallback", text),))
