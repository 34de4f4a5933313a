"""Measure a preprocessed scan, and note which measurements are implausible."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hilum.ops.quality.lung_mask import measure_lung_mask
from hilum.ops.quality.missing_lung import CROPPED_SHARE
from hilum.scan import Note
from hilum.volume import Mask, Volume

SMALLEST_LUNG_ML = 200.0
"""A lung below this volume is a remnant or was missed: an adult lung has 1000 to 4000 ml in inspiration."""

ALARM_BELOW = 0.5
"""A mask with a score below this is probably wrong."""

DENSE_SHARE, AIRWAY_ML = 0.25, 8.0
"""From these values on a remark says that the scan is cropped, a lung is dense, or the mask includes the trachea."""


@dataclass(frozen=True)
class Check:
    """One way in which a lung mask can be wrong.

    Parameters
    ----------
    measurement : str
        A key of the result of `measure`.
    fine, wrong : float
        The values at which the check scores 1 and 0. The score is linear between them, so the alarm starts half way.
    text : str
        The text of the note, with a placeholder for the value.
    code : str
        The code of the note.
    """

    measurement: str
    fine: float
    wrong: float
    text: str
    code: str

    def score(self, value: float) -> float:
        """Return 0 for a wrong value, 1 for a fine one."""
        return float(np.clip((self.wrong - value) / (self.wrong - self.fine), 0, 1)) + 0.0


CHECKS = (
    Check("lung_missed_share", 0.03, 0.13, "{:.0%} of the lungs' air is outside the mask", code="missed-lung"),
    Check("lung_edge_air_share", 0.04, 0.2, "{:.0%} of the mask's surface runs in air", code="border-in-lung"),
    Check("lung_edge_solid_share", 0.15, 0.55, "{:.0%} of the mask's surface runs in tissue", code="border-in-tissue"),
    Check(
        "lung_dense_share",
        0.045,
        0.105,
        "{:.0%} of the lungs may be missing between the mask and the ribs: dense lung, or fluid",
        code="dense-lung-missing",
    ),
    Check(
        "lung_dense_side_share",
        0.115,
        0.145,
        "{:.0%} of a lung may be missing between the mask and the ribs: dense lung, or fluid",
        code="dense-lung-missing",
    ),
    Check(
        "lung_dense_edge_share",
        0.09,
        0.15,
        "{:.0%} of the mask's surface runs in tissue beside the ribs: dense lung may be missing",
        code="dense-lung-missing",
    ),
    Check(
        "lung_top_difference_mm",
        20.0,
        50.0,
        "the top of a lung lies {:.0f} mm below the other's: dense lung may be missing there",
        code="dense-lung-missing",
    ),
    Check("lung_lump_ml", 40.0, 140.0, "the mask has a lump of {:.0f} ml of solid tissue", code="organ-included"),
    Check(
        "lung_walled_gas_ml", 30.0, 90.0, "{:.0f} ml of the mask are gas in a wall, as in bowel", code="gas-included"
    ),
    Check("lung_edge_thin_share", 0.15, 0.55, "{:.0%} of the mask's surface is on parts below 6 mm", code="ragged"),
    Check("lung_heart_share", 0.01, 0.05, "{:.0%} of the mask is solid, between the lungs", code="heart-included"),
    Check("lung_outside_share", 0.01, 0.07, "{:.0%} of the mask is air outside the patient", code="leak"),
    Check("lung_gas_share", 0.4, 0.8, "{:.0%} of the mask is air without tissue", code="not-lung"),
    Check("lung_mean_hu", -650.0, -250.0, "the mask's mean is {:.0f} HU, too bright for lungs", code="not-lung"),
    Check("lung_mean_hu", -935.0, -985.0, "the mask's mean is {:.0f} HU, too dark for lungs", code="not-lung"),
    Check("lung_crossed_share", 0.08, 0.28, "{:.0%} of the labels lie on the other lung's side", code="sides-mixed"),
    Check(
        "lung_side_ratio",
        0.3,
        -0.1,
        "one lung has {:.0%} of the other's volume: absent, diseased or missed",
        code="one-lung",
    ),
    Check("lung_largest_ml", 5000.0, 7000.0, "a lung has {:.0f} ml: the mask extends beyond the chest", code="leak"),
    Check("lung_parts", 6.0, 20.0, "the mask has {:.0f} separate parts", code="ragged"),
)
"""The checks of a lung mask. The bounds lie between the values of right and of spoiled masks (bench/selfcheck.py)."""

ALARMS = frozenset({"lungs-not-found", "small-lung", *(check.code for check in CHECKS)})
"""Codes that say that the mask is probably wrong; the other codes of `quality_notes` are remarks about the scan."""


def measure(
    ct: Volume, lungs: Mask | None, nodule_mask: Mask | None, *, sides: bool = True, workers: int = 0
) -> dict[str, float]:
    """Measure a scan in Hounsfield units.

    Parameters
    ----------
    ct : Volume
        int16 HU.
    lungs : Mask or None
        Labels 1 right and 2 left (1 alone from a method that does not separate the sides), on the same grid.
    nodule_mask : Mask or None
        Labels 1, 2, ... on the same grid.
    sides : bool
        Whether the method separates the sides: then a label without voxels means that the lung is missing.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    dict of str to float
        ``lowest_hu``, ``highest_hu``; with lungs the result of `hilum.ops.quality.lung_mask.measure_lung_mask`, and
        ``lung_score`` from 0, certainly wrong, to 1, all plausible; with nodules ``nodule_mean_hu`` and
        ``nodule_inside_lungs`` (fraction of voxels).
    """
    values = measure_lungs(ct, lungs, sides=sides, workers=workers) | measure_nodules(ct, lungs, nodule_mask)
    return {name: round(value, 4) for name, value in values.items()}


def measure_lungs(ct: Volume, lungs: Mask | None, *, sides: bool = True, workers: int = 0) -> dict[str, float]:
    """Measure as `measure` does, without nodules and without rounding."""
    if lungs is None:
        return {"lowest_hu": float(ct.array.min()), "highest_hu": float(ct.array.max())}
    measurements = measure_lung_mask(ct, lungs, sides=sides, workers=workers)
    return {**measurements, "lung_score": lung_score(measurements)}


def measure_nodules(ct: Volume, lungs: Mask | None, nodule_mask: Mask | None) -> dict[str, float]:
    """Measure the nodules as `measure` does, without rounding."""
    if nodule_mask is None or not nodule_mask.array.any():
        return {}
    where = np.nonzero(nodule_mask.array)
    measurements = {"nodule_mean_hu": float(ct.array[where].mean(dtype=np.float64))}
    if lungs is not None:
        measurements["nodule_inside_lungs"] = float((lungs.array[where] > 0).mean())
    return measurements


def lung_score(measurements: Mapping[str, float]) -> float:
    """Score how plausible a lung mask is: the score of its worst check.

    Parameters
    ----------
    measurements : mapping of str to float
        From `hilum.ops.quality.lung_mask.measure_lung_mask`.

    Returns
    -------
    float
        1 if every check is fine, below `ALARM_BELOW` if the mask is probably wrong, 0 for an empty mask.
    """
    if not measurements["lung_ml"]:
        return 0.0
    scores = [check.score(value) for check, value in _checked_values(measurements)]
    return min([*scores, ALARM_BELOW / 2 if _has_small_lung(measurements) else 1.0])


def lung_rank(measurements: Mapping[str, float]) -> float:
    """Rank doubtful lung masks: the mean score over all checks, 0 to 1; 0 for an empty mask."""
    if not measurements["lung_ml"]:
        return 0.0
    return float(np.mean([check.score(value) for check, value in _checked_values(measurements)]))


def quality_notes(measurements: Mapping[str, float]) -> tuple[Note, ...]:
    """Note the implausible measurements of a chest scan.

    Parameters
    ----------
    measurements : mapping of str to float
        From `measure`.

    Returns
    -------
    tuple of Note
        First the alarms, with a code of `ALARMS`, the worst first and each code once: the mask is probably wrong. Then
        the remarks ``cropped``, ``dense-lung`` and ``airway-included``, which a right mask of such a scan has too.
        Empty if all is plausible.
    """
    if "lung_ml" not in measurements:
        return ()
    if not measurements["lung_ml"]:
        return (Note("lungs-not-found", "no lung was found: look at this scan"),)
    checked = sorted(_checked_values(measurements), key=lambda pair: pair[0].score(pair[1]))
    notes = [Note(check.code, check.text.format(value)) for check, value in checked if check.score(value) < ALARM_BELOW]
    if _has_small_lung(measurements):
        text = f"a lung has less than {SMALLEST_LUNG_ML:.0f} ml: diseased, a child's or missed"
        notes.append(Note("small-lung", text))
    if measurements.get("lung_cropped_share", 0) >= CROPPED_SHARE:
        text = "the lungs touch the edge of the scan: their volumes cover only the scanned part"
        notes.append(Note("cropped", text))
    if (share := measurements.get("lung_above_500_share", 0)) >= DENSE_SHARE:
        notes.append(Note("dense-lung", f"{share:.0%} of the mask is above -500 HU: consolidated lung, or no lung"))
    if (volume_ml := measurements.get("lung_airway_ml", 0)) >= AIRWAY_ML:
        notes.append(Note("airway-included", f"{volume_ml:.0f} ml of the mask look like the trachea"))
    first_of_code = {note.code: note for note in reversed(notes)}
    return tuple(note for note in notes if first_of_code[note.code] is note)


def _checked_values(measurements: Mapping[str, float]) -> list[tuple[Check, float]]:
    """Every check with the value of its measurement; checks without one are left out."""
    known = {**measurements, "lung_largest_ml": max(_side_volumes(measurements))}
    return [(check, known[check.measurement]) for check in CHECKS if check.measurement in known]


def _has_small_lung(measurements: Mapping[str, float]) -> bool:
    """Whether a lung is too small although the scan is not cropped."""
    is_cropped = measurements.get("lung_cropped_share", 0) >= CROPPED_SHARE
    return min(_side_volumes(measurements)) < SMALLEST_LUNG_ML and not is_cropped


def _side_volumes(measurements: Mapping[str, float]) -> list[float]:
    """Volume of each lung, ml; half of the total where the sides are not separated."""
    sides = [measurements[name] for name in ("lung_right_ml", "lung_left_ml") if name in measurements]
    return sides or [measurements["lung_ml"] / 2]
