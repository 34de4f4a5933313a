"""A finished run in another store: scan by scan, into a folder of its own, resumable as a run is.

1. The run must have ended, and its own files must be what its checksums say.
2. The new folder gets the recipe, with the other format in it, and is held while it is written.
3. Scans that are there already, of the same origin and whole, are kept; the others are converted one by one.
4. When all are there: one ledger line a scan, ``dataset.json`` and ``SHA256SUMS``, as at the end of a run.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from hilum.batch.run import OWN_FILES, RECIPE, claimed, settle_recipe
from hilum.batch.task import record_sha256
from hilum.errors import FormatError, HilumError, InputError, MissingInputError, OutputError
from hilum.io import summary, sums
from hilum.io.atomic import DISK_FULL
from hilum.io.convert import convert_scan
from hilum.io.extras import check_extra
from hilum.io.ledger import FINISHED, NAME, Ledger, Row, read_ledger
from hilum.io.store import is_whole, read_record
from hilum.recipes import Recipe, parse_recipe, recipe_fingerprint, with_options

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

AGAIN = "run it again with the same command, then convert it"


def convert_run(folder: Path, out: Path, *, file_format: str) -> Generator[Row]:
    """Store a finished run's volumes in another format, in a folder of its own; what is there already is kept.

    Parameters
    ----------
    folder : Path
        The run's output folder; it is read, never written.
    out : Path
        The new output folder, as ``hilum run`` with this format would have left it.
    file_format : str
        A key of `hilum.io.stores.STORES`.

    Yields
    ------
    Row
        One for each of the run's ledger, in their order: refused and failed scans as they stand there.

    Raises
    ------
    InputError
        If the run did not end, its own files are damaged, it is stored so already, or a package is not installed.
    OutputError
        If the new folder cannot be written, its disk is full, or it is in use by something else.
    """
    check_extra(file_format)
    before = _check_run(folder, file_format)
    recipe = with_options(before, file_format=file_format)
    _check_out(folder, out)
    with ExitStack() as stack:
        stack.enter_context(claimed(out))
        settle_recipe(out, recipe, overwrite=False)
        book = stack.enter_context(Ledger(out))
        well = True
        for _, row in sorted(read_ledger(folder).items()):
            new = _convert(row, folder, before, out, recipe, book) if row.status in FINISHED else row
            if new.code == DISK_FULL:
                raise OutputError("cannot be written: No space left on the disk", where=out,
                                  do="make room and convert again: what is there stays", code=DISK_FULL)  # fmt: skip
            well = well and (new.status in FINISHED or row.status not in FINISHED)
            if book.get(row.id) != new:
                (out / sums.NAME).unlink(missing_ok=True)  # of what the folder was
                book.append(new)
            yield new
        book.compact()
        if well:
            summary.write_summary(out, summary.landed_again(folder, out))
            sums.write_sums(out, OWN_FILES)


def _check_run(folder: Path, file_format: str) -> Recipe:
    """The recipe of a run that has ended and whose own files are what they were."""
    if not (folder / NAME).is_file():
        raise MissingInputError("no output of a run here", where=folder, do="give the --out folder of 'hilum run'")
    known = sums.read_sums(folder)
    if not known:
        raise InputError("the run did not end", where=folder, do=AGAIN, code="unfinished")
    for name in OWN_FILES:
        path = folder / name
        if not path.is_file() or sums.file_sha256(path) != known.get(name):
            raise FormatError(f"is missing or does not match {sums.NAME}", where=path, do=AGAIN, code="checksum")
    recipe = parse_recipe((folder / RECIPE).read_text(encoding="utf-8"), where=folder / RECIPE)
    if recipe.output.format == file_format:
        raise InputError(f"is stored as {file_format} already", where=folder, do="choose another --format", code="same")
    return recipe


def _check_out(folder: Path, out: Path) -> None:
    """Refuse a folder that is not ours to fill."""
    here, there = folder.resolve(), out.resolve()
    if there == here or there.is_relative_to(here / "scans") or here.is_relative_to(there / "scans"):
        raise OutputError("is the run itself", where=out, do="choose another --out", code="exists")
    if out.exists() and not (out / RECIPE).is_file():
        found = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
        if found - {".lock", "scans"}:
            raise OutputError("is in use by something else", where=out, do="choose another --out", code="exists")


def _convert(row: Row, folder: Path, before: Recipe, out: Path, recipe: Recipe, book: Ledger) -> Row:
    """The new row of one scan: kept, converted, or failed for a reason of its own."""
    started, place = time.perf_counter(), folder / "scans" / row.id
    kept = book.get(row.id)
    if kept is not None and kept.status in FINISHED and kept.fingerprint == row.fingerprint:
        made = read_record(out / "scans" / row.id)
        sound = kept.scan_sha256 == record_sha256(out / "scans" / row.id)
        if made is not None and sound and is_whole(out / "scans" / row.id, made):
            return kept
    try:
        record = read_record(place)
        if record is None or record_sha256(place) != row.scan_sha256:
            raise FormatError("scan.json is not what the ledger says", where=place, do=AGAIN, code="checksum")
        if record.recipe_sha256 != recipe_fingerprint(before):
            raise InputError("was made by another recipe than the run's", where=place, do=AGAIN, code="recipe")
        convert_scan(
            place, record, out / "scans", file_format=recipe.output.format, recipe_sha256=recipe_fingerprint(recipe)
        )
    except HilumError as problem:
        return Row(id=row.id, status="failed", code=problem.code, reason=str(problem))
    return msgspec.structs.replace(
        row,
        stamp="",  # of a run with this format, which knows the input's files
        scan_sha256=record_sha256(out / "scans" / row.id),
        seconds=round(time.perf_counter() - started, 3),
    )
