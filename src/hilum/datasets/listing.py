"""What listing a data set gives: its scans, and what its tables hold beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hilum.errors import HilumError
    from hilum.io.records import TableRecord
    from hilum.scan import Note, ScanRef


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
