"""LUNA16's annotations.csv: one nodule a row, its center in world millimetres and its diameter.

Source: A. Setio et al., "Validation, comparison, and combination of algorithms for automatic detection of pulmonary
nodules in computed tomography images: the LUNA16 challenge", Medical Image Analysis 42, 2017.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import AnnotationError, one_line
from hilum.io.files import open_file
from hilum.scan import Nodule, Note

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COLUMNS = ("seriesuid", "coordx", "coordy", "coordz", "diameter_mm")
_NAMES = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
_SIZE_LIMIT = 2**26
_LARGEST_DIAMETER_MM = 500.0
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class _Row(NamedTuple):
    line: int
    fields: list[str]


def read_annotations(path: Path, *, series_uid: str) -> tuple[tuple[Nodule, ...], tuple[Note, ...]]:
    """The nodules of one series from a LUNA16 csv.

    Only the rows of that series are checked strictly: annotations_excluded.csv holds diameters of -1.

    Parameters
    ----------
    path : Path
        UTF-8 text with the columns seriesuid, coordX, coordY, coordZ and diameter_mm, in any order, separated by
        commas, with decimal points.
    series_uid : str
        The whole Series Instance UID; a part of one matches nothing.

    Returns
    -------
    tuple of Nodule
        In the order of the file, each nodule once; empty where the series has none.
    tuple of Note
        Codes ``"no-nodules"``, ``"duplicate-nodules"``.

    Raises
    ------
    AnnotationError
        If the file is empty, no such csv, or a row of the series is short or holds an impossible number. The message
        names the line.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    rows = _rows(_text(path), path)
    columns, width = _columns(next(rows, None), path)
    uid = columns[0]
    found: dict[tuple[float, ...], Nodule] = {}
    duplicates = 0
    for row in rows:
        if len(row.fields) <= uid:
            raise _wrong(row, f"{len(row.fields)} fields, expected {width}", path)
        if row.fields[uid].strip() != series_uid:
            continue
        if len(row.fields) != width:
            raise _wrong(row, f"{len(row.fields)} fields, expected {width}", path)
        x, y, z, diameter = (
            _number(row, name, row.fields[k], path) for name, k in zip(_NAMES[1:], columns[1:], strict=True)
        )
        if not 0 < diameter <= _LARGEST_DIAMETER_MM:
            raise _wrong(row, f"diameter_mm is {diameter:g}, expected more than 0 and at most 500", path)
        duplicates += (x, y, z, diameter) in found
        found.setdefault((x, y, z, diameter), Nodule((x, y, z), diameter))
    notes = []
    if not found:
        notes.append(Note("no-nodules", "the annotations list no nodule of this series"))
    if duplicates:
        notes.append(Note("duplicate-nodules", f"{duplicates} rows repeat a nodule and were ignored"))
    return tuple(found.values()), tuple(notes)


def _text(path: Path) -> str:
    with open_file(path) as handle:
        raw = handle.read(_SIZE_LIMIT + 1)
    do = "save it as CSV in UTF-8"
    if len(raw) > _SIZE_LIMIT:
        raise AnnotationError(f"is larger than {_SIZE_LIMIT} bytes", where=path, do="give LUNA16's annotations.csv")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        raise AnnotationError("is UTF-16 or no text at all, expected UTF-8", where=path, do=do)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"is not UTF-8: byte {error.start}", where=path, do=do) from error
    if not text.strip():
        raise AnnotationError("is empty, expected annotations", where=path, do="download it again")
    return text


def _rows(text: str, path: Path) -> Iterator[_Row]:
    """Rows that are not blank, with the number of the line on which each ends."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            if fields and (len(fields) > 1 or fields[0].strip()):
                yield _Row(reader.line_num, fields)
    except csv.Error as error:
        raise AnnotationError(f"line {reader.line_num}: {error}", where=path, do="correct the line") from error


def _columns(head: _Row | None, path: Path) -> tuple[list[int], int]:
    """Where the columns stand, and how many there are."""
    fields = head.fields if head else []
    names = [name.strip().lower() for name in fields]
    if len(names) == 1 and any(sign in names[0] for sign in ";\t|"):
        raise AnnotationError(
            "separates its columns by something else than commas",
            where=path,
            do="save it with commas and decimal points",
        )
    for name, written in zip(_COLUMNS, _NAMES, strict=True):
        if names.count(name) != 1:
            what = "missing" if name not in names else "there twice"
            raise AnnotationError(f"column {written} is {what}", where=path, do="give LUNA16's annotations.csv")
    return [names.index(name) for name in _COLUMNS], len(names)


def _number(row: _Row, name: str, text: str, path: Path) -> float:
    if not _NUMBER.fullmatch(text.strip()):
        raise _wrong(row, f"{name} is {one_line(text, limit=30)!r}, expected a number", path)
    number = float(text)
    if abs(number) > 1e9 and name != "diameter_mm":
        raise _wrong(row, f"{name} is {number:g} mm, no place in a patient", path)
    return number


def _wrong(row: _Row, what: str, path: Path) -> AnnotationError:
    return AnnotationError(f"line {row.line}: {what}", where=path, do="correct the line")
