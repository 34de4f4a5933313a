"""Verify a finished output: every file against its checksum, every scan against the ledger."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from hilum.errors import FormatError, HilumError, InputError
from hilum.io import source_files, unfinished
from hilum.io.files import is_own_file
from hilum.outputs import checksums, corrections, finished, ledger, records
from hilum.outputs.folder import own_file_problems, own_files, recipe_text
from hilum.pipeline import promised_parts
from hilum.recipes import parse_recipe, recipe_fingerprint
from hilum.runs.run import AnyRun, open_run

REMAKE = "remove the scan's folder, then run the same command again"  # for damage that a rerun does not notice


class Fault(msgspec.Struct, frozen=True):
    """A fault of one file or folder: its path, a short stable code, and one line for a person."""

    where: str
    code: str
    text: str


class VerifySummary(msgspec.Struct, frozen=True, kw_only=True):
    """How much was verified."""

    scans: int
    files: int
    bytes: int


def verify(folder: AnyRun) -> Iterator[Fault | VerifySummary]:
    """Compare a finished output with its checksums and its ledger, one file at a time.

    Parameters
    ----------
    folder : str or path
        The run's output folder, or a `hilum.Run`.

    Yields
    ------
    Fault or VerifySummary
        Each fault as soon as it is known; the summary at the end.

    Raises
    ------
    MissingInputError
        If the folder is not the output of a run.
    """
    run = open_run(folder)
    folder = run.folder
    files = (yield from _verify_own_files(folder)) + 2
    size = scans = 0
    required = _required_parts(folder)
    for row in run.rows.values():
        if row.status in ledger.FINISHED:
            scans += 1
            for result in _verify_scan(folder / "scans" / row.id, row, required):
                if isinstance(result, Fault):
                    yield result
                else:
                    files += 1
                    size += result
    yield from _unlisted(folder / "scans", run.rows)
    for result in _verify_corrections(folder):
        if isinstance(result, Fault):
            yield result
        else:
            files += 1
            size += result
    yield VerifySummary(scans=scans, files=files, bytes=size)


def _verify_own_files(folder: Path) -> Generator[Fault, None, int]:
    """Verify the files outside ``scans``, and every line of the ledger. Return the number of files with checksums."""
    path = folder / checksums.NAME
    sums: dict[str, str] = {}
    try:
        if not (sums := checksums.read_checksums(folder)):
            yield _fault("is missing: the run did not end", path, "unfinished")
    except FormatError as problem:
        yield Fault(str(path), "damaged", str(problem))
    yield from (Fault(str(problem.where), problem.code, str(problem)) for problem in own_file_problems(folder, sums))
    path = folder / ledger.NAME
    if not path.is_file():
        yield _fault("is missing", path, "missing")
    else:
        lines = enumerate(ledger.read_lines(folder), start=1)
        if bad := [str(n) for n, line in lines if ledger.decode_row(line, strict=True) is None]:
            what = f"{len(bad)} lines have changed since they were written: {', '.join(bad[:5])}"
            yield _fault(what, path, "damaged")
    return len(own_files(sums))


def _required_parts(folder: Path) -> dict[str, list[str]]:
    """The parts of each scan that the run's recipe asks for, by the recipe's fingerprint; empty if it is unreadable."""
    with suppress(OSError, ValueError):
        recipe = parse_recipe(recipe_text(folder))
        return {recipe_fingerprint(recipe): promised_parts(recipe)}
    return {}


def _verify_scan(folder: Path, row: ledger.Row, required: dict[str, list[str]]) -> Iterator[Fault | int]:
    """Yield the faults of one scan, and the size of each file without a fault."""
    path = folder / finished.RECORD
    if folder.is_symlink() or not is_own_file(folder, finished.RECORD):
        yield _fault(f"is missing, but the ledger says {row.status}", path, "missing")
        return
    if finished.record_sha256(folder) != row.scan_sha256:
        yield _fault("does not match the ledger", path, "checksum")
    else:
        yield path.stat().st_size
    if (record := finished.read_record(folder)) is None:
        yield _fault("cannot be read, or does not list all files of the scan", path, "damaged")
        return
    if (record.scan_id, record.fingerprint) != (row.id, row.fingerprint):
        yield _fault("was made from another input than the ledger says", path, "fingerprint")
    if record.parts and (missing := set(required.get(record.recipe_sha256, ())) - set(record.parts)):
        yield _fault(f"lacks {', '.join(sorted(missing))}, which the recipe asks for", path, "damaged", do=REMAKE)
    # A rerun notices files with new times. Damage of the disk changes only their bytes.
    do = REMAKE if finished.files_stamp(folder, record) == row.files_stamp else checksums.RERUN
    for name, file in record.files.items():
        yield _verify_file(folder, name, file, do=do)
    for name, extra in source_files.list_source_files(folder):
        if name not in record.files and name != finished.RECORD:
            yield _fault("is not listed in scan.json", extra, "extra", do="move it elsewhere")


def _verify_file(folder: Path, name: str, file: records.FileRecord, *, do: str) -> Fault | int:
    try:
        checksums.check_file(folder, name, file)
    except InputError as problem:
        if is_own_file(folder, name):
            return _fault(problem.what, folder / name, "checksum", do=do)
        return Fault(str(problem.where), problem.code, str(problem))
    return file.bytes


def _unlisted(scans: Path, rows: Mapping[str, ledger.Row]) -> Iterator[Fault]:
    """Find the entries of ``scans`` that are not finished scans of the ledger."""
    for path in sorted(scans.iterdir()) if scans.is_dir() else ():
        row = rows.get(path.name)
        if unfinished.is_unfinished(path.name):
            dead = unfinished.is_abandoned(path)
            what = "left unfinished by a process that died" if dead else "being written, or left by another machine"
            do = "the next run removes it" if dead else "wait; a run removes it after an hour without changes"
            yield _fault(what, path, "partial", do=do)
        elif row is None or row.status not in ledger.FINISHED:
            what = "is not in the ledger" if row is None else f"is {row.status} according to the ledger"
            yield _fault(what, path, "unlisted", do="run again, or remove it")


def _verify_corrections(folder: Path) -> Iterator[Fault | int]:
    """Yield the faults of the corrected masks, and the size of each file without a fault.

    The newest correction of a mask must be one of the mask that the run has now; earlier ones are a record.
    """
    try:
        listed = corrections.read_corrections(folder)
    except FormatError as problem:
        yield Fault(str(problem.where), "damaged", str(problem))
        return
    newest = corrections.newest(listed).values()
    for one in listed:
        path = folder / one.file
        if not is_own_file(folder, one.file):
            yield _fault("is missing or not a regular file", path, "missing", do="restore it")
        elif checksums.file_sha256(path) != one.sha256:
            yield _fault("does not match its checksum", path, "checksum", do="restore it, or correct the mask again")
        else:
            yield path.stat().st_size
        record = finished.read_record(folder / "scans" / one.scan_id)
        if one in newest and (record is None or corrections.mask_sha256(record, one.mask) != one.original_sha256):
            what = "is a correction of a mask that the run does not have any more"
            yield _fault(what, path, "original-changed", do="correct the new mask, or move this one elsewhere")
    saved, named = folder / corrections.FOLDER, {one.file for one in listed}
    what, do = f"is not in {corrections.NAME}: it was not saved completely", "save it again, or move it elsewhere"
    for name, extra in source_files.list_source_files(saved) if saved.is_dir() else ():
        if f"{corrections.FOLDER}/{name}" not in named:
            yield _fault(what, extra, "extra", do=do)


def _fault(what: str, where: Path, code: str, *, do: str = checksums.RERUN) -> Fault:
    return Fault(str(where), code, str(HilumError(what, where=where, do=do)))
