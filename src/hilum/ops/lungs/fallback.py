"""One more attempt if a lung mask is probably wrong.

A plausible mask costs nothing more. Another mask is made on a smoothed scan, or by the method ``"hilum"`` where the
first is another method's, and measured like the first (`hilum.ops.quality.measure`). It replaces the first only if it
removes alarms, raises no other and ranks higher; a note names the alarms of the first. A scan without lungs has no
second attempt.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hilum.ops.finite import as_hu
from hilum.ops.lungs.segment import segment_lungs
from hilum.ops.quality.measure import ALARM_BELOW, ALARMS, lung_rank, measure_lungs, quality_notes
from hilum.scan import Note
from hilum.volume import Mask, Volume

Segment = Callable[[Volume], Mask]

OF_NOISE = frozenset({"missed-lung", "border-in-lung", "ragged"})
"""The alarms that noise can cause, and smoothing can remove."""

MARGIN = 0.02
"""Another mask replaces the first only if its rank (`hilum.ops.quality.measure.lung_rank`) is higher by more."""


def _smoothed(ct: Volume) -> Volume:
    """Average each plane twice along rows and columns, with weights 1-2-1, against noise and ring artifacts."""
    array = ct.array.astype(np.int32)
    for axis in (1, 2, 1, 2):
        last = array.shape[axis] - 1
        before, after = (array.take(np.clip(np.arange(last + 1) + step, 0, last), axis=axis) for step in (-1, 1))
        array = (before + 2 * array + after) >> 2
    return Volume(np.clip(array, -32768, 32767).astype(np.int16), ct.geometry)


class LungResult(NamedTuple):
    """A lung mask and its measurements.

    Parameters
    ----------
    mask : Mask
        The lungs: 1 right, 2 left.
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
    alarms = _alarms(first)
    if not first.figures["lung_ml"] or (own and not alarms & OF_NOISE):
        return first
    name = "a smoothed scan" if own else "the method 'hilum'"
    mask = segment(_smoothed(ct)) if own else segment_lungs(ct, workers=workers)
    second = LungResult(mask, measure_lungs(ct, mask, workers=workers))
    before, after = (f"{result.figures['lung_score']:.2f}" for result in (first, second))
    if not (_alarms(second) < alarms and lung_rank(second.figures) > lung_rank(first.figures) + MARGIN):
        text = f"the mask's score is {before} of 1, and {name} gave no better mask"
        return first._replace(notes=(Note("lungs-doubtful", text),))
    text = f"the first mask's score was {before} of 1 ({', '.join(sorted(alarms))}); {name} gave one with {after}"
    return second._replace(notes=(Note("lungs-fallback", text),))


def _alarms(result: LungResult) -> set[str]:
    return {note.code for note in quality_notes(result.figures)} & ALARMS
