"""The ledger of a run: one line per input scan, finished or not.

Each line ends with a checksum of its own bytes, which reveals a truncated or changed line.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from hilum.errors import OutputError
from hilum.io import atomic, files
from hilum.outputs.records import is_plain_name

Status = Literal["done", "repaired", "refused", "failed"]

FINISHED = ("done", "repaired")  # the statuses of a scan that has a folder

_CHECK, _DIGITS = b',"check":"', 16

NAME = "ledger.jsonl"

_MAX_LINE = 1 << 22


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one scan.

    ``done``: written as the files say. ``repaired``: written after the image or its geometry was changed; `notes` say
    how (`hilum.outputs.findings` lists their kinds). ``refused``: the input cannot be trusted; `reason` says why.
    ``failed``: hilum or the machine failed in the last of `attempts`. ``alarms`` are the codes of notes about
    something that is probably wrong; check such a scan whatever its status.

    ``fingerprint`` hashes the input's content, the recipe and the version. ``stamp`` hashes the names, sizes and times
    of the input files, not their content. ``scan_sha256`` hashes ``scan.json``, ``files_stamp`` the sizes and
    times of the written files.

    ``full_reason`` is the reason for the screen, with paths and names. ``kept`` says that an earlier run made the scan.
    Neither is written.
    """

    id: str
    status: Status
    code: str = ""
    reason: str = ""
    seconds: float = 0.0
    notes: list[str] = []
    alarms: list[str] = []
    fingerprint: str = ""
    stamp: str = ""
    scan_sha256: str = ""
    files_stamp: str = ""
    attempts: int = 1
    full_reason: str = ""
    kept: bool = False


def as_written(row: Row) -> Row:
    """Drop from a row what a ledger does not hold."""
    return msgspec.structs.replace(row, full_reason="", kept=False) if row.full_reason or row.kept else row


def encode_row(row: Row) -> bytes:
    """Encode a row as a line of the ledger, with its checksum and a line break."""
    written = msgspec.structs.asdict(row)
    del written["full_reason"], written["kept"]
    body = msgspec.json.encode(written)[:-1]
    return body + _CHECK + _digest(body) + b'"}\n'


def decode_row(line: bytes, *, strict: bool = False) -> Row | None:
    """Decode a line of the ledger.

    Parameters
    ----------
    line : bytes
        With or without a line break.
    strict : bool
        Reject lines without a checksum, which old versions wrote, and lines without a line break.

    Returns
    -------
    Row or None
        None if the line is truncated, changed or malformed, or its id is not a valid folder name.
    """
    body, check, end = line.removesuffix(b"\n").rpartition(_CHECK)
    if (check and end != _digest(body) + b'"}') or (strict and not (check and line.endswith(b"\n"))):
        return None
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        row = msgspec.json.decode(line, type=Row)
        return row if is_plain_name(row.id) else None
    return None


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_DIGITS].encode()


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
    if not path.is_symlink() and not path.exists():
        return
    with files.open_file(path, follow=False) as raw, BufferedReader(raw) as file:
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
        self._reader: FileIO | None = None
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
            self._reader = files.open_file(self._path, follow=False)
        size = 4096  # most lines are shorter
        while True:
            self._reader.seek(self._offsets[scan_id])
            line = self._reader.read(size) or b""
            if b"\n" in line or len(line) < size:
                break
            size *= 2
        return decode_row(line[: line.find(b"\n") + 1])

    def is_finished(self, scan_id: str) -> bool:
        """Check that the last row of a scan calls it finished."""
        return (row := self.get(scan_id)) is not None and row.status in FINISHED

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
            self._writer = self._writer or os.fdopen(atomic.open_own_file(self._path), "r+b", buffering=0)
            self._writer.seek(self._end)
            self._writer.truncate()  # removes a line that a crash truncated
            self._writer.write(line)
            os.fsync(self._writer.fileno())
        except OutputError:
            raise
        except OSError as problem:
            if self._writer is not None:
                with suppress(OSError):
                    self._writer.truncate(self._end)
            raise atomic.write_refused("the ledger", problem, where=self._path) from None
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
        with atomic.atomic_path(self._path) as partial, partial.open("wb") as file:
            file.writelines(map(encode_row, self.rows()))
            self.close()  # Windows replaces no file that is open
        self._scan_lines()

    def _add_line(self, row: Row | None, length: int) -> None:
        if row is not None:
            self._offsets[row.id] = self._end
        self._lines += 1
        self._end += length
