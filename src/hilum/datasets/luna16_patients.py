"""The patients of LUNA16, for folds by patient.

LUNA16 names its scans by series UID alone. Two of its 888 series are of one patient, LIDC-IDRI-0332, according to the
metadata of LIDC-IDRI (https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX), and they are in different subsets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hilum.io.annotations.csv_tables import read_rows
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATIENTS: Mapping[str, str] = {
    "1.3.6.1.4.1.14519.5.2.1.6279.6001.159996104466052855396410079250": "LIDC-IDRI-0332",
    "1.3.6.1.4.1.14519.5.2.1.6279.6001.316900421002460665752357657094": "LIDC-IDRI-0332",
}
"""The only patient with two series in LUNA16."""

_PUBLIC = re.compile(r"LIDC-IDRI-\d{4}")

_ALIASES = {
    **dict.fromkeys(("series_uid", "series uid", "seriesinstanceuid"), "seriesuid"),
    **dict.fromkeys(("patientid", "patient id", "subject id"), "patient_id"),
}


def read_patients(path: Path) -> dict[str, str]:
    """Read the patient of each series.

    Parameters
    ----------
    path : Path
        A csv with the columns seriesuid and patient_id, or the metadata.csv of LIDC-IDRI at TCIA (Series UID,
        Subject ID).

    Returns
    -------
    dict of str to str
        Patient by series UID, without blank ones.

    Raises
    ------
    AnnotationError, InputError
        As `hilum.io.annotations.csv_tables.read_rows`.
    """
    do = "give the columns seriesuid and patient_id"
    rows = read_rows(path, ("seriesuid", "patient_id"), do=do, aliases=_ALIASES)
    return {row.key: row.values[1].strip() for row in rows if row.values is not None and row.values[1].strip()}


def patient_folds(folds: Mapping[str, int], patients: Mapping[str, str]) -> tuple[dict[str, int], list[Note]]:
    """Put all series of a patient into the lowest of their folds.

    Parameters
    ----------
    folds : mapping of str to int
        Fold by series UID.
    patients : mapping of str to str
        Patient by series UID; a series that is not there counts as a patient of its own.

    Returns
    -------
    folds : dict of str to int
    notes : list of Note
        One for each patient whose series had several folds, code ``"patient-in-folds"``; only public names are shown.
    """
    folds_of: dict[str, set[int]] = {}
    for uid, fold in folds.items():
        folds_of.setdefault(patients.get(uid, uid), set()).add(fold)
    notes = []
    for patient, several in folds_of.items():
        if len(several) > 1:
            name = patient if _PUBLIC.fullmatch(patient) else "a patient"
            where = " and ".join(map(str, sorted(several)))
            what = f"{name} has scans in subsets {where}; their patient_fold is {min(several)}"
            notes.append(Note("patient-in-folds", what))
    return {uid: min(folds_of[patients.get(uid, uid)]) for uid in folds}, notes
