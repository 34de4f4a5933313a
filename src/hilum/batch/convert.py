"""Convert a finished run to another format, scan by scan, into a new folder; it can be resumed like a run.

1. The run must have ended, and its own files must match their checksums.
2. The new folder gets the recipe with the new format, and is locked during the conversion.
3. Complete scans of the same origin that the new folder already has are kept; the others are converted.
4. At the end: one ledger line per scan, ``dataset.json``, ``scans.csv`` and ``SHA256SUMS``, as at the end of a run.
"""

import itertools
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from hilum.batch import lock, output_folder
from hilum.batch.cluster.run import make_on_cluster
from hilum.batch.limits import Limits, check_workers
from hilum.batch.run import record_rows
from hilum.batch.supervisor import Watch, make_rows
from hilum.batch.task import Task, row_or_failure
from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.io import folders, optional_packages
from hilum.outputs import checksums, dataset_summary, finished, folds, scans_index, store
from hilum.outputs.folder import OWN_FILES, own_file_problems
from hilum.outputs.ledger import FINISHED, NAME, Ledger, Row
from hilum.recipes import Recipe, recipe_fingerprint, with_options
from hilum.runs.run import AnyRun, Run, open_run
from hilum.scan_ref import ScanRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion(Task):
    """One scan to be converted to another recipe: its ledger row, and the recipe that it was made by."""

    row: Row
    before: Recipe

    def make(self) -> Row:
        """Convert the scan; a failure becomes the row."""
        return row_or_failure(self.ref, lambda: _convert(self), status="failed")


def convert_run(
    folder: AnyRun,
    out: Path,
    *,
    file_format: str,
    workers: int | None = None,
    limits: Limits | None = None,
    scheduler: str = "",
    watch: Watch = lambda _: None,
) -> Generator[Row]:
    """Convert a finished run to another format, in a new folder; scans that it already has are kept.

    Parameters
    ----------
    folder : str or path
        The run's output folder, or a `hilum.Run`; it is only read.
    out : Path
        The new output folder. It becomes what ``hilum run`` with this format would write.
    file_format : str
        A key of `hilum.io.volumes.formats.STORES`.
    workers : int, optional
        Processes, each converting one scan at a time; 0 for one per core, as far as memory allows. By default this
        process converts all scans. The result is the same.
    limits : Limits, optional
        The limits of one scan in a worker process.
    scheduler : str
        The address of a Dask scheduler whose workers convert the scans, or ``local``, as in `hilum.batch.process`. All
        of them must see both folders under the same paths.
    watch : callable
        Called with the ids of the scans in progress whenever they change.

    Yields
    ------
    Row
        One for each row of the run's ledger: first refused, failed and kept scans, then the others as they are done.

    Raises
    ------
    InputError
        If the run has not ended, its own files are damaged, it already has this format, a package is missing, or the
        cluster does not fulfill its contract.
    OutputError
        If the new folder cannot be written or is used for something else, or the machine has a fault that every scan
        would meet.
    """
    check_workers(workers)
    optional_packages.check_packages(file_format)
    source = open_run(folder)
    folder, before = source.folder, _check_run(source, file_format)
    recipe = with_options(before, file_format=file_format)
    _check_new_folder(folder, out)
    with ExitStack() as stack:
        run = stack.enter_context(output_folder.locked_output(out))
        output_folder.write_recipe(out, recipe, overwrite=False)
        ledger = stack.enter_context(Ledger(out))
        rows = source.rows
        known: list[Row] = []
        waiting: list[Conversion] = []
        for row in rows.values():
            kept = _kept_row(row, ledger.get(row.id), out) if row.status in FINISHED else row
            if kept is not None:
                known.append(kept)
            else:
                ref = ScanRef("", row.id, finished.scans_folder(folder) / row.id)
                waiting.append(Conversion(ref, recipe, out, run=run, row=row, before=before))
        make_new = partial(make_on_cluster, scheduler=scheduler) if scheduler and waiting else make_rows
        make_new = partial(make_new, workers=workers, limits=limits or Limits(), watch=watch)
        made = stack.enter_context(closing(make_new(waiting)))
        complete = True
        for row in record_rows(itertools.chain(known, made), ledger, out):
            complete = complete and (row.status in FINISHED or rows[row.id].status not in FINISHED)
            yield row
        ledger.compact()
        if complete:
            dataset_summary.write_summary(
                out, dataset_summary.converted_summary(folder, (scan.record for scan in open_run(out)))
            )
            origins, hide = scans_index.read_origins(folder), recipe.output.series_uid == "hash"
            scans_index.write_index(out, ledger, origins, former={}, full_paths=True, hide=hide)
            checksums.write_checksums(out, OWN_FILES)
            if (chosen := folds.read_folds(folder)) is not None:
                folds.write_folds(out, chosen)


def _check_run(run: Run, file_format: str) -> Recipe:
    """Read the recipe of a run that has ended and whose own files match their checksums."""
    folder = run.folder
    if not (folder / NAME).is_file():
        raise MissingInputError("no output of a run here", where=folder, do="give the --out folder of 'hilum run'")
    if not (sums := checksums.read_checksums(folder)):
        raise InputError("the run did not end", where=folder, do=checksums.RERUN, code="unfinished")
    if (problem := next(own_file_problems(folder, sums), None)) is not None:
        raise problem
    recipe = run.recipe
    if recipe.output.format == file_format:
        what = f"already has the format {file_format}"
        raise InputError(what, where=folder, do="choose another --format", code="same")
    return recipe


def _check_new_folder(folder: Path, out: Path) -> None:
    old, new = folder.resolve(), out.resolve()
    if new == old or new.is_relative_to(old / "scans") or old.is_relative_to(new / "scans"):
        raise OutputError("is the run itself", where=out, do="choose another --out", code="exists")
    if out.exists() and not (out / folders.RECIPE).is_file():
        names = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
        if names - {".lock", "scans"}:
            raise OutputError("is used for something else", where=out, do="choose another --out", code="exists")


def _kept_row(row: Row, new: Row | None, out: Path) -> Row | None:
    """The new ledger's row of a scan that is already converted, complete and of the same origin; else None."""
    if new is None or new.status not in FINISHED or new.fingerprint != row.fingerprint:
        return None
    folder = out / "scans" / row.id
    if (record := finished.record_of_row(folder, new)) is None or not finished.is_intact(folder, record, digest=False):
        return None
    stamp = finished.files_stamp(folder, record)
    if new.files_stamp != stamp and not finished.is_intact(folder, record):  # another process wrote to one of its files
        return None
    return msgspec.structs.replace(new, kept=True, files_stamp=stamp)


def _convert(task: Conversion) -> Row:
    row, folder, scans = task.row, task.ref.path, task.out / "scans"
    if (record := finished.record_of_row(folder, row)) is None:
        raise FormatError("scan.json is not what the ledger says", where=folder, do=checksums.RERUN, code="checksum")
    if record.recipe_sha256 != recipe_fingerprint(task.before):
        raise InputError("was made by another recipe than the run's", where=folder, do=checksums.RERUN, code="recipe")
    recipe, check = task.recipe, partial(lock.check_run, task.out, task.run)
    sha256, file_format = recipe_fingerprint(recipe), recipe.output.format
    new = store.convert_scan(folder, record, scans, file_format=file_format, recipe_sha256=sha256, before_publish=check)
    # An empty stamp: this process does not know the files of the input.
    stored, written = finished.record_sha256(scans / row.id), finished.files_stamp(scans / row.id, new)
    return msgspec.structs.replace(row, stamp="", scan_sha256=stored, files_stamp=written, attempts=1)
