"""Check that a finished scan's ``scan.json`` is the one that the run's ledger names."""

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


class CheckedRecord(NamedTuple):
    """A finished scan's ``scan.json``, its SHA-256, and why it could not be checked; empty if it was."""

    record: ScanRecord
    sha256: str
    unchecked: str


def check_record(folder: Path, row: Row | None) -> CheckedRecord:
    """Read ``scan.json`` in a finished scan's folder and compare it with the scan's ledger row.

    Refuses a file that is missing, damaged, of another scan, or not the one that the ledger names.
    """
    path = folder / "scan.json"
    raw = read_small(path, limit=MAX_RECORD_BYTES)
    sha256 = hashlib.sha256(raw).hexdigest()
    if row is not None and row.scan_sha256 not in ("", sha256):
        raise FormatError("does not match the checksum in the ledger", where=path, do=RERUN, code="checksum")
    record = decode_record(raw)
    if record is None:
        raise FormatError("is not a record of a scan", where=path, do=RERUN)
    if record.scan_id != folder.name:
        raise FormatError("is the record of another scan", where=path, do=RERUN, code="checksum")
    unchecked = ""
    if row is None:
        unchecked = "the ledger does not list this scan"
    elif not row.scan_sha256:
        unchecked = "the ledger has no checksum for this scan"
    return CheckedRecord(record, sha256, unchecked)
