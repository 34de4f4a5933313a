"""From a scan as it was read to a scan as a training run wants it; the one place that chooses the order."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from hilum.errors import GeometryError, InputError, UnsupportedError
from hilum.ops.finite import check_finite
from hilum.ops.intensity import UnitRange, normalize
from hilum.ops.lungs.fallback import find_lungs
from hilum.ops.lungs.segment import WITHOUT_SIDES, segment_lungs
from hilum.ops.morphology import dilate
from hilum.ops.nodules.masks import mask_nodules, nodules_outside
from hilum.ops.preview import draw_preview
from hilum.ops.quality.measure import measure_lungs, measure_nodules, quality_notes
from hilum.ops.quality.nodules import compare_with_reference, measure_each_nodule
from hilum.ops.quality.plausibility import note_implausible_size, note_implausible_values, why_not_hu
from hilum.ops.reorient import reorient
from hilum.ops.resample import resample
from hilum.outputs.dataset_summary import INSIDE_FRACTION
from hilum.outputs.findings import NODULE_OUTSIDE_LUNGS, kind_of
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hilum.ops.preview import Preview
    from hilum.recipes import Intensity, Lungs, Nodules, Quality, Recipe, Resample
    from hilum.scan import Scan
    from hilum.volume import Mask, Volume


def preprocess(scan: Scan, recipe: Recipe) -> Scan:
    """Turn a scan into training-ready data as a recipe says.

    The axes are turned to the patient's, the volume is resampled, the lungs are found and the nodules drawn on
    the new grid, what can be measured is measured, and the intensities are brought to the range asked for.

    Parameters
    ----------
    scan : Scan
        As `hilum.read` gives it: HU on the scan's own grid.
    recipe : Recipe
        Every choice; see `hilum.recipe`.

    Returns
    -------
    Scan
        ``ct`` is int16 HU, or float32 where the recipe asks for the unit range; ``lungs`` and ``nodule_mask`` lie on
        the same grid; ``nodules`` stay in world millimetres; ``notes``, ``figures`` and ``nodule_figures`` say what
        was met and measured. Lungs that the scan came with are not used: ``figures`` tells how well both agree. What
        the figures say of the lungs is of the mask before it is grown by ``lungs.dilate_mm``.

    Raises
    ------
    HilumError
        If the grid asked for is not possible, the scan has not the size of a person's, its voxels hold NaN or
        infinity, it is surely no CT in Hounsfield units, such as a label map, or it has an alarm and the recipe
        refuses those (``quality.alarms``).
    """
    _refuse_nonsense(scan)
    workers = recipe.compute.workers
    ct = reorient(scan.ct) if recipe.orient.axes == "patient" else scan.ct
    ct = _regrid(ct, recipe.resample, workers)
    given = None if scan.lungs is None else _like(scan.lungs, recipe)
    lungs, figures, doubts = _find_lungs(ct, recipe.lungs, given, workers)
    drawn = _draw_nodules(scan, ct, recipe.nodules)
    figures |= measure_nodules(ct, lungs, drawn)
    each = () if drawn is None else measure_each_nodule(ct, lungs, drawn, count=len(scan.nodules))
    figures = {name: round(value, 4) for name, value in figures.items()}
    asked = any(note.code == "not-hu" for note in scan.notes)  # `hilum.read` did, and found something
    odd = () if asked else note_implausible_values(scan.ct)
    notes = (*scan.notes, *_outside(scan, ct), *_beside(scan, ct, each), *odd, *doubts, *quality_notes(figures))
    _refuse_alarms(notes, recipe.quality, scan.series_uid)
    return replace(
        scan,
        ct=_set_range(ct, recipe.intensity),
        lungs=lungs,
        nodule_mask=drawn,
        notes=notes,
        figures=MappingProxyType(figures),
        nodule_figures=each,
    )


def preview_of(scan: Scan, recipe: Recipe) -> Preview:
    """Draw a preprocessed scan small, and count its Hounsfield units.

    Parameters
    ----------
    scan : Scan
        From `preprocess`.
    recipe : Recipe
        The one that made it: where its output is the unit range, that is turned back into HU.

    Returns
    -------
    Preview
    """
    step = recipe.intensity
    scale = None if step.output == "hu" else UnitRange(step.lower, step.upper, step.mean)
    return draw_preview(scan, unit_range=scale, workers=recipe.compute.workers)


def promised_parts(recipe: Recipe) -> list[str]:
    """Tell which parts a recipe promises of every scan; nodules depend on whether it has annotations.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    list of str
        As `hilum.outputs.records.ScanRecord` names them.
    """
    return ["ct", *(["lungs"] if recipe.lungs.method != "none" else []), "preview"]


def _refuse_nonsense(scan: Scan) -> None:
    """Refuse what no step can make anything right of: a grid in another unit than mm, voxels that are no CT."""
    for note in note_implausible_size(scan.ct.geometry):
        raise GeometryError(note.text, where=scan.series_uid, do="correct the spacing in its header", code=note.code)
    check_finite(scan.ct.array)
    if cause := why_not_hu(scan.ct):
        raise UnsupportedError(f"these are no Hounsfield units: {cause}", do="give the CT itself", code="not-hu")


def _like(given: Mask, recipe: Recipe) -> Mask:
    """A mask on the scan's own grid, brought to the grid of the output."""
    turned = reorient(given) if recipe.orient.axes == "patient" else given
    step = recipe.resample
    if step.grid == "native":
        return turned
    return resample(turned, spacing=step.spacing_mm, grid=step.grid, workers=recipe.compute.workers)


def _regrid(ct: Volume, step: Resample, workers: int) -> Volume:
    if step.grid == "native":
        return ct
    return resample(ct, spacing=step.spacing_mm, order=step.order, grid=step.grid, workers=workers)


def _find_lungs(
    ct: Volume, step: Lungs, given: Mask | None, workers: int
) -> tuple[Mask | None, dict[str, float], tuple[Note, ...]]:
    """The mask, what was measured on it before it is grown, and what a search for a better one came to."""
    if step.method == "none":
        return None, measure_lungs(ct, None), ()
    segment = partial(
        segment_lungs,
        method=step.method,
        fill=step.fill,
        pathology=step.pathology,
        airways=step.airways,
        background=step.background,
        workers=workers,
    )
    known = {"own": step.method == "hilum", "sides": step.method not in WITHOUT_SIDES}
    found = find_lungs(ct, segment, **known, fallback=step.fallback, workers=workers)
    agreed = {} if given is None else compare_with_reference(found.mask, given)
    grown = dilate(found.mask, radius_mm=step.dilate_mm, workers=workers) if step.dilate_mm else found.mask
    return grown, found.figures | agreed, found.notes


def _draw_nodules(scan: Scan, ct: Volume, step: Nodules) -> Mask | None:
    if not (scan.annotated and step.mask):
        return None
    return mask_nodules(ct.geometry, scan.nodules, level=step.consensus, contour_pixel=step.contour_pixel)


def _set_range(ct: Volume, step: Intensity) -> Volume:
    if step.output == "hu":
        return ct
    return normalize(ct, lower=step.lower, upper=step.upper, mean=step.mean)


def _outside(scan: Scan, ct: Volume) -> tuple[Note, ...]:
    lost = nodules_outside(ct.geometry, scan.nodules)
    if not lost:
        return ()
    places = "; ".join(str(tuple(round(v, 1) for v in scan.nodules[i].center)) for i in lost[:3])
    return (Note("nodule-outside", f"{len(lost)} of {len(scan.nodules)} nodules lie outside the scan: {places} mm"),)


def _beside(scan: Scan, ct: Volume, figures: tuple[Mapping[str, float], ...]) -> tuple[Note, ...]:
    lost = set(nodules_outside(ct.geometry, scan.nodules))
    beside = [
        i for i, one in enumerate(figures, 1) if i - 1 not in lost and one.get("inside_lungs", 1.0) < INSIDE_FRACTION
    ]
    if not beside:
        return ()
    names = ", ".join(map(str, beside[:5])) + (" ..." if len(beside) > 5 else "")
    return (Note(NODULE_OUTSIDE_LUNGS, f"nodules with less than half of them in the lung mask: {names}"),)


def _refuse_alarms(notes: tuple[Note, ...], step: Quality, series_uid: str) -> None:
    """Refuse a scan in which something is probably wrong, where the recipe wants none of those."""
    alarms = [note for note in notes if kind_of(note.code) == "alarm"]
    if step.alarms == "keep" or not alarms:
        return
    first, others = alarms[0], list(dict.fromkeys(note.code for note in alarms[1:]))
    more = f"; also {', '.join(others)}" if others else ""
    do = "look at the scan; quality.alarms = 'keep' of the recipe stores it"
    raise InputError(f"{first.code}: {first.text}{more}", where=series_uid, do=do, code=first.code)
