"""Preprocess one scan. This module alone decides the order of the steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from hilum import recipes
from hilum._kernels.threads import begin
from hilum.errors import GeometryError, InputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.ops import finite, intensity, morphology, preview
from hilum.ops.arguments import scan_of
from hilum.ops.labels.placing import place_label_map
from hilum.ops.lungs.fallback import find_lungs
from hilum.ops.lungs.segment import WITHOUT_SIDES, segment_lungs
from hilum.ops.nodules.axes import note_axes
from hilum.ops.nodules.masks import mask_nodules, nodules_outside
from hilum.ops.nodules.readings import require_readers
from hilum.ops.quality import measure, nodules, plausibility
from hilum.ops.regrid import regrid_mask
from hilum.ops.reorient import reorient
from hilum.ops.resample import resample
from hilum.outputs.dataset_summary import INSIDE_FRACTION
from hilum.outputs.findings import NODULE_OUTSIDE_LUNGS, kind_of
from hilum.recipe_sections import Lungs, Quality
from hilum.recipes import Recipe
from hilum.scan import LEFT_LUNG, RIGHT_LUNG, LabelMap, Note, Scan
from hilum.volume import AnyVolume, Mask, Volume


def preprocess(scan: Scan, recipe: Recipe | str | Path) -> Scan:
    """Turn a scan into training data as a recipe says.

    Reorients the scan to the patient's axes, resamples it, segments the lungs and draws the nodules on the new grid,
    measures both, and scales the intensities.

    Parameters
    ----------
    scan : Scan
        As `hilum.read` returns it: HU on the scan's own grid.
    recipe : Recipe, str or Path
        Every choice: a recipe, the name of a built-in one, or the path of a ``.toml`` file; see `hilum.recipe`.

    Returns
    -------
    Scan
        ``ct`` is int16 HU, or float32 if the recipe asks for the unit range. ``lungs``, ``nodule_mask`` and all
        ``label_maps`` lie on the same grid; ``nodules`` stay in world millimetres. ``notes`` lists all oddities;
        ``figures`` and ``nodule_figures`` hold the measurements. The lung mask is measured before it is dilated by
        ``lungs.dilate_mm``. If the scan came with a lung mask, ``figures`` says how well the new mask agrees with it.

    Raises
    ------
    HilumError
        If the recipe's grid is impossible, the scan is too small or too large for a person, voxels are NaN or
        infinite, the values cannot be Hounsfield units (a label map, for example), or the scan has an alarm and the
        recipe refuses those (``quality.alarms``).
    InputTypeError
        If the first argument is no scan, or the second no recipe.

    Examples
    --------
    >>> import hilum
    >>> from hilum.phantom.chest import make_phantom
    >>> scan = make_phantom(seed=1, shape=(40, 64, 64), spacing=(8.0, 6.0, 6.0)).scan
    >>> hilum.preprocess(scan, hilum.recipe("default").replace(resample__spacing_mm=6.0)).ct.spacing
    (6.0, 6.0, 6.0)
    """
    scan = scan_of(scan)
    return preprocess_beside(scan, recipes.recipe(recipe), lambda: scan)


def preprocess_beside(
    scan: Scan, recipe: Recipe, labeled: Callable[[], Scan], *, corrected: Mapping[str, Mask] = MappingProxyType({})
) -> Scan:
    """Do as `preprocess` does, while another thread reads the scan's label files.

    Parameters
    ----------
    scan : Scan
        Without label maps.
    recipe : Recipe
        Every choice.
    labeled : callable
        Returns the same scan with label maps and with more notes at the end. Called once.
    corrected : mapping of str to Mask
        ``lungs`` and ``nodules`` that a person corrected, on any grid, to use instead of new ones.

    Returns
    -------
    Scan
        As `preprocess` returns it for the labeled scan.
    """
    _check_input(scan)
    notes_before = len(scan.notes)
    scan = require_readers(scan, least=recipe.nodules.min_readers)
    ct = _to_output_grid(scan.ct, recipe)
    given = None if scan.lungs is None else _to_output_grid(scan.lungs, recipe)
    workers = recipe.compute.workers

    def place() -> tuple[Mapping[str, LabelMap], tuple[Note, ...]]:
        full = labeled()
        maps, notes = place_label_maps(full, ct.geometry, recipe)
        return maps, (*full.notes[notes_before:], *notes)

    placed = begin(place, workers=workers)  # beside the lungs
    by_hand = corrected.get("lungs")
    lungs, figures, lung_notes = make_lungs(ct, recipe.lungs, given=given, corrected=by_hand, workers=workers)
    label_maps, label_notes = placed()
    nodule_mask, drawn = None, recipe.nodules
    if "nodules" in corrected:
        nodule_mask = regrid_mask(corrected["nodules"], ct.geometry)
    elif scan.annotated and drawn.mask:
        nodule_mask = mask_nodules(ct.geometry, scan.nodules, level=drawn.consensus, contour_pixel=drawn.contour_pixel)
    figures |= measure.measure_nodules(ct, lungs, nodule_mask)
    measured = MappingProxyType({name: round(value, 4) for name, value in figures.items()})
    each = () if nodule_mask is None else nodules.measure_each_nodule(ct, lungs, nodule_mask, count=len(scan.nodules))
    checked = any(note.code == "not-hu" for note in scan.notes)  # by `hilum.read`
    about_lungs = (*lung_notes, *measure.quality_notes(measured))
    notes = (
        *scan.notes,
        *note_outside(scan, ct),
        *note_axes(scan, ct, _trusted(lungs, about_lungs, recipe.lungs)),
        *note_outside_lungs(_outside_lungs(scan, ct, each)),
        *(() if checked else plausibility.note_implausible_values(scan.ct)),
        *about_lungs,
        *label_notes,
    )
    _refuse_alarms(notes, recipe.quality, scan.series_uid)
    step = recipe.intensity
    scaled = ct if step.output == "hu" else intensity.normalize(ct, lower=step.lower, upper=step.upper, mean=step.mean)
    return replace(
        scan, ct=scaled, lungs=lungs, nodule_mask=nodule_mask, label_maps=label_maps, notes=notes, figures=measured,
        nodule_figures=each,
    )  # fmt: skip


def make_lungs(
    ct: Volume, step: Lungs, *, given: Mask | None = None, corrected: Mask | None = None, workers: int = 0
) -> tuple[Mask | None, dict[str, float], tuple[Note, ...]]:
    """Segment and measure the lungs as a recipe says.

    Parameters
    ----------
    ct : Volume
        HU, int16.
    step : Lungs
        The recipe's section ``lungs``.
    given : Mask, optional
        A lung mask that came with the scan, on the grid of `ct`, to compare the result with.
    corrected : Mask, optional
        A mask that a person corrected, on any grid, to use as it is instead of a new one.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    mask : Mask or None
        Dilated by ``step.dilate_mm``, but not a corrected one; None for the method ``none``.
    figures : dict of str to float
        Measured on the mask before it was dilated.
    notes : tuple of Note
        What the search for a better mask came to, if the first one was probably wrong.
    """
    sides = step.method not in WITHOUT_SIDES
    if corrected is not None:
        mask = regrid_mask(corrected, ct.geometry)
        hu = Volume(finite.as_hu(ct.array), ct.geometry)
        figures = measure.measure_lungs(hu, mask, sides=sides, workers=workers)
        return mask, figures | ({} if given is None else nodules.compare_with_reference(mask, given)), ()
    if step.method == "none":
        return None, measure.measure_lungs(ct, None), ()
    options = {name: getattr(step, name) for name in ("method", "fill", "pathology", "airways", "background")}
    segment = partial(segment_lungs, **options, workers=workers)
    own = step.method == "hilum"
    lungs = find_lungs(ct, segment, own=own, sides=sides, fallback=step.fallback, workers=workers)
    agreement = {} if given is None else nodules.compare_with_reference(lungs.mask, given)
    mask = morphology.dilate(lungs.mask, radius_mm=step.dilate_mm, workers=workers) if step.dilate_mm else lungs.mask
    return mask, lungs.figures | agreement, lungs.notes


def place_label_maps(scan: Scan, geometry: Geometry, recipe: Recipe) -> tuple[Mapping[str, LabelMap], tuple[Note, ...]]:
    """Bring the label maps of a scan to a grid, once.

    Parameters
    ----------
    scan : Scan
        With label maps on any grids.
    geometry : Geometry
        The output's grid.
    recipe : Recipe
        Decides how labels are placed.

    Returns
    -------
    label_maps : mapping of str to LabelMap
        On `geometry`.
    notes : tuple of Note
        Codes ``"label-lost"`` for labels too small for the grid, and ``"label-outside"`` for parts that lie outside it.
    """
    placed = {
        name: place_label_map(one, geometry, order=recipe.labels.order, workers=recipe.compute.workers)
        for name, one in scan.label_maps.items()
    }
    notes = []
    for name, one in placed.items():
        for label, volume in one.lost.items():
            what = f"{_label(name, label)}, {volume:.3g} ml, is too small for the output's voxels: not in the output"
            notes.append(Note("label-lost", what))
        for label, volume in one.outside.items():
            notes.append(Note("label-outside", f"{volume:.3g} ml of {_label(name, label)} lie outside the scan"))
    return MappingProxyType({name: one.label_map for name, one in placed.items()}), tuple(notes)


def _label(name: str, label: str) -> str:
    return name if name == label else f"{label} of {name}"


def note_outside(scan: Scan, ct: Volume) -> tuple[Note, ...]:
    """Note the nodules that lie outside a volume, if there are any."""
    if not (outside := nodules_outside(ct.geometry, scan.nodules)):
        return ()
    centers = "; ".join(str(tuple(round(v, 1) for v in scan.nodules[i].center)) for i in outside[:3])
    text = f"{len(outside)} of {len(scan.nodules)} nodules lie outside the scan: {centers} mm"
    return (Note("nodule-outside", text),)


def note_outside_lungs(labels: Sequence[int]) -> tuple[Note, ...]:
    """Note the labels of nodules of which less than half lies in the lung mask, if there are any."""
    if not labels:
        return ()
    names = ", ".join(map(str, labels[:5])) + (" ..." if len(labels) > 5 else "")
    return (Note(NODULE_OUTSIDE_LUNGS, f"less than half of the nodule lies in the lung mask: {names}"),)


def preview_of(scan: Scan, recipe: Recipe) -> preview.Preview:
    """Draw a preprocessed scan small, and count its Hounsfield units.

    Parameters
    ----------
    scan : Scan
        From `preprocess`.
    recipe : Recipe
        The recipe that made it; values of the unit range are converted back to HU.

    Returns
    -------
    Preview
    """
    step = recipe.intensity
    scale = None if step.output == "hu" else intensity.UnitRange(step.lower, step.upper, step.mean)
    return preview.draw_preview(scan, unit_range=scale, workers=recipe.compute.workers)


def promised_parts(recipe: Recipe) -> list[str]:
    """List the parts that a recipe makes of every scan, as `ScanRecord` names them.

    A nodule mask is not among them, because it needs annotations.
    """
    return ["ct", *(["lungs"] if recipe.lungs.method != "none" else []), "preview"]


def _check_input(scan: Scan) -> None:
    """Refuse a grid that is not in mm and voxels that are not HU: no later step could correct them."""
    for note in plausibility.note_implausible_size(scan.ct.geometry):
        if note.code == "default-grid":
            continue  # it asks; another note says what cannot be
        raise GeometryError(note.text, where=scan.series_uid, do="correct the spacing in its header", code=note.code)
    finite.check_finite(scan.ct.array)
    if cause := plausibility.why_not_hu(scan.ct):
        raise UnsupportedError(f"voxels are not Hounsfield units: {cause}", do="give the CT itself", code="not-hu")


def _to_output_grid(volume: AnyVolume, recipe: Recipe) -> AnyVolume:
    """Reorient and resample a volume or mask to the grid of the output."""
    step = recipe.resample
    if recipe.orient.axes == "patient":
        volume = reorient(volume)
    if step.grid == "native":
        return volume
    workers = recipe.compute.workers
    return resample(
        volume, step.spacing_mm, order=step.order, grid=step.grid, antialias=step.antialias, workers=workers
    )


def _outside_lungs(scan: Scan, ct: Volume, figures: tuple[Mapping[str, float], ...]) -> list[int]:
    """Labels of the nodules inside the volume that lie mostly outside the lung mask."""
    outside = set(nodules_outside(ct.geometry, scan.nodules))
    fractions = [one.get("inside_lungs", 1.0) for one in figures]
    return [i + 1 for i, fraction in enumerate(fractions) if fraction < INSIDE_FRACTION and i not in outside]


def _trusted(lungs: Mask | None, notes: tuple[Note, ...], step: Lungs) -> Mask | None:
    """The lung mask, if it has both lungs and no alarm doubts it."""
    doubted = step.method in WITHOUT_SIDES or any(kind_of(note.code) == "alarm" for note in notes)
    whole = lungs is not None and all((lungs.array[::4] == side).any() for side in (RIGHT_LUNG, LEFT_LUNG))
    return lungs if whole and not doubted else None


def _refuse_alarms(notes: tuple[Note, ...], step: Quality, series_uid: str) -> None:
    """Refuse a scan with an alarm if the recipe says so."""
    if step.alarms == "keep" or not (alarms := [note for note in notes if kind_of(note.code) == "alarm"]):
        return
    first, others = alarms[0], list(dict.fromkeys(note.code for note in alarms[1:]))
    more = f"; also {', '.join(others)}" if others else ""
    do = "look at the scan; to store it anyway set quality.alarms = 'keep' in the recipe"
    raise InputError(f"{first.code}: {first.text}{more}", where=series_uid, do=do, code=first.code)
