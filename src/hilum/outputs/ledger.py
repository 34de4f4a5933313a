"""The ledger of a run: one line per input scan, finished or not.

Each line ends with a checksum of its own bytes, which reveals a truncated or changed line.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from io import BufferedReader
from typing import TYPE_CHECKING, BinaryIO

from hilum.errors import InputError, OutputError
from hilum.io.atomic import atomic_path, open_own_file, write_refused
from hilum.io.files import open_file
from hilum.outputs.ledger_rows import FINISHED, Row, decode_row, encode_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "ledger.jsonl"

_FIRST_READ = 4096  # bytes of the first read of a line; most lines are shorter

_MAX_LINE = 1 << 22


def read_ledger(folder: Path) -> dict[str, Row]:
    """Read a run's ledger: the rows by scan id. The last line of an id counts; a truncated line does not."""
    return {row.id: row for row in map(decode_row, read_lines(folder)) if row is not None}


def read_lines(folder: Path) -> Iterator[bytes]:
    """Read the lines of a run's ledger, valid or not; none without a ledger.

    Yields
    ------
    bytes
        With the line break. Of an excessively long line only the beginning, without a line break.

    Raises
    ------
    InputError
        If the ledger is a link or not a regular file.
    """
    path = folder / NAME
    if path.is_symlink():
        raise InputError("is a link", where=path, do="give the folder that hilum wrote", code="link")
    if not path.exists():
        return
    with open_file(path, follow=False) as raw, BufferedReader(raw) as file:
        while line := file.readline(_MAX_LINE):
            yield line
            while len(line) == _MAX_LINE and not line.endswith(b"\n"):
                line = file.readline(_MAX_LINE)


class Ledger(AbstractContextManager["Ledger"]):
    """A ledger open for reading and appending. Memory holds only the offset of each scan's last line.

    Reading needs no write permission and creates no file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._reader: BinaryIO | None = None
        self._writer: BinaryIO | None = None
        self._scan_lines()

    def _scan_lines(self) -> None:
        """Find the offset of each scan's last line, up to a line that is truncated or too long."""
        self._offsets: dict[str, int] = {}
        self._lines = self._end = 0
        for line in read_lines(self._path.parent):
            if not line.endswith(b"\n"):
                break
            self._add_line(decode_row(line), len(line))

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        for file in (self._reader, self._writer):
            if file is not None:
                file.close()
        self._reader = self._writer = None

    def get(self, scan_id: str) -> Row | None:
        """Read the last row of a scan; None without one."""
        if scan_id not in self._offsets:
            return None
        if self._reader is None:
            self._reader = open_file(self._path, follow=False)
        handle, offset, size = self._reader.fileno(), self._offsets[scan_id], _FIRST_READ
        line = os.pread(handle, size, offset)
        while b"\n" not in line and len(line) == size:
            size *= 2
            line = os.pread(handle, size, offset)
        return decode_row(line[: line.find(b"\n") + 1])

    def is_finished(self, scan_id: str) -> bool:
        """Check that the last row of a scan calls it finished."""
        row = self.get(scan_id)
        return row is not None and row.status in FINISHED

    def rows(self) -> Iterator[Row]:
        """Iterate over the last rows of all scans, sorted by id."""
        for scan_id in sorted(self._offsets):
            if (row := self.get(scan_id)) is not None:
                yield row

    def append(self, row: Row) -> None:
        """Add a row and force it to the disk.

        Raises
        ------
        OutputError
            If it cannot be written; no part of it remains.
        """
        line = encode_row(row)
        try:
            if self._writer is None:
                self._writer = os.fdopen(open_own_file(self._path), "r+b", buffering=0)
            file = self._writer
            file.seek(self._end)
            file.truncate()  # removes a line that a crash truncated
            try:
                file.write(line)
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(self._end)
                raise
        except OutputError:
            raise
        except OSError as problem:
            raise write_refused("the ledger", problem, where=self._path) from None
        self._add_line(row, len(line))

    def drop(self, scan_id: str) -> None:
        """Forget a scan; `compact` removes its lines."""
        self._offsets.pop(scan_id, None)

    def compact(self) -> None:
        """Rewrite the ledger atomically with one line per scan, sorted by id, unless it is so already.

        Raises
        ------
        OutputError
            If it cannot be written; the old ledger remains.
        """
        offsets = list(self._offsets.values())
        in_order = offsets == sorted(offsets) and list(self._offsets) == sorted(self._offsets)
        if in_order and self._lines == len(offsets) and self._path.exists() and self._path.stat().st_size == self._end:
            return
        with atomic_path(self._path) as partial, partial.open("wb") as file:
            file.writelines(map(encode_row, self.rows()))
        self.close()
        self._scan_lines()

    def _add_line(self, row: Row | None, length: int) -> None:
        if row is not None:
            self._offsets[row.id] = self._end
        self._lines += 1
        self._end += length
