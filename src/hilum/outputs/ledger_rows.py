"""A line of a run's ledger: what became of one scan, and the check that tells a line which was cut off or changed."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from hilum.outputs.records import is_plain_name

Status = Literal["done", "repaired", "refused", "failed"]

FINISHED = ("done", "repaired")
"""The statuses of a scan that has its folder."""

_CHECK, _DIGITS = b',"check":"', 16


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one scan.

    ``done``: written as the files say; ``repaired``: written, after the image or its place was changed, which `notes`
    tell (`hilum.outputs.findings` has the kind of each); ``refused``: the input cannot be trusted, `reason` says why;
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


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_DIGITS].encode()
