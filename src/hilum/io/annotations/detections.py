"""Tables of points in the world: a detector's marks, candidates, excluded findings, and lists of series.

The forms are those of LUNA16: seriesuid, coordX, coordY, coordZ and one more column (probability, class, diameter_mm).
"""

from __future__ import annotations

import csv
import io
import math
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from hilum.errors import AnnotationError, one_line
from hilum.io.annotations.csv_tables import point_and_value, read_rows, wrong_line
from hilum.io.files import open_file
from hilum.io.uids import is_uid
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.annotations.csv_tables import Row

Kind = Literal["detections", "nodules", "excluded", "candidates"]

_PLACE = ("seriesuid", "coordX", "coordY", "coordZ")
_VALUE: dict[Kind, str] = {
    "detections": "probability",
    "nodules": "diameter_mm",
    "excluded": "diameter_mm",
    "candidates": "class",
}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LARGEST_MM = 500.0 + 1e-9
_RANGE: dict[Kind, tuple[float, float, str]] = {
    "detections": (-math.inf, math.inf, "a finite number"),
    "nodules": (0.0, _LARGEST_MM, "more than 0 and at most 500"),
    "excluded": (-math.inf, _LARGEST_MM, "at most 500, or -1 where it is unknown"),
    "candidates": (-1.0, 2.0, "0 or 1"),
}
"""What the number beside a place lies between, and how a message puts that."""
_LIST_LIMIT = 2**24


class Points(NamedTuple):
    """By series: rows (x, y, z, value), LPS mm, in the order of the file, equal rows together; and what was odd."""

    tables: dict[str, NDArray[np.float64]]
    notes: tuple[Note, ...]


def read_detections(path: Path) -> Points:
    """Read a detector's marks: seriesuid, coordX, coordY, coordZ, probability.

    Parameters
    ----------
    path : Path
        UTF-8 text (a byte order mark and any line ends do no harm), columns in any order, separated by commas.

    Returns
    -------
    Points
        The value is the probability: any finite number. Codes of notes: ``"duplicate-detections"``,
        ``"no-detections"``.

    Raises
    ------
    AnnotationError
        If the file is empty, lacks a column, or a row is short, long or holds anything but finite numbers. The
        message names the line.
    InputError
        If it cannot be opened.
    """
    tables, repeated = _points(path, "detections")
    notes = []
    if repeated:
        what = f"{repeated} marks repeat another to the digit; each counts, as in the official evaluation"
        notes.append(Note("duplicate-detections", what))
    if not tables:
        notes.append(Note("no-detections", "the file lists no mark: no nodule is found"))
    return Points(tables, tuple(notes))


def read_findings(path: Path, *, excluded: bool = False) -> Points:
    """Read the nodules of every series: seriesuid, coordX, coordY, coordZ, diameter_mm.

    Parameters
    ----------
    path : Path
        As for `read_detections`.
    excluded : bool
        Whether a negative diameter stands for an unknown one, as in annotations_excluded.csv.

    Returns
    -------
    Points
        The value is the diameter in mm. A row that repeats another counts once, with a note
        ``"duplicate-nodules"``.

    Raises
    ------
    AnnotationError, InputError
        As for `read_detections`, and for a diameter that is none.
    """
    tables, repeated = _points(path, "excluded" if excluded else "nodules")
    notes = (Note("duplicate-nodules", f"{repeated} rows repeat a nodule and were ignored"),) if repeated else ()
    return Points(tables, notes)


def read_candidates(path: Path) -> Points:
    """Read LUNA16's candidates: seriesuid, coordX, coordY, coordZ, class (1 nodule, 0 none).

    Parameters
    ----------
    path : Path
        As for `read_detections`.

    Returns
    -------
    Points
        The value is the class.

    Raises
    ------
    AnnotationError, InputError
        As for `read_detections`, and for a class that is neither 0 nor 1.
    """
    return Points(_points(path, "candidates")[0], ())


def read_series(path: Path) -> tuple[tuple[str, ...], tuple[Note, ...]]:
    """Read a list of series: the column seriesuid of a csv, or one UID a line without any heading.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of str
        Each once, in the order of the file.
    tuple of Note
        ``"duplicate-series"``.

    Raises
    ------
    AnnotationError, InputError
        If the file is empty or a line names no series.
    """
    with open_file(path) as handle:
        raw = handle.read(_LIST_LIMIT + 1)
    try:
        text = raw.decode("utf-8-sig") if len(raw) <= _LIST_LIMIT else ""
        rows = [(k, fields) for k, fields in enumerate(csv.reader(io.StringIO(text)), 1) if "".join(fields).strip()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"is no list of series: {error}", where=path, do="save it as CSV in UTF-8") from None
    head = [field.strip().lower() for field in rows[0][1]] if rows else []
    column = head.index("seriesuid") if "seriesuid" in head else 0
    found = [
        _series(fields[column] if len(fields) > column else "", line, path)
        for line, fields in (rows[1:] if "seriesuid" in head else rows)
    ]
    if not found:
        raise AnnotationError("lists no series", where=path, do="give one series UID a line")
    unique = tuple(dict.fromkeys(found))
    repeated = len(found) - len(unique)
    notes = (Note("duplicate-series", f"{repeated} lines repeat a series and were ignored"),) if repeated else ()
    return unique, notes


def name_series(names: Iterable[str]) -> str:
    """Name up to three series in a line, those alone whose names are UIDs.

    Parameters
    ----------
    names : iterable of str

    Returns
    -------
    str
    """
    listed = sorted(names)
    shown = [name for name in listed if is_uid(name)][:3]
    return ", ".join(shown) + (", ..." if len(listed) > len(shown) and shown else "") if shown else "no UIDs"


def _points(path: Path, kind: Kind) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Rows by series, and how many repeat another: marks and candidates stay, nodules and findings count once."""
    names = (*_PLACE, _VALUE[kind])
    found: dict[str, dict[tuple[float, ...], int]] = {}
    for row in read_rows(path, names, do=f"give {','.join(names)}"):
        table = found.get(row.key)
        if table is None:
            table = found.setdefault(_series(row.key, row.line, path), {})
        numbers = _numbers(row, names, kind, path)
        table[numbers] = table.get(numbers, 0) + 1
    repeats = sum(times - 1 for table in found.values() for times in table.values())
    each = kind in {"detections", "candidates"}
    return {
        name: np.array([row for row, times in table.items() for _ in range(times if each else 1)])
        for name, table in found.items()
    }, repeats


def _numbers(row: Row, names: tuple[str, ...], kind: Kind, path: Path) -> tuple[float, ...]:
    numbers = point_and_value(row, names, path)
    value = numbers[3]
    low, high, told = _RANGE[kind]
    if not low < value < high or (kind == "candidates" and value not in {0.0, 1.0}):
        raise wrong_line(path, row.line, f"{names[4]} is {value:g}, expected {told}")
    if kind == "excluded" and value == 0:
        raise wrong_line(path, row.line, "diameter_mm is 0, expected more, or -1 where it is unknown")
    return numbers


def _series(text: str, line: int, path: Path) -> str:
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise wrong_line(path, line, f"seriesuid is {one_line(name, limit=30)!r}, expected a series UID")
    return name
