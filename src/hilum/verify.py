"""Is a finished output what was written: every file against its checksum, every scan against the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hilum.errors import FormatError, MissingInputError, OutputError
from hilum.io.files import is_own_file
from hilum.io.source_files import list_source_files
from hilum.io.unfinished import is_abandoned, is_unfinished
from hilum.outputs import checksums, ledger
from hilum.outputs.finished import AGAIN, RECORD, files_stamp, read_record, record_sha256, scans_folder
from hilum.outputs.folder import ADDED_LATER, OWN_FILES, recipe_text
from hilum.outputs.ledger_rows import FINISHED, decode_row
from hilum.pipeline import promised_parts
from hilum.recipes import parse_recipe, recipe_fingerprint

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from hilum.errors import HilumError
    from hilum.outputs.ledger_rows import Row
    from hilum.outputs.records import FileRecord

ANEW = "remove the scan's folder, then run it again with the same command"


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one file or folder: where, a short stable code, and one line for a person."""

    where: str
    code: str
    text: str


class VerifySummary(msgspec.Struct, frozen=True, kw_only=True):
    """How much was looked at."""

    scans: int
    files: int
    bytes: int


def verify(folder: Path) -> Iterator[Fault | VerifySummary]:
    """Hold a finished output against its checksums and its ledger, one file at a time.

    Parameters
    ----------
    folder : Path
        The run's output folder.

    Yields
    ------
    Fault or VerifySummary
        Every fault, as it is found; last the verdict.

    Raises
    ------
    MissingInputError
        If there is no output of a run.
    """
    scans_at = scans_folder(folder)
    if not (folder / ledger.NAME).is_file() and not scans_at.is_dir():
        raise MissingInputError("no output of a run here", where=folder, do="give the --out folder of 'hilum run'")
    names = yield from _own_files(folder)
    files = size = scans = 0
    promised = _promised(folder)
    with ledger.Ledger(folder) as book:
        for row in book.rows():
            if row.status in FINISHED:
                scans += 1
                for found in _scan(scans_at / row.id, row, promised):
                    if isinstance(found, Fault):
                        yield found
                    else:
                        files += 1
                        size += found
        yield from _unlisted(scans_at, book)
    yield VerifySummary(scans=scans, files=files + names + 2, bytes=size)


def _own_files(folder: Path) -> Generator[Fault, None, int]:
    """The files beside the scans, and every line of the ledger; how many files the checksums are of."""
    path = folder / checksums.NAME
    try:
        told = checksums.read_checksums(folder)
    except FormatError as problem:
        yield _fault(path, "damaged", problem)
        told = {}
    else:
        if not told:
            yield _fault(path, "unfinished", FormatError("missing: the run did not end", where=path, do=AGAIN))
    names = [name for name in OWN_FILES if name not in ADDED_LATER or name in told]
    for name in names:
        path = folder / name
        if not path.is_file():
            yield _fault(path, "missing", FormatError("missing", where=path, do=AGAIN))
        elif told and told.get(name) != _sha256(path):
            yield _fault(path, "checksum", FormatError(f"does not match {checksums.NAME}", where=path, do=AGAIN))
    path = folder / ledger.NAME
    if not path.is_file():
        yield _fault(path, "missing", FormatError("missing", where=path, do=AGAIN))
    else:
        lines = enumerate(ledger.read_lines(folder), start=1)
        bad = [str(n) for n, line in lines if decode_row(line, strict=True) is None]
        if bad:
            what = f"{len(bad)} lines are not as they were written: {', '.join(bad[:5])}"
            yield _fault(path, "damaged", FormatError(what, where=path, do=AGAIN))
    return len(names)


def _promised(folder: Path) -> dict[str, list[str]]:
    """What the run's recipe promises of each scan, by the recipe's fingerprint; empty where it cannot be read."""
    try:
        recipe = parse_recipe(recipe_text(folder))
    except (OSError, ValueError):
        return {}
    return {recipe_fingerprint(recipe): promised_parts(recipe)}


def _scan(folder: Path, row: Row, promised: dict[str, list[str]]) -> Iterator[Fault | int]:
    """The faults of one scan, and the size of each file that is as it was written."""
    path = folder / RECORD
    if folder.is_symlink() or not is_own_file(folder, RECORD):
        yield _fault(path, "missing", FormatError(f"missing, and the ledger says {row.status}", where=path, do=AGAIN))
        return
    if record_sha256(folder) != row.scan_sha256:
        yield _fault(path, "checksum", FormatError("is not what the ledger says", where=path, do=AGAIN))
    else:
        yield path.stat().st_size
    record = read_record(folder)
    if record is None:
        what = "cannot be read, or names not all files of a scan"
        yield _fault(path, "damaged", FormatError(what, where=path, do=AGAIN))
        return
    if (record.scan_id, record.fingerprint) != (row.id, row.fingerprint):
        yield _fault(path, "fingerprint", FormatError("is of another input than the ledger's", where=path, do=AGAIN))
    if record.parts and (lost := set(promised.get(record.recipe_sha256, ())) - set(record.parts)):
        what = f"lacks {', '.join(sorted(lost))}, which the recipe asks for"
        yield _fault(path, "damaged", FormatError(what, where=path, do=ANEW))
    # What shows that it was written to is made anew by itself; damage of the disk shows in the bytes alone.
    do = ANEW if files_stamp(folder, record) == row.files_stamp else AGAIN
    for name, facts in record.files.items():
        yield _file(folder, name, facts, do=do)
    for name, extra in list_source_files(folder):
        if name not in record.files and name != RECORD:
            yield _fault(extra, "extra", FormatError("no scan.json knows it", where=extra, do="take it elsewhere"))


def _file(folder: Path, name: str, facts: FileRecord, *, do: str) -> Fault | int:
    path = folder / name
    if not is_own_file(folder, name):
        return _fault(path, "missing", FormatError("is missing or no regular file", where=path, do=AGAIN))
    if path.stat().st_size == facts.bytes and _sha256(path) == facts.sha256:
        return facts.bytes
    return _fault(path, "checksum", FormatError("does not match its checksum", where=path, do=do))


def _sha256(path: Path) -> str:
    """The checksum of a file; empty where it cannot be read, which no checksum is."""
    try:
        return checksums.file_sha256(path)
    except (OSError, ValueError):
        return ""


def _unlisted(scans: Path, book: ledger.Ledger) -> Iterator[Fault]:
    """What lies among the scans and is none that the ledger calls finished."""
    for path in sorted(scans.iterdir()) if scans.is_dir() else ():
        row = book.get(path.name)
        if is_unfinished(path.name):
            dead = is_abandoned(path)
            what = "left half-done by a process that died" if dead else "being written, or left so on another machine"
            do = "the next run removes it" if dead else "wait; after an hour of silence a run removes it"
            yield _fault(path, "partial", OutputError(what, where=path, do=do))
        elif row is None or row.status not in FINISHED:
            said = "does not know it" if row is None else f"says {row.status}"
            yield _fault(path, "unlisted", OutputError(f"the ledger {said}", where=path, do="run again, or remove it"))


def _fault(path: Path, code: str, problem: HilumError) -> Fault:
    return Fault(str(path), code, str(problem))
