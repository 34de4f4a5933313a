"""The scans of a data set as its adapter lists them, and the rows of csv tables that belong to them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hilum.errors import AnnotationError, HilumError, MissingInputError, UnsupportedError, one_line
from hilum.io import scan_files
from hilum.io.annotations.luna import MATCHED_BY_NAME, SeriesRows, duplicate_notes, read_series_rows
from hilum.io.folders import FolderListing
from hilum.io.names import is_uid, safe_name
from hilum.io.volumes.formats import header_uid, is_volume, suffix_of
from hilum.outputs.records import TableRecord
from hilum.scan import DatasetEntry, Note, ScanRef

_NAMED = 5  # outputs that are named; more are counted


@dataclass(frozen=True)
class Listing:
    """The scans of a data set.

    Parameters
    ----------
    refs : list of ScanRef
        In a fixed order, with unique ids.
    tables : list of TableRecord
        One for each csv read: counts and names of rows without a scan and scans without rows.
    notes : list of Note
        On the data set, not on a scan.
    refused : list of HilumError
        One for each folder or file that should be a scan but cannot be read; its ``where`` is the folder or file.
    region_files : list of Path
        DICOM structure sets and segmentations.
    """

    refs: list[ScanRef]
    tables: list[TableRecord] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    refused: list[HilumError] = field(default_factory=list)
    region_files: list[Path] = field(default_factory=list)


def known_of(ref: ScanRef) -> DatasetEntry:
    """What was known of a scan when it was listed.

    Raises
    ------
    HilumError
        The refusal, if the scan was listed with one.
    """
    if ref.known.refusal is not None:
        raise ref.known.refusal
    return ref.known


def link_notes(tree: FolderListing) -> list[Note]:
    """Report the links that were not followed.

    Returns
    -------
    list of Note
        Code ``"ignored-links"``; empty if there is none.
    """
    text = f"{len(tree.repeated)} linked folders lead to folders that are searched anyway: not searched twice"
    return [Note("ignored-links", text)] if tree.repeated else []


def own_output_notes(root: Path, outputs: Sequence[str]) -> list[Note]:
    """Report the folders that were not searched because hilum wrote them.

    Parameters
    ----------
    root : Path
    outputs : sequence of str
        Relative to it.

    Returns
    -------
    list of Note
        Code ``"own-output"``. The first few are named, the others counted.
    """
    notes = []
    for name in outputs[:_NAMED]:
        what = "is an output of hilum: left out"
        notes.append(Note("own-output", f"{safe_name(name) or 'a folder'} {what}", f"{root.name}/{name} {what}"))
    if len(outputs) > _NAMED:
        notes.append(Note("own-output", f"{len(outputs) - _NAMED} more outputs of hilum: left out"))
    return notes


def entries(folder: Path) -> list[Path]:
    """List a folder without hidden entries, sorted; empty if it cannot be opened."""
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return []


def table_record(
    name: str, rows: Mapping[str, int], used: Container[str], without_rows: Iterable[str], public: Callable[[str], str]
) -> TableRecord:
    """Count the rows of a csv that belong to scans and those that do not.

    Parameters
    ----------
    name : str
        Of the file.
    rows : mapping of str to int
        Number of rows by the scan or patient that they name.
    used : container of str
        The names that belong to scans.
    without_rows : iterable of str
        The scans without rows.
    public : callable
        From a name in the table to one that may be shown.
    """
    unused: dict[str, int] = {}
    for key, count in rows.items():
        if key not in used:
            unused[public(key)] = unused.get(public(key), 0) + count
    total, rows_without_scan = sum(rows.values()), sum(unused.values())
    return TableRecord(
        name=name,
        rows=total,
        rows_of_scans=total - rows_without_scan,
        rows_without_scan=rows_without_scan,
        series_without_scan=dict(sorted(unused.items())),
        scans_without_rows=sorted(without_rows),
    )


def check_annotations(path: Path) -> None:
    """Refuse a path that cannot be annotations, before any work is done.

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


def attach_rows(refs: Sequence[ScanRef], path: Path) -> tuple[list[ScanRef], TableRecord, list[Note]]:
    """Attach to each scan the nodules that a LUNA16 csv lists for it.

    A row names its scan by series UID. If no row does, the name of the scan's file or of a folder above it also counts,
    if no other scan has that name. A scan without a row stays without annotations: its absence from the table does not
    say that it has no nodules.

    Parameters
    ----------
    refs : sequence of ScanRef
        All scans of the run that may have a row.
    path : Path
        The csv.

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
    rows = read_series_rows(path, "annotations")
    matches = _match_rows(refs, rows)
    if refs and not matches:
        first = one_line(next(iter(rows), ""), limit=64)
        what = f"no row belongs to any of the {len(refs)} scans; the first row names {first!r}"
        do = "name the scans as the table does, or leave --annotations out"
        raise AnnotationError(what if rows else "has no row", where=path, do=do, code="no-row-fits")
    attached = []
    for number, ref in enumerate(refs):
        known = DatasetEntry()  # the table also replaces a reading beside the scan
        if number in matches:
            key, by_uid = matches[number]
            notes = (*(() if by_uid else (MATCHED_BY_NAME,)), *duplicate_notes(rows[key]))
            nodules = () if rows[key].refusal else rows[key].nodules()
            known = DatasetEntry(annotated=True, nodules=nodules, notes=notes, refusal=rows[key].refusal)
        attached.append(replace(ref, annotations=None, known=known))
    without_rows = [ref.series_uid or ref.scan_id for number, ref in enumerate(refs) if number not in matches]
    name = safe_name(path.name) or "annotations"
    table = rows_record(name, rows, {key for key, _ in matches.values()}, without_rows)
    return attached, table, _notes(name, table, len(refs), sum(not by_uid for _, by_uid in matches.values()))


def rows_record(name: str, rows: Mapping[str, SeriesRows], used: Container[str], missed: Sequence[str]) -> TableRecord:
    """Count the rows of a table of series; names that are not UIDs are counted together, since they could be anything.

    Parameters
    ----------
    name : str
        Of the file.
    rows : mapping of str to SeriesRows
    used : container of str
        The names in it that belong to scans.
    missed : sequence of str
        The scans without rows.
    """
    counts = {key: series.rows for key, series in rows.items()}
    return table_record(name, counts, used, missed, lambda key: key if is_uid(key) else "(no series UID)")


def unused_rows_notes(table: TableRecord) -> list[Note]:
    """Report how many rows of a table belong to no scan.

    Returns
    -------
    list of Note
        Code ``"rows-without-scan"``; empty if all rows belong to scans.
    """
    what = f"{table.rows_without_scan} of {table.rows} rows name {len(table.series_without_scan)} series"
    note = Note("rows-without-scan", f"{table.name}: {what} that are not here; dataset.json lists them")
    return [note] if table.rows_without_scan else []


def _notes(name: str, table: TableRecord, scans: int, by_name: int) -> list[Note]:
    notes = unused_rows_notes(table)
    if without_rows := len(table.scans_without_rows):
        what = f"{without_rows} of {scans} scans are in no row of {name}: they stay without annotations"
        notes.append(Note("scans-without-rows", what))
    if by_name:
        what = f"{by_name} of {scans} scans match {name} by the name of their file or folder, not by series UID"
        notes.append(Note("matched-by-name", what))
    return notes


def _match_rows(refs: Sequence[ScanRef], rows: Mapping[str, SeriesRows]) -> dict[int, tuple[str, bool]]:
    """The name of each scan in the table, by its index, and whether that is its UID; ambiguous names do not count."""
    matches = {n: (uid, True) for n, ref in enumerate(refs) if (uid := series_uid_of(ref, rows)) in rows}
    used = {key for key, _ in matches.values()}
    names = {number: _other_names(ref) for number, ref in enumerate(refs) if number not in matches}
    for level in range(max(map(len, names.values()), default=0)):
        here = {n: several[level] for n, several in names.items() if level < len(several) and n not in matches}
        counts = Counter(here.values())
        for number, name in here.items():
            if name in rows and name not in used and counts[name] == 1:
                matches[number] = name, False
        used |= {key for key, _ in matches.values()}
    return matches


def series_uid_of(ref: ScanRef, rows: Container[str] | None = None) -> str:
    """The series UID of a listed scan.

    Parameters
    ----------
    ref : ScanRef
    rows : container of str, optional
        UIDs of a table: the name of a volume file only counts if it is one of them. Otherwise its header is read.

    Returns
    -------
    str
        Empty if unknown.
    """
    if ref.series_uid or not is_volume(ref.path):
        return ref.series_uid
    stem = scan_files.scan_names(ref.path)[0]
    return stem if is_uid(stem) and (rows is None or stem in rows) else header_uid(ref.path)


def _other_names(ref: ScanRef) -> tuple[str, ...]:
    """Names of a scan in a table other than its series UID: the name of its file first, then its folders upward."""
    folders = [folder.name for folder in ref.path.absolute().parents][:3]
    return tuple(dict.fromkeys((*scan_files.scan_names(ref.path), *folders)))


def scan_id_of(series_uid: str) -> str:
    """The id of a scan: a hash of its series, which shows no text of the file.

    Parameters
    ----------
    series_uid : str
        A Series Instance UID, or another text that identifies the scan.

    Returns
    -------
    str
        ``ct-`` and 16 hexadecimal digits of a SHA-256.
    """
    return "ct-" + hashlib.sha256(series_uid.encode("utf-8", "replace")).hexdigest()[:16]
