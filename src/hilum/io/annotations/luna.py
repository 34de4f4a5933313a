"""LUNA16's tables, series by series. A row has a series, a point in the world, and the number of its kind of table.

Source: A. Setio et al., "Validation, comparison, and combination of algorithms for automatic detection of pulmonary
nodules in computed tomography images: the LUNA16 challenge", Medical Image Analysis 42, 2017.
"""

import math
import sys
from array import array
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError, one_line
from hilum.io.annotations.csv_tables import PLAIN, CsvRow, is_number, read_rows, wrong_line
from hilum.io.names import is_uid
from hilum.scan import Nodule, Note

TableKind = Literal["annotations", "candidates", "excluded", "detections"]

_FARTHEST_MM = 1e9
MAX_DIAMETER_MM = 500.0


class PointTable(NamedTuple):
    """A kind of table: the column of its number, the range of the number, and that range in words."""

    column: str
    above: float
    most: float
    expected: str
    whole: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the table; the first is the series."""
        return "seriesuid", "coordX", "coordY", "coordZ", self.column


TABLES: Mapping[TableKind, PointTable] = {
    "annotations": PointTable("diameter_mm", 0.0, MAX_DIAMETER_MM, "more than 0 and at most 500"),
    "candidates": PointTable("class", -1.0, 1.0, "0 or 1", whole=True),
    "excluded": PointTable("diameter_mm", -math.inf, MAX_DIAMETER_MM, "at most 500, or -1 where it is unknown"),
    "detections": PointTable("probability", -math.inf, sys.float_info.max, "a finite number"),
}
"""Every kind of table."""

MATCHED_BY_NAME = Note(
    "matched-by-name", "the rows of the annotations were found by the name of the file or folder, not by the series UID"
)

NO_ROWS = Note("no-rows", "the annotations have no row of this series: it stays without annotations")


@dataclass
class SeriesRows:
    """The rows of one series.

    Parameters
    ----------
    rows : int
        Number of rows, including repeated and wrong ones.
    repeats : int
        Number of annotations that repeat another row and were left out; other kinds keep repeated rows.
    refusal : AnnotationError or None
        The error of the first wrong row.
    """

    rows: int = 0
    repeats: int = 0
    refusal: AnnotationError | None = None
    _numbers: "array[float]" = field(default_factory=lambda: array("d"))
    _seen: set[tuple[float, ...]] = field(default_factory=set)

    @property
    def values(self) -> NDArray[np.float64]:
        """Shape (n, 4): x, y, z in LPS mm and the diameter or class, in the order of the file."""
        return np.array(self._numbers, np.float64).reshape(-1, 4)

    def nodules(self) -> tuple[Nodule, ...]:
        """The rows as nodules, in the order of the file."""
        return tuple(Nodule((x, y, z), diameter) for x, y, z, diameter in self.values.tolist())

    def add(self, numbers: tuple[float, ...], *, once: bool) -> None:
        """Add the numbers of a row; with `once`, count a repeated row instead."""
        if once and numbers in self._seen:
            self.repeats += 1
            return
        if once:
            self._seen.add(numbers)
        self._numbers.extend(numbers)


def read_series_rows(path: Path, kind: TableKind, *, only: Collection[str] | None = None) -> dict[str, SeriesRows]:
    """Read the rows of all series of a LUNA16 table.

    Parameters
    ----------
    path : Path
        UTF-8 text with the columns seriesuid, coordX, coordY, coordZ and diameter_mm (candidates: class), in any
        order, separated by commas, with decimal points. A row of annotations with only a series means that a reader
        looked at it and found no nodule.
    kind : {"annotations", "candidates", "excluded"}
        Annotations need a diameter; excluded findings may have -1 instead.
    only : collection of str, optional
        The names of the one series whose rows are read.

    Returns
    -------
    dict of str to SeriesRows
        By series UID; a wrong row is the `SeriesRows.refusal` of its series, and does not affect the others.

    Raises
    ------
    AnnotationError
        If the file is empty, not such a csv, or a row is too short to name its series.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    table = TABLES[kind]
    series: defaultdict[str, SeriesRows] = defaultdict(SeriesRows)
    once = kind == "annotations"
    do = f"give a csv with the columns {','.join(table.columns)}"
    if once:
        do = "name its columns: --columns id=...,x=...,y=...,z=...,diameter=..."
    for row in read_rows(path, table.columns, do=do):
        if only is not None and row.key not in only:
            continue
        rows = series[row.key]
        rows.rows += 1
        if once and row.values is not None and not any(text.strip() for text in row.values[1:]):
            continue  # a scan without a nodule
        if rows.refusal is None:
            try:
                rows.add(parse_point(row, table, path), once=once)
            except AnnotationError as refusal:
                rows.refusal = refusal
    return dict(series)


def lists_series_uids(path: Path) -> bool:
    """Whether a LUNA16 csv names its scans by Series Instance UIDs, at least one of them."""
    return any(map(is_uid, read_series_rows(path, "annotations")))


def read_annotations(
    path: Path, *, series_uid: str, names: Sequence[str] = ()
) -> tuple[tuple[Nodule, ...] | None, tuple[Note, ...]]:
    """Read the nodules of one series from a LUNA16 csv; only the rows of that series must be valid.

    Parameters
    ----------
    path : Path
        As for `read_series_rows`.
    series_uid : str
        The complete Series Instance UID.
    names : sequence of str
        Other names of the series in the table, such as its file's name; the first with a row counts.

    Returns
    -------
    tuple of Nodule or None
        In the order of the file, each nodule once; None where the table has no row of this series.
    tuple of Note
        Codes ``"no-rows"``, ``"matched-by-name"``, ``"duplicate-nodules"``.

    Raises
    ------
    AnnotationError
        If the file is empty, not such a csv, or a row of the series is short or has an impossible number. The message
        names the line.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    known = (series_uid, *names)
    rows = read_series_rows(path, "annotations", only=known)
    name = next((name for name in known if name in rows), None)
    if name is None:
        return None, (NO_ROWS,)
    of_series = rows[name]
    if of_series.refusal is not None:
        raise of_series.refusal
    return of_series.nodules(), (*((MATCHED_BY_NAME,) if name != series_uid else ()), *duplicate_notes(of_series))


def duplicate_notes(rows: SeriesRows) -> tuple[Note, ...]:
    """Note how many rows of a series repeat a nodule.

    Returns
    -------
    tuple of Note
        Code ``"duplicate-nodules"``; empty where no row repeats one.
    """
    if not rows.repeats:
        return ()
    return (Note("duplicate-nodules", f"{rows.repeats} rows repeat a nodule and were ignored"),)


def parse_point(row: CsvRow, table: PointTable, path: Path) -> tuple[float, ...]:
    """Read the numbers of a row.

    Parameters
    ----------
    row : CsvRow
        With the columns of the table.
    table : PointTable
        The columns of the table that the row comes from.
    path : Path
        For messages.

    Returns
    -------
    tuple of float
        x, y, z, LPS mm, and the number.

    Raises
    ------
    AnnotationError
        If one is not a number, the point is in no patient, or the number is out of range. The message names the line.
    """
    if row.values is None:
        raise wrong_line(path, row.line, row.what)
    names, texts = table.columns[1:], row.values[1:]
    try:
        numbers = tuple(map(float, texts)) if PLAIN.fullmatch("".join(texts)) else ()
    except ValueError:
        numbers = ()
    if not numbers:
        name, text = next((n, t) for n, t in zip(names, texts, strict=True) if not is_number(t))
        raise wrong_line(path, row.line, f"{name} is {one_line(text.strip(), limit=30)!r}, expected a number")
    x, y, z, value = numbers
    if not (abs(x) <= _FARTHEST_MM and abs(y) <= _FARTHEST_MM and abs(z) <= _FARTHEST_MM):
        name, far = next((n, v) for n, v in zip(names, numbers, strict=True) if abs(v) > _FARTHEST_MM)
        raise wrong_line(path, row.line, f"{name} is {far:g} mm, outside any patient")
    if not table.above < value <= table.most or (table.whole and value != int(value)):
        raise wrong_line(path, row.line, f"{table.column} is {value:g}, expected {table.expected}")
    return numbers
