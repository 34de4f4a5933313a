"""Commands that score a model: its detections, and its masks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hilum.cli import plot_files
from hilum.cli.options import Flag, Json, OutOrNone, Overwrite
from hilum.console import print_notes, print_result


def froc(
    detections: Path,
    annotations: Path,
    /,
    *,
    excluded: Path | None = None,
    scans: Path | None = None,
    most_marks: int = 100,
    bootstrap: int = 1000,
    seed: int = 0,
    plot: Path | None = None,
    json: Json = False,
) -> None:
    """Score a detector as LUNA16 does: sensitivity at 1/8 to 8 false positives per scan, and their mean.

    Parameters
    ----------
    detections
        A CSV file with the columns seriesuid, coordX, coordY, coordZ, probability.
    annotations
        A LUNA16 annotations.csv.
    excluded
        A LUNA16 annotations_excluded.csv: detections on its findings count neither as hits nor as false positives.
    scans
        The series to score: a CSV file with the column seriesuid, or one UID per line.
    most_marks
        Detections scored per scan, the most probable first; 0 for all.
    bootstrap
        Bootstrap samples of the scans for the 95 % intervals; 0 for none.
    seed
        Seed of the bootstrap samples.
    plot
        Draw the curve to this file: .png, .svg or .pdf.
    """
    from hilum.train.evaluation import evaluate_detections, evaluation_json, evaluation_text

    if plot is not None:
        plot_files.check_picture(plot)
    evaluation = evaluate_detections(
        detections, annotations, excluded=excluded, scans=scans, most_marks=most_marks, bootstrap=bootstrap, seed=seed
    )
    print_notes(evaluation.notes)
    if plot is not None:
        from hilum.pictures.froc import froc as draw

        plot_files.save_picture(draw(evaluation.score), plot, dpi=120)
    print_result(evaluation_json(evaluation) if json else evaluation_text(evaluation))


def score(
    predictions: Path,
    truth: Path,
    /,
    *,
    labels: str = "lungs",
    merge: Flag = False,
    tolerance_mm: float = 2.0,
    grid: Literal["same", "world", "voxels"] = "same",
    allow_missing: Flag = False,
    patients: Path | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    out: OutOrNone = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Score predicted masks against true ones: Dice, surface Dice, surface distances and volumes, by case and label.

    Parameters
    ----------
    predictions
        Masks in a folder, called as the true ones; one file; or an output folder of 'hilum run'.
    truth
        The true masks: a folder, a file, or an output folder of 'hilum run'.
    labels
        The mask to take from an output folder: lungs, nodules, or a label map of the run.
    merge
        Count all labels of a mask as one.
    tolerance_mm
        Surfaces agree within this distance, for the surface Dice.
    grid
        A prediction on another grid than its truth is refused, placed by world coordinates, or laid voxel on voxel.
    allow_missing
        Leave out true masks without a prediction.
    patients
        A CSV file with the columns seriesuid (or the name of the case) and patient_id.
    bootstrap
        Bootstrap samples of the patients for the 95 % intervals; 0 for none.
    seed
        Seed of the bootstrap samples.
    out
        Write a table of the cases (.csv), or everything (.json).
    """
    from hilum.export.checked_run import check_output_file
    from hilum.train.mask_scores import score as compute
    from hilum.train.mask_scores_files import check_table, score_json, score_text, write_score

    if out is not None:
        check_table(out)
        check_output_file(out, overwrite=overwrite)
    found = compute(
        predictions, truth, labels=labels, merge=merge, tolerance_mm=tolerance_mm, grid=grid,
        allow_missing=allow_missing, patients=patients, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    print_notes(found.notes)
    if out is not None:
        write_score(found, out)
    print_result(score_json(found) if json else score_text(found))
