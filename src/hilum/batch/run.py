"""A run: finished scans are kept, the others are made, and the ledger has one row for every input."""

import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from hilum.batch import identity, output_folder
from hilum.batch.cluster.run import make_on_cluster
from hilum.batch.limits import NO_MEMORY, Limits, check_workers
from hilum.batch.supervisor import Watch, make_rows
from hilum.batch.task import Task, inputs_of, with_status
from hilum.datasets.survey import Survey, hide_row_uids, hide_survey_uids
from hilum.errors import OutputError
from hilum.io import errno_faults, optional_packages
from hilum.outputs import checksums, dataset_summary, finished, scans_index
from hilum.outputs.folder import OWN_FILES, check_output_folder
from hilum.outputs.ledger import FINISHED, Ledger, Row, as_written
from hilum.outputs.records import DatasetRecord
from hilum.recipes import Recipe
from hilum.recipes import recipe as find_recipe
from hilum.scan_ref import ScanRef


def run(
    refs: Sequence[ScanRef], recipe: Recipe | str | Path, out: Path, *, refused: Sequence[Row] = (), **more: Any
) -> list[Row]:
    """Preprocess scans into an output folder. `process` yields the rows one by one.

    Parameters
    ----------
    refs, recipe, out, refused, more
        As in `process`: ``workers``, ``overwrite``, ``found`` and others.

    Returns
    -------
    list of Row
        One per refused input and one per ref, in their order. The ledger contains them too, and those of earlier runs.

    Raises
    ------
    OutputError
        As in `process`.
    """
    rows = {row.id: row for row in process(refs, recipe, out, refused=refused, **more)}
    return [*refused, *(rows[ref.scan_id] for ref in refs)]


def process(
    refs: Sequence[ScanRef],
    recipe: Recipe | str | Path,
    out: Path,
    *,
    workers: int | None = None,
    limits: Limits | None = None,
    scheduler: str = "",
    overwrite: bool = False,
    refused: Sequence[Row] = (),
    found: Survey | None = None,
    pruned: Callable[[tuple[int, int]], None] | None = None,
    full_paths: bool = True,
    watch: Watch = lambda _: None,
) -> Generator[Row]:
    """Preprocess scans into an output folder, and yield each result as soon as it is known.

    Scans that an earlier run finished from the same input, recipe and version are kept. Others are made again, and
    unfinished ones are removed. No other run can write to the folder at the same time.

    Parameters
    ----------
    refs : sequence of ScanRef
        From a data set's ``index``, with distinct ids.
    recipe : Recipe, str or Path
        What is done to each scan.
    out : Path
        The output folder; it is created if necessary, with ``recipe.toml``, ``ledger.jsonl``, ``dataset.json``,
        ``scans.csv``, ``SHA256SUMS`` and ``scans/``.
    workers : int, optional
        Processes, each making one scan at a time, so that a crash affects one scan only; 0 for one per core, as far as
        memory allows. By default this process makes all scans.
    limits : Limits, optional
        The limits of one scan in a worker process.
    scheduler : str
        The address of a Dask scheduler whose workers make the scans; ``local`` starts one with `workers` workers. All
        of them must see the input and the output under the same paths.
    overwrite : bool
        Replace results of another recipe, and remove nodules, labels or findings of finished scans that this run does
        not have. Otherwise such a folder is refused.
    refused : sequence of Row
        Inputs that `index` refused; the ledger lists them too.
    found : Survey, optional
        The search that found `refs`; what it says about tables goes to ``dataset.json``.
    pruned : callable, optional
        If given, the run ends with `hilum.batch.output_folder.prune`, which removes rows and folders of no finished
        scan and no input of this run. It is called with their numbers.
    full_paths : bool
        Write full paths into ``scans.csv``; otherwise names that could identify a person are left out.
    watch : callable
        Called with the ids of the scans in progress whenever they change.

    Yields
    ------
    Row
        One per refused input, then one per ref in order of completion.

    Raises
    ------
    OutputError
        If the output folder cannot be written, another run writes to it, or the machine has a fault that every scan
        would meet; or if the folder contains results of another recipe, files that no run wrote, annotations that this
        run would remove, or these scans under other names.
    InputError
        If the recipe's format needs a package that is not installed, the number of workers is negative, or the name of
        a scan's folder would show a series UID that the recipe hides.
    HilumError
        If the machine does not have the memory for a single scan.
    """
    recipe = find_recipe(recipe)
    check_workers(workers)
    optional_packages.check_packages(recipe.output.format)
    check_output_folder(out)
    found = found or Survey([], [])
    if hide := recipe.output.series_uid == "hash":
        output_folder.check_hidden(refs)
        found, refused = hide_survey_uids(found), [hide_row_uids(row) for row in refused]
    with ExitStack() as stack:
        name = stack.enter_context(output_folder.locked_output(out))
        ledger = stack.enter_context(Ledger(out))
        output_folder.check_names(refs, ledger, out)
        output_folder.write_recipe(out, recipe, overwrite=overwrite)
        former = scans_index.read_origins(out)
        new_task = partial(Task, recipe=recipe, out=out, overwrite=overwrite, run=name)
        make_new = partial(make_on_cluster, scheduler=scheduler) if scheduler else make_rows
        make_new = partial(make_new, workers=workers, limits=limits or Limits(), watch=watch)
        made = stack.enter_context(closing(_make(refs, ledger, new_task, make_new)))  # ends the workers first
        yield from record_rows(itertools.chain(refused, made), ledger, out)
        if pruned is not None:
            pruned(output_folder.prune(out, ledger, keep={row.id for row in refused} | {ref.scan_id for ref in refs}))
        ledger.compact()
        dataset_summary.write_summary(out, _summaries(refs, ledger, out, found))
        origins = output_folder.origins_of(refs, found, hide=hide)
        scans_index.write_index(out, ledger, origins, former=former, full_paths=full_paths, hide=hide)
        checksums.write_checksums(out, OWN_FILES)


def _make(
    refs: Sequence[ScanRef], ledger: Ledger, new_task: Callable[..., Task], make_new: Callable[..., Generator[Row]]
) -> Generator[Row]:
    """Yield every scan's row: first those of kept scans, then those of new ones."""
    kept: list[str] = []
    waiting: list[Task] = []
    for ref in refs:
        row = ledger.get(ref.scan_id)
        sha256 = "" if row is None else row.scan_sha256
        task = new_task(ref, written_sha256=sha256, existed=all(map(os.path.lexists, inputs_of(ref))))
        if row is not None and _is_kept(row, task):
            kept.append(ref.scan_id)
        else:
            waiting.append(task)
    if waiting and not waiting[0].overwrite:
        output_folder.check_removals(waiting[0].out, ledger, [task.ref for task in waiting])
    for row in filter(None, map(ledger.get, kept)):
        yield msgspec.structs.replace(with_status(row), kept=True)
    if waiting:
        yield from make_new(waiting)


def _is_kept(row: Row, task: Task) -> bool:
    """Check that a scan is finished, its folder is what the ledger says, and no file of it or its input was touched.

    If one may have been, the scan's task reads the bytes.
    """
    if row.status not in FINISHED or row.stamp != identity.input_stamp(task.ref, task.recipe):
        return False
    folder = task.out / "scans" / row.id
    if (record := finished.record_of_row(folder, row)) is None or not finished.is_intact(folder, record, digest=False):
        return False
    return row.files_stamp == finished.files_stamp(folder, record)


def record_rows(rows: Iterable[Row], ledger: Ledger, out: Path) -> Iterator[Row]:
    """Write rows to the ledger if they are new, and yield them.

    Raises
    ------
    OutputError
        If a row reports a fault of the machine that every other scan would meet. The ledger does not get it, so that
        the next run makes the scan.
    """
    for row in rows:
        if row.status == "failed" and row.code in errno_faults.STOPS | {NO_MEMORY}:
            raise OutputError(row.full_reason or row.reason, code=row.code)
        if ledger.get(row.id) != as_written(row):
            checksums.remove_checksums(out)  # they are out of date
            ledger.append(row)
        yield row


def _summaries(refs: Sequence[ScanRef], ledger: Ledger, out: Path, found: Survey) -> list[DatasetRecord]:
    """Count the scans and nodules of each data set of this run."""
    summaries = []
    for name in dict.fromkeys(ref.dataset for ref in refs):
        ids = (ref.scan_id for ref in refs if ref.dataset == name)
        records = (finished.read_record(out / "scans" / one) if ledger.is_finished(one) else None for one in ids)
        tables, notes = found.tables.get(name, ()), found.notes.get(name, ())
        summaries.append(dataset_summary.summarize(name, records, tables=tables, notes=notes))
    return summaries
