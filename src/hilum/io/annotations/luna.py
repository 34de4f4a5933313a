"""LUNA16's tables: one nodule, candidate or excluded finding a row, its center in world millimetres and a number.

Source: A. Setio et al., "Validation, comparison, and combination of algorithms for automatic detection of pulmonary
nodules in computed tomography images: the LUNA16 challenge", Medical Image Analysis 42, 2017.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from hilum.errors import AnnotationError
from hilum.io.annotations.csv_tables import point_and_value, read_rows, wrong_line
from hilum.scan import Nodule, Note

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.annotations.csv_tables import Row

Kind = Literal["annotations", "candidates", "excluded"]

_LARGEST_DIAMETER_MM = 500.0


class _Rule(NamedTuple):
    """The column of the number beside a center, the range it must be in, and how a message puts that."""

    column: str
    above: float
    most: float
    told: str
    whole: bool


_RULES: Mapping[Kind, _Rule] = {
    "annotations": _Rule("diameter_mm", 0.0, _LARGEST_DIAMETER_MM, "more than 0 and at most 500", False),
    "candidates": _Rule("class", -1.0, 1.0, "0 or 1", True),
    "excluded": _Rule("diameter_mm", -np.inf, _LARGEST_DIAMETER_MM, "at most 500, or -1 where it is unknown", False),
}


@dataclass
class SeriesRows:
    """The rows of one series.

    Parameters
    ----------
    rows : int
        How many there are, repeated and wrong ones included.
    repeats : int
        How many repeat another one and were left out; only annotations are told apart.
    refusal : AnnotationError or None
        What is wrong with the first wrong row.
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
        """Take one row's numbers, `once` only if they are not there already."""
        if once and numbers in self._seen:
            self.repeats += 1
            return
        if once:
            self._seen.add(numbers)
        self._numbers.extend(numbers)


def read_series_rows(path: Path, kind: Kind, *, only: Collection[str] | None = None) -> dict[str, SeriesRows]:
    """Read a LUNA16 table once, for all series.

    Parameters
    ----------
    path : Path
        UTF-8 text with the columns seriesuid, coordX, coordY, coordZ and diameter_mm (candidates: class), in any
        order, separated by commas, with decimal points. A row of annotations with nothing but a series says that
        somebody looked at it and found no nodule.
    kind : {"annotations", "candidates", "excluded"}
        What the rows are: annotations need a diameter, excluded findings may have -1 for none.
    only : collection of str, optional
        What the one series whose rows are looked at may be called there.

    Returns
    -------
    dict of str to SeriesRows
        By series UID; a wrong row is the `SeriesRows.refusal` of its series, and costs no other.

    Raises
    ------
    AnnotationError
        If the file is empty, no such csv, or a row is too short to name its series.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    rule = _RULES[kind]
    found: dict[str, SeriesRows] = {}
    once = kind == "annotations"
    names = ("seriesuid", "coordX", "coordY", "coordZ", rule.column)
    for row in read_rows(path, names, do=f"give LUNA16's {_FILES[kind]}"):
        if only is not None and row.key not in only:
            continue
        of_series = found.get(row.key)
        if of_series is None:
            of_series = found[row.key] = SeriesRows()
        of_series.rows += 1
        if once and row.values is not None and not any(text.strip() for text in row.values[1:]):
            continue  # looked at, and nothing found
        if of_series.refusal is None:
            try:
                of_series.add(_numbers(row, names, rule, path), once=once)
            except AnnotationError as refusal:
                of_series.refusal = refusal
    return found


_FILES: Mapping[Kind, str] = {
    "annotations": "annotations.csv",
    "candidates": "candidates.csv",
    "excluded": "annotations_excluded.csv",
}


def read_annotations(
    path: Path, *, series_uid: str, names: Sequence[str] = ()
) -> tuple[tuple[Nodule, ...] | None, tuple[Note, ...]]:
    """The nodules of one series from a LUNA16 csv.

    Only the rows of that series are checked strictly: annotations_excluded.csv holds diameters of -1.

    Parameters
    ----------
    path : Path
        As `read_series_rows` takes it.
    series_uid : str
        The whole Series Instance UID; a part of one matches nothing.
    names : sequence of str
        What else the table may call the series, such as its file's name; the first that has a row counts.

    Returns
    -------
    tuple of Nodule or None
        In the order of the file, each nodule once; None where no row is of this series, so that nothing is known.
    tuple of Note
        Codes ``"no-rows"``, ``"matched-by-name"``, ``"duplicate-nodules"``.

    Raises
    ------
    AnnotationError
        If the file is empty, no such csv, or a row of the series is short or holds an impossible number. The message
        names the line.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    known = (series_uid, *names)
    rows = read_series_rows(path, "annotations", only=known)
    name = next((name for name in known if name in rows), None)
    if name is None:
        return None, (Note("no-rows", "no row of the annotations is of this series: it stays without annotations"),)
    found = rows[name]
    if found.refusal is not None:
        raise found.refusal
    return found.nodules(), (*(matched_notes() if name != series_uid else ()), *duplicate_notes(found))


def matched_notes() -> tuple[Note, ...]:
    """Say that the rows of a series were found by something else than its UID.

    Returns
    -------
    tuple of Note
        Code ``"matched-by-name"``.
    """
    what = "the rows of the annotations were found by the name of the file or folder, not by the series UID"
    return (Note("matched-by-name", what),)


def duplicate_notes(found: SeriesRows) -> tuple[Note, ...]:
    """Say how many rows of a series repeat a nodule.

    Parameters
    ----------
    found : SeriesRows

    Returns
    -------
    tuple of Note
        Code ``"duplicate-nodules"``; empty where none does.
    """
    if not found.repeats:
        return ()
    return (Note("duplicate-nodules", f"{found.repeats} rows repeat a nodule and were ignored"),)


def _numbers(row: Row, names: tuple[str, ...], rule: _Rule, path: Path) -> tuple[float, ...]:
    numbers = point_and_value(row, names, path)
    value = numbers[3]
    if not rule.above < value <= rule.most or (rule.whole and value != int(value)):
        raise wrong_line(path, row.line, f"{rule.column} is {value:g}, expected {rule.told}")
    return numbers
