"""LUNA16's tables, series by series: a row is a nodule, a candidate or an excluded finding.

Source: A. Setio et al., "Validation, comparison, and combination of algorithms for automatic detection of pulmonary
nodules in computed tomography images: the LUNA16 challenge", Medical Image Analysis 42, 2017.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import AnnotationError
from hilum.io.annotations.csv_tables import read_rows
from hilum.io.annotations.point_rows import TABLES, TableKind, parse_point
from hilum.scan import Nodule, Note

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


MATCHED_BY_NAME = Note(
    "matched-by-name", "the rows of the annotations were found by the name of the file or folder, not by the series UID"
)


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
    _numbers: array[float] = field(default_factory=lambda: array("d"))
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
    series: dict[str, SeriesRows] = {}
    once = kind == "annotations"
    for row in read_rows(path, table.columns, do=f"give a csv with the columns {','.join(table.columns)}"):
        if only is not None and row.key not in only:
            continue
        rows = series.get(row.key)
        if rows is None:
            rows = series[row.key] = SeriesRows()
        rows.rows += 1
        if once and row.values is not None and not any(text.strip() for text in row.values[1:]):
            continue  # a scan without a nodule
        if rows.refusal is None:
            try:
                rows.add(parse_point(row, table, path), once=once)
            except AnnotationError as refusal:
                rows.refusal = refusal
    return series


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
        return None, (Note("no-rows", "the annotations have no row of this series: it stays without annotations"),)
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
