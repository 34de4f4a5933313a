"""What a person decided on each scan of a run: ``review.csv`` in the run's folder."""

from __future__ import annotations

import csv
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hilum.errors import FormatError, InputError
from hilum.io.atomic import atomic_path
from hilum.report.text import visible

if TYPE_CHECKING:
    from pathlib import Path

NAME = "review.csv"
COLUMNS = ("scan_id", "verdict", "comment", "when")
VERDICTS = ("accept", "reject", "")
LONGEST_COMMENT = 1000

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""A spreadsheet takes what begins so for a formula, or for an escape; such a cell is written with ' before it."""

saving = threading.Lock()
"""Held while the file is written: the program does not end in between."""


@dataclass(frozen=True)
class Review:
    """One person's word on one scan."""

    verdict: str
    comment: str
    when: str

    def told(self) -> dict[str, Any]:
        """As the page takes it."""
        return {"verdict": self.verdict, "comment": self.comment, "when": self.when}


def read_reviews(run: Path) -> dict[str, Review]:
    """Read a run's reviews.

    Parameters
    ----------
    run : Path
        The run's folder.

    Returns
    -------
    dict of str to Review
        By scan id; empty where there is no file.

    Raises
    ------
    FormatError
        If the file is none of ours.
    """
    path = run / NAME
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ()) != COLUMNS:
                raise FormatError(f"its columns are not {', '.join(COLUMNS)}", where=path, do="move it elsewhere")
            return {
                _plain(row["scan_id"]): Review(row["verdict"] or "", _plain(row["comment"] or ""), row["when"] or "")
                for row in table
            }
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise FormatError(f"cannot be read: {problem}", where=path, do="move it elsewhere") from None


def save_review(run: Path, name: str, *, verdict: str, comment: str) -> Review:
    """Write a review beside those that are there.

    Parameters
    ----------
    run : Path
        The run's folder.
    name : str
        The scan's id.
    verdict : {"accept", "reject", ""}
        Without verdict and comment the scan's line goes.
    comment : str

    Returns
    -------
    Review

    Raises
    ------
    InputError
        If there is no such verdict, or the comment is too long.
    FormatError
        If the file that is there is none of ours; it stays as it is.
    OutputError
        If it cannot be written.
    """
    if verdict not in VERDICTS:
        raise InputError("a verdict is accept, reject or empty", code="option")
    if len(comment) > LONGEST_COMMENT:
        raise InputError(f"a comment has at most {LONGEST_COMMENT} characters", code="option")
    text = " ".join(visible(line, limit=LONGEST_COMMENT) for line in comment.splitlines())
    review = Review(verdict, text, datetime.now(UTC).isoformat(timespec="seconds"))
    with saving:
        reviews = read_reviews(run)
        reviews[name] = review
        if not verdict and not text:
            del reviews[name]
        with atomic_path(run / NAME) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for scan_id, one in sorted(reviews.items()):
                table.writerow([_safe(cell) for cell in (scan_id, one.verdict, one.comment, one.when)])
    return review


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell
