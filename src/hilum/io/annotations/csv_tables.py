"""Csv tables of data sets, row by row; spaces, byte order marks and all line ends are accepted."""

import csv
import io
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from hilum.errors import AnnotationError, one_line
from hilum.io.files import open_file

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The first characters of cells that a spreadsheet computes instead of showing; the last four are wide ones of CJK.

The apostrophe is in the list so that `plain_cell` can tell ours from one that was there before.
"""

PLAIN = re.compile(r"[0-9eE+\-. ]+")
"""The characters of a number; Python's float also accepts ``nan``, ``1_0`` and digits of other scripts."""

_SIZE_LIMIT = 2**28
_LINE_LIMIT = 2**20
_OLD_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class CsvRow(NamedTuple):
    """One row: the line on which it ends, its key, its values (None where fields are missing or too many), and why."""

    line: int
    key: str
    values: tuple[str, ...] | None
    what: str


def safe_cells(row: Iterable[object]) -> list[object]:
    """Escape cells that a spreadsheet would compute as a formula.

    Returns
    -------
    list of object
        Text that begins like a formula gets an apostrophe in front; numbers, also in text, stay as they are.

    Examples
    --------
    >>> safe_cells(["=1+1", "-12.5", -12.5, "fold"])
    ["'=1+1", '-12.5', -12.5, 'fold']
    """
    return [f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell for cell in row]


def plain_cell(cell: str) -> str:
    """Undo `safe_cells` for one cell."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _is_formula(cell: str) -> bool:
    return cell.startswith(FORMULA) and not _NUMBER.fullmatch(cell)


def is_number(text: str) -> bool:
    """Whether a cell is a finite decimal number."""
    try:
        return PLAIN.fullmatch(text) is not None and math.isfinite(float(text))
    except ValueError:
        return False


def read_header(path: Path) -> list[str]:
    """Read the names of the columns of a csv, as `read_rows` finds them; its errors too."""
    with open_file(path) as raw, io.BufferedReader(raw, 2**12) as buffered:
        reader = csv.reader(_lines(buffered, path), strict=True)
        try:
            head = next((fields for fields in reader if _filled(fields)), [])
        except csv.Error as error:
            raise wrong_line(path, reader.line_num, str(error)) from error
    return [name.strip() for name in head]


def read_rows(
    path: Path, names: Sequence[str], *, do: str, aliases: Mapping[str, str] = MappingProxyType({})
) -> Iterator[CsvRow]:
    """Read the rows of a csv one by one, without blank ones.

    Parameters
    ----------
    path : Path
        UTF-8 text (a byte order mark and any line ends are accepted), separated by commas, with a line of column names.
    names : sequence of str
        The columns to read; the first is the key. The file may have them in any order and case.
    do : str
        What to do about a wrong file, for messages.
    aliases : mapping of str to str
        Other names of columns, in lower case, and the name in `names` for each.

    Yields
    ------
    CsvRow
        ``values`` in the order of `names`, including the key.

    Raises
    ------
    AnnotationError
        If the file is empty, not UTF-8, not separated by commas, too large, lacks a column or has it twice, or a row
        ends before its key.
    MissingInputError, InputError
        If the file does not exist or cannot be opened.
    """
    with open_file(path) as raw, io.BufferedReader(raw, 2**18) as buffered:
        if os.fstat(raw.fileno()).st_size > _SIZE_LIMIT:
            raise AnnotationError(f"is larger than {_SIZE_LIMIT} bytes", where=path, do=do)
        reader = csv.reader(_lines(buffered, path), strict=True)
        try:
            if (head := next((fields for fields in reader if _filled(fields)), None)) is None:
                raise AnnotationError("is empty, expected annotations", where=path, do="download it again")
            yield from _project(reader, _columns(head, names, aliases, path, do), len(head), path)
        except csv.Error as error:
            raise wrong_line(path, reader.line_num, str(error)) from error


def wrong_line(path: Path, line: int, what: str) -> AnnotationError:
    """Make the error for a wrong line."""
    return AnnotationError(f"line {line}: {what}", where=path, do="correct the line")


def _project(reader: Iterator[list[str]], columns: list[int], width: int, path: Path) -> Iterator[CsvRow]:
    key, pick = columns[0], itemgetter(*columns)
    for fields in reader:
        line: int = reader.line_num  # type: ignore[attr-defined]
        if len(fields) == width > 1:
            values = pick(fields)
            yield CsvRow(line, values[0].strip(), values, "")
        elif _filled(fields):
            what = f"{len(fields)} fields, expected {width}"
            if len(fields) <= key:
                raise wrong_line(path, line, what)
            yield CsvRow(line, fields[key].strip(), None, what)


def _filled(fields: list[str]) -> bool:
    return bool(fields) and (len(fields) > 1 or bool(fields[0].strip()))


def _lines(handle: "io.BufferedReader[io.FileIO]", path: Path) -> Iterator[str]:
    """Decode line by line, so that an error names its line; skip a byte order mark."""
    do = "save it as CSV in UTF-8"
    for number, raw in enumerate(iter(partial(handle.readline, _LINE_LIMIT + 1), b""), start=1):
        if len(raw) > _LINE_LIMIT:
            raise wrong_line(path, number, f"is longer than {_LINE_LIMIT} bytes")
        if b"\0" in raw or (number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff"))):
            raise AnnotationError("is UTF-16 or not text, expected UTF-8", where=path, do=do)
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise AnnotationError(f"is not UTF-8: line {number}, byte {error.start}", where=path, do=do) from error
        yield from _OLD_LINES.findall(text) if "\r" in text[:-2] else (text,)


def _columns(head: list[str], names: Sequence[str], aliases: Mapping[str, str], path: Path, do: str) -> list[int]:
    """The index of each column."""
    present = [name.strip().lower() for name in head]
    if len(present) == 1 and any(sign in present[0] for sign in ";\t|"):
        what = "does not separate its columns by commas"
        raise AnnotationError(what, where=path, do="save it with commas and decimal points")
    present = [aliases.get(name, name).lower() for name in present]
    for name in names:
        if present.count(name.lower()) != 1:
            if name.lower() in present:
                raise AnnotationError(f"column {name} is there twice", where=path, do=do)
            what = f"column {name} is missing; its columns are {one_line(', '.join(head), limit=120)}"
            raise AnnotationError(what, where=path, do=do)
    return [present.index(name.lower()) for name in names]
