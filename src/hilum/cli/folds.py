"""The command that divides a finished output into folds."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.options import Overwrite, RunFolder
from hilum.console import print_notes, print_result


def folds(
    folder: RunFolder,
    /,
    *,
    count: Annotated[int, Parameter(name="--folds")] = 5,
    seed: int = 0,
    stratify: str = "auto",
    patients: Path | None = None,
    source: Annotated[list[Path] | None, Parameter(negative="")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Divide a finished output into folds by patient, for training and exports; no scan is made again.

    Parameters
    ----------
    count
        Number of folds.
    seed
        Seed; the same seed gives the same folds.
    stratify
        What every fold gets an equal part of: a label in scan.json, such as cancer; 'nodules' for scans with and
        without nodules; 'none'. 'auto' takes the label cancer, or else nodules if scans are annotated.
    patients
        A CSV file with the columns seriesuid and patient_id, or the metadata.csv of The Cancer Imaging Archive.
    source
        A folder with the DICOM series of the scans, to compare their PatientID, which is not written; may be repeated.
    """
    from hilum.outputs.folds import NAME
    from hilum.train.folds import make_folds

    made = make_folds(
        folder, count=count, seed=seed, stratify=stratify, patients=patients, sources=source or (), overwrite=overwrite
    )
    scans = made.record.scans.values()
    print_notes(made.notes)
    people = len({scan.patient for scan in scans})
    rule = "" if made.record.stratify == "none" else f"stratified by {made.record.stratify}, "
    print_result(f"{folder / NAME}: {count} folds of {people} patients, {len(scans)} scans; {rule}seed {seed}")
    for fold in range(count):
        here = [scan for scan in scans if scan.fold == fold]
        strata = Counter(scan.stratum for scan in here)
        parts = ", ".join(f"{strata[name]} {name}" for name in sorted(strata)) if rule else ""
        people = len({scan.patient for scan in here})
        print_result(f"fold {fold}: {people} patients, {len(here)} scans{': ' if parts else ''}{parts}")
