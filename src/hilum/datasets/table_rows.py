"""Nodule tables for scans of any data set: which case of the table is which scan, and what it says about it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hilum.datasets.listing import public_series, series_uid_of, table_record, unused_rows_notes
from hilum.errors import AnnotationError, one_line
from hilum.io import scan_files
from hilum.io.annotations import tables
from hilum.io.annotations.luna import MATCHED_BY_NAME, SeriesRows, duplicate_notes, read_series_rows
from hilum.io.annotations.table_rows import TableColumns
from hilum.io.names import safe_name
from hilum.outputs.records import TableRecord
from hilum.scan import Note
from hilum.scan_ref import DatasetEntry, ScanRef


def attach_rows(
    refs: Sequence[ScanRef], path: Path, columns: TableColumns | None = None
) -> tuple[list[ScanRef], TableRecord, list[Note]]:
    """Attach to each scan the nodules that a table lists for it.

    A row names its scan by series UID. If no row does, the name of the scan's file, of a folder above it or of its
    public case also counts, if no other scan has that name. A scan without a row stays without annotations: its absence
    from the table does not say that it has no nodules.

    Parameters
    ----------
    refs : sequence of ScanRef
        All scans of the run that may have a row.
    path : Path
        The csv, or boxes in .json.
    columns : TableColumns, optional
        How the table is read, if it is not LUNA16's.

    Returns
    -------
    refs : list of ScanRef
        In the same order. Those with rows are annotated by the table alone.
    table : TableRecord
    notes : list of Note

    Raises
    ------
    AnnotationError
        If the file is not such a table, or no row belongs to any scan.
    """
    name = safe_name(path.name) or "annotations"
    index, counts, entry, first_notes = _read_cases(path, columns)
    matches, ambiguous = _match_rows(refs, index)
    if refs and not matches:
        raise _no_row_fits(refs, index, path)
    attached = []
    for number, ref in enumerate(refs):
        known = DatasetEntry()  # the table also replaces a reading beside the scan
        if number in matches:
            found, by_uid = matches[number]
            known = entry(index[found])
            known = replace(known, notes=(*(() if by_uid else (MATCHED_BY_NAME,)), *known.notes))
        before = ref.known
        locations = {**before.locations, **known.locations}
        known = replace(known, labels=before.labels, lungs=before.lungs, locations=locations)
        attached.append(replace(ref, annotations=None, known=known))
    without_rows = [ref.series_uid or ref.scan_id for number, ref in enumerate(refs) if number not in matches]
    used = {index[found] for found, _ in matches.values()}
    table = table_record(name, counts, used, without_rows, public_series)
    notes = _notes(name, table, len(refs), sum(not by_uid for _, by_uid in matches.values()))
    if unclear := ambiguous - used:
        what = f"{len(unclear)} ids of {name} each fit several scans: left out; give series UIDs, or --id-map"
        notes.append(Note("ambiguous-ids", what))
    return attached, table, [*first_notes, *notes]


def _read_cases(
    path: Path, columns: TableColumns | None
) -> tuple[dict[str, str], dict[str, int], Callable[[str], DatasetEntry], list[Note]]:
    """Read a table: the id of each name in it, the number of rows and what is known by id, and notes."""
    if tables.is_plain(path, columns):
        rows = read_series_rows(path, "annotations")
        return {key: key for key in rows}, {key: r.rows for key, r in rows.items()}, lambda k: _luna_entry(rows[k]), []
    table = tables.read_table(path, columns)
    counts = {key: case.rows for key, case in table.cases.items()}
    note = tables.table_note(table, columns, path)
    return table.keys_by_name(), counts, lambda key: table.cases[key].entry(table.axes), [note]


def _luna_entry(rows: SeriesRows) -> DatasetEntry:
    nodules = () if rows.refusal else rows.nodules()
    return DatasetEntry(annotated=True, nodules=nodules, notes=duplicate_notes(rows), refusal=rows.refusal)


def _no_row_fits(refs: Sequence[ScanRef], index: Mapping[str, str], path: Path) -> AnnotationError:
    """Refuse a table of other scans: show the first id of both, so that the reader sees how they differ."""
    if not index:
        return AnnotationError("has no row", where=path, do="give the table of these scans", code="no-row-fits")
    first = one_line(next(iter(index)), limit=64)
    names = [one_line(name, limit=64) for name in (refs[0].series_uid, *_other_names(refs[0])) if name][:3]
    what = f"no row belongs to any of the {len(refs)} scans; the first row names {first!r}, the first scan is "
    what += " or ".join(map(repr, names))
    do = "choose the column of ids with --columns id=..., or pair them with --id-map"
    return AnnotationError(what, where=path, do=do, code="no-row-fits")


def _notes(name: str, table: TableRecord, scans: int, by_name: int) -> list[Note]:
    notes = unused_rows_notes(table)
    if without_rows := len(table.scans_without_rows):
        what = f"{without_rows} of {scans} scans are in no row of {name}: they stay without annotations"
        notes.append(Note("scans-without-rows", what))
    if by_name:
        what = f"{by_name} of {scans} scans match {name} by the name of their file or folder, not by series UID"
        notes.append(Note("matched-by-name", what))
    return notes


def _match_rows(refs: Sequence[ScanRef], index: Mapping[str, str]) -> tuple[dict[int, tuple[str, bool]], set[str]]:
    """The name of each scan in a table, by the scan's number, and whether that is its UID.

    Also the ids of the table that fit several scans; these do not count.
    """
    matches = {n: (uid, True) for n, ref in enumerate(refs) if (uid := series_uid_of(ref, index)) in index}
    used = {index[name] for name, _ in matches.values()}
    names = {number: _other_names(ref) for number, ref in enumerate(refs) if number not in matches}
    ambiguous: set[str] = set()
    for level in range(max(map(len, names.values()), default=0)):
        here = {n: several[level] for n, several in names.items() if level < len(several) and n not in matches}
        counts = Counter(here.values())
        found = {n: name for n, name in here.items() if name in index and index[name] not in used}
        ambiguous |= {index[name] for name in found.values() if counts[name] > 1}
        matches |= {n: (name, False) for n, name in found.items() if counts[name] == 1}
        used |= {index[name] for name, _ in matches.values()}
    return matches, ambiguous


def _other_names(ref: ScanRef) -> tuple[str, ...]:
    """Names of a scan in a table other than its series UID: its file, its folders upward, its case and its id here."""
    folders = [folder.name for folder in ref.path.absolute().parents][:3]
    made = [name for name in (ref.case, ref.scan_id, ref.uid_id) if name]
    return tuple(dict.fromkeys((*scan_files.scan_names(ref.path), *folders, *made)))
