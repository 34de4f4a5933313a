"""Tables of points in the world: a detector's marks, candidates, excluded findings, and lists of series.

The forms are those of LUNA16: seriesuid, coordX, coordY, coordZ and one more column (probability, class, diameter_mm).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hilum.errors import AnnotationError, one_line
from hilum.io.luna import _NUMBER, _number, _rows, _text, _wrong
from hilum.io.values import is_uid
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.luna import _Row

_PLACE = ("seriesuid", "coordX", "coordY", "coordZ")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LARGEST_DIAMETER_MM = 500.0


class Points(NamedTuple):
    """By series: rows (x, y, z, value), LPS mm, in the order of the file; and what was odd."""

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
    tables, repeated = _points(path, "probability")
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
    tables, repeated = _points(path, "diameter_mm", unknown=excluded, once=True)
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
    return Points(_points(path, "class")[0], ())


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
    rows = list(_rows(_text(path), path))
    head = [field.strip().lower() for field in rows[0].fields]
    column = head.index("seriesuid") if "seriesuid" in head else 0
    found = [_series(row, column, path) for row in (rows[1:] if "seriesuid" in head else rows)]
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


def _points(
    path: Path, value: str, *, unknown: bool = False, once: bool = False
) -> tuple[dict[str, NDArray[np.float64]], int]:
    rows = _rows(_text(path), path)
    columns, width = _heads(next(rows, None), (*_PLACE, value), path)
    found: dict[str, list[tuple[float, ...]]] = {}
    seen = set[tuple[str, tuple[float, ...]]]()
    repeated = 0
    for row in rows:
        if len(row.fields) != width:
            raise _wrong(row, f"{len(row.fields)} fields, expected {width}", path)
        name = _series(row, columns[0], path)
        place = (_number(row, n, row.fields[k], path) for n, k in zip(_PLACE[1:], columns[1:], strict=False))
        numbers = (*place, _value(row, value, row.fields[columns[4]], path, unknown=unknown))
        new = (name, numbers) not in seen
        repeated += not new
        seen.add((name, numbers))
        if new or not once:
            found.setdefault(name, []).append(numbers)
    return {name: np.array(rows) for name, rows in found.items()}, repeated


def _value(row: _Row, name: str, text: str, path: Path, *, unknown: bool) -> float:
    if not _NUMBER.fullmatch(text.strip()) or not np.isfinite(float(text)):
        raise _wrong(row, f"{name} is {one_line(text, limit=30)!r}, expected a number", path)
    value = float(text)
    if name == "diameter_mm" and not (0 < value <= _LARGEST_DIAMETER_MM or (unknown and value < 0)):
        raise _wrong(row, f"diameter_mm is {value:g}, expected more than 0 and at most 500", path)
    if name == "class" and value not in {0.0, 1.0}:
        raise _wrong(row, f"class is {value:g}, expected 0 or 1", path)
    return value


def _series(row: _Row, column: int, path: Path) -> str:
    text = row.fields[column].strip() if len(row.fields) > column else ""
    if not _NAME.fullmatch(text):
        raise _wrong(row, f"seriesuid is {one_line(text, limit=30)!r}, expected a series UID", path)
    return text


def _heads(head: _Row | None, wanted: tuple[str, ...], path: Path) -> tuple[list[int], int]:
    """Where the columns stand, and how many there are."""
    names = [name.strip().lower() for name in (head.fields if head else [])]
    if len(names) == 1 and any(sign in names[0] for sign in ";\t|"):
        what = "separates its columns by something else than commas"
        raise AnnotationError(what, where=path, do="save it with commas and decimal points")
    for name in wanted:
        if names.count(name.lower()) != 1:
            what = "missing" if name.lower() not in names else "there twice"
            raise AnnotationError(f"column {name} is {what}", where=path, do=f"give {','.join(wanted)}")
    return [names.index(name.lower()) for name in wanted], len(names)
