"""The score of a segmentation: overlap and surface distances of predicted and true masks, by case and label."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from hilum.datasets.luna16 import read_patients
from hilum.errors import AnnotationError, GeometryError, InputError, one_line
from hilum.ops.bootstrap import interval, resample_counts
from hilum.ops.labels.placing import place_label_map
from hilum.ops.labels.shares import label_extents
from hilum.ops.quality.agreement import check_tolerance, compare_masks
from hilum.scan import LabelMap, Note
from hilum.train.mask_pairs import LUNGS, MaskPair, Masks, find_pairs
from hilum.volume import Mask

Grid = Literal["same", "world", "voxels"]

METRICS = ("dice", "surface_dice", "hd95_mm", "assd_mm", "volume_difference_ml")

_SAME = 0.01  # voxels by which two grids may differ and still be the same

ANY = "any label"


@dataclass(frozen=True)
class CaseScore:
    """The score of one label in one case that has it in the prediction, the truth, or both.

    Parameters
    ----------
    case, patient, label : str
        Their names; without a known patient that of the case.
    value : int
        Of the label; 1 if all labels count as one.
    dice, surface_dice : float
        0 to 1.
    hd95_mm, assd_mm : float
        95 % Hausdorff distance and average symmetric surface distance; infinite if one mask has no such label.
    prediction_ml, truth_ml : float
        Volumes.

    Examples
    --------
    >>> import hilum
    >>> lungs = hilum.read_mask("lungs.nii.gz")
    >>> hilum.score(lungs, lungs).cases[1].hd95_mm
    0.0
    """

    case: str
    patient: str
    label: str
    value: int
    dice: float
    surface_dice: float
    hd95_mm: float
    assd_mm: float
    prediction_ml: float
    truth_ml: float

    @property
    def volume_difference_ml(self) -> float:
        """The volume of the prediction less that of the truth."""
        return self.prediction_ml - self.truth_ml


@dataclass(frozen=True)
class LabelScore:
    """The score of one label over all cases that have it.

    Parameters
    ----------
    label : str
        Its name.
    value : int
        Its value; 1 if all labels count as one.
    cases, missed, extra : int
        The numbers of cases that have it, of those that only the truth, and that only the prediction has.
    means : mapping of str to (float, float, float)
        Of each metric the mean over the cases, and the bounds of its 95 % interval (NaN without bootstrap, or for one
        patient). Distances are means over the cases that have the label in both masks; NaN if there are none.

    Examples
    --------
    >>> import hilum
    >>> lungs = hilum.read_mask("lungs.nii.gz")
    >>> [(one.label, one.cases, one.means["dice"][0]) for one in hilum.score(lungs, lungs).labels]
    [('1', 1, 1.0), ('2', 1, 1.0)]
    """

    label: str
    value: int
    cases: int
    missed: int
    extra: int
    means: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Score:
    """The score of a segmentation, as `score` returns it.

    Parameters
    ----------
    cases : tuple of CaseScore
        A row for each case and label, sorted by both.
    labels : tuple of LabelScore
        A row for each label.
    pairs, patients : int
        The numbers of cases that were compared, and of their patients.
    tolerance_mm : float
        Of the surface Dice.
    bootstrap, seed : int
        Of the intervals.
    notes : tuple of Note
        How the masks were paired, and what was left out.

    Examples
    --------
    >>> import hilum
    >>> lungs = hilum.read_mask("lungs.nii.gz")
    >>> score = hilum.score(lungs, lungs, tolerance_mm=1.0)
    >>> score.pairs, score.tolerance_mm
    (1, 1.0)
    """

    cases: tuple[CaseScore, ...]
    labels: tuple[LabelScore, ...]
    pairs: int
    patients: int
    tolerance_mm: float
    bootstrap: int
    seed: int
    notes: tuple[Note, ...]


def score(
    predictions: Masks,
    truth: Masks,
    *,
    labels: str = LUNGS,
    merge: bool = False,
    tolerance_mm: float = 2.0,
    grid: Grid = "same",
    allow_missing: bool = False,
    patients: str | Path | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    workers: int = 0,
) -> Score:
    """Score predicted masks against true ones.

    Files are paired by their names as label maps with scans: ``NAME.nii.gz`` in both folders, or ``NAME_suffix.nii.gz``
    or ``NAME/label.nii.gz`` for a true mask called NAME; scans of a run also by series UID and public case. Each label
    is scored by its value. A label that neither mask of a case has is not counted there.

    Surfaces, their areas and distances are those of DeepMind's surface-distance, in mm, on grids of any spacing and
    orientation.

    Parameters
    ----------
    predictions, truth : path, Run, mapping of str to Mask, or Mask
        Each a file, a folder of files, or the output of ``hilum run``. Masks in memory: two of one case, or two
        mappings from the names of cases.
    labels : str, default "lungs"
        The mask to take from a run: ``lungs``, ``nodules`` (all as one) or the name of a label map.
    merge : bool, default False
        Count all labels of a mask as one.
    tolerance_mm : float, mm, default 2
        The distance within which surfaces agree, for the surface Dice.
    grid : {"same", "world", "voxels"}, default "same"
        What to do with a prediction on another grid than its truth: refuse it, place it by world coordinates, or lay it
        voxel on voxel.
    allow_missing : bool, default False
        Leave out true masks without a prediction, instead of refusing.
    patients : path, optional
        A csv with the columns seriesuid (or the name of the case) and patient_id. By default ``folds.json`` and the
        public cases of a run tell patients; otherwise each case is a patient.
    bootstrap : int, default 1000
        Bootstrap samples of the patients for the 95 % intervals; 0 for none.
    seed : int, default 0
        Seed of the bootstrap.
    workers : int, default 0
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    Score

    Raises
    ------
    GeometryError
        If masks lie on different grids.
    AnnotationError
        If masks do not fit each other by name, or a label has two names.
    InputError
        If a path holds no mask, a file is none, or an option is out of range.

    References
    ----------
    S. Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", JMIR 23(7), 2021.

    Examples
    --------
    >>> import hilum
    >>> lungs = hilum.read_mask("lungs.nii.gz")
    >>> larger = hilum.dilate(lungs, 4.0)
    >>> right = hilum.score(larger, lungs, tolerance_mm=3.0).cases[0]
    >>> right.dice < 1, right.prediction_ml > right.truth_ml
    (True, True)
    """
    check_tolerance(tolerance_mm)
    if grid not in get_args(Grid):
        what = f"grid is {one_line(grid, limit=40)!r}, expected one of {', '.join(get_args(Grid))}"
        raise InputError(what, code="option")
    if min(bootstrap, seed) < 0:
        raise InputError(f"samples {bootstrap} or seed {seed} is negative", code="option")
    pairs, found = find_pairs(predictions, truth, labels=labels, allow_missing=allow_missing)
    known = read_patients(Path(patients)) if patients is not None else {}
    notes, rows, names = list(found), list[CaseScore](), dict[int, str]()
    patient_of = {pair.case: known.get(pair.case) or pair.patient or pair.case for pair in pairs}
    if known and not any(pair.case in known for pair in pairs):
        do = "name the cases in the column seriesuid"
        raise AnnotationError("no row has the name of a case", where=Path(patients or ""), do=do, code="no-row-fits")
    if known and (without := sum(pair.case not in known for pair in pairs)):
        notes.append(Note("unknown-patient", f"{without} of {len(pairs)} cases have no row in the table of patients"))
    for pair in pairs:
        predicted, true, more = _read(pair, grid)
        notes += more
        masks = [Mask(mask.array > 0, mask.geometry, {1: ANY}) if merge else mask for mask in (predicted, true)]
        _learn_names(names, masks, pair.case)
        rows += _score_case(pair.case, patient_of[pair.case], masks[0], masks[1], names, tolerance_mm, workers)
    units = sorted(set(patient_of.values()))
    summary = [
        _summarize([row for row in rows if row.value == value], units, bootstrap, seed)
        for value in sorted({row.value for row in rows})
    ]
    return Score(tuple(rows), tuple(summary), len(pairs), len(units), tolerance_mm, bootstrap, seed, tuple(notes))


def _read(pair: MaskPair, grid: Grid) -> tuple[Mask, Mask, list[Note]]:
    """The masks of a case on the grid of the truth."""
    predicted, true = pair.prediction(), pair.truth()
    laid = grid == "voxels" and predicted.shape == true.shape
    if laid or predicted.geometry.isclose(true.geometry, tolerance=_SAME):
        return Mask(predicted.array, true.geometry, predicted.names), true, []
    if grid != "world":
        ours, theirs = (f"{mask.shape}, {mask.geometry.place}" for mask in (predicted, true))
        what = f"prediction and truth lie on different grids: {ours}; {theirs}"
        raise GeometryError(what, where=pair.case, do="place it by world coordinates: --grid world", code="label-grid")
    values = {str(value): value for value in label_extents(predicted)}
    placed = place_label_map(LabelMap(predicted, values), true.geometry)
    notes = [
        Note("prediction-outside", f"{pair.case}: {ml:.3g} ml of label {value} lie outside the truth and do not count")
        for value, ml in placed.outside.items()
    ]
    return Mask(placed.label_map.mask.array, true.geometry, predicted.names), true, notes


def _learn_names(names: dict[int, str], masks: Sequence[Mask], case: str) -> None:
    """Remember what labels are called, and refuse one that is called something else in another mask."""
    for mask in masks:
        for value in label_extents(mask):
            if (name := mask.names.get(value)) is not None and names.setdefault(value, name) != name:
                what = f"label {value} is called {names[value]!r} and {name!r}"
                do = "give both the same values and names, or count all as one: --merge"
                raise AnnotationError(what, where=case, do=do, code="unknown-label")


def _score_case(
    case: str, patient: str, predicted: Mask, true: Mask, names: Mapping[int, str], tolerance_mm: float, workers: int
) -> Iterator[CaseScore]:
    extents = label_extents(predicted, workers=workers), label_extents(true, workers=workers)
    for value in sorted({*extents[0], *extents[1]}):
        found = compare_masks(predicted, true, label=value, tolerance_mm=tolerance_mm, workers=workers)
        voxels = (one[value].voxels if value in one else 0 for one in extents)
        volumes = (count * true.geometry.voxel_volume / 1000 for count in voxels)
        measured = found.dice, found.surface_dice, found.hd95_mm, found.assd_mm
        yield CaseScore(case, patient, names.get(value, str(value)), value, *measured, *volumes)


def _summarize(rows: Sequence[CaseScore], patients: Sequence[str], bootstrap: int, seed: int) -> LabelScore:
    values = np.array([[getattr(row, metric) for metric in METRICS] for row in rows])
    counts = np.isfinite(values)
    values = np.where(counts, values, 0.0)
    of_row = np.searchsorted(patients, [row.patient for row in rows])
    drawn = resample_counts(len(patients), bootstrap if len(patients) > 1 else 0, seed)
    weights = np.array([np.ones(len(patients), np.int64), *drawn])[:, of_row]
    with np.errstate(invalid="ignore"):  # NaN where no case has the label in both masks
        means = (weights @ values) / (weights @ counts)
    summary = {}
    for metric, (mean, *draws) in zip(METRICS, means.T, strict=True):
        known = np.array([draw for draw in draws if not math.isnan(draw)])[:, None]
        (low,), (high,) = interval(known) if len(known) else ((math.nan,), (math.nan,))
        summary[metric] = (float(mean), low, high)
    missed, extra = sum(row.prediction_ml == 0 for row in rows), sum(row.truth_ml == 0 for row in rows)
    return LabelScore(rows[0].label, rows[0].value, len(rows), missed, extra, MappingProxyType(summary))
