"""Reviews of the scans of a run: ``review.csv`` in the run's folder."""

import csv
import io
import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.io import atomic, files
from hilum.io.annotations.csv_tables import plain_cell, safe_cells
from hilum.report.text import visible

NAME = "review.csv"
LOCK = ".review.lock"  # lock file between processes while reviews are read and written; the empty file stays

LOCK_TIMEOUT = 10.0  # seconds to wait for another viewer that is writing

MAX_BYTES = 64 << 20  # largest file that is read: enough for a hundred thousand scans with comments

COLUMNS = ("scan_id", "verdict", "comment", "when", "scan_sha256")  # the last: SHA-256 of the reviewed `scan.json`

OLD_COLUMNS = COLUMNS[:4]  # columns of older versions

VERDICTS = ("accept", "reject", "")
MAX_COMMENT = 1000

saving = threading.Lock()  # held while the file is written, so that Ctrl-C does not end the program in between


@dataclass(frozen=True)
class Review:
    """One person's verdict on one scan."""

    verdict: str
    comment: str
    when: str
    scan_sha256: str = ""


def read_reviews(run: Path) -> dict[str, Review]:
    """Read a run's reviews.

    Parameters
    ----------
    run : Path
        The run's folder.

    Returns
    -------
    dict of str to Review
        By scan id; empty if there is no file. One that is damaged or was not written by hilum is refused.
    """
    path = run / NAME
    try:
        raw = files.read_small(path, limit=MAX_BYTES)
    except MissingInputError:
        return {}
    except InputError as problem:
        raise _bad_file(path, problem.what) from None
    try:
        return _parse(raw.decode(), path)
    except (UnicodeDecodeError, csv.Error) as problem:
        raise _bad_file(path, f"cannot be read: {problem}") from None


def _parse(text: str, path: Path) -> dict[str, Review]:
    """Parse every line or raise an error: the next saved review would delete a line that was skipped."""
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    if (columns := tuple(next(table, ()))) not in (COLUMNS, OLD_COLUMNS):
        raise _bad_file(path, f"its columns are not {', '.join(COLUMNS)}")
    reviews: dict[str, Review] = {}
    for cells in table:
        where = f"line {table.line_num}"
        if len(cells) != len(columns):
            raise _bad_file(path, f"{where} has {len(cells)} cells instead of {len(columns)}")
        name, verdict, comment, when, *sha256 = map(plain_cell, cells)
        if verdict not in VERDICTS:
            raise _bad_file(path, f"{where}: '{visible(verdict, limit=20)}' is neither accept nor reject")
        if not name or name in reviews:
            raise _bad_file(path, f"{where}: {'a second line for this scan' if name else 'no scan_id'}")
        reviews[name] = Review(verdict, comment, when, *sha256)
    return reviews


def _bad_file(path: Path, what: str) -> FormatError:
    return FormatError(what, where=path, do="correct it, or move it away")


def save_review(run: Path, name: str, *, verdict: str, comment: str, scan_sha256: str = "") -> Review:
    """Add or replace the review of one scan.

    Parameters
    ----------
    run : Path
        The run's folder.
    name : str
        The scan's id.
    verdict : {"accept", "reject", ""}
        If verdict and comment are empty, the review is removed.
    comment : str
        What the reviewer wrote; it may be empty.
    scan_sha256 : str
        SHA-256 of the reviewed ``scan.json``.

    Returns
    -------
    Review

    Raises
    ------
    InputError
        If the verdict is unknown, or the comment is too long.
    FormatError
        If the existing file was not written by hilum, or is damaged; it is left unchanged.
    OutputError
        If the file cannot be written, or another process is writing it for too long.
    """
    if verdict not in VERDICTS:
        raise InputError("a verdict is accept, reject or empty", code="option")
    if len(comment) > MAX_COMMENT:
        raise InputError(f"a comment has at most {MAX_COMMENT} characters", code="option")
    if scan_sha256 and not re.fullmatch(r"[0-9a-f]{64}", scan_sha256):
        raise InputError("scan_sha256 is not a SHA-256", code="option")
    text = " ".join(visible(line, limit=MAX_COMMENT) for line in comment.splitlines())
    review = Review(verdict, text, datetime.now(UTC).isoformat(timespec="seconds"), scan_sha256)
    if not os.access(run, os.W_OK):
        raise OutputError("no permission to write to this run", where=run, do="ask its owner")
    # The lock between processes comes first, so that Ctrl-C can end a viewer that waits for it.
    what, do = "another viewer is saving a review", "try again in a moment"
    from hilum.batch.lock import output_lock  # late: the package loads all that a run needs

    with output_lock(run, name=LOCK, wait_seconds=LOCK_TIMEOUT, what=what, do=do), saving:
        reviews = read_reviews(run)
        reviews[name] = review
        if not verdict and not text:
            del reviews[name]
        with atomic.atomic_path(run / NAME) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for scan_id, one in sorted(reviews.items()):
                table.writerow(safe_cells((scan_id, one.verdict, one.comment, one.when, one.scan_sha256)))
    return review
