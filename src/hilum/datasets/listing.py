"""The scans of a data set as its adapter lists them, and the rows of csv tables that belong to them."""

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hilum.errors import HilumError, MissingInputError, UnsupportedError
from hilum.io import scan_files
from hilum.io.annotations.luna import SeriesRows
from hilum.io.folders import FolderListing
from hilum.io.names import is_uid, safe_name
from hilum.io.volumes.formats import header_uid, is_volume, suffix_of
from hilum.outputs.records import TableRecord
from hilum.scan import Note
from hilum.scan_ref import DatasetEntry, ScanRef

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
        DICOM structure sets and segmentations; a member of an archive is a path below it.
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
        The input folder that was searched.
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


def id_of_case(case: str, scan_id: str) -> str:
    """The id of a scan with its public case in front: ``LUNG1-001-`` and the hash of its series."""
    return f"{case}-{scan_id.removeprefix('ct-')}" if case else scan_id


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
    if not path.is_dir() and suffix_of(path) not in {".csv", ".json", ".xml"}:
        what = "annotations are read from a table (.csv), boxes (.json) or a LIDC-IDRI .xml"
        raise UnsupportedError(what, where=path, do="give one of them")


def rows_record(name: str, rows: Mapping[str, SeriesRows], used: Container[str], missed: Sequence[str]) -> TableRecord:
    """Count the rows of a table of series; names that are not UIDs are counted together, since they could be anything.

    Parameters
    ----------
    name : str
        Of the file.
    rows : mapping of str to SeriesRows
        The rows of each series, by its UID.
    used : container of str
        The names in it that belong to scans.
    missed : sequence of str
        The scans without rows.
    """
    counts = {key: series.rows for key, series in rows.items()}
    return table_record(name, counts, used, missed, public_series)


def public_series(key: str) -> str:
    """The id of a table as it may be shown: series UIDs only."""
    return key if is_uid(key) else "(no series UID)"


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


def series_uid_of(ref: ScanRef, rows: Container[str] | None = None) -> str:
    """The series UID of a listed scan.

    Parameters
    ----------
    ref : ScanRef
        The scan as it was listed.
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
