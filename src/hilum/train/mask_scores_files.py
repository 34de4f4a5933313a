"""The score of a segmentation as text, JSON and a table of its cases."""

import csv
import math
from pathlib import Path

import msgspec

from hilum.errors import InputError, one_line
from hilum.io.annotations.csv_tables import safe_cells
from hilum.io.atomic import atomic_path
from hilum.train.mask_scores import METRICS, Score

COLUMNS = (
    "case", "patient", "label", "value", "dice", "surface_dice", "hd95_mm", "assd_mm", "prediction_ml", "truth_ml",
)  # fmt: skip
"""Columns of the table of cases: the fields of `CaseScore`."""

HEADS = {"dice": "Dice", "surface_dice": "surface Dice", "hd95_mm": "HD95 (mm)", "assd_mm": "ASSD (mm)",
         "volume_difference_ml": "volume difference (ml)"}  # fmt: skip


def score_text(score: Score) -> str:
    """Write the means of each label as a few lines of text."""
    lines = []
    for one in score.labels:
        name = one.label if one.label == str(one.value) else f"{one.value} {one_line(one.label, limit=40)}"
        odd = [f"{count} {what}" for count, what in ((one.missed, "missed"), (one.extra, "not in the truth")) if count]
        lines.append(f"label {name}: {', '.join([f'{one.cases} of {score.pairs} cases', *odd])}")
        lines += [f"  {HEADS[metric]:<23}{_mean(*one.means[metric])}" for metric in METRICS]
    lines.append(
        f"surfaces agree within {score.tolerance_mm:g} mm; distances are of cases with the label in both masks"
    )
    if score.bootstrap and score.patients == 1:
        lines.append("no intervals: one patient")
    elif score.bootstrap:
        drawn = f"{score.bootstrap} bootstrap samples of {score.patients} patients"
        lines.append(f"95 % intervals from {drawn}, seed {score.seed}")
    return "\n".join(lines)


def score_json(score: Score) -> str:
    """Write a score as JSON; null stands for numbers that are not finite."""
    return msgspec.json.format(msgspec.json.encode(score, enc_hook=dict)).decode()


def write_score(score: Score, out: Path) -> None:
    """Write a table of the cases (.csv), or everything (.json).

    Raises
    ------
    InputError
        If the file has another suffix.
    OutputError
        If it cannot be written.
    """
    check_table(out)
    with atomic_path(out) as partial:
        if out.suffix == ".json":
            partial.write_text(score_json(score) + "\n", encoding="utf-8", newline="\n")
            return
        with partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows(safe_cells(getattr(row, name) for name in COLUMNS) for row in score.cases)


def check_table(out: Path) -> None:
    """Refuse a file that is neither .csv nor .json."""
    if out.suffix not in {".csv", ".json"}:
        raise InputError("is neither .csv nor .json", where=out, do="name the file scores.csv", code="option")


def _mean(mean: float, low: float, high: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:.4f}" + ("" if math.isnan(low) else f"  [{low:.4f}, {high:.4f}]")
