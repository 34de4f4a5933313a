"""The ledger of a run: one line per scan that went in, whatever became of it.

Each line ends with a check of its own bytes, so that a line that was cut off or changed is known for one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from io import BufferedReader
from typing import TYPE_CHECKING, BinaryIO, Self

from hilum.errors import InputError, OutputError
from hilum.io.atomic import atomic_path, open_own_file, write_refused
from hilum.io.files import open_file
from hilum.outputs.ledger_rows import Row, decode_row, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NAME = "ledger.jsonl"

_USUAL_LINE = 2048

_LONGEST_LINE = 1 << 22


def read_ledger(folder: Path) -> dict[str, Row]:
    """Read a run's ledger; the last line of an id counts, and a line cut off by a crash does not.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Returns
    -------
    dict of str to Row
        By scan id; empty where there is no ledger.
    """
    return {row.id: row for row in map(decode_row, read_lines(folder)) if row is not None}


def read_lines(folder: Path) -> Iterator[bytes]:
    """Read the lines of a run's ledger, whatever is in them.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Yields
    ------
    bytes
        With their line breaks. Of one that is longer than any of ours only the beginning comes, without.

    Raises
    ------
    InputError
        If the ledger is a link or no regular file.
    """
    path = folder / NAME
    if path.is_symlink():
        raise InputError("is a link", where=path, do="give the folder that hilum wrote", code="link")
    if not path.exists():
        return
    with open_file(path, follow=False) as raw, BufferedReader(raw) as file:
        while line := file.readline(_LONGEST_LINE):
            yield line
            while len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                line = file.readline(_LONGEST_LINE)


def append_row(folder: Path, row: Row) -> None:
    """Add one line to a run's ledger, and have it on the disk before going on.

    Parameters
    ----------
    folder : Path
        The run's output folder.
    row : Row

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with Ledger(folder) as book:
        book.append(row)


def rewrite_ledger(folder: Path, rows: Iterable[Row]) -> None:
    """Replace a run's ledger by one line per scan, at one stroke.

    Parameters
    ----------
    folder : Path
        The run's output folder.
    rows : iterable of Row

    Raises
    ------
    OutputError
        If it cannot be written; the old ledger stays.
    """
    with atomic_path(folder / NAME) as partial, partial.open("wb") as file:
        file.writelines(map(encode_row, rows))


class Ledger:
    """A ledger that is being read and added to; its rows stay on the disk, memory holds where each begins.

    One that is only read need not be writable, and is not made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._reader: BinaryIO | None = None
        self._writer: BinaryIO | None = None
        self._places: dict[str, int] = {}
        self._lines = self._end = 0
        for line in read_lines(folder):
            if not line.endswith(b"\n"):  # one that a crash cut off, or that is none of ours: what follows is not read
                break
            self._note(decode_row(line), len(line))

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        for file in (self._reader, self._writer):
            if file is not None:
                file.close()
        self._reader = self._writer = None

    def __len__(self) -> int:
        """How many scans have a row."""
        return len(self._places)

    def get(self, scan_id: str) -> Row | None:
        """The last row of a scan; None where it has none."""
        if scan_id not in self._places:
            return None
        if self._reader is None:
            self._reader = open_file(self._path, follow=False)
        handle, line, size = self._reader.fileno(), b"", _USUAL_LINE
        while b"\n" not in line and len(line) < (size := 2 * size):
            line = os.pread(handle, size, self._places[scan_id])
            if len(line) < size:
                break
        return decode_row(line[: line.find(b"\n") + 1])

    def rows(self) -> Iterator[Row]:
        """The last row of every scan, by their ids in order."""
        for scan_id in sorted(self._places):
            if (row := self.get(scan_id)) is not None:
                yield row

    def append(self, row: Row) -> None:
        """Add a row, and have it on the disk before going on.

        Raises
        ------
        OutputError
            If it cannot be written; no part of it stays.
        """
        line = encode_row(row)
        try:
            if self._writer is None:
                self._writer = os.fdopen(open_own_file(self._path), "r+b", buffering=0)
            file = self._writer
            file.seek(self._end)
            file.truncate()  # what a crash cut off
            try:
                file.write(line)
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(self._end)
                raise
        except OSError as problem:
            if isinstance(problem, OutputError):
                raise
            raise write_refused("the ledger", problem, where=self._path) from None
        self._note(row, len(line))

    def drop(self, scan_id: str) -> None:
        """Forget a scan; its lines go when the ledger is compacted."""
        self._places.pop(scan_id, None)

    def compact(self) -> None:
        """Leave one line per scan, in the order of their ids, at one stroke.

        Raises
        ------
        OutputError
            If it cannot be written; the old ledger stays.
        """
        places = list(self._places.values())
        tidy = self._lines == len(places) and places == sorted(places) and list(self._places) == sorted(self._places)
        if tidy and self._path.exists() and self._path.stat().st_size == self._end:
            return
        rewrite_ledger(self._path.parent, self.rows())
        self.__exit__()
        self.__init__(self._path.parent)  # type: ignore[misc] # where the rows begin now

    def _note(self, row: Row | None, length: int) -> None:
        if row is not None:
            self._places[row.id] = self._end
        self._lines += 1
        self._end += length
