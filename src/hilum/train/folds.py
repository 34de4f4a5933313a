"""Make the folds of a finished run: by patient, with a seed, and as much of each label in every fold.

1. Scans that share a patient in any way that is known form one group: a public case, a table, the PatientID of their
   DICOM headers. Groups that share a scan are joined, so that no patient can be in two folds.
2. Groups are sorted by stratum, then by their number of scans, then by a hash of the seed.
3. They are dealt to the folds in turn, like cards. So any two folds differ by at most one patient, in total and in
   each stratum.

A PatientID is only compared. ``folds.json`` has public cases, or numbers that begin at 1 in each file.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import hilum
from hilum.datasets.luna16 import PATIENTS, read_patients
from hilum.errors import AnnotationError, InputError, MissingInputError, OutputError
from hilum.io.dicom.reader import read_patient_ids
from hilum.io.names import hashed_uid, is_uid
from hilum.outputs import folds, records, scans_index
from hilum.outputs.folds import FoldsRecord, ScanFold
from hilum.runs.run import AnyRun, open_run
from hilum.scan import Label, Note

AUTO, NODULES, NONE = "auto", "nodules", "none"

_DIAGNOSIS = "cancer"

Stratum = tuple[tuple[bool, Label], ...]  # the values of a patient's scans: whether each is text, and the value


class Folds(NamedTuple):
    """The folds that were made.

    Parameters
    ----------
    record : FoldsRecord
        The content of ``folds.json``.
    notes : list of Note
        Codes ``"unknown-patient"`` and ``"folds-replaced"``.
    """

    record: FoldsRecord
    notes: list[Note]


def make_folds(
    folder: AnyRun,
    *,
    count: int = 5,
    seed: int = 0,
    stratify: str = AUTO,
    patients: Path | None = None,
    sources: Sequence[Path] = (),
    overwrite: bool = False,
) -> Folds:
    """Divide the finished scans of a run into folds, and write them to its ``folds.json``.

    The same run, count, seed and options give the same folds. The feed for training and the exports then use them
    instead of the folds of the data set. No scan is made again.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`.
    count : int
        Number of folds, at least 2.
    seed : int
        At least 0.
    stratify : str
        What every fold gets equal parts of: a label of the scans; ``nodules`` for scans with and without nodules;
        ``none`` for nothing. ``auto`` is the label ``cancer`` if there is one, otherwise ``nodules`` if scans are
        annotated.
    patients : Path, optional
        A csv with the columns seriesuid (a series UID or the id of a scan) and patient_id, or the metadata.csv of The
        Cancer Imaging Archive.
    sources : sequence of Path
        Folders with the DICOM series of the scans: the PatientID in their headers tells which scans belong together.
    overwrite : bool
        Replace earlier folds.

    Returns
    -------
    Folds

    Raises
    ------
    InputError
        If no scan is finished or one is damaged, there are fewer patients than folds, an option is out of range, no
        scan has the label, or a table or a source fits no scan.
    OutputError
        If the run has folds already, or they cannot be written.
    """
    if count < 2 or seed < 0:
        raise InputError(f"folds {count} or seed {seed} is out of range: at least 2 and 0", code="option")
    run = open_run(folder)
    folder, scans = run.folder, {scan.scan_id: scan.record for scan in run}
    if not scans:
        raise MissingInputError("no finished scan here", where=folder, do="give the --out folder of 'hilum run'")
    if (folder / folds.NAME).exists() and not overwrite:
        raise OutputError("exists already", where=folder / folds.NAME, do="give --overwrite", code="exists")
    keys, cases = _keys(folder, scans, patients, sources)
    groups = group_scans(keys)
    if len(groups) < count:
        what = f"{len(groups)} patients are too few for {count} folds"
        do = "make fewer folds" if not sources else "make fewer folds; if PatientID was anonymized, leave --source out"
        raise InputError(what, where=folder, do=do, code="option")
    rule, values = _values(folder, scans, stratify)
    strata = {group[0]: _stratum([values[name] for name in group]) for group in groups}
    fold_of = deal({group[0]: (strata[group[0]], len(group)) for group in groups}, count=count, seed=seed)
    made: dict[str, ScanFold] = {}
    for number, group in enumerate(groups, start=1):
        patient = min((cases[name] for name in group if cases[name]), default=f"patient-{number:04d}")
        text = " + ".join(str(value) for _, value in strata[group[0]])
        made |= {name: ScanFold(fold=fold_of[group[0]], patient=patient, stratum=text) for name in group}
    record = FoldsRecord(
        version=hilum.__version__, folds=count, seed=seed, stratify=rule, scans=dict(sorted(made.items()))
    )
    folds.write_folds(folder, record)
    notes = []
    if unknown := sum(keys[name] <= {one.series_uid} for name, one in scans.items()):
        what = f"{unknown} of {len(scans)} scans name no patient: each counts as a patient of its own"
        notes.append(Note("unknown-patient", f"{what}; --source or --patients tells which belong together"))
    if any(folds.LABELS & one.labels.keys() for one in scans.values()):
        what = f"the data set has folds of its own, which are not used while {folds.NAME} exists"
        notes.append(Note("folds-replaced", what))
    return Folds(record, notes)


def group_scans(keys: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Group the scans that share a key, directly or through other scans.

    Parameters
    ----------
    keys : mapping of str to iterable of str
        What identifies the patient of each scan; a scan without a key is a group of its own.

    Returns
    -------
    list of list of str
        Sorted; each scan is in one group.
    """
    home: dict[str, set[str]] = {}
    by_key: dict[str, str] = {}
    for name, known in keys.items():
        home[name] = {name}
        for key in known:
            other = home[by_key.setdefault(key, name)]
            if other is not home[name]:
                merged = other | home[name]
                home |= dict.fromkeys(merged, merged)
    return sorted({id(group): sorted(group) for group in home.values()}.values())


def deal(patients: Mapping[str, tuple[Stratum, int]], *, count: int, seed: int) -> dict[str, int]:
    """Deal patients to folds, stratum by stratum.

    Parameters
    ----------
    patients : mapping of str to (Stratum, int)
        The stratum and the number of scans of each patient.
    count : int
        Number of folds.
    seed : int
        Decides which fold a patient gets.

    Returns
    -------
    dict of str to int
        The fold of each patient. Two folds differ by at most one patient, in total and in each stratum.
    """

    def order(patient: str) -> tuple[Stratum, int, bytes]:
        stratum, scans = patients[patient]
        return stratum, -scans, hashlib.sha256(f"{seed} {patient}".encode()).digest()

    return {patient: turn % count for turn, patient in enumerate(sorted(patients, key=order))}


def _keys(
    folder: Path, scans: Mapping[str, records.ScanRecord], table: Path | None, sources: Sequence[Path]
) -> tuple[dict[str, set[str]], dict[str, str]]:
    """What identifies the patient of each scan, and its public case; the case is empty where there is none.

    A case, a patient of the table and a PatientID are the same if they have the same text.
    """
    origins = scans_index.read_origins(folder)
    public = _with_hashes(PATIENTS)
    cases = {name: (name in origins and origins[name].case) or public.get(scans[name].series_uid, "") for name in scans}
    listed = {} if table is None else _with_hashes(read_patients(table))
    in_table = {name: listed.get(one.series_uid) or listed.get(name, "") for name, one in scans.items()}
    if table is not None and not any(in_table.values()):
        do = "give the series UIDs or the ids of the scans"
        raise AnnotationError("no row belongs to a scan of the run", where=table, do=do, code="no-row-fits")
    in_headers: dict[str, str] = {}
    for source in sources:
        found = _with_hashes(read_patient_ids(source))
        if not any(one.series_uid in found for one in scans.values()):
            raise InputError("holds no series of the run", where=source, do="give the folder of the series")
        in_headers |= found
    keys = {name: {cases[name], in_table[name], in_headers.get(one.series_uid, "")} for name, one in scans.items()}
    for name, one in scans.items():  # the same series twice; a name that is no UID, such as ct, says nothing
        keys[name] |= {one.series_uid} if is_uid(one.series_uid) else set()
    return {name: known - {""} for name, known in keys.items()}, cases


def _with_hashes(by_uid: Mapping[str, str]) -> dict[str, str]:
    """The same, also under the hashes of the series UIDs: a recipe may hide the UIDs of its scans."""
    return {**by_uid, **{hashed_uid(uid): value for uid, value in by_uid.items() if is_uid(uid)}}


def _values(
    folder: Path, scans: Mapping[str, records.ScanRecord], stratify: str
) -> tuple[str, dict[str, tuple[bool, Label]]]:
    """The rule that is used for strata, and the value of each scan."""
    labels = {name for scan in scans.values() for name in scan.labels}
    if stratify == AUTO:
        annotated = NODULES if any(map(records.is_annotated, scans.values())) else NONE
        stratify = _DIAGNOSIS if _DIAGNOSIS in labels else annotated
    if stratify == NONE:
        return stratify, dict.fromkeys(scans, (True, "all"))
    if stratify == NODULES:
        return stratify, {name: (True, _search(scan)) for name, scan in scans.items()}
    if stratify not in labels:
        what = f"no scan has the label {stratify!r}"
        known = ", ".join(sorted({NODULES, NONE, *labels}))
        raise InputError(what, where=folder, do=f"stratify by one of {known}", code="option")
    values = {name: scan.labels.get(stratify, "no label") for name, scan in scans.items()}
    return stratify, {name: (isinstance(value, str), value) for name, value in values.items()}


def _search(scan: records.ScanRecord) -> str:
    if not records.is_annotated(scan):
        return "not annotated"
    return "nodules" if scan.nodules else "no nodules"


def _stratum(values: Iterable[tuple[bool, Label]]) -> Stratum:
    return tuple(sorted(set(values)))
