"""Is what is about to be shown what the run wrote under that name: files, ``scan.json`` and ledger fit together."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from hilum.errors import FormatError, InputError, MissingInputError
from hilum.io.ledger import FINISHED
from hilum.io.records import ScanRecord

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.io.ledger import Row

LARGEST = 64 << 20
"""Bytes of a ``scan.json`` beyond which it is none of ours."""

AGAIN = "run it again with the same command: that makes it anew"


class Checked(NamedTuple):
    """A finished scan's ``scan.json``, its SHA-256, and why nothing vouches for it; empty where the ledger does."""

    record: ScanRecord
    sha256: str
    doubt: str


def read_small(path: Path, *, limit: int) -> bytes:
    """Read a small file of a run, which a stranger may have made.

    Parameters
    ----------
    path : Path
        Its last name must not be a link.
    limit : int
        The most bytes that such a file has.

    Returns
    -------
    bytes

    Raises
    ------
    MissingInputError
        If there is no such file.
    InputError
        If it is a link, a pipe or a device, is longer, or may not be read.
    """
    if path.is_symlink():
        raise InputError("is a link", where=path, do="give the folder that hilum wrote", code="unreadable")
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise MissingInputError("does not exist", where=path) from problem
    except OSError as problem:
        raise InputError(f"cannot be opened: {problem.strerror}", where=path, code="unreadable") from problem
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InputError("is not a regular file", where=path, code="unreadable")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FormatError(f"is longer than {limit} bytes", where=path, code="size")
    return data


def digest(folder: Path) -> str:
    """The SHA-256 of a scan's ``scan.json``; empty where it cannot be read."""
    try:
        return hashlib.sha256(read_small(folder / "scan.json", limit=LARGEST)).hexdigest()
    except InputError:
        return ""


def check_record(folder: Path, row: Row | None) -> Checked:
    """Read a finished scan's ``scan.json``, and hold it against the ledger.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    row : Row or None
        Its line of the ledger.

    Returns
    -------
    Checked

    Raises
    ------
    InputError
        If it is missing, damaged, of another scan, or not the one that the ledger names.
    """
    path = folder / "scan.json"
    raw = read_small(path, limit=LARGEST)
    found = hashlib.sha256(raw).hexdigest()
    if row is not None and row.scan_sha256 not in ("", found):
        raise FormatError("is not what the ledger says", where=path, do=AGAIN, code="checksum")
    try:
        record = msgspec.json.decode(raw, type=ScanRecord)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FormatError("is not a record of a scan", where=path, do=AGAIN) from None
    if record.scan_id != folder.name:
        raise FormatError("is the record of another scan", where=path, do=AGAIN, code="checksum")
    return Checked(record, found, _doubt(row))


def _doubt(row: Row | None) -> str:
    if row is None:
        return "the ledger does not list this scan"
    if row.status not in FINISHED:
        return f"the ledger says {row.status}, this is left from before"
    return "" if row.scan_sha256 else "the ledger holds no checksum of this scan"
