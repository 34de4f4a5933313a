"""The ledger of a run: one line per scan that went in, whatever became of it.

Each line ends with a check of its own bytes, so that a line that was cut off or changed is known for one.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from io import BufferedReader
from typing import TYPE_CHECKING, BinaryIO, Literal, Self

import msgspec

from hilum.errors import InputError, OutputError
from hilum.io.atomic import atomic_path, open_own, write_refused
from hilum.io.files import open_file
from hilum.io.records import is_plain_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Status = Literal["done", "repaired", "refused", "failed"]

FINISHED = ("done", "repaired")
"""The statuses of a scan that has its folder."""

NAME = "ledger.jsonl"

_USUAL_LINE = 2048

_LONGEST_LINE = 1 << 22

_CHECK, _DIGITS = b',"check":"', 16


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one scan.

    ``done``: written as the files say; ``repaired``: written, after the image or its place was changed, which `notes`
    tell (`hilum.io.findings` has the kind of each); ``refused``: the input cannot be trusted, `reason` says why;
    ``failed``: hilum or the machine broke, in the last of `attempts`. ``alarms`` are codes of notes that say that
    something is probably wrong: a scan with one is to be checked, whatever its status.

    ``fingerprint`` is of the input's content, the recipe and the version; ``stamp`` of the same with the names, sizes
    and times of the input's files in place of their content; ``scan_sha256`` of ``scan.json``; ``files_stamp`` of the
    sizes and times of the files that were written.

    ``shown`` is the reason as the screen shows it, with paths and names, ``kept`` whether an earlier run made the scan;
    neither is ever written.
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
    shown: str = ""
    kept: bool = False


_UNWRITTEN = ("shown", "kept")


def stored(row: Row) -> Row:
    """A row as a ledger gives it back.

    Parameters
    ----------
    row : Row

    Returns
    -------
    Row
    """
    return msgspec.structs.replace(row, shown="", kept=False) if row.shown or row.kept else row


def encode_row(row: Row) -> bytes:
    """Write a row as a line of the ledger, with its check.

    Parameters
    ----------
    row : Row

    Returns
    -------
    bytes
        With its line break.
    """
    written = {name: value for name, value in msgspec.structs.asdict(row).items() if name not in _UNWRITTEN}
    body = msgspec.json.encode(written)[:-1]
    return body + _CHECK + _digest(body) + b'"}\n'


def decode_row(line: bytes, *, strict: bool = False) -> Row | None:
    """Read a line of the ledger.

    Parameters
    ----------
    line : bytes
        With or without its line break.
    strict : bool
        Whether a line without a check, as older versions wrote them, is none.

    Returns
    -------
    Row or None
        None where the line is cut off, changed or of another form, or its id is no name of a folder.
    """
    body, check, end = line.removesuffix(b"\n").rpartition(_CHECK)
    if strict and not line.endswith(b"\n"):
        return None
    if (check and end != _digest(body) + b'"}') or (strict and not check):
        return None
    try:
        row = msgspec.json.decode(line, type=Row)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return row if is_plain_name(row.id) else None


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
                self._writer = os.fdopen(open_own(self._path), "r+b", buffering=0)
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


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_DIGITS].encode()
