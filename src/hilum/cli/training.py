"""Commands between a finished output and a training run: the score of detections, slices, patches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hilum.cli.plot_files import check_picture, save_picture
from hilum.cli.status import ALL_WELL, REFUSED
from hilum.console import say, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hilum.train.runs import Skip


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
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Score a detector as LUNA16 does: sensitivity at 1/8 to 8 false positives per scan, and their mean.

    Parameters
    ----------
    detections
        A csv: seriesuid, coordX, coordY, coordZ, probability.
    annotations
        A LUNA16 annotations.csv.
    excluded
        A LUNA16 annotations_excluded.csv: marks on its findings are neither right nor wrong.
    scans
        The series looked at: a csv with the column seriesuid, or one UID a line.
    most_marks
        Marks that count per scan, those of the highest probability; 0 for all.
    bootstrap
        Samples of the scans for the 95 % intervals; 0 for none.
    seed
        Of the samples.
    plot
        Draw the curve into this .png, .svg or .pdf.
    json
        Print JSON for programs in place of text.
    """
    from hilum.train.evaluation import evaluate_detections, evaluation_json, evaluation_text

    if plot is not None:
        check_picture(plot)
    found = evaluate_detections(
        detections,
        annotations,
        excluded=excluded,
        scans=scans,
        most_marks=most_marks,
        bootstrap=bootstrap,
        seed=seed,
    )
    for note in found.notes:
        warn(str(note))
    if plot is not None:
        from hilum.pictures.froc import froc_curve

        save_picture(froc_curve(found.score), plot, dpi=120)
    say(evaluation_json(found) if json else evaluation_text(found))
    return ALL_WELL


def slices(
    folder: Path,
    /,
    *,
    out: Path,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    pixels: Literal["stored", "uint8", "int16", "uint16"] = "stored",
    fold_by: str = "fold",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write three slices round the biggest nodule of each scan, and its mask in them, as .npy.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    out
        A folder for images_N.npy, masks_N.npy, index.csv and summary.json.
    every
        All nodules of a scan, not the biggest alone.
    pixels
        Values as stored, or each slice stretched over 0 to 255, 0 to 32767 or 0 to 65535.
    fold_by
        The label in scan.json that is told as the fold: 'fold', or 'patient_fold'.
    overwrite
        Replace an earlier result.
    """
    from hilum.train.slices import write_slices

    made = write_slices(folder, out, every=every, pixels=pixels, fold_by=fold_by, overwrite=overwrite)
    say(f"{out}: {made.nodules} nodules of {made.scans} scans, three slices each")
    return tell(made.skipped)


def patches(
    folder: Path,
    /,
    *,
    out: Path,
    size: int = 64,
    jitter_mm: float = 5.0,
    per_nodule: int = 1,
    negatives: int = 4,
    distance_mm: float = 20.0,
    candidates: Path | None = None,
    excluded: Path | None = None,
    kept: Annotated[bool, Parameter(negative="")] = False,
    fold_by: str = "fold",
    seed: int = 0,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Cut patches at the nodules of a finished output and at places that are none, with an index.

    Parameters
    ----------
    folder
        An output folder of 'hilum run'.
    out
        A folder for images_SCAN.npy, masks_SCAN.npy, index.csv and summary.json.
    size
        Voxels along each edge.
    jitter_mm
        How far a patch may be moved off its nodule, along each axis.
    per_nodule
        Patches at each nodule.
    negatives
        Patches per scan that are at no nodule.
    distance_mm
        Distance of their centers from every nodule's surface, at least.
    candidates
        A LUNA16 candidates.csv: negatives are drawn from its class 0.
    excluded
        A LUNA16 annotations_excluded.csv: negatives are drawn from it too. Without a table: from the lungs.
    kept
        Draw negatives from the candidates and excluded findings that a run of LUNA16 keeps with each scan.
    fold_by
        The label in scan.json that is told as the fold: 'fold', or 'patient_fold'.
    seed
        Same seed, same bytes.
    overwrite
        Replace an earlier result.
    """
    from hilum.train.patch_records import PatchOptions
    from hilum.train.patches import write_patches

    chosen = PatchOptions(
        size=size,
        jitter_mm=jitter_mm,
        per_nodule=per_nodule,
        negatives=negatives,
        distance_mm=distance_mm,
        seed=seed,
    )
    made = write_patches(
        folder, out, chosen, candidates=candidates, excluded=excluded, kept=kept, fold_by=fold_by, overwrite=overwrite
    )
    say(f"{out}: {made.positives} patches at nodules and {made.negatives} elsewhere, from {len(made.scans)} scans")
    return tell(made.skipped)


def tell(skipped: Sequence[Skip]) -> int:
    """Say what was left out, a line a reason, and the exit status: damage is a failure, having no nodule is none.

    Parameters
    ----------
    skipped : sequence of Skip

    Returns
    -------
    int
    """
    for code in dict.fromkeys(skip.code for skip in skipped):
        same = [skip for skip in skipped if skip.code == code]
        names = list(dict.fromkeys(skip.scan for skip in same if skip.scan))
        where = f": {', '.join(names[:3])}" + (", ..." if len(names) > 3 else "") if names else ""
        warn(f"{code}: {sum(skip.count for skip in same)} left out: {same[0].reason}{where}")
    return REFUSED if any(skip.code == "damaged-scan" for skip in skipped) else ALL_WELL
