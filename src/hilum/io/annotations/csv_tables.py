"""Csv tables of data sets, row by row: strict about what they are, patient about spaces, marks and line ends."""

from __future__ import annotations

import csv
import io
import os
import re
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import AnnotationError, one_line
from hilum.io.files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_PLAIN = re.compile(r"[0-9eE+\-. ]+")
"""What numbers are written with: Python's own float also takes ``nan``, ``1_0`` and digits of other scripts."""

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that a spreadsheet computes instead of showing it; the last four are the wide ones of CJK.

An apostrophe is among them, so that the one put in front can be told from one that was there.
"""

_FARTHEST_MM = 1e9
_SIZE_LIMIT = 2**28
_LINE_LIMIT = 2**20
_OLD_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class Row(NamedTuple):
    """One row: the line on which it ends, its key, the values asked for (None where fields are missing or too many)."""

    line: int
    key: str
    values: tuple[str, ...] | None
    what: str


def safe_cells(row: Iterable[object]) -> list[object]:
    """Cells of a csv of ours, none of which a spreadsheet takes for a formula.

    Parameters
    ----------
    row : iterable of object

    Returns
    -------
    list of object
        Text that begins like a formula has an apostrophe in front; numbers stay as they are, written out too.

    Examples
    --------
    >>> safe_cells(["=1+1", "-12.5", -12.5, "fold"])
    ["'=1+1", '-12.5', -12.5, 'fold']
    """
    return [f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell for cell in row]


def plain_cell(cell: str) -> str:
    """A cell that `safe_cells` wrote, as it was before.

    Parameters
    ----------
    cell : str

    Returns
    -------
    str
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _is_formula(cell: str) -> bool:
    return cell.startswith(FORMULA) and not _NUMBER.fullmatch(cell)


def read_rows(
    path: Path, names: Sequence[str], *, do: str, aliases: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Row]:
    """Read the rows of a csv that are not blank, without holding the file in memory.

    Parameters
    ----------
    path : Path
        UTF-8 text (a byte order mark and any line ends are fine), separated by commas, with a line of column names.
    names : sequence of str
        The columns wanted, in any order in the file and in any case; the first is the key.
    do : str
        What to do where the file is none of that, for messages.
    aliases : mapping of str to str
        Other names of columns, in lower case, and the name wanted for each.

    Yields
    ------
    Row
        ``values`` in the order of `names`, the key among them.

    Raises
    ------
    AnnotationError
        If the file is empty, not UTF-8, not separated by commas, too large, lacks a column or has it twice, or a row
        ends before its key.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    with open_file(path) as raw, io.BufferedReader(raw, 2**18) as buffered:
        size = os.fstat(raw.fileno()).st_size
        if size > _SIZE_LIMIT:
            raise AnnotationError(f"is larger than {_SIZE_LIMIT} bytes", where=path, do=do)
        reader = csv.reader(_lines(buffered, path), strict=True)
        try:
            head = next((fields for fields in reader if _filled(fields)), None)
            if head is None:
                raise AnnotationError("is empty, expected annotations", where=path, do="download it again")
            columns = _columns(head, names, aliases, path, do)
            yield from _project(reader, columns, len(head), path)
        except csv.Error as error:
            raise wrong_line(path, reader.line_num, str(error)) from error


def point_and_value(row: Row, names: Sequence[str], path: Path) -> tuple[float, ...]:
    """The four numbers of a row: a place in the world, and what is said of it.

    Parameters
    ----------
    row : Row
        As `read_rows` gives it for five columns, the first of which is its key.
    names : sequence of str
        Of the five columns.
    path : Path

    Returns
    -------
    tuple of float
        x, y, z, LPS mm; the value, whatever its range.

    Raises
    ------
    AnnotationError
        If one is no number, or the place is in no patient. The message names the line.
    """
    if row.values is None:
        raise wrong_line(path, row.line, row.what)
    texts = row.values[1:]
    try:
        numbers = tuple(map(float, texts)) if _PLAIN.fullmatch("".join(texts)) else ()
    except ValueError:
        numbers = ()
    if not numbers:
        name, text = next((n, t) for n, t in zip(names[1:], texts, strict=True) if not _is_number(t))
        raise wrong_line(path, row.line, f"{name} is {one_line(text.strip(), limit=30)!r}, expected a number")
    x, y, z, _ = numbers
    if not (abs(x) <= _FARTHEST_MM and abs(y) <= _FARTHEST_MM and abs(z) <= _FARTHEST_MM):
        name, far = next((n, v) for n, v in zip(names[1:], numbers, strict=False) if abs(v) > _FARTHEST_MM)
        raise wrong_line(path, row.line, f"{name} is {far:g} mm, no place in a patient")
    return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return _PLAIN.fullmatch(text) is not None


def wrong_line(path: Path, line: int, what: str) -> AnnotationError:
    """Say what is wrong with a line.

    Parameters
    ----------
    path : Path
    line : int
    what : str

    Returns
    -------
    AnnotationError
    """
    return AnnotationError(f"line {line}: {what}", where=path, do="correct the line")


def _project(reader: Iterator[list[str]], columns: list[int], width: int, path: Path) -> Iterator[Row]:
    key, pick = columns[0], itemgetter(*columns)
    for fields in reader:
        found = len(fields)
        if found == width and found > 1:
            values = pick(fields)
            yield Row(reader.line_num, values[0].strip(), values, "")  # type: ignore[attr-defined]
            continue
        if not _filled(fields):
            continue
        line: int = reader.line_num  # type: ignore[attr-defined]
        if found > key:
            yield Row(line, fields[key].strip(), None, f"{found} fields, expected {width}")
        else:
            raise wrong_line(path, line, f"{found} fields, expected {width}")


def _filled(fields: list[str]) -> bool:
    return bool(fields) and (len(fields) > 1 or bool(fields[0].strip()))


def _lines(handle: io.BufferedReader[io.FileIO], path: Path) -> Iterator[str]:
    """Decode line by line, so that an error knows its line; a byte order mark is passed over."""
    do = "save it as CSV in UTF-8"
    number = 0
    while raw := handle.readline(_LINE_LIMIT + 1):
        number += 1
        if len(raw) > _LINE_LIMIT:
            raise wrong_line(path, number, f"is longer than {_LINE_LIMIT} bytes")
        if b"\0" in raw or (number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff"))):
            raise AnnotationError("is UTF-16 or no text at all, expected UTF-8", where=path, do=do)
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise AnnotationError(f"is not UTF-8: line {number}, byte {error.start}", where=path, do=do) from error
        if "\r" in text[:-2]:
            yield from _OLD_LINES.findall(text)
        else:
            yield text


def _columns(head: list[str], names: Sequence[str], aliases: Mapping[str, str], path: Path, do: str) -> list[int]:
    """Where the columns stand."""
    there = [name.strip().lower() for name in head]
    if len(there) == 1 and any(sign in there[0] for sign in ";\t|"):
        raise AnnotationError(
            "separates its columns by something else than commas",
            where=path,
            do="save it with commas and decimal points",
        )
    there = [aliases.get(name, name).lower() for name in there]
    for name in names:
        if there.count(name.lower()) != 1:
            what = "missing" if name.lower() not in there else "there twice"
            raise AnnotationError(f"column {name} is {what}", where=path, do=do)
    return [there.index(name.lower()) for name in names]
