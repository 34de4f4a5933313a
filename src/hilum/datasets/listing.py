"""The scans of a data set, as its adapter lists them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hilum.io.names import safe_name
from hilum.outputs.records import TableRecord
from hilum.scan import DatasetEntry, Note, ScanRef

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from hilum.errors import HilumError
    from hilum.io.folder_listing import FolderListing

_NAMED = 5
"""Outputs that are named; more are counted."""


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
    """

    refs: list[ScanRef]
    tables: list[TableRecord] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    refused: list[HilumError] = field(default_factory=list)


def known_of(ref: ScanRef) -> DatasetEntry:
    """What was known of a scan when it was listed.

    Raises
    ------
    HilumError
        The refusal, if the scan was listed with one.
    """
    known = ref.known or DatasetEntry()
    if known.refusal is not None:
        raise known.refusal
    return known


def link_notes(tree: FolderListing) -> list[Note]:
    """Report the links that were not followed.

    Returns
    -------
    list of Note
        Code ``"ignored-links"``; empty if there is none.
    """
    if not tree.repeated:
        return []
    text = f"{len(tree.repeated)} linked folders lead to folders that are searched anyway: not searched twice"
    return [Note("ignored-links", text)]


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


def table_record(
    name: str,
    rows: Mapping[str, int],
    used: Container[str],
    scans_without_rows: Iterable[str],
    public: Callable[[str], str],
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
    scans_without_rows : iterable of str
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
        scans_without_rows=sorted(scans_without_rows),
    )
