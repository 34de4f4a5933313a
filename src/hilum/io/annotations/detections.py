"""Tables of all series at once: a detector's marks, candidates, nodules, excluded findings, and lists of series.

One wrong row refuses the file.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.errors import AnnotationError, InputError, one_line
from hilum.io.annotations import csv_tables, luna
from hilum.io.atomic import atomic_path, refusing_writes
from hilum.io.files import as_path, open_file
from hilum.io.names import is_uid
from hilum.ops.patches.predictions import Detection
from hilum.scan import Note

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LIST_LIMIT = 2**24
_SIZE = "diameter_mm"


class PointTables(NamedTuple):
    """By series: rows (x, y, z, value), LPS mm, in the order of the file, equal rows together; and what was odd."""

    tables: dict[str, NDArray[np.float64]]
    notes: tuple[Note, ...]
    diameters: Mapping[str, NDArray[np.float64]] = MappingProxyType({})
    """Of marks, by series: diameters in mm, NaN where the file states none."""

    def marks(self, names: Iterable[str]) -> tuple[Detection, ...]:
        """The marks of the first of these names that has some, the most probable first."""
        name = next((name for name in names if name in self.tables), None)
        if name is None:
            return ()
        rows = zip(self.tables[name].tolist(), self.diameters[name].tolist(), strict=True)
        made = [Detection((x, y, z), diameter, probability) for (x, y, z, probability), diameter in rows]
        return tuple(sorted(made, key=lambda one: -one.probability))


def read_detections(path: Path) -> PointTables:
    """Read a detector's marks: seriesuid, coordX, coordY, coordZ, probability, and diameter_mm if there is one.

    Parameters
    ----------
    path : Path
        UTF-8 text (a byte order mark and any line ends are accepted), columns in any order, separated by commas.

    Returns
    -------
    PointTables
        The value is the probability: any finite number. A blank diameter, or 0, is unknown. Codes of notes:
        ``"duplicate-detections"``, ``"no-detections"``.

    Raises
    ------
    AnnotationError
        If the file is empty, lacks a column, or a row is short, long or holds anything but finite numbers. The
        message names the line.
    InputError
        If it cannot be opened.
    """
    rows, repeated = _read_points(path, "detections")
    tables = {name: table[:, :4] for name, table in rows.items()}
    sizes = {name: table[:, 4] if table.shape[1] > 4 else np.zeros(len(table)) for name, table in rows.items()}
    diameters = {name: np.where(size > 0, size, np.nan) for name, size in sizes.items()}
    notes = []
    if repeated:
        what = f"{repeated} marks repeat another to the digit; each counts, as in the official evaluation"
        notes.append(Note("duplicate-detections", what))
    if not tables:
        notes.append(Note("no-detections", "the file lists no mark"))
    return PointTables(tables, tuple(notes), diameters)


def write_detections(path: str | Path, detections: Mapping[str, Iterable[Detection]]) -> None:
    """Write a detector's marks as ``hilum froc`` reads them.

    Parameters
    ----------
    path : str or Path
        A csv with the columns seriesuid, coordX, coordY, coordZ, diameter_mm and probability: LPS mm, as LUNA16 has it.
        An existing file is replaced.
    detections : mapping of str to iterable of Detection
        By series UID. A diameter of NaN, for an unknown one, is left blank.

    Raises
    ------
    InputError
        If a name is no series UID, or a number is not finite.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import hilum
    >>> from pathlib import Path
    >>> hilum.write_detections("marks.csv", {"1.2.3": [hilum.Detection((-20.0, 10.0, -35.5), 6.2, 0.94)]})
    >>> print(Path("marks.csv").read_text())
    seriesuid,coordX,coordY,coordZ,diameter_mm,probability
    1.2.3,-20.0000,10.0000,-35.5000,6.200,0.94
    <BLANKLINE>
    """
    target = as_path(path)
    rows = [(uid, *one.center, one.diameter_mm, one.probability) for uid, marks in detections.items() for one in marks]
    for number, (uid, x, y, z, diameter, probability) in enumerate(rows, 1):
        if not _NAME.fullmatch(uid) or not np.isfinite([x, y, z, probability]).all() or np.isinf(diameter):
            what = f"mark {number} cannot be written: its series is no UID, or a number is not finite"
            raise InputError(what, do="give each series UID its marks", code="detections")
    with refusing_writes(target), atomic_path(target) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "probability"))
        for uid, x, y, z, diameter, probability in rows:
            wide = "" if np.isnan(diameter) else f"{diameter:.3f}"
            table.writerow((uid, f"{x:.4f}", f"{y:.4f}", f"{z:.4f}", wide, repr(float(probability))))


def read_findings(path: Path, *, excluded: bool = False) -> PointTables:
    """Read the nodules of every series: seriesuid, coordX, coordY, coordZ, diameter_mm.

    Parameters
    ----------
    path : Path
        As for `read_detections`.
    excluded : bool
        Whether a negative diameter stands for an unknown one, as in annotations_excluded.csv.

    Returns
    -------
    PointTables
        The value is the diameter in mm. A row that repeats another counts once, with a note
        ``"duplicate-nodules"``.

    Raises
    ------
    AnnotationError, InputError
        As for `read_detections`, and for an impossible diameter.
    """
    tables, repeated = _read_points(path, "excluded" if excluded else "annotations")
    notes = (Note("duplicate-nodules", f"{repeated} rows repeat a nodule and were ignored"),) if repeated else ()
    return PointTables(tables, notes)


def read_candidates(path: Path) -> PointTables:
    """Read LUNA16's candidates: seriesuid, coordX, coordY, coordZ, class (1 nodule, 0 none).

    Parameters
    ----------
    path : Path
        As for `read_detections`.

    Returns
    -------
    PointTables
        The value is the class.

    Raises
    ------
    AnnotationError, InputError
        As for `read_detections`, and for a class that is neither 0 nor 1.
    """
    return PointTables(_read_points(path, "candidates")[0], ())


def read_series(path: Path) -> tuple[tuple[str, ...], tuple[Note, ...]]:
    """Read a list of series: the column seriesuid of a csv, or one UID per line without a heading.

    Returns
    -------
    tuple of str
        Each once, in the order of the file.
    tuple of Note
        ``"duplicate-series"``.

    Raises
    ------
    AnnotationError, InputError
        If the file is empty or a line does not name a series.
    """
    with open_file(path) as handle:
        raw = handle.read(_LIST_LIMIT + 1)
    try:
        text = raw.decode("utf-8-sig") if len(raw) <= _LIST_LIMIT else ""
        rows = [(k, fields) for k, fields in enumerate(csv.reader(io.StringIO(text)), 1) if "".join(fields).strip()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"is not a list of series: {error}", where=path, do="save it as CSV in UTF-8") from None
    head = [field.strip().lower() for field in rows[0][1]] if rows else []
    column = head.index("seriesuid") if "seriesuid" in head else 0
    rows = rows[1:] if "seriesuid" in head else rows
    names = [_check_name(fields[column] if len(fields) > column else "", line, path) for line, fields in rows]
    if not names:
        raise AnnotationError("lists no series", where=path, do="give one series UID per line")
    unique = tuple(dict.fromkeys(names))
    repeated = len(names) - len(unique)
    notes = (Note("duplicate-series", f"{repeated} lines repeat a series and were ignored"),) if repeated else ()
    return unique, notes


def name_series(names: Iterable[str]) -> str:
    """Name up to three series; only UIDs are named."""
    listed = sorted(names)
    shown = [name for name in listed if is_uid(name)][:3]
    return ", ".join(shown) + (", ..." if len(listed) > len(shown) and shown else "") if shown else "no UIDs"


def _read_points(path: Path, kind: luna.TableKind) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Rows by series, and how many repeat another: nodules and excluded findings count once, other rows every time."""
    table = luna.TABLES[kind]
    series: dict[str, dict[tuple[float, ...], int]] = {}
    sized = kind == "detections" and _SIZE in map(str.lower, csv_tables.read_header(path))
    columns = (*table.columns, _SIZE) if sized else table.columns
    for row in csv_tables.read_rows(path, columns, do=f"give a csv with the columns {','.join(table.columns)}"):
        if (counts := series.get(row.key)) is None:
            counts = series.setdefault(_check_name(row.key, row.line, path), {})
        if sized and row.values is not None:
            point = row._replace(values=row.values[:-1])
            numbers = *luna.parse_point(point, table, path), _diameter(row.values[-1], row.line, path)
        else:
            numbers = luna.parse_point(row, table, path)
        if kind == "excluded" and numbers[3] == 0:
            raise csv_tables.wrong_line(path, row.line, "diameter_mm is 0, expected more, or -1 where it is unknown")
        counts[numbers] = counts.get(numbers, 0) + 1
    repeats = sum(times - 1 for counts in series.values() for times in counts.values())
    keep_all = kind in {"detections", "candidates"}
    return {
        name: np.array([row for row, times in counts.items() for _ in range(times if keep_all else 1)])
        for name, counts in series.items()
    }, repeats


def _diameter(text: str, line: int, path: Path) -> float:
    """The diameter of a mark; 0 if it is unknown."""
    text = text.strip()
    if text and not (csv_tables.is_number(text) and 0 <= float(text) <= luna.MAX_DIAMETER_MM):
        what = f"{_SIZE} is {one_line(text, limit=30)!r}, expected at most {luna.MAX_DIAMETER_MM:g}, or nothing"
        raise csv_tables.wrong_line(path, line, what)
    return float(text or 0)


def _check_name(text: str, line: int, path: Path) -> str:
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise csv_tables.wrong_line(path, line, f"seriesuid is {one_line(name, limit=30)!r}, expected a series UID")
    return name
