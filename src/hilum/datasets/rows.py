"""Which rows of a table belong to which scan, where the table does not come with the data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from hilum.errors import AnnotationError, MissingInputError, UnsupportedError, one_line
from hilum.io import header_uid, is_volume, scan_names, suffix_of
from hilum.io.annotations.luna import duplicate_notes, matched_notes, read_series_rows
from hilum.io.names import safe_name
from hilum.io.uids import is_uid
from hilum.outputs.records import TableRecord
from hilum.scan import DatasetEntry, Note, ScanRef

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from hilum.io.annotations.luna import SeriesRows


def check_annotations(path: Path) -> None:
    """Refuse a path that can be no annotations, before any work is done.

    Parameters
    ----------
    path : Path

    Raises
    ------
    MissingInputError
        If there is no such file or folder.
    UnsupportedError
        If it is a file of another kind.
    """
    if not path.exists():
        raise MissingInputError("there is no such annotation file", where=path, do="check the path of --annotations")
    if not path.is_dir() and suffix_of(path) not in {".csv", ".xml"}:
        what = "annotations are read from a LUNA16 .csv or a LIDC-IDRI .xml"
        raise UnsupportedError(what, where=path, do="give one of them")


def give_rows(refs: Sequence[ScanRef], path: Path) -> tuple[list[ScanRef], TableRecord, list[Note]]:
    """Give each scan the nodules that a LUNA16 csv lists for it.

    A scan is known to the table by its series UID; where no row has that, by the name of its file or of a folder in
    which it lies, if that name is no other scan's. A scan without a row stays without annotations: that the table
    does not name it is no knowledge.

    Parameters
    ----------
    refs : sequence of ScanRef
        All scans of the run that may have a row.
    path : Path
        The csv.

    Returns
    -------
    refs : list of ScanRef
        In their order; those with rows are annotated, and none by anything but the table.
    table : TableRecord
    notes : list of Note

    Raises
    ------
    AnnotationError
        If the file is no such table, or no row of it fits any scan.
    """
    rows = read_series_rows(path, "annotations")
    keys = _match(refs, rows)
    if refs and not keys:
        named = one_line(next(iter(rows), ""), limit=64)
        what = f"no row is of any of the {len(refs)} scans; the first names {named!r}" if rows else "has no row"
        do = "name the scans as the table does, or leave --annotations out"
        raise AnnotationError(what, where=path, do=do, code="no-row-fits")
    given = []
    for number, ref in enumerate(refs):
        key, by_uid = keys.get(number, ("", True))
        found = rows.get(key)
        known = None  # what else was known, such as a reading beside the scan, is what the table stands in place of
        if found is not None:
            notes = (*(() if by_uid else matched_notes()), *duplicate_notes(found))
            nodules = () if found.refusal else found.nodules()
            known = DatasetEntry(annotated=True, nodules=nodules, notes=notes, refusal=found.refusal)
        given.append(replace(ref, annotations=None, known=known))
    used = {key for key, _ in keys.values()}
    lacking = [ref for number, ref in enumerate(refs) if number not in keys]
    name = safe_name(path.name) or "annotations"
    table = table_record(name, rows, used, [ref.series_uid or ref.scan_id for ref in lacking])
    return given, table, _notes(name, table, len(refs), sum(not by_uid for _, by_uid in keys.values()))


def table_record(
    name: str, rows: Mapping[str, SeriesRows], used: Collection[str], lacking: Sequence[str]
) -> TableRecord:
    """Count the rows of one table; what is no UID is counted under one name, for it could be anything.

    Parameters
    ----------
    name : str
        Of the file.
    rows : mapping of str to SeriesRows
    used : collection of str
        The names in it that are of scans.
    lacking : sequence of str
        The scans without a row.

    Returns
    -------
    TableRecord
    """
    lost: dict[str, int] = {}
    for uid, found in rows.items():
        if uid not in used:
            shown = uid if is_uid(uid) else "(no series UID)"
            lost[shown] = lost.get(shown, 0) + found.rows
    total = sum(found.rows for found in rows.values())
    return TableRecord(
        name=name,
        rows=total,
        rows_of_scans=total - sum(lost.values()),
        rows_without_scan=sum(lost.values()),
        series_without_scan=dict(sorted(lost.items())),
        scans_without_rows=sorted(lacking),
    )


def lost_rows(table: TableRecord) -> list[Note]:
    """Say how many rows of a table belong to no scan that is there.

    Parameters
    ----------
    table : TableRecord

    Returns
    -------
    list of Note
        Code ``"rows-without-scan"``; empty where all do.
    """
    if not table.rows_without_scan:
        return []
    what = f"{table.rows_without_scan} of {table.rows} rows are of {len(table.series_without_scan)} series"
    return [Note("rows-without-scan", f"{table.name}: {what} that are not here; dataset.json names them")]


def _notes(name: str, table: TableRecord, scans: int, by_name: int) -> list[Note]:
    notes = lost_rows(table)
    if lacking := len(table.scans_without_rows):
        what = f"{lacking} of {scans} scans are in no row of {name}: they stay without annotations"
        notes.append(Note("scans-without-rows", what))
    if by_name:
        what = f"{by_name} of {scans} scans were found in {name} by the name of their file or folder, not by series UID"
        notes.append(Note("matched-by-name", what))
    return notes


def _match(refs: Sequence[ScanRef], rows: Mapping[str, SeriesRows]) -> dict[int, tuple[str, bool]]:
    """The name that a table has for each scan, and whether it is its series UID; what fits several fits none."""
    found: dict[int, tuple[str, bool]] = {}
    for number, ref in enumerate(refs):
        uid = _uid(ref, rows)
        if uid in rows:
            found[number] = uid, True
    taken = {key for key, _ in found.values()}
    names = {number: _names(ref) for number, ref in enumerate(refs) if number not in found}
    for level in range(max(map(len, names.values()), default=0)):
        here = {n: several[level] for n, several in names.items() if level < len(several) and n not in found}
        times = Counter(here.values())
        for number, name in here.items():
            if name in rows and name not in taken and times[name] == 1:
                found[number] = name, False
        taken |= {key for key, _ in found.values()}
    return found


def _uid(ref: ScanRef, rows: Mapping[str, SeriesRows]) -> str:
    """The series UID of a listed scan; a volume file's header is asked only where its name does not tell."""
    if ref.series_uid or not is_volume(ref.path):
        return ref.series_uid
    stem = scan_names(ref.path)[0]
    if is_uid(stem) and stem in rows:
        return stem
    return header_uid(ref.path)


def _names(ref: ScanRef) -> tuple[str, ...]:
    """What else a table may call a scan, the nearest name first."""
    above = [folder.name for folder in ref.path.absolute().parents][:3]
    return tuple(dict.fromkeys((*scan_names(ref.path), *above)))
