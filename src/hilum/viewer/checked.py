"""A finished scan's record, checked against the ledger of its run."""

import hashlib
from pathlib import Path

from hilum.errors import FormatError
from hilum.io.files import read_small
from hilum.outputs import checksums, ledger, records
from hilum.outputs.finished import MAX_RECORD_BYTES, decode_record


def check_record(folder: Path, row: ledger.Row | None) -> tuple[records.ScanRecord, str, str]:
    """Read ``scan.json`` in a finished scan's folder and compare it with the scan's ledger row.

    Refuses a file that is missing, damaged, of another scan, or not the one that the ledger names. Returns the record,
    its SHA-256, and why it could not be checked; empty if it was.
    """
    path = folder / "scan.json"
    raw = read_small(path, limit=MAX_RECORD_BYTES)
    sha256 = hashlib.sha256(raw).hexdigest()
    if row is not None and row.scan_sha256 not in ("", sha256):
        raise FormatError("does not match the checksum in the ledger", where=path, do=checksums.RERUN, code="checksum")
    if (record := decode_record(raw)) is None:
        raise FormatError("is not a record of a scan", where=path, do=checksums.RERUN)
    if record.scan_id != folder.name:
        raise FormatError("is the record of another scan", where=path, do=checksums.RERUN, code="checksum")
    if row is None:
        return record, sha256, "the ledger does not list this scan"
    return record, sha256, "" if row.scan_sha256 else "the ledger has no checksum for this scan"
