"""What can be measured on a finished scan, and which of it looks wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hilum.ops.quality.lung_mask import lung_figures
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hilum.volume import Mask, Volume

SMALLEST_LUNG_ML = 200.0
"""A lung below this volume is a remnant or a miss: adult lungs hold 1000 to 4000 ml each in inspiration."""

ALARM_BELOW = 0.5
"""A score below this says that the mask is probably wrong."""

CROPPED_SHARE, DENSE_SHARE, AIRWAY_ML = 0.1, 0.25, 8.0
"""From here on a scan is cropped, a lung dense, the windpipe in the mask: a right mask may be all that."""


@dataclass(frozen=True)
class Check:
    """One way in which a lung mask can be wrong.

    Parameters
    ----------
    figure : str
        A name that `measure` gives.
    fine, wrong : float
        The figure's value at which this check scores 1, and at which it scores 0; between them it is linear, so that
        half way lies the alarm.
    code : str
        Of the note that it raises.
    text : str
        Of the note, to be filled with the figure.
    """

    figure: str
    fine: float
    wrong: float
    code: str
    text: str

    def score(self, value: float) -> float:
        """How far from wrong a value is, 0 to 1."""
        return float(np.clip((self.wrong - value) / (self.wrong - self.fine), 0, 1)) + 0.0


CHECKS = (
    Check("lung_missed_share", 0.03, 0.13, code="missed-lung", text="{:.0%} of the lungs' air is outside the mask"),
    Check("lung_edge_air_share", 0.04, 0.2, code="border-in-lung", text="{:.0%} of the mask's border run through air"),
    Check(
        "lung_edge_solid_share",
        0.15,
        0.55,
        code="border-in-tissue",
        text="{:.0%} of the mask's border run through tissue",
    ),
    Check(
        "lung_dent_share",
        0.1,
        0.24,
        code="dented",
        text="{:.0%} of the mask lack in dents: dense lung left out, or fluid",
    ),
    Check("lung_edge_thin_share", 0.15, 0.55, code="ragged", text="{:.0%} of the mask's border are thinner than 6 mm"),
    Check(
        "lung_heart_share", 0.01, 0.05, code="heart-included", text="{:.0%} of the mask are solid, between the lungs"
    ),
    Check("lung_outside_share", 0.01, 0.07, code="leak", text="{:.0%} of the mask are air outside the patient"),
    Check("lung_gas_share", 0.4, 0.8, code="not-lung", text="{:.0%} of the mask are air without tissue"),
    Check("lung_mean_hu", -650.0, -250.0, code="not-lung", text="the mask's mean is {:.0f} HU, too bright for lungs"),
    Check("lung_mean_hu", -935.0, -985.0, code="not-lung", text="the mask's mean is {:.0f} HU, too dark for lungs"),
    Check(
        "lung_crossed_share", 0.08, 0.28, code="sides-mixed", text="{:.0%} of the labels lie on the other lung's side"
    ),
    Check(
        "lung_side_ratio",
        0.3,
        -0.1,
        code="one-lung",
        text="one lung has {:.0%} of the other's volume: absent, diseased or missed",
    ),
    Check("lung_largest_ml", 5000.0, 7000.0, code="leak", text="a lung of {:.0f} ml: the mask has left the chest"),
    Check("lung_parts", 6.0, 20.0, code="ragged", text="the mask is in {:.0f} parts"),
)
"""What is checked on a lung mask; the bounds lie between what right and spoiled masks show (bench/selfcheck.py)."""

ALARMS = frozenset({"lungs-not-found", "small-lung", *(check.code for check in CHECKS)})
"""Codes that say that the mask is probably wrong; the other codes of `judge` are remarks on the scan."""


def measure(
    ct: Volume, lungs: Mask | None, nodule_mask: Mask | None, *, sides: bool = True, workers: int = 0
) -> dict[str, float]:
    """Measure a scan in Hounsfield units.

    Parameters
    ----------
    ct : Volume
        int16 HU.
    lungs : Mask or None
        Labels 1 right and 2 left (or 1 alone, from a method that does not tell sides), on the same grid.
    nodule_mask : Mask or None
        Labels 1, 2, ... on the same grid.
    sides : bool
        Whether the lungs' method tells sides: then a label without a voxel is a lung that is not there.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.

    Returns
    -------
    dict of str to float
        ``lowest_hu``, ``highest_hu``; with lungs what `hilum.ops.quality.lung_mask.lung_figures` gives, and
        ``lung_score`` from 1, all plausible, to 0, certainly wrong; with nodules ``nodule_mean_hu`` and
        ``nodule_inside_lungs`` (share of voxels).
    """
    figures = measure_lungs(ct, lungs, sides=sides, workers=workers) | measure_nodules(ct, lungs, nodule_mask)
    return {name: round(value, 4) for name, value in figures.items()}


def measure_lungs(ct: Volume, lungs: Mask | None, *, sides: bool = True, workers: int = 0) -> dict[str, float]:
    """The part of `measure` that needs no nodules, not rounded."""
    if lungs is None:
        return {"lowest_hu": float(ct.array.min()), "highest_hu": float(ct.array.max())}
    figures = lung_figures(ct, lungs, sides=sides, workers=workers)
    return {**figures, "lung_score": lung_score(figures)}


def measure_nodules(ct: Volume, lungs: Mask | None, nodule_mask: Mask | None) -> dict[str, float]:
    """The part of `measure` that is about nodules, not rounded."""
    if nodule_mask is None or not nodule_mask.array.any():
        return {}
    where = np.nonzero(nodule_mask.array)
    figures = {"nodule_mean_hu": float(ct.array[where].mean(dtype=np.float64))}
    if lungs is not None:
        figures["nodule_inside_lungs"] = float((lungs.array[where] > 0).mean())
    return figures


def lung_score(figures: Mapping[str, float]) -> float:
    """How plausible a lung mask is: the score of its worst check.

    Parameters
    ----------
    figures : mapping of str to float
        From `hilum.ops.quality.lung_mask.lung_figures`.

    Returns
    -------
    float
        1 where every check is fine, below `ALARM_BELOW` where the mask is probably wrong, 0 without any lung.
    """
    if not figures["lung_ml"]:
        return 0.0
    scores = [check.score(value) for check, value in _checked(figures)]
    return min([*scores, ALARM_BELOW / 2 if _small(figures) else 1.0])


def lung_rank(figures: Mapping[str, float]) -> float:
    """Order lung masks that all are in doubt: the mean over all checks, 0 to 1; 0 without any lung."""
    if not figures["lung_ml"]:
        return 0.0
    return float(np.mean([check.score(value) for check, value in _checked(figures)]))


def judge(figures: Mapping[str, float]) -> tuple[Note, ...]:
    """Name what looks wrong in the figures of a chest scan.

    Parameters
    ----------
    figures : mapping of str to float
        From `measure`.

    Returns
    -------
    tuple of Note
        Alarms first, of a code in `ALARMS`, the worst foremost and each code once: the mask is probably wrong. Then
        remarks, which a right mask of such a scan has too: ``cropped``, ``dense-lung``, ``airway-included``. Empty
        where all is plausible.
    """
    if "lung_ml" not in figures:
        return ()
    if not figures["lung_ml"]:
        return (Note("lungs-not-found", "no lung was found: look at this scan"),)
    found: dict[str, Note] = {}
    for check, value in sorted(_checked(figures), key=lambda pair: pair[0].score(pair[1])):
        if check.score(value) < ALARM_BELOW:
            found.setdefault(check.code, Note(check.code, check.text.format(value)))
    if _small(figures):
        text = f"a lung below {SMALLEST_LUNG_ML:.0f} ml: diseased, a child's or missed"
        found["small-lung"] = Note("small-lung", text)
    if figures.get("lung_cropped_share", 0) >= CROPPED_SHARE:
        found["cropped"] = Note(
            "cropped", "the lungs reach the edge of the scan: their volumes are of what was scanned"
        )
    if figures.get("lung_above_500_share", 0) >= DENSE_SHARE:
        share = figures["lung_above_500_share"]
        found["dense-lung"] = Note("dense-lung", f"{share:.0%} of the mask are above -500 HU: consolidated, or no lung")
    if figures.get("lung_airway_ml", 0) >= AIRWAY_ML:
        milliliters = figures["lung_airway_ml"]
        found["airway-included"] = Note("airway-included", f"{milliliters:.0f} ml of the mask look like windpipe")
    return tuple(found.values())


def _checked(figures: Mapping[str, float]) -> list[tuple[Check, float]]:
    """Every check whose figure is there, with its value."""
    sides = [figures[name] for name in ("lung_right_ml", "lung_left_ml") if name in figures]
    known = {**figures, "lung_largest_ml": max(sides, default=figures["lung_ml"] / 2)}
    return [(check, known[check.figure]) for check in CHECKS if check.figure in known]


def _small(figures: Mapping[str, float]) -> bool:
    """Whether a lung is too small, in a scan that shows it whole."""
    sides = [figures[name] for name in ("lung_right_ml", "lung_left_ml") if name in figures]
    smallest = min(sides, default=figures["lung_ml"] / 2)
    return smallest < SMALLEST_LUNG_ML and figures.get("lung_cropped_share", 0) < CROPPED_SHARE
