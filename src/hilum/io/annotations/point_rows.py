"""Rows of the csv tables of LUNA16: a series, a point in the world and a number, which depends on the kind of table."""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

from hilum.errors import one_line
from hilum.io.annotations.csv_tables import CsvRow, wrong_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


TableKind = Literal["annotations", "candidates", "excluded", "detections"]

_PLAIN = re.compile(r"[0-9eE+\-. ]+")
"""The characters of a number; Python's float also accepts ``nan``, ``1_0`` and digits of other scripts."""

_FARTHEST_MM = 1e9
_MAX_DIAMETER_MM = 500.0


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
    "annotations": PointTable("diameter_mm", 0.0, _MAX_DIAMETER_MM, "more than 0 and at most 500"),
    "candidates": PointTable("class", -1.0, 1.0, "0 or 1", whole=True),
    "excluded": PointTable("diameter_mm", -math.inf, _MAX_DIAMETER_MM, "at most 500, or -1 where it is unknown"),
    "detections": PointTable("probability", -math.inf, sys.float_info.max, "a finite number"),
}
"""Every kind of table."""


def parse_point(row: CsvRow, table: PointTable, path: Path) -> tuple[float, ...]:
    """Read the numbers of a row.

    Parameters
    ----------
    row : CsvRow
        With the columns of the table.
    table : PointTable
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
        numbers = tuple(map(float, texts)) if _PLAIN.fullmatch("".join(texts)) else ()
    except ValueError:
        numbers = ()
    if not numbers:
        name, text = next((n, t) for n, t in zip(names, texts, strict=True) if not _is_number(t))
        raise wrong_line(path, row.line, f"{name} is {one_line(text.strip(), limit=30)!r}, expected a number")
    x, y, z, value = numbers
    if not (abs(x) <= _FARTHEST_MM and abs(y) <= _FARTHEST_MM and abs(z) <= _FARTHEST_MM):
        name, far = next((n, v) for n, v in zip(names, numbers, strict=True) if abs(v) > _FARTHEST_MM)
        raise wrong_line(path, row.line, f"{name} is {far:g} mm, outside any patient")
    if not table.above < value <= table.most or (table.whole and value != int(value)):
        raise wrong_line(path, row.line, f"{table.column} is {value:g}, expected {table.expected}")
    return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return _PLAIN.fullmatch(text) is not None
