"""What is tried where a lung mask is probably wrong: other settings, one after the other, until one is plausible.

Nothing of this runs on a plausible mask. Each rung is a mask found in another way, judged as the first one was
(`hilum.ops.quality.measure`); the first plausible one is taken. Where none is, the best of all is, with its alarms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.ops.finite import as_hu
from hilum.ops.lungs.segment import LEFT, RIGHT, segment_lungs
from hilum.ops.quality.measure import ALARM_BELOW, lung_rank, measure_lungs
from hilum.ops.reorient import body_axes
from hilum.scan import Note
from hilum.volume import Mask, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Segment = Callable[[Volume], Mask]
    Rung = Callable[[Volume, Segment, int], Mask]

STEP_HU = 150
"""By so much the thresholds are moved."""

SOLID_FROM = -300
"""HU of body, without lungs."""

CLEARLY = 0.05
"""Another mask replaces the first only if its rank (`hilum.ops.quality.measure.lung_rank`) is higher by more."""


def _moved(ct: Volume, by: int) -> Volume:
    """The scan brighter by some HU: any threshold of a method lies lower in it."""
    return Volume(np.clip(ct.array.astype(np.int32) + by, -32768, 32767).astype(np.int16), ct.geometry)


def _brighter(ct: Volume, segment: Segment, workers: int) -> Mask:  # noqa: ARG001 - every rung has these
    return segment(_moved(ct, -STEP_HU))


def _darker(ct: Volume, segment: Segment, workers: int) -> Mask:  # noqa: ARG001 - as above
    return segment(_moved(ct, STEP_HU))


def _smoothed(ct: Volume, segment: Segment, workers: int) -> Mask:  # noqa: ARG001 - as above
    """Each plane is averaged with weights 1-2-1 twice along its rows and columns, against noise and rings."""
    array = ct.array.astype(np.int32)
    for axis in (1, 2, 1, 2):
        ends = array.shape[axis] - 1
        before, after = (array.take(np.clip(np.arange(ends + 1) + way, 0, ends), axis=axis) for way in (-1, 1))
        array = (before + 2 * array + after) >> 2
    return segment(Volume(np.clip(array, -32768, 32767).astype(np.int16), ct.geometry))


def _default(ct: Volume, segment: Segment, workers: int) -> Mask:  # noqa: ARG001 - as above
    return segment_lungs(ct, workers=workers)


def _tutorial(ct: Volume, segment: Segment, workers: int) -> Mask:  # noqa: ARG001 - as above
    """The tutorial's largest pocket of air, its sides told by the middle of the body."""
    mask = segment_lungs(ct, method="tutorial3d", workers=workers)
    return Mask(_with_sides(mask.array, ct), ct.geometry)


def _with_sides(mask: NDArray[np.uint8], ct: Volume) -> NDArray[np.uint8]:
    """Label 1 where the patient's right is, as seen from the middle of all that is solid."""
    (_, _, across), (_, _, flip) = body_axes(ct.geometry)
    along = np.count_nonzero(ct.array > SOLID_FROM, axis=tuple({0, 1, 2} - {across}))
    middle = float(np.average(np.arange(along.size), weights=along)) if along.any() else along.size / 2
    right = np.arange(along.size) <= middle
    sides = np.where(right != flip, RIGHT, LEFT).astype(np.uint8)
    shape = [1, 1, 1]
    shape[across] = -1
    labels: NDArray[np.uint8] = (mask > 0) * sides.reshape(shape)
    return labels


RUNGS: dict[str, Rung] = {
    "the method 'hilum'": _default,
    "a smoothed scan": _smoothed,
    f"thresholds {STEP_HU} HU lower": _darker,
    "the method 'tutorial3d', parted in two": _tutorial,
    f"thresholds {STEP_HU} HU higher": _brighter,
}
"""Every setting that is tried, in this order, by what it is called in the note."""


class Found(NamedTuple):
    """Lungs, what was measured on them (`hilum.ops.quality.measure.measure_lungs`), and what a search came to.

    Parameters
    ----------
    mask : Mask
    figures : dict of str to float
    notes : tuple of Note
        Empty where the first mask was plausible; else one: ``lungs-fallback`` where another mask was taken,
        ``lungs-doubtful`` where none was better.
    """

    mask: Mask
    figures: dict[str, float]
    notes: tuple[Note, ...] = ()


def find_lungs(
    ct: Volume, segment: Segment, *, own: bool = True, sides: bool = True, fallback: bool = True, workers: int = 0
) -> Found:
    """Find the lungs, judge the mask, and look for a better one where it is probably wrong.

    Parameters
    ----------
    ct : Volume
        HU, int16.
    segment : callable
        From a volume to a mask: a method with its options, without growth, which the verdict would take for an error.
    own : bool
        Whether that is the method ``"hilum"``, which then need not be tried once more.
    sides : bool
        Whether the method tells sides.
    fallback : bool
        Whether other settings are tried. It costs nothing where the first mask is plausible.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    Found
    """
    hu = as_hu(ct.array)
    ct = ct if hu is ct.array else Volume(hu, ct.geometry)
    mask = segment(ct)
    first = Found(mask, measure_lungs(ct, mask, sides=sides, workers=workers))
    if not fallback or first.figures["lung_score"] >= ALARM_BELOW:
        return first
    rungs = {name: rung for name, rung in RUNGS.items() if not (own and rung is _default)}
    return _climb(ct, first, segment, rungs, workers)


def _climb(ct: Volume, first: Found, segment: Segment, rungs: dict[str, Rung], workers: int) -> Found:
    best, taken = first, ""
    for name, rung in rungs.items():
        mask = rung(ct, segment, workers)
        if np.array_equal(mask.array, first.mask.array):
            continue
        tried = Found(mask, measure_lungs(ct, mask, workers=workers))
        margin = 0.0 if taken else CLEARLY
        if lung_rank(tried.figures) > lung_rank(best.figures) + margin:
            best, taken = tried, name
        if best.figures["lung_score"] >= ALARM_BELOW:
            break
    before, after = (f"{found.figures['lung_score']:.2f}" for found in (first, best))
    if not taken:
        text = f"the mask's score is {before} of 1, and none of {len(rungs)} other settings gave a better one"
        return first._replace(notes=(Note("lungs-doubtful", text),))
    text = f"the mask's score was {before} of 1; one made with {taken} was taken in its place, with a score of {after}"
    return best._replace(notes=(Note("lungs-fallback", text),))
