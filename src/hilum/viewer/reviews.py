"""What a person decided on each scan of a run: ``review.csv`` in the run's folder."""

from __future__ import annotations

import csv
import io
import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hilum.batch.lock import output_lock
from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.io.annotations.csv_tables import plain_cell, safe_cells
from hilum.io.atomic import atomic_path
from hilum.io.files import read_small
from hilum.report.text import visible

if TYPE_CHECKING:
    from pathlib import Path

NAME = "review.csv"
LOCK = ".review.lock"
"""Held, across processes, from reading the reviews to writing them; the file stays, hidden and empty."""

PATIENCE = 10.0
"""Seconds for which another viewer may be writing."""

LARGEST = 64 << 20
"""Bytes of a file that is read: a hundred thousand scans with comments fit."""

COLUMNS = ("scan_id", "verdict", "comment", "when", "scan_sha256")
"""The last says which output of the scan was seen, by its ``scan.json``."""

OLDER = COLUMNS[:4]
"""What older versions wrote."""

VERDICTS = ("accept", "reject", "")
LONGEST_COMMENT = 1000

_SHA256 = re.compile(r"[0-9a-f]{64}")

saving = threading.Lock()
"""Held while the file is written: the program does not end in between."""


@dataclass(frozen=True)
class Review:
    """One person's word on one scan."""

    verdict: str
    comment: str
    when: str
    scan_sha256: str = ""

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
        If the file is none of ours, or damaged.
    """
    path = run / NAME
    try:
        raw = read_small(path, limit=LARGEST)
    except MissingInputError:
        return {}
    except InputError as problem:
        raise _none_of_ours(path, problem.what) from None
    try:
        return _parse(raw.decode(), path)
    except (UnicodeDecodeError, csv.Error) as problem:
        raise _none_of_ours(path, f"cannot be read: {problem}") from None


def _parse(text: str, path: Path) -> dict[str, Review]:
    """Every line, or a refusal: a line that was left out would be gone with the next review that is saved."""
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns = tuple(next(table, ()))
    if columns not in (COLUMNS, OLDER):
        raise _none_of_ours(path, f"its columns are not {', '.join(COLUMNS)}")
    reviews: dict[str, Review] = {}
    for cells in table:
        where = f"line {table.line_num}"
        if len(cells) != len(columns):
            raise _none_of_ours(path, f"{where} has {len(cells)} cells instead of {len(columns)}")
        name, verdict, comment, when, *sha256 = map(plain_cell, cells)
        if verdict not in VERDICTS:
            raise _none_of_ours(path, f"{where}: '{visible(verdict, limit=20)}' is neither accept nor reject")
        if not name or name in reviews:
            raise _none_of_ours(path, f"{where}: {'a second line of its scan' if name else 'no scan_id'}")
        reviews[name] = Review(verdict, comment, when, *sha256)
    return reviews


def _none_of_ours(path: Path, what: str) -> FormatError:
    return FormatError(what, where=path, do="mend it, or move it elsewhere")


def save_review(run: Path, name: str, *, verdict: str, comment: str, scan_sha256: str = "") -> Review:
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
    scan_sha256 : str
        Of the ``scan.json`` of what was looked at.

    Returns
    -------
    Review

    Raises
    ------
    InputError
        If there is no such verdict, or the comment is too long.
    FormatError
        If the file that is there is none of ours, or damaged; it stays as it is.
    OutputError
        If it cannot be written, or another process goes on writing it.
    """
    if verdict not in VERDICTS:
        raise InputError("a verdict is accept, reject or empty", code="option")
    if len(comment) > LONGEST_COMMENT:
        raise InputError(f"a comment has at most {LONGEST_COMMENT} characters", code="option")
    if scan_sha256 and not _SHA256.fullmatch(scan_sha256):
        raise InputError("scan_sha256 is not a SHA-256", code="option")
    text = " ".join(visible(line, limit=LONGEST_COMMENT) for line in comment.splitlines())
    review = Review(verdict, text, datetime.now(UTC).isoformat(timespec="seconds"), scan_sha256)
    if not os.access(run, os.W_OK):
        raise OutputError("this run may only be read: no review is saved", where=run, do="ask whom it belongs to")
    # The lock of the processes comes first: who only waits for it can be ended with Ctrl-C.
    what, do = "another viewer is saving a review", "save again in a moment"
    with output_lock(run, name=LOCK, wait_seconds=PATIENCE, what=what, do=do), saving:
        reviews = read_reviews(run)
        reviews[name] = review
        if not verdict and not text:
            del reviews[name]
        with atomic_path(run / NAME) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for scan_id, one in sorted(reviews.items()):
                table.writerow(safe_cells((scan_id, one.verdict, one.comment, one.when, one.scan_sha256)))
    return review
