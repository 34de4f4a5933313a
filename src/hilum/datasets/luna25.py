"""LUNA25: ``luna25_images`` with MetaImage scans called by their series UIDs, and a csv of nodules with malignancy.

Source: https://luna25.grand-challenge.org/datasets/. The scans are a part of the NLST. The table has points without
sizes; ``label`` is 1 for a malignant nodule. ``luna25_nodule_blocks``, patches of the same scans, are not read.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hilum.datasets import folder
from hilum.datasets.listing import Listing, entries, link_notes, own_output_notes, scan_id_of
from hilum.datasets.table_rows import attach_rows
from hilum.errors import FormatError, HilumError, MissingInputError
from hilum.io import files
from hilum.io.annotations.csv_tables import read_header, read_rows
from hilum.io.annotations.known_tables import recognize_table
from hilum.io.folders import list_folder
from hilum.io.names import is_uid
from hilum.io.unreadable import not_downloaded, unreadable_folder
from hilum.scan import Label, Note
from hilum.scan_ref import ScanRef

_IMAGES = "luna25_images"
_PATIENT = re.compile(r"[0-9]{6}")  # a participant of the NLST
_DO = "restore it from the download"

load = folder.load


def recognize(root: Path) -> bool:
    """Whether a folder holds ``luna25_images``, or scans called by series UIDs and the table of LUNA25 near them."""
    folders = [root, *(path for path in entries(root) if path.name.lower().startswith("luna"))]
    images = any(path.suffix.lower() == ".mha" and is_uid(path.stem) for place in folders for path in entries(place))
    named = any(place.resolve().name.lower().startswith(_IMAGES) for place in folders)
    return images and (named or _find_table(root) is not None)


def index(root: Path, annotations: Path | None = None) -> Listing:  # noqa: ARG001 - `survey` reads other tables
    """List the scans with their nodules, without reading voxels, as `hilum.datasets.Dataset.index`.

    Parameters
    ----------
    root : Path
        The folder with ``luna25_images`` and the csv, or the images alone with the csv beside them.
    annotations : Path, optional
        Not used.

    Returns
    -------
    Listing
        Each scan with its nodules as points, ``locations["marks"]``, whose fourth number is 1 for a malignant one.
        ``labels["cancer"]`` is 1 if any of them is malignant, else 0. ``case`` is the participant of the NLST, as
        ``NLST-100012``.

    Raises
    ------
    MissingInputError
        If there is no such folder, or no scan in it.
    AnnotationError, InputError
        If the table cannot be read.
    """
    if not files.path_exists(root) or not root.is_dir():
        raise MissingInputError("there is no such folder", where=root, do=f"give the folder that holds {_IMAGES}")
    tree = list_folder(root)
    found: dict[str, Path] = {}
    refs: list[ScanRef] = []
    refused: list[HilumError] = [unreadable_folder(root / name) for name in tree.locked]
    refused += [not_downloaded(root / name, [name]) for name in tree.dangling if name.lower().endswith(".mha")]
    for path in (root / name for name in tree.files if name.lower().endswith(".mha")):
        if not is_uid(path.stem):
            what = "is not named by its series UID, which the table refers to"
            refused.append(FormatError(what, where=path, do="give it its LUNA25 name back"))
        elif found.setdefault(path.stem, path) is not path:
            what = "this series is there already, in another folder"
            refused.append(FormatError(what, where=path, do="keep one of both", code="series-twice"))
        else:
            refs.append(ScanRef("luna25", scan_id_of(path.stem), path))
    if not refs and not refused:
        raise MissingInputError("has no .mha file", where=root, do=f"give the folder that holds {_IMAGES}")
    notes = [*link_notes(tree), *own_output_notes(root, tree.outputs)]
    if (table := _find_table(root)) is None or not refs:
        what = "the table of LUNA25 is not in the folder or beside it: no scan gets nodules (give --annotations)"
        return Listing(refs, notes=[*notes, Note("no-annotations", what)], refused=refused)
    attached, record, table_notes = attach_rows(refs, table)
    patients, cancer = _read_patients(table)
    refs = []
    for ref in attached:
        uid = ref.path.stem
        given: dict[str, Label] = {"cancer": cancer[uid]} if uid in cancer and ref.known.refusal is None else {}
        refs.append(replace(ref, known=replace(ref.known, labels=given), case=patients.get(uid, "")))
    return Listing(refs, [record], [*notes, *table_notes], refused)


def _find_table(root: Path) -> Path | None:
    """The first csv with the columns of LUNA25 in a folder, in those in it, or beside it."""

    def candidates() -> Iterator[Path]:
        above = root.resolve().parent
        for place in (root, *filter(Path.is_dir, entries(root)), above, *filter(Path.is_dir, entries(above))):
            yield from (path for path in entries(place) if path.suffix.lower() == ".csv" and path.is_file())

    for path in candidates():
        try:
            if recognize_table(path) == "LUNA25":
                return path
        except HilumError:  # no table at all
            continue
    return None


def _read_patients(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """The participant of each series, if the table has them, and whether any of its nodules is malignant."""
    has_patients = "patientid" in (name.lower() for name in read_header(path))
    columns = ("SeriesInstanceUID", "label", *(["PatientID"] if has_patients else []))
    patients: dict[str, str] = {}
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for row in read_rows(path, columns, do=_DO):
        if row.values is not None:
            labels[row.key].add(row.values[1].strip())
            if has_patients and _PATIENT.fullmatch(patient := row.values[2].strip()):
                patients[row.key] = f"NLST-{patient}"
    return patients, {uid: int("1" in found) for uid, found in labels.items() if found <= {"0", "1"}}
