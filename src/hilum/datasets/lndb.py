"""LNDb: MetaImage scans, a mask of findings for each reader, and csv tables of findings, folds and follow-up.

Source: https://lndb.grand-challenge.org/Data/ and https://zenodo.org/records/6613714: ``data0`` to ``data5`` with
``LNDb-0001.mhd``, ``masks`` with ``LNDb-0001_rad1.mhd``, and ``trainset_csv``. The voxels of a mask are the numbers of
the reader's findings in ``trainNodules.csv``.
"""

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from hilum.datasets import folder
from hilum.datasets.listing import Listing, entries, link_notes, own_output_notes
from hilum.datasets.table_rows import attach_rows
from hilum.errors import AnnotationError, FormatError, HilumError, MissingInputError
from hilum.io import files
from hilum.io.annotations.csv_tables import read_header, read_rows, wrong_line
from hilum.io.annotations.luna import MATCHED_BY_NAME
from hilum.io.folders import list_folder
from hilum.io.names import safe_name
from hilum.io.unreadable import not_downloaded, unreadable_folder
from hilum.outputs.records import TableRecord
from hilum.scan import Label, Note
from hilum.scan_ref import DatasetEntry, LabelFile, ScanRef

_SCAN = re.compile(r"LNDb-[0-9]{4}\.mh[ad]")
_MASK = re.compile(r"LNDb-?([0-9]{4})_rad([0-9]{1,2})\.mh[ad]")
_FOLDER = re.compile(r"(?i)data_?[0-9]?|lndb.*")
_NUMBER = re.compile(r"(?:LNDb-?)?0*([0-9]{1,4})")
_NODULES, _FOLDS, _FOLLOW_UP, _READ = "trainNodules_gt.csv", "trainFolds.csv", "trainFleischner.csv", "trainCTs.csv"
_DO = "restore it from the download"

load = folder.load


def recognize(root: Path) -> bool:
    """Whether a folder, or ``data0``, ... in it, holds scans called ``LNDb-0001.mhd``."""
    folders = [root, *(path for path in entries(root) if _FOLDER.fullmatch(path.name))]
    return any(_SCAN.fullmatch(path.name) for place in folders for path in entries(place))


def index(root: Path, annotations: Path | None = None) -> Listing:  # noqa: ARG001 - `survey` reads other tables
    """List the scans with their findings, masks and labels, without reading voxels, as `hilum.datasets.Dataset.index`.

    Parameters
    ----------
    root : Path
        The folder with ``data0``, ``masks`` and ``trainset_csv``, in any depth; or scans alone.
    annotations : Path, optional
        Not used.

    Returns
    -------
    Listing
        Each scan by its public name. It has the findings of ``trainNodules_gt.csv`` as `hilum.io.annotations.tables`
        reads them, a label map ``rad1``, ``rad2``, ... for the mask of each reader, and the labels ``fold``
        (``trainFolds.csv``) and ``fleischner`` (``trainFleischner.csv``). A scan of ``trainCTs.csv`` without a finding
        was read, and has none.

    Raises
    ------
    MissingInputError
        If there is no such folder, or no scan in it.
    AnnotationError, InputError
        If a table cannot be read.
    """
    if not files.path_exists(root) or not root.is_dir():
        raise MissingInputError("there is no such folder", where=root, do="give the folder that holds data0")
    tree = list_folder(root)
    paths = [root / name for name in tree.files]
    masks: defaultdict[str, list[LabelFile]] = defaultdict(list)
    for path in paths:
        if match := _MASK.fullmatch(path.name):
            masks[f"LNDb-{match[1]}"].append(LabelFile(path, "map", f"rad{int(match[2])}"))
    tables = {
        path.name: path for path in reversed(paths) if path.suffix.lower() == ".csv"
    }  # the first of a name counts
    labels = _read_labels(tables)
    found: dict[str, Path] = {}
    refs: list[ScanRef] = []
    refused: list[HilumError] = [unreadable_folder(root / name) for name in tree.locked]
    refused += [not_downloaded(root / name, [name]) for name in tree.dangling if _SCAN.fullmatch(Path(name).name)]
    for path in (path for path in paths if _SCAN.fullmatch(path.name)):
        case = path.stem
        if (twin := found.setdefault(case, path)) is not path:
            what = f"{case} is there already, in {safe_name(twin.parent.name) or 'another folder'}"
            refused.append(FormatError(what, where=path, do="keep one of both", code="series-twice"))
            continue
        maps = tuple(sorted(masks.pop(case, []), key=lambda file: file.name))
        known = DatasetEntry(labels=labels.get(case, {}))
        refs.append(ScanRef("lndb", case, path, known=known, case=case, label_files=maps))
    if not refs and not refused:
        raise MissingInputError("has no LNDb-0001.mhd", where=root, do="give the folder that holds data0")
    notes = [*link_notes(tree), *own_output_notes(root, tree.outputs)]
    if masks:
        what = f"{sum(map(len, masks.values()))} masks of readers belong to no scan: left out"
        notes.append(Note("labels-without-scan", what))
    if without := sum(not ref.label_files for ref in refs):
        notes.append(Note("scans-without-labels", f"{without} of {len(refs)} scans have no mask of a reader"))
    refs, records, table_notes = _with_findings(refs, tables)
    return Listing(refs, records, [*notes, *table_notes], refused)


def _with_findings(refs: list[ScanRef], tables: dict[str, Path]) -> tuple[list[ScanRef], list[TableRecord], list[Note]]:
    """Give the scans the findings of the merged table, if it is there."""
    if _NODULES not in tables or not refs:
        what = f"there is no {_NODULES}: no scan gets nodules (give --annotations)"
        return refs, [], [Note("no-annotations", what)]
    attached, record, all_notes = attach_rows(refs, tables[_NODULES])
    notes = [note for note in all_notes if note.code not in {MATCHED_BY_NAME.code, "scans-without-rows"}]
    read = set(_rows(tables[_READ], "RadN")) if _READ in tables else set()
    given = []
    for ref in attached:
        known = replace(ref.known, notes=tuple(note for note in ref.known.notes if note != MATCHED_BY_NAME))
        if not known.annotated and ref.scan_id in read:
            known = replace(known, annotated=True)
        given.append(replace(ref, known=known))
    if unread := sum(not ref.known.annotated for ref in given):
        what = f"{unread} of {len(given)} scans are neither in {_NODULES} nor in {_READ}: they stay without annotations"
        notes.append(Note("scans-without-rows", what))
    return given, [record], notes


def _read_labels(tables: dict[str, Path]) -> dict[str, dict[str, Label]]:
    """The fold and the follow-up of each scan."""
    labels: defaultdict[str, dict[str, Label]] = defaultdict(dict)
    if _FOLDS in tables:
        for case, fold in _read_folds(tables[_FOLDS]).items():
            labels[case]["fold"] = fold
    if _FOLLOW_UP in tables:
        for case, text in _rows(tables[_FOLLOW_UP], "Fleischner").items():
            if text not in {"0", "1", "2", "3"}:
                what = f"the follow-up of {case} is not 0, 1, 2 or 3"
                raise AnnotationError(what, where=tables[_FOLLOW_UP], do=_DO)
            labels[case]["fleischner"] = int(text)
    return labels


def _rows(path: Path, column: str) -> dict[str, str]:
    """A column of a table by the scan."""
    values: dict[str, str] = {}
    for row in read_rows(path, ("LNDbID", column), do=_DO):
        if row.values is None:
            raise wrong_line(path, row.line, row.what)
        values[_case(row.key, path, row.line)] = row.values[1].strip()
    return values


def _read_folds(path: Path) -> dict[str, int]:
    """The fold of each scan: the number of the column that lists it, from 0."""
    head = read_header(path)
    lines = [(1, head)] if all(map(_NUMBER.fullmatch, head)) else []  # without names of columns
    for row in read_rows(path, head, do=_DO):
        if row.values is None:
            raise wrong_line(path, row.line, row.what)
        lines.append((row.line, list(row.values)))
    folds: dict[str, int] = {}
    for line, cells in lines:
        for fold, cell in enumerate(cells):
            if cell.strip() and folds.setdefault(case := _case(cell, path, line), fold) != fold:
                raise wrong_line(path, line, f"{case} is in two folds")
    return folds


def _case(text: str, path: Path, line: int) -> str:
    if (match := _NUMBER.fullmatch(text.strip().removesuffix(".0"))) is None:
        raise wrong_line(path, line, "expected the number of a scan")
    return f"LNDb-{int(match[1]):04d}"
