"""Is what is about to be shown what the run wrote under that name: files, ``scan.json`` and ledger fit together."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import FormatError
from hilum.io.files import read_small
from hilum.outputs.checksums import RERUN
from hilum.outputs.finished import MAX_RECORD_BYTES, decode_record

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.outputs.ledger_rows import Row
    from hilum.outputs.records import ScanRecord


class Checked(NamedTuple):
    """A finished scan's ``scan.json``, its SHA-256, and why nothing vouches for it; empty where the ledger does."""

    record: ScanRecord
    sha256: str
    doubt: str


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
    raw = read_small(path, limit=MAX_RECORD_BYTES)
    found = hashlib.sha256(raw).hexdigest()
    if row is not None and row.scan_sha256 not in ("", found):
        raise FormatError("is not what the ledger says", where=path, do=RERUN, code="checksum")
    record = decode_record(raw)
    if record is None:
        raise FormatError("is not a record of a scan", where=path, do=RERUN)
    if record.scan_id != folder.name:
        raise FormatError("is the record of another scan", where=path, do=RERUN, code="checksum")
    return Checked(record, found, _doubt(row))


def _doubt(row: Row | None) -> str:
    if row is None:
        return "the ledger does not list this scan"
    return "" if row.scan_sha256 else "the ledger holds no checksum of this scan"
