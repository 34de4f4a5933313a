"""LUNA16: ``subset0`` to ``subset9`` of MetaImage scans named by series UID, and csv tables of nodules and candidates.

The tables are read once, when the scans are listed; each scan's `ScanRef` carries what they say of it.

Source: https://luna16.grand-challenge.org/Data/ and A. Setio et al., Medical Image Analysis 42, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hilum.datasets.folder import scan_id_of
from hilum.datasets.listing import Listing
from hilum.datasets.luna16_files import SUBSET, Files, find_files, looks_like_luna16
from hilum.datasets.luna16_patients import PATIENTS, read_patients, whole_folds
from hilum.datasets.rows import lost_rows, table_record
from hilum.errors import AnnotationError, HilumError, InputError, MissingInputError
from hilum.io import check_is_ct, read
from hilum.io.annotations.luna import duplicate_notes, read_series_rows
from hilum.io.files import is_there
from hilum.io.names import safe_name
from hilum.io.uids import is_uid
from hilum.io.unreadable import not_downloaded, unreadable_folder
from hilum.outputs.reasons import reason_without_names
from hilum.scan import DatasetEntry, Note, Scan, ScanRef
from hilum.volume import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.annotations.luna import Kind, SeriesRows
    from hilum.outputs.records import TableRecord
    from hilum.scan import Label

_LUNG_LABELS = (3, 4)
"""What the masks of seg-lungs-LUNA16 call the two lungs; 5 is the trachea."""


@dataclass(frozen=True)
class _Tables:
    """The tables of the data set, by kind; a kind whose file is not there has none."""

    rows: Mapping[Kind, dict[str, SeriesRows]]
    paths: Mapping[Kind, Path]
    patients: Mapping[str, str] = field(default_factory=dict)


def recognize(root: Path) -> bool:
    """Whether a path has the shape of LUNA16: subset folders that hold .mhd files, or one of them.

    Parameters
    ----------
    root : Path

    Returns
    -------
    bool
    """
    return is_there(root) and root.is_dir() and looks_like_luna16(root)


def index(root: Path, annotations: Path | None = None) -> Listing:
    """List the scans of LUNA16, or of some of its subsets, without reading a voxel.

    Parameters
    ----------
    root : Path
        The folder that holds ``subset0``, ``subset1``, ...; or one of them; or scans without such folders, which then
        have no fold. Tables and lung masks may lie in it, in a subfolder, or beside it.
    annotations : Path, optional
        In place of the ``annotations.csv`` in the tree.

    Returns
    -------
    Listing
        In the order of their paths. Each scan has its nodules, candidates, excluded findings, ``fold`` (the number
        of its subset) and ``patient_fold`` (the same, but one for all scans of a patient). A file that cannot be
        used (no series UID for a name, a series that is there twice, a wrong row) is listed with its refusal.

    Raises
    ------
    MissingInputError
        If there is no such folder, or no scan in it.
    AnnotationError, InputError
        If a table is none: empty, not UTF-8, without its columns.
    """
    if not is_there(root) or not root.is_dir():
        raise MissingInputError("there is no such folder", where=root, do="give the folder that holds subset0")
    files = find_files(root)
    if not files.scans:
        raise MissingInputError("holds no .mhd file", where=root, do="give the folder that holds subset0, subset1, ...")
    tables, notes = _read_tables(files, annotations)
    folds = {path: fold for path in files.scans if (fold := _fold(root, path)) is not None}
    groups = whole_folds({path.stem: fold for path, fold in folds.items()}, {**PATIENTS, **tables.patients})
    first: dict[str, Path] = {}
    absent = {root / name for name in files.tree.dangling}
    refs = []
    for path in files.scans:
        uid = path.stem
        labels: dict[str, Label] = {}
        if path in folds:
            labels = {"fold": folds[path], "patient_fold": groups.folds[uid]}
        known = _known(uid, tables, labels, files.lungs.get(uid))
        twin = first.setdefault(uid, path)
        if twin != path:
            what = f"this series is there already, in {safe_name(twin.parent.name) or 'another folder'}"
            known = replace(known, refusal=InputError(what, where=path, do="keep one of both", code="series-twice"))
        elif path in absent:
            known = replace(known, refusal=not_downloaded(path, [path.name]))
        elif not is_uid(uid):
            what = "is not named by its series UID, so that no row can be found for it"
            known = replace(known, refusal=AnnotationError(what, where=path, do="give it LUNA16's name back"))
        tag = uid if twin == path and is_uid(uid) else str(path.relative_to(root))
        refs.append(ScanRef("luna16", scan_id_of(tag), path, uid if is_uid(uid) else "", None, known))
    records = [
        table_record(
            safe_name(tables.paths[kind].name) or kind,
            rows,
            first,
            [uid for uid in first if uid not in rows and is_uid(uid)],
        )
        for kind, rows in tables.rows.items()
    ]
    if annotations is not None and not any(uid in rows for rows in tables.rows.values() for uid in first):
        what = f"no row is of any of the {len(first)} scans"
        do = "give the table of these scans, or leave --annotations out"
        raise AnnotationError(what, where=annotations, do=do, code="no-row-fits")
    locked = [unreadable_folder(root / name) for name in files.tree.locked]
    return Listing(refs, records, [*files.notes, *notes, *groups.notes, *_balance(records, len(first))], list(locked))


def load(ref: ScanRef, *, max_gap_mm: float | None = None) -> Scan:  # noqa: ARG001 - a volume file has no gaps
    """Load a scan that `index` listed.

    Parameters
    ----------
    ref : ScanRef
    max_gap_mm : float, optional
        Not used: a volume file has no gaps.

    Returns
    -------
    Scan
        With its nodules, labels and locations; ``lungs`` where the data set has a mask of them on the scan's grid.

    Raises
    ------
    InputError
        What was found wrong when the scan was listed, or as `hilum.read` does.
    """
    known = ref.known or DatasetEntry()
    if known.refusal is not None:
        raise known.refusal
    scan = check_is_ct(read(ref.path), ref.path)
    if scan.series_uid != ref.series_uid:
        what = "the header names another series than the file"
        raise AnnotationError(what, where=ref.path, do="give the file its own name back")
    lungs, notes = _read_lungs(known.lungs, scan)
    return replace(
        scan,
        nodules=known.nodules,
        annotated=known.annotated,
        labels=known.labels,
        locations=known.locations,
        lungs=lungs,
        notes=(*scan.notes, *known.notes, *notes),
    )


def _fold(root: Path, path: Path) -> int | None:
    """The number of the nearest subset folder that holds a file."""
    names = [root.resolve().name, *path.relative_to(root).parent.parts]
    found = [match for name in reversed(names) if (match := SUBSET.fullmatch(name))]
    return int(found[0][1]) if found else None


def _read_tables(files: Files, annotations: Path | None) -> tuple[_Tables, list[Note]]:
    paths: dict[Kind, Path] = {}
    if annotations is not None or "annotations" in files.tables:
        paths["annotations"] = annotations or files.tables["annotations"]
    others: tuple[Kind, ...] = ("candidates", "excluded")
    paths |= {kind: files.tables[kind] for kind in others if kind in files.tables}
    rows = {kind: read_series_rows(path, kind) for kind, path in paths.items()}
    patients = read_patients(files.tables["patients"]) if "patients" in files.tables else {}
    notes = []
    if "annotations" not in paths:
        what = "there is no annotations.csv in the folder: no scan gets nodules (give --annotations)"
        notes.append(Note("no-annotations", what))
    return _Tables(rows, paths, patients), notes


def _known(uid: str, tables: _Tables, labels: dict[str, Label], lungs: Path | None) -> DatasetEntry:
    """What the tables say of one series; the first wrong row refuses it."""
    mine = {kind: rows[uid] for kind, rows in tables.rows.items() if uid in rows}
    refusals = [found.refusal for found in mine.values() if found.refusal is not None]
    annotated = "annotations" in tables.rows
    if refusals:
        return DatasetEntry(annotated=annotated, labels=labels, refusal=refusals[0])
    empty: NDArray[np.float64] = np.empty((0, 4))
    locations: dict[str, NDArray[np.float64]] = {
        kind: mine[kind].values if kind in mine else empty for kind in tables.rows if kind != "annotations"
    }
    found = mine.get("annotations")
    return DatasetEntry(
        annotated=annotated,
        nodules=found.nodules() if found else (),
        labels=labels,
        locations=locations,
        lungs=lungs,
        notes=duplicate_notes(found) if found else (),
    )


def _balance(records: list[TableRecord], scans: int) -> list[Note]:
    notes = []
    for table in records:
        notes += lost_rows(table)
        if table.scans_without_rows:
            what = f"{len(table.scans_without_rows)} of {scans} scans have no row"
            notes.append(Note("scans-without-rows", f"{table.name}: {what}; dataset.json names them"))
    return notes


def _read_lungs(path: Path | None, scan: Scan) -> tuple[Mask | None, tuple[Note, ...]]:
    """The lungs that come with the data set, if they lie on the scan's grid."""
    if path is None:
        return None, ()
    from hilum.io.volumes.metaimage import read_metaimage_volume

    try:
        given = read_metaimage_volume(path)
    except HilumError as refusal:
        why = reason_without_names(refusal, path=path)
        return None, (Note("given-lungs", f"the lung mask of the data set was left out: {why}"),)
    if not given.geometry.isclose(scan.ct.geometry, tolerance=0.01):
        return None, (Note("given-lungs", "the lung mask of the data set lies on another grid and was left out"),)
    return Mask(np.isin(given.array, _LUNG_LABELS).astype(np.uint8), scan.ct.geometry), ()
