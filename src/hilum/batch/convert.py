"""A finished run in another store: scan by scan, into a folder of its own, resumable as a run is.

1. The run must have ended, and its own files must be what its checksums say.
2. The new folder gets the recipe, with the other format in it, and is held while it is written.
3. Scans that are there already, of the same origin and whole, are kept; the others are converted, some at a time.
4. When all are there: a ledger line a scan, ``dataset.json``, ``scans.csv`` and ``SHA256SUMS``, as at a run's end.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from hilum.batch.limits import Limits, check_workers, count_processes
from hilum.batch.lock import check_run
from hilum.batch.output_folder import locked_output, write_recipe
from hilum.batch.run import check_row
from hilum.batch.task import row_or_failure
from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.io.optional_packages import check_packages
from hilum.io.output_kinds import RECIPE
from hilum.outputs import checksums, dataset_summary, scans_index
from hilum.outputs.convert import convert_scan
from hilum.outputs.finished import check_files, files_stamp, is_complete, read_record, record_sha256, scans_folder
from hilum.outputs.folder import ADDED_LATER, OWN_FILES, recipe_text
from hilum.outputs.ledger import NAME, Ledger, read_ledger
from hilum.outputs.ledger_rows import FINISHED, Row, as_written
from hilum.recipes import Recipe, parse_recipe, recipe_fingerprint, with_options
from hilum.scan import ScanRef

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

AGAIN = "run it again with the same command, then convert it"


@dataclass(frozen=True, slots=True)
class Conversion:
    """One scan to be stored anew: where it is, its ledger line, both recipes' fingerprints, where it goes, and how."""

    ref: ScanRef
    row: Row
    before: str
    after: str
    out: Path
    file_format: str
    run: str = ""

    def make(self) -> Row:
        """Convert it; what is wrong with it stands in the row."""
        return row_or_failure(self.ref, lambda: _convert(self), doubtful="failed")


def convert_run(
    folder: Path,
    out: Path,
    *,
    file_format: str,
    workers: int | None = None,
    limits: Limits | None = None,
    watch: Callable[[tuple[str, ...]], None] = lambda _: None,
) -> Generator[Row]:
    """Store a finished run's volumes in another format, in a folder of its own; what is there already is kept.

    Parameters
    ----------
    folder : Path
        The run's output folder; it is read, never written.
    out : Path
        The new output folder, as ``hilum run`` with this format would have left it.
    file_format : str
        A key of `hilum.io.volumes.formats.STORES`.
    workers : int, optional
        Processes, which convert one scan each at a time; 0 for one per core where there is memory for as many. Without
        it all scans are converted one after the other in this process. What is written is the same.
    limits : Limits, optional
        What one scan may take, where it has a process of its own.
    watch : callable
        Called with the ids of the scans that are being converted whenever they change.

    Yields
    ------
    Row
        One for each of the run's ledger: first refused and failed scans as they stand there and those that are kept,
        then the others as they are done.

    Raises
    ------
    InputError
        If the run did not end, its own files are damaged, it is stored so already, or a package is not installed.
    OutputError
        If the new folder cannot be written, the machine has a fault that every scan would meet, or the folder is in
        use by something else.
    """
    check_workers(workers)
    check_packages(file_format)
    before = _check_run(folder, file_format)
    recipe = with_options(before, file_format=file_format)
    _check_out(folder, out)
    with ExitStack() as stack:
        run = stack.enter_context(locked_output(out))
        write_recipe(out, recipe, overwrite=False)
        book = stack.enter_context(Ledger(out))
        well, rows = True, read_ledger(folder)
        known: list[Row] = []
        waiting: list[Conversion] = []
        for _, row in sorted(rows.items()):
            kept = row if row.status not in FINISHED else _kept(row, book.get(row.id), out)
            if kept is not None:
                known.append(kept)
            else:
                ref = ScanRef("", row.id, scans_folder(folder) / row.id)
                marks = recipe_fingerprint(before), recipe_fingerprint(recipe)
                waiting.append(Conversion(ref, row, *marks, out, file_format, run))
        made = _make(waiting, workers, limits or Limits(), watch)
        stack.callback(made.close)  # ends the workers first
        for new in itertools.chain(known, made):
            check_row(new)
            well = well and (new.status in FINISHED or rows[new.id].status not in FINISHED)
            if book.get(new.id) != as_written(new):
                checksums.remove_checksums(out)  # of what the folder was
                book.append(new)
            yield new
        book.compact()
        if well:
            dataset_summary.write_summary(out, dataset_summary.converted_summary(folder, out))
            origins, hide = scans_index.read_origins(folder), recipe.output.series_uid == "hash"
            scans_index.write_index(out, book, origins, former={}, full_paths=True, hide=hide)
            checksums.write_checksums(out, OWN_FILES)


def _check_run(folder: Path, file_format: str) -> Recipe:
    """The recipe of a run that has ended and whose own files are what they were."""
    if not (folder / NAME).is_file():
        raise MissingInputError("no output of a run here", where=folder, do="give the --out folder of 'hilum run'")
    known = checksums.read_checksums(folder)
    if not known:
        raise InputError("the run did not end", where=folder, do=AGAIN, code="unfinished")
    for name in OWN_FILES:
        if name in ADDED_LATER and name not in known:
            continue
        path = folder / name
        if not path.is_file() or checksums.file_sha256(path) != known.get(name):
            raise FormatError(f"is missing or does not match {checksums.NAME}", where=path, do=AGAIN, code="checksum")
    recipe = parse_recipe(recipe_text(folder), where=folder / RECIPE)
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


def _kept(row: Row, kept: Row | None, out: Path) -> Row | None:
    """The new ledger's row of a scan that is there already, of the same origin and whole; else None."""
    folder = out / "scans" / row.id
    if kept is None or kept.status not in FINISHED or kept.fingerprint != row.fingerprint:
        return None
    made = read_record(folder)
    if made is None or kept.scan_sha256 != record_sha256(folder) or not is_complete(folder, made):
        return None
    kept = msgspec.structs.replace(kept, kept=True)
    if kept.files_stamp == files_stamp(folder, made):
        return kept
    try:
        check_files(folder, made)  # somebody wrote to one of its files
    except InputError:
        return None
    return msgspec.structs.replace(kept, files_stamp=files_stamp(folder, made))


def _make(
    waiting: Sequence[Conversion], workers: int | None, limits: Limits, watch: Callable[[tuple[str, ...]], None]
) -> Generator[Row]:
    if workers is None or not waiting:
        for task in waiting:
            yield task.make()
        return
    from hilum.batch.supervisor import WorkerPool

    processes = min(count_processes(workers, memory=limits.memory), len(waiting))
    with WorkerPool(processes, limits) as pool:
        yield from pool.make(iter(waiting), watch)


def _convert(task: Conversion) -> Row:
    """The new row of one scan: converted, or failed for a reason of its own."""
    row, place, scans = task.row, task.ref.path, task.out / "scans"
    record = read_record(place)
    if record is None or record_sha256(place) != row.scan_sha256:
        raise FormatError("scan.json is not what the ledger says", where=place, do=AGAIN, code="checksum")
    if record.recipe_sha256 != task.before:
        raise InputError("was made by another recipe than the run's", where=place, do=AGAIN, code="recipe")
    made = convert_scan(
        place,
        record,
        scans,
        file_format=task.file_format,
        recipe_sha256=task.after,
        before_publish=lambda: check_run(task.out, task.run),
    )
    # The stamp is that of a run with this format, which knows the input's files.
    folder = scans / row.id
    return msgspec.structs.replace(
        row, stamp="", scan_sha256=record_sha256(folder), files_stamp=files_stamp(folder, made), attempts=1
    )
