"""Which scans of a run's output are finished, and what their records say: read by everything that comes after a run.

A record comes from a folder that a stranger may have made. Names in it are checked when it is decoded, links are not
followed, and nothing but a regular file is opened.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from hilum.errors import FormatError, MissingInputError
from hilum.io.files import is_own_file, read_small
from hilum.io.unfinished import is_unfinished
from hilum.outputs import ledger
from hilum.outputs.checksums import file_sha256
from hilum.outputs.ledger_rows import FINISHED
from hilum.outputs.records import ScanRecord
from hilum.outputs.volumes import missing_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD = "scan.json"

MAX_RECORD_BYTES = 1 << 26
"""Bytes beyond which a ``scan.json`` is none of ours: one with a thousand nodules takes a megabyte."""

AGAIN = "run it again with the same command: that makes it anew"


def read_record(folder: Path) -> ScanRecord | None:
    """Read the ``scan.json`` of a finished scan.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    ScanRecord or None
        None where the folder is a link, or holds no finished scan of this version's form with all of its parts.
    """
    return decode_record(_record_bytes(folder))


def record_sha256(folder: Path) -> str:
    """Hash a scan's ``scan.json``.

    Parameters
    ----------
    folder : Path
        The scan's folder.

    Returns
    -------
    str
        64 hexadecimal digits; empty where there is no such file.
    """
    data = _record_bytes(folder)
    return hashlib.sha256(data).hexdigest() if data else ""


def _record_bytes(folder: Path) -> bytes:
    try:
        return b"" if folder.is_symlink() else read_small(folder / RECORD, limit=MAX_RECORD_BYTES)
    except (OSError, ValueError):
        return b""


def decode_record(data: bytes) -> ScanRecord | None:
    """Decode what a ``scan.json`` holds.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    ScanRecord or None
        None where it is no record of this version's form, or one that lacks a part.
    """
    try:
        record = msgspec.json.decode(data, type=ScanRecord)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if missing_parts(record) else record


def is_complete(folder: Path, record: ScanRecord) -> bool:
    """Whether a finished scan's files are all there, with the sizes that its ``scan.json`` says.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord

    Returns
    -------
    bool
        Their bytes are not read; `check_files` does that.
    """
    try:
        return all(
            is_own_file(folder, name) and (folder / name).stat().st_size == facts.bytes
            for name, facts in record.files.items()
        )
    except (OSError, ValueError):
        return False


def files_stamp(folder: Path, record: ScanRecord) -> str:
    """Hash the sizes and times of a finished scan's files: whoever writes to one changes it.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord

    Returns
    -------
    str
        16 hexadecimal digits; empty where a file is missing.
    """
    digest = hashlib.sha256()
    try:
        for name in sorted(record.files):
            found = (folder / name).lstat()
            digest.update(f"{name} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n".encode())
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()[:16]


def check_files(folder: Path, record: ScanRecord, *, digest: bool = True) -> None:
    """Hold a finished scan's files against the sizes and checksums of its ``scan.json``.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
    digest : bool
        Whether all their bytes are read; without it their sizes are looked at, and the bytes of files that are newer
        than ``scan.json``, which is written last.

    Raises
    ------
    MissingInputError, FormatError
        If a file is gone, is a link, or is not what was written.
    """
    written = (folder / RECORD).stat().st_mtime_ns
    for name, facts in record.files.items():
        path = folder / name
        if not is_own_file(folder, name):
            raise MissingInputError("is missing or no regular file", where=path, do=AGAIN)
        try:
            found = path.stat()
            if found.st_size != facts.bytes:
                raise FormatError("is not of the size that scan.json says", where=path, do=AGAIN)
            if (digest or found.st_mtime_ns > written) and file_sha256(path) != facts.sha256:
                raise FormatError("does not match its checksum", where=path, do=AGAIN, code="checksum")
        except (OSError, ValueError) as problem:
            if isinstance(problem, FormatError):
                raise
            raise MissingInputError("cannot be read", where=path, do=AGAIN) from None


def scans_folder(out: Path) -> Path:
    """Where the scans of a run's output lie.

    Parameters
    ----------
    out : Path
        The run's output folder.

    Returns
    -------
    Path
        It need not exist.

    Raises
    ------
    FormatError
        If it is a link: hilum makes none, and what it leads to is not part of the run.
    """
    scans = out / "scans"
    if scans.is_symlink():
        raise FormatError("is a link, and hilum made none", where=scans, do="give the folder itself", code="link")
    return scans


class Found(NamedTuple):
    """A scan that the ledger calls finished: its folder, and its ``scan.json``; None where that is not what it says."""

    folder: Path
    record: ScanRecord | None


def listed_scans(folder: Path, *, unlisted: bool = False) -> Iterator[Found]:
    """Go through the scans that a run's ledger calls finished.

    Parameters
    ----------
    folder : Path
        The run's output folder. Where it has no ledger, every folder of a scan counts.
    unlisted : bool
        Whether those come too, at the end, that the ledger has no row of: a run that is going on tells it of a scan
        a moment after the scan's folder appears.

    Yields
    ------
    Found
        In the order of their ids. What else lies among the scans is none of the run's.

    Raises
    ------
    InputError
        If the ledger or the scans' folder is a link.
    """
    scans = scans_folder(folder)
    with ledger.Ledger(folder) as book:
        for row in book.rows():
            if row.status in FINISHED:
                place = scans / row.id
                data = _record_bytes(place)
                same = row.scan_sha256 in {"", hashlib.sha256(data).hexdigest()}  # older versions did not keep it
                record = decode_record(data) if same else None
                yield Found(place, record if record is not None and record.scan_id == row.id else None)
        if unlisted or not (folder / ledger.NAME).exists():
            for place in sorted(scans.iterdir()) if scans.is_dir() else ():
                if book.get(place.name) is None and not is_unfinished(place.name) and (record := read_record(place)):
                    yield Found(place, record)


def finished_scans(folder: Path) -> Iterator[tuple[Path, ScanRecord]]:
    """Go through the finished scans of a run's output: those on which its ledger and their folders agree.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Yields
    ------
    tuple of Path and ScanRecord
        In the order of their ids.

    Raises
    ------
    FormatError
        If the ledger calls a scan finished whose folder is gone or is not what was written.
    """
    for place, record in listed_scans(folder):
        if record is None:
            what = "the ledger says that it is finished, and its scan.json is missing or another"
            raise FormatError(what, where=place, do=AGAIN, code="checksum")
        yield place, record
