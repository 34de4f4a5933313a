"""Nodule tables of any kind: those that hilum knows by their header, others by the names of their columns."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from hilum.errors import AnnotationError, one_line
from hilum.io.annotations import csv_tables
from hilum.io.annotations.box_lists import read_box_list
from hilum.io.annotations.known_tables import KNOWN, LUNA16, KnownTable, recognize_table
from hilum.io.annotations.table_rows import (
    FARTHEST,
    LONGEST_EDGE,
    CaseRows,
    NoduleTable,
    TableColumns,
    names_of_id,
    read_id_map,
)
from hilum.io.names import safe_name
from hilum.scan import Axes, Note
from hilum.scan_ref import DatasetEntry

EMPTY = TableColumns()

_MOST_MM = 500.0

_NAME_COLUMNS = "name its columns: --columns id=...,x=...,y=...,z=...,diameter=..."

_OPTIONS = ("axes", "diameter_mm", "id_map")


def is_plain(path: Path, columns: TableColumns | None) -> bool:
    """Whether a file is not for `read_table`: a csv with LUNA16's or unknown columns, or an XML, without options."""
    suffix = path.suffix.lower()
    if (columns or EMPTY) != EMPTY or suffix == ".json":
        return False
    is_table = suffix == ".csv" and path.is_file()
    return not is_table or (recognize_table(path) in {"", LUNA16} and not _lists_readers(csv_tables.read_header(path)))


def read_table(path: Path, columns: TableColumns | None = None) -> NoduleTable:
    """Read a nodule table of any kind.

    Parameters
    ----------
    path : Path
        A csv as `hilum.io.annotations.csv_tables.read_rows` takes it, or a list of boxes in .json.
    columns : TableColumns, optional
        Its columns and axes; by default what is known of it.

    Returns
    -------
    NoduleTable
        A wrong row refuses its case only.

    Raises
    ------
    AnnotationError
        If the table is not known and its columns are not named, lacks one of them, or is not such a file.
    MissingInputError, InputError
        If it cannot be opened.
    """
    columns = columns or EMPTY
    table = read_box_list(path, columns) if path.suffix.lower() == ".json" else _read_csv(path, columns)
    if columns.id_map is None:
        return table
    scans = read_id_map(columns.id_map)
    named = {key: [scans[name] for name in case.names if name in scans][:1] for key, case in table.cases.items()}
    if table.cases and not any(named.values()):
        what = f"pairs none of the ids of the table, such as {one_line(next(iter(table.cases)), limit=64)!r}"
        raise AnnotationError(what, where=columns.id_map, do="give the ids as the table has them", code="no-row-fits")
    for key, found in named.items():
        table.cases[key].names = tuple(found) or table.cases[key].names
    return table


def table_note(table: NoduleTable, columns: TableColumns | None, path: Path) -> Note:
    """Note how a table was read."""
    columns = columns or EMPTY
    kind = "by its columns" if columns.named else f"as a table of {table.name}"
    size = f", diameter {columns.diameter_mm:g} mm" if columns.diameter_mm is not None else ""
    what = f"is read {kind}: axes {table.axes}{size}"
    return Note("read-table", f"{safe_name(path.name) or 'the table'} {what}", f"{path.name} {what}")


def entry_of(table: NoduleTable, names: Sequence[str]) -> tuple[DatasetEntry | None, str]:
    """What a table says about one scan, and the name by which it was found.

    Parameters
    ----------
    table : NoduleTable
        The table, read.
    names : sequence of str
        Of the scan, its series UID first; the first that the table has counts.

    Returns
    -------
    DatasetEntry or None
        None without rows of the scan. Raises the refusal of its rows.
    str
    """
    index = table.keys_by_name()
    name = next((name for name in names if name in index), "")
    if not name:
        return None, ""
    entry = table.cases[index[name]].entry(table.axes)
    if entry.refusal is not None:
        raise entry.refusal
    return entry, name


def _read_csv(path: Path, columns: TableColumns) -> NoduleTable:
    head = csv_tables.read_header(path)
    name = "" if columns.named else recognize_table(path)
    if not name and not columns.named:
        raise _unknown(path, head)
    lower = [column.lower() for column in head]
    missing = [column for column in columns.named.values() if column.lower() not in lower]
    if missing and len(head) > 1:
        raise AnnotationError(_missing(missing[0], head), where=path, do="name columns that it has", code="columns")
    known = KNOWN[name] if name else KnownTable(columns)
    options = {option: value for option in _OPTIONS if (value := getattr(columns, option))}
    known = known._replace(columns=replace(known.columns, **options))
    axes = cast("Axes", known.columns.axes or "lps")
    return NoduleTable(name, axes, _Reader(path, known, axes).read())


def _missing(column: str, head: Sequence[str]) -> str:
    return f"column {column} is missing; its columns are {one_line(', '.join(head), limit=120)}"


def _lists_readers(head: Sequence[str]) -> bool:
    """Whether a header is that of LNDb's trainNodules.csv."""
    lower = {name.lower() for name in head}
    return {"lndbid", "radid", "findingid"} <= lower and "agrlevel" not in lower


def _unknown(path: Path, head: Sequence[str]) -> AnnotationError:
    """Explain a table without known header; the first column of LUNA16 that it lacks is named."""
    if _lists_readers(head):
        what = "has a line for each reader of LNDb, not the merged findings"
        return AnnotationError(what, where=path, do="give trainNodules_gt.csv, or name its columns", code="columns")
    lower = {name.lower() for name in head}
    wanted = KNOWN[LUNA16].columns.named.values()
    column = next((name for name in wanted if name.lower() not in lower), "seriesuid")
    return AnnotationError(_missing(column, head), where=path, do=_NAME_COLUMNS, code="columns")


class _Reader:
    """Reads the rows of a csv whose columns are known."""

    def __init__(self, path: Path, known: KnownTable, axes: Axes) -> None:
        self.path, self.known, self.axes = path, known, axes
        named = known.columns
        sizes = () if named.size == ("x0",) else tuple(getattr(named, name) for name in named.size)
        scores = dict(known.scores) | {n: c for n in ("label", "probability") if (c := getattr(named, n))}
        self.score_names = tuple(scores)
        self.groups = ((named.id, *known.more_ids), named.position, sizes, tuple(scores.values()), (known.is_nodule,))
        self.names = tuple(filter(None, (name for group in self.groups for name in group)))

    def read(self) -> dict[str, CaseRows]:
        """The rows by case."""
        cases: dict[str, CaseRows] = {}
        position, size = self.groups[1], self.groups[2]
        for row in csv_tables.read_rows(self.path, self.names, do=_NAME_COLUMNS):
            cells = dict(zip(self.names, row.values, strict=True)) if row.values is not None else {}
            if (case := cases.get(row.key)) is None:
                case = cases[row.key] = CaseRows(self._names(row.key, cells))
            case.rows += 1
            if case.refusal is not None:
                continue
            try:
                if row.values is None:
                    raise csv_tables.wrong_line(self.path, row.line, row.what)
                if any(cells[name].strip() for name in (*position, *size)):
                    self._add(case, row.line, cells)
            except AnnotationError as refusal:
                case.refusal = refusal
        return cases

    def _names(self, key: str, cells: Mapping[str, str]) -> tuple[str, ...]:
        ids = [key, *(cells.get(name, "").strip() for name in self.known.more_ids)]
        if self.known.file and re.fullmatch(r"[0-9]{1,9}", key):
            ids.append(self.known.file.format(int(key)))
        return tuple(dict.fromkeys(name for text in filter(None, ids) for name in names_of_id(text)))

    def _add(self, case: CaseRows, line: int, cells: Mapping[str, str]) -> None:
        """Add the mark of a row."""
        position = [self._number(cells, name, line) for name in self.groups[1]]
        scores = dict(zip(self.score_names, (self._number(cells, n, line) for n in self.groups[3]), strict=True))
        center, edges = position[:3], list[float]()
        if len(position) == 6:
            center = [(low + high) / 2 for low, high in zip(position[:3], position[3:], strict=True)]
            edges = [high - low for low, high in zip(position[:3], position[3:], strict=True)]
        unit = "mm" if self.axes in {"lps", "ras"} else "voxels"
        for name, value in zip(self.groups[1], position, strict=True):
            if abs(value) > FARTHEST:
                raise csv_tables.wrong_line(self.path, line, f"{name} is {value:g} {unit}, outside any patient")
        if self.known.is_nodule and self._number(cells, self.known.is_nodule, line) == 0:
            case.add("excluded", center, (-1.0,))
            return
        edges = edges or self._sizes(cells, line)
        most = LONGEST_EDGE if len(edges) == 3 and unit == "voxels" else _MOST_MM
        if any(not 0 < edge <= most for edge in edges):
            sizes = ", ".join(f"{edge:g}" for edge in edges)
            what = f"the size is {sizes}, expected more than 0 and at most {most:g}"
            raise csv_tables.wrong_line(self.path, line, what)
        if edges:
            case.add("nodules", center, edges, scores)
        else:
            case.add("marks", center, (scores.get("label", -1.0),))

    def _sizes(self, cells: Mapping[str, str], line: int) -> list[float]:
        """The diameter of a row in mm, or the edges of its box; empty without a size."""
        columns = self.known.columns
        numbers = [self._number(cells, name, line) for name in self.groups[2]]
        if columns.diameter_mm is not None:
            return [columns.diameter_mm]
        if columns.size == ("volume",):
            return [float(np.cbrt(6 * max(numbers[0], 0.0) / math.pi))]
        return [2 * numbers[0]] if columns.size == ("radius",) else numbers

    def _number(self, cells: Mapping[str, str], name: str, line: int) -> float:
        text = cells[name].strip()
        if not csv_tables.is_number(text):
            what = f"{name} is {one_line(text, limit=30)!r}, expected a number"
            raise csv_tables.wrong_line(self.path, line, what)
        return float(text)
