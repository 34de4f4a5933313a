"""Is a finished output what was written: every file against its checksum, every scan against the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hilum.errors import FormatError, MissingInputError, OutputError
from hilum.io import ledger, sums
from hilum.io.atomic import PARTIAL
from hilum.io.parts import list_parts
from hilum.io.store import read_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hilum.errors import HilumError
    from hilum.io.ledger import Row
    from hilum.io.records import FileRecord

OWN_FILES = ("recipe.toml", "dataset.json")

AGAIN = "run it again with the same command: that makes it anew"


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one file or folder: where, a short stable code, and one line for a person."""

    where: str
    code: str
    text: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How much was looked at."""

    scans: int
    files: int
    bytes: int


def verify(folder: Path) -> Iterator[Fault | Verdict]:
    """Hold a finished output against its checksums and its ledger, one file at a time.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Yields
    ------
    Fault or Verdict
        Every fault, as it is found; last the verdict.

    Raises
    ------
    MissingInputError
        If there is no output of a run.
    """
    if not (folder / ledger.NAME).is_file() and not (folder / "scans").is_dir():
        raise MissingInputError("no output of a run here", where=folder, do="give the --out folder of 'hilum run'")
    yield from _own_files(folder)
    files = size = scans = 0
    with ledger.Ledger(folder) as book:
        for row in book.rows():
            if row.status in ledger.FINISHED:
                scans += 1
                for found in _scan(folder / "scans" / row.id, row):
                    if isinstance(found, Fault):
                        yield found
                    else:
                        files += 1
                        size += found
        yield from _unlisted(folder / "scans", book)
    yield Verdict(scans=scans, files=files + len(OWN_FILES) + 2, bytes=size)


def _own_files(folder: Path) -> Iterator[Fault]:
    """The files beside the scans, and every line of the ledger."""
    path = folder / sums.NAME
    try:
        told = sums.read_sums(folder)
    except FormatError as problem:
        yield _fault(path, "damaged", problem)
        told = {}
    else:
        if not told:
            yield _fault(path, "unfinished", FormatError("missing: the run did not end", where=path, do=AGAIN))
    for name in OWN_FILES:
        path = folder / name
        if not path.is_file():
            yield _fault(path, "missing", FormatError("missing", where=path, do=AGAIN))
        elif told and told.get(name) != sums.file_sha256(path):
            yield _fault(path, "checksum", FormatError(f"does not match {sums.NAME}", where=path, do=AGAIN))
    path = folder / ledger.NAME
    if not path.is_file():
        yield _fault(path, "missing", FormatError("missing", where=path, do=AGAIN))
    else:
        with path.open("rb") as file:
            bad = [str(n) for n, line in enumerate(file, start=1) if ledger.decode_row(line, strict=True) is None]
        if bad:
            what = f"{len(bad)} lines are not as they were written: {', '.join(bad[:5])}"
            yield _fault(path, "damaged", FormatError(what, where=path, do=AGAIN))


def _scan(folder: Path, row: Row) -> Iterator[Fault | int]:
    """The faults of one scan, and the size of each file that is as it was written."""
    path = folder / "scan.json"
    if not path.is_file():
        yield _fault(path, "missing", FormatError(f"missing, and the ledger says {row.status}", where=path, do=AGAIN))
        return
    if sums.file_sha256(path) != row.scan_sha256:
        yield _fault(path, "checksum", FormatError("is not what the ledger says", where=path, do=AGAIN))
    else:
        yield path.stat().st_size
    record = read_record(folder)
    if record is None:
        return  # said above: what was written could be read
    if (record.scan_id, record.fingerprint) != (row.id, row.fingerprint):
        yield _fault(path, "fingerprint", FormatError("is of another input than the ledger's", where=path, do=AGAIN))
    for name, facts in record.files.items():
        yield _file(folder / name, facts)
    for name, extra in list_parts(folder):
        if name not in record.files and name != "scan.json":
            yield _fault(extra, "extra", FormatError("no scan.json knows it", where=extra, do="take it elsewhere"))


def _file(path: Path, facts: FileRecord) -> Fault | int:
    try:
        size = path.stat().st_size
        if size == facts.bytes and sums.file_sha256(path) == facts.sha256:
            return size
    except (OSError, ValueError) as problem:
        told = getattr(problem, "strerror", None) or problem
        return _fault(path, "missing", FormatError(f"cannot be read: {told}", where=path, do=AGAIN))
    return _fault(path, "checksum", FormatError("does not match its checksum", where=path, do=AGAIN))


def _unlisted(scans: Path, book: ledger.Ledger) -> Iterator[Fault]:
    """What lies among the scans and is none that the ledger calls finished."""
    for path in sorted(scans.iterdir()) if scans.is_dir() else ():
        row = book.get(path.name)
        if path.name.startswith(PARTIAL):
            what = OutputError("left half-done by a run that died", where=path, do="the next run removes it")
            yield _fault(path, "partial", what)
        elif row is None or row.status not in ledger.FINISHED:
            said = "does not know it" if row is None else f"says {row.status}"
            yield _fault(path, "unlisted", OutputError(f"the ledger {said}", where=path, do="run again, or remove it"))


def _fault(path: Path, code: str, problem: HilumError) -> Fault:
    return Fault(str(path), code, str(problem))
