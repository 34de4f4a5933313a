"""A line of a run's ledger: the result for one scan, and the checksum that reveals a truncated or changed line."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from hilum.outputs.records import is_plain_name

Status = Literal["done", "repaired", "refused", "failed"]

FINISHED = ("done", "repaired")
"""The statuses of a scan that has a folder."""

_CHECK, _DIGITS = b',"check":"', 16


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
