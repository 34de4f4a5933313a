"""Which scans want a look first, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hilum.outputs.dataset_summary import INSIDE_FRACTION
from hilum.outputs.findings import NODULE_OUTSIDE_LUNGS, REVIEW_CODES, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hilum.outputs.ledger_rows import Row
    from hilum.outputs.records import ScanRecord

FINE, MENDED, LOOK, CHECK, NOTHING = range(5)
LEVELS = ("fine", "mended", "look", "check first", "no output")
"""Names of the levels of risk, from the least."""

DOUBTFUL_BELOW = 0.75
"""A lung score below this is worth a look, though no single check raised an alarm."""


class Flag(msgspec.Struct, frozen=True):
    """One reason to look at a scan: a short name, one line, and a level of risk."""

    name: str
    text: str
    level: int


def flags(row: Row | None, record: ScanRecord | None) -> list[Flag]:
    """Collect the reasons to look at a scan.

    Parameters
    ----------
    row : Row or None
        Its line of the ledger, where it has one.
    record : ScanRecord or None
        Its ``scan.json``, where it was finished.

    Returns
    -------
    list of Flag
        The gravest first.
    """
    found = []
    if row is None:
        found.append(Flag("not-in-ledger", "a finished scan that the ledger does not list", CHECK))
    elif row.reason:
        found.append(Flag(row.code or row.status, row.reason, NOTHING))
    elif record is None:
        found.append(Flag("missing-output", f"the ledger says {row.status}, and no finished scan is there", NOTHING))
    if record is not None:
        found += [Flag(note["code"], note["text"], level_of(note["code"])) for note in record.notes]
        if all(flag.name != NODULE_OUTSIDE_LUNGS for flag in found):  # a record of before this was a note
            found += _nodule_flags(record)
        score = record.figures.get("lung_score")
        if score is not None and score < DOUBTFUL_BELOW and all(flag.level < LOOK for flag in found):
            found.append(Flag("low-score", f"the lung mask scores {score:.2f} of 1", LOOK))
    elif row is not None:
        found += [_from_line(note) for note in row.notes]
    return sorted(found, key=lambda flag: -flag.level)


def level_of(code: str) -> int:
    """The level of risk of a note.

    Parameters
    ----------
    code : str

    Returns
    -------
    int
        An index into `LEVELS`.
    """
    level = {"alarm": CHECK, "changed": MENDED, "info": FINE}[kind_of(code)]
    return max(level, LOOK) if code in REVIEW_CODES else level


def risk(found: Iterable[Flag]) -> int:
    """The level of a scan: that of its gravest flag.

    Parameters
    ----------
    found : iterable of Flag

    Returns
    -------
    int
        An index into `LEVELS`.
    """
    return max((flag.level for flag in found), default=FINE)


def _nodule_flags(record: ScanRecord) -> list[Flag]:
    beside = [
        n.label for n in record.nodules if n.inside and n.inside_lungs is not None and n.inside_lungs < INSIDE_FRACTION
    ]
    if not beside:
        return []
    names = ", ".join(map(str, beside[:5])) + (" ..." if len(beside) > 5 else "")
    return [Flag(NODULE_OUTSIDE_LUNGS, f"nodules with less than half of them in the lung mask: {names}", CHECK)]


def _from_line(note: str) -> Flag:
    code, _, text = note.partition(": ")
    return Flag(code, text, level_of(code))
