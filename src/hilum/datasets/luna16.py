"""LUNA16: ``subset0`` to ``subset9`` of MetaImage scans named by series UID, and csv tables of nodules and candidates.

The tables are read once, when the scans are listed; each `ScanRef` carries the rows of its scan.

Folds by patient: LUNA16 names its scans by series UID alone. Two of its 888 series are of one patient, LIDC-IDRI-0332,
according to the metadata of LIDC-IDRI (https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX), and are in different subsets.

Source: https://luna16.grand-challenge.org/Data/ and A. Setio et al., Medical Image Analysis 42, 2017.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.datasets import luna16_files
from hilum.datasets.listing import Listing, known_of, rows_record, scan_id_of, unused_rows_notes
from hilum.errors import AnnotationError, HilumError, InputError, MissingInputError
from hilum.io import scan_files, unreadable
from hilum.io.annotations import csv_tables, luna
from hilum.io.annotations.table_rows import give_marks
from hilum.io.files import path_exists
from hilum.io.names import is_uid, safe_name
from hilum.io.read_options import DEFAULT, ReadOptions
from hilum.outputs.reasons import reason_without_names
from hilum.outputs.records import TableRecord
from hilum.scan import BOTH_LUNGS, Label, Note, Scan
from hilum.scan_ref import DatasetEntry, ScanRef
from hilum.volume import Mask

PATIENTS: Mapping[str, str] = {
    "1.3.6.1.4.1.14519.5.2.1.6279.6001.159996104466052855396410079250": "LIDC-IDRI-0332",
    "1.3.6.1.4.1.14519.5.2.1.6279.6001.316900421002460665752357657094": "LIDC-IDRI-0332",
}

_PUBLIC = re.compile(r"LIDC-IDRI-\d{4}")

_ALIASES = dict.fromkeys(("series_uid", "series uid", "seriesinstanceuid"), "seriesuid")
_ALIASES |= dict.fromkeys(("patientid", "patient id", "subject id"), "patient_id")

_SCAN_TABLES: tuple[luna.TableKind, ...] = ("annotations", "candidates", "excluded")


def index(root: Path, annotations: Path | None = None) -> Listing:
    """List the scans of LUNA16, or of some of its subsets, without reading voxels.

    Parameters
    ----------
    root : Path
        The folder with ``subset0``, ``subset1``, ...; or one of them; or scans without such folders, which then have
        no fold. Tables and lung masks may be in it, in a subfolder, or beside it.
    annotations : Path, optional
        Replaces the ``annotations.csv`` of the data set.

    Returns
    -------
    Listing
        In the order of their paths. Each scan has its nodules, candidates, excluded findings, ``fold`` (the number
        of its subset) and ``patient_fold`` (the same for all scans of a patient). A file that cannot be used (its name
        is not a series UID, its series is there twice, it has an invalid row) is listed with its refusal.

    Raises
    ------
    MissingInputError
        If there is no such folder, or no scan in it.
    AnnotationError, InputError
        If a table cannot be read: empty, not UTF-8, without its columns.
    """
    if not path_exists(root) or not root.is_dir():
        raise MissingInputError("there is no such folder", where=root, do="give the folder that holds subset0")
    if not (files := luna16_files.find_luna16_files(root)).scans:
        raise MissingInputError("has no .mhd file", where=root, do="give the folder that holds subset0, subset1, ...")
    chosen = {**files.tables, **({} if annotations is None else {"annotations": annotations})}
    paths = {kind: chosen[kind] for kind in _SCAN_TABLES if kind in chosen}
    tables = {kind: luna.read_series_rows(path, kind) for kind, path in paths.items()}
    what = "there is no annotations.csv in the folder: no scan gets nodules (give --annotations)"
    notes = [] if "annotations" in paths else [Note("no-annotations", what)]
    folds = {path: fold for path in files.scans if (fold := _fold(root, path)) is not None}
    patients = {**PATIENTS, **(read_patients(files.tables["patients"]) if "patients" in files.tables else {})}
    folds_by_patient, fold_notes = patient_folds({path.stem: fold for path, fold in folds.items()}, patients)
    first: dict[str, Path] = {}
    dangling = {root / name for name in files.tree.dangling}
    refs = []
    for path in files.scans:
        uid = path.stem
        labels: dict[str, Label] = {"fold": folds[path], "patient_fold": folds_by_patient[uid]} if path in folds else {}
        known = _known(uid, tables, labels, files.lungs.get(uid))
        twin = first.setdefault(uid, path)
        if (refusal := _file_refusal(path, twin, dangling)) is not None:
            known = replace(known, refusal=refusal)
        tag = uid if twin == path and is_uid(uid) else str(path.relative_to(root))
        refs.append(ScanRef("luna16", scan_id_of(tag), path, uid if is_uid(uid) else "", None, known))
    records = []
    for kind, rows in tables.items():
        without_rows = [uid for uid in first if uid not in rows and is_uid(uid)]
        records.append(rows_record(safe_name(paths[kind].name) or kind, rows, first, without_rows))
    if annotations is not None and not any(record.rows_of_scans for record in records):
        what = f"no row belongs to any of the {len(first)} scans"
        do = "give the table of these scans, or leave --annotations out"
        raise AnnotationError(what, where=annotations, do=do, code="no-row-fits")
    notes = [*files.notes, *notes, *fold_notes, *_row_notes(records, len(first))]
    return Listing(refs, records, notes, [unreadable.unreadable_folder(root / name) for name in files.tree.locked])


def load(ref: ScanRef, *, options: ReadOptions = DEFAULT) -> Scan:
    """Load a scan with its nodules, labels and locations, as `hilum.datasets.Dataset.load`.

    It has ``lungs`` if the data set has a mask of them on the scan's grid.
    """
    known = known_of(ref)
    scan = scan_files.check_is_ct(scan_files.read(ref.path, **vars(options)), ref.path)
    if scan.series_uid != ref.series_uid:
        what = "the header names another series than the name of the file"
        raise AnnotationError(what, where=ref.path, do="give the file its own name back")
    lungs, notes = _read_lungs(known.lungs, scan)
    scan = give_marks(scan, known)
    return replace(scan, labels=known.labels, lungs=lungs, notes=(*scan.notes, *notes))


def _file_refusal(path: Path, twin: Path, dangling: set[Path]) -> HilumError | None:
    """Why a file cannot be a scan of the data set; `twin` is the first file of its series."""
    if twin != path:
        what = f"this series is there already, in {safe_name(twin.parent.name) or 'another folder'}"
        return InputError(what, where=path, do="keep one of both", code="series-twice")
    if path in dangling:
        return unreadable.not_downloaded(path, [path.name])
    if not is_uid(path.stem):
        what = "is not named by its series UID, which the rows of the tables refer to"
        return AnnotationError(what, where=path, do="give it its LUNA16 name back")
    return None


def _fold(root: Path, path: Path) -> int | None:
    """The number of the nearest subset folder above a file."""
    names = [root.resolve().name, *path.relative_to(root).parent.parts]
    nearest = next((match for name in reversed(names) if (match := luna16_files.SUBSET.fullmatch(name))), None)
    return int(nearest[1]) if nearest else None


def _known(
    uid: str, tables: Mapping[luna.TableKind, dict[str, luna.SeriesRows]], labels: dict[str, Label], lungs: Path | None
) -> DatasetEntry:
    """The rows of one series; the first invalid row refuses it."""
    own = {kind: rows[uid] for kind, rows in tables.items() if uid in rows}
    annotated = "annotations" in tables
    for rows in own.values():
        if rows.refusal is not None:
            return DatasetEntry(annotated=annotated, labels=labels, refusal=rows.refusal)
    empty: NDArray[np.float64] = np.empty((0, 4))
    locations = {str(k): own[k].values if k in own else empty for k in tables if k != "annotations"}
    entry = DatasetEntry(annotated=annotated, labels=labels, locations=locations, lungs=lungs)
    if nodules := own.get("annotations"):
        entry = replace(entry, nodules=nodules.nodules(), notes=luna.duplicate_notes(nodules))
    return entry


def _row_notes(records: list[TableRecord], scans: int) -> list[Note]:
    notes = []
    for table in records:
        notes += unused_rows_notes(table)
        if table.scans_without_rows:
            what = f"{len(table.scans_without_rows)} of {scans} scans have no row"
            notes.append(Note("scans-without-rows", f"{table.name}: {what}; dataset.json lists them"))
    return notes


def _read_lungs(path: Path | None, scan: Scan) -> tuple[Mask | None, tuple[Note, ...]]:
    """The lung mask of the data set, if it is on the scan's grid."""
    if path is None:
        return None, ()
    from hilum.io.volumes.metaimage import read_metaimage

    try:
        mask = read_metaimage(path).to_volume()
    except HilumError as refusal:
        why = reason_without_names(refusal, path=path)
        return None, (Note("given-lungs", f"the lung mask of the data set was left out: {why}"),)
    if not mask.geometry.isclose(scan.ct.geometry, tolerance=0.01):
        return None, (Note("given-lungs", "the lung mask of the data set was left out: it is on another grid"),)
    lungs = np.isin(mask.array, (3, 4))  # the labels of the two lungs in seg-lungs-LUNA16; 5 is the trachea
    return Mask(lungs, scan.ct.geometry, BOTH_LUNGS), ()


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
    rows = csv_tables.read_rows(path, ("seriesuid", "patient_id"), do=do, aliases=_ALIASES)
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
