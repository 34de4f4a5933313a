"""What listing a data set gives: its scans, and what its tables hold beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hilum.io.names import safe_name
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hilum.errors import HilumError
    from hilum.outputs.records import TableRecord
    from hilum.scan import ScanRef

_NAMED = 5
"""How many outputs are named."""


@dataclass(frozen=True)
class Listing:
    """The scans of a data set.

    Parameters
    ----------
    refs : list of ScanRef
        In a fixed order, with unique ids.
    tables : list of TableRecord
        One for each csv read: rows that fit no scan and scans without rows, counted and named.
    notes : list of Note
        What was odd about the data set as a whole.
    refused : list of HilumError
        One for each folder or file that should be a scan and cannot be one; its ``where`` is what it is about.
    """

    refs: list[ScanRef]
    tables: list[TableRecord] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    refused: list[HilumError] = field(default_factory=list)


def left_out(root: Path, outputs: Sequence[str]) -> list[Note]:
    """Say which folders were not searched, because hilum wrote them.

    Parameters
    ----------
    root : Path
    outputs : sequence of str
        Relative to it.

    Returns
    -------
    list of Note
        Code ``"own-output"``; a few by name, the others counted.
    """
    notes = []
    for name in outputs[:_NAMED]:
        kept = safe_name(name) or "a folder"
        what = "is an output of hilum: left out"
        notes.append(Note("own-output", f"{kept} {what}", f"{root.name}/{name} {what}"))
    if len(outputs) > _NAMED:
        notes.append(Note("own-output", f"{len(outputs) - _NAMED} more outputs of hilum: left out"))
    return notes
