"""A run: what is done already is kept, the rest is made, and the ledger's books balance at its end."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import msgspec

from hilum._kernels.threads import count_workers
from hilum.batch.identity import input_stamp
from hilum.batch.limits import NO_MEMORY, Limits, check_workers, count_processes
from hilum.batch.origins import check_hidden, check_names, origins_of
from hilum.batch.output_folder import locked_output, write_recipe
from hilum.batch.removals import check_removals, prune
from hilum.batch.task import Task, inputs_of, with_status, with_threads
from hilum.datasets.survey import Survey, hide_row_uids, hide_survey_uids
from hilum.errors import OutputError
from hilum.io.errno_faults import STOPS
from hilum.io.optional_packages import check_packages
from hilum.outputs import checksums, dataset_summary, scans_index
from hilum.outputs.finished import files_stamp, is_complete, read_record, record_sha256
from hilum.outputs.folder import OWN_FILES, check_output_folder
from hilum.outputs.ledger import Ledger
from hilum.outputs.ledger_rows import FINISHED, Row, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from hilum.batch.removals import PruneCounts
    from hilum.outputs.records import DatasetRecord, ScanRecord
    from hilum.recipes import Recipe
    from hilum.scan import ScanRef


def run(
    refs: Sequence[ScanRef],
    recipe: Recipe,
    out: Path,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    refused: Sequence[Row] = (),
    found: Survey | None = None,
    report: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """Preprocess scans into an output folder; `process` gives the rows one by one, and takes more options.

    Parameters
    ----------
    refs : sequence of ScanRef
        From a data set's ``index``; their ids must differ.
    recipe : Recipe
    out : Path
        The output folder.
    workers : int, optional
    overwrite : bool
    refused : sequence of Row
    found : Survey, optional
        As `process` takes them.
    report : callable
        Called with each row as soon as it is known.

    Returns
    -------
    list of Row
        One per input refused and one per ref, in their order; the ledger holds them too, beside those of earlier runs.

    Raises
    ------
    OutputError
        As `process` does.
    """
    rows = {}
    for row in process(refs, recipe, out, workers=workers, overwrite=overwrite, refused=refused, found=found):
        rows[row.id] = row
        report(row)
    return [*refused, *(rows[ref.scan_id] for ref in refs)]


def process(
    refs: Sequence[ScanRef],
    recipe: Recipe,
    out: Path,
    *,
    workers: int | None = None,
    limits: Limits | None = None,
    scheduler: str = "",
    overwrite: bool = False,
    refused: Sequence[Row] = (),
    found: Survey | None = None,
    pruned: Callable[[PruneCounts], None] | None = None,
    full_paths: bool = True,
    watch: Callable[[tuple[str, ...]], None] = lambda _: None,
) -> Generator[Row]:
    """Preprocess scans into an output folder, and tell of each as soon as it is known.

    What an earlier run finished from the same input, recipe and version is kept; what changed is made anew; what was
    left half-done is removed. While it runs no other run may write to the folder.

    Parameters
    ----------
    refs : sequence of ScanRef
        From a data set's ``index``; their ids must differ.
    recipe : Recipe
    out : Path
        The output folder, made where it is missing: ``recipe.toml``, ``ledger.jsonl``, ``dataset.json``,
        ``scans.csv``, ``SHA256SUMS`` and ``scans/``.
    workers : int, optional
        Processes, which make one scan each at a time, so that one that crashes costs itself alone; 0 for one per core
        where there is memory for as many. Without it all scans are made one after the other in this process.
    limits : Limits, optional
        What one scan may take, where it has a process of its own.
    scheduler : str
        The address of a Dask scheduler, whose workers make the scans; ``local`` starts one with `workers` of them.
        Both folders, of the input and of the output, have to be there for all of them under the same path.
    overwrite : bool
        Whether results of another recipe are replaced, and nodules, labels or findings of finished scans go where this
        run has none of them; without it a folder that holds some is refused.
    refused : sequence of Row
        Inputs that `index` refused; they stand in the ledger too.
    found : Survey, optional
        Where `refs` come from: what it tells of tables goes to ``dataset.json``.
    pruned : callable, optional
        Where it is given, lines of the ledger and folders that belong to no finished scan and to no input of this run
        are removed at the end, as `hilum.batch.removals.prune` does, and it is told how many.
    full_paths : bool
        Whether ``scans.csv`` has the paths of scans in their inputs in full; if not, every name that could be a
        person's is left out of them.
    watch : callable
        Called with the ids of the scans that are being made whenever they change.

    Yields
    ------
    Row
        One per input refused, then one per ref, in the order in which they are known.

    Raises
    ------
    OutputError
        If the output folder cannot be written, the machine has a fault that every scan would meet, another run writes
        to the folder, or it holds results of another recipe, what no run wrote, what this run would take away, or these
        scans under other names.
    InputError
        If the recipe's format needs a package that is not installed, the number of workers is negative, or a scan's
        folder would be called after a series UID that the recipe hides.
    HilumError
        If the machine has no memory for a single scan.
    """
    check_workers(workers)
    check_packages(recipe.output.format)
    check_output_folder(out)
    found = found or Survey([], [])
    hide = recipe.output.series_uid == "hash"
    if hide:
        check_hidden(refs)
        found, refused = hide_survey_uids(found), [hide_row_uids(row) for row in refused]
    with ExitStack() as stack:
        name = stack.enter_context(locked_output(out))
        book = stack.enter_context(Ledger(out))
        check_names(refs, book, out)
        write_recipe(out, recipe, overwrite=overwrite)
        changed, former = False, scans_index.read_origins(out)
        made = _make(refs, recipe, out, name, book, workers, limits or Limits(), scheduler, overwrite, watch)
        stack.callback(made.close)  # ends the workers first
        for row, is_new in _both(refused, made, book):
            if is_new:
                if not changed:
                    checksums.remove_checksums(out)  # of what the folder was
                changed = True
                book.append(row)
            yield row
        if pruned is not None:
            pruned(prune(out, book, keep={row.id for row in refused} | {ref.scan_id for ref in refs}))
        book.compact()
        dataset_summary.write_summary(out, _summaries(refs, book, out, found))
        origins = origins_of(refs, found, hide=hide)
        scans_index.write_index(out, book, origins, former=former, full_paths=full_paths, hide=hide)
        checksums.write_checksums(out, OWN_FILES)


def _both(refused: Iterable[Row], made: Iterable[tuple[Row, bool]], book: Ledger) -> Iterator[tuple[Row, bool]]:
    for row in refused:
        yield row, book.get(row.id) != stored(row)
    yield from made


def _make(
    refs: Sequence[ScanRef],
    recipe: Recipe,
    out: Path,
    run: str,
    book: Ledger,
    workers: int | None,
    limits: Limits,
    scheduler: str,
    overwrite: bool,
    watch: Callable[[tuple[str, ...]], None],
) -> Generator[tuple[Row, bool]]:
    """Every scan's row, and whether it is new to the ledger: first those that are kept, then those that are made."""
    kept: list[str] = []
    waiting: list[Task] = []
    for ref in refs:
        row = book.get(ref.scan_id)
        if row is not None and _is_kept(row, ref, recipe, out):
            kept.append(ref.scan_id)
        else:
            seen = all(map(os.path.lexists, inputs_of(ref)))
            waiting.append(Task(ref, recipe, out, overwrite, "" if row is None else row.scan_sha256, run, seen))
    if not overwrite:
        check_removals(out, book, [task.ref for task in waiting])
    for scan_id in kept:
        if (row := book.get(scan_id)) is not None:
            now = with_status(row)  # its notes may mean something else to this version
            yield msgspec.structs.replace(now, kept=True), now != row
    if not waiting:
        return
    if scheduler:
        from hilum.batch.cluster.run import make_on_cluster

        rows = make_on_cluster(iter(waiting), scheduler=scheduler, workers=workers or 0, limits=limits, watch=watch)
    elif workers is None:
        rows = (task.make() for task in waiting)
    else:
        rows = _at_once(waiting, min(count_processes(workers, memory=limits.memory), len(waiting)), limits, watch)
    with closing(rows):
        for row in rows:
            check_row(row)
            yield row, True


def _at_once(
    tasks: Sequence[Task], processes: int, limits: Limits, watch: Callable[[tuple[str, ...]], None]
) -> Generator[Row]:
    from hilum.batch.supervisor import WorkerPool

    threads = max(1, count_workers(0) // processes)
    with WorkerPool(processes, limits) as pool:
        yield from pool.make((with_threads(task, threads) for task in tasks), watch)


def _is_kept(row: Row, ref: ScanRef, recipe: Recipe, out: Path) -> bool:
    """Whether a scan is finished, its folder is what the ledger says, and nobody touched its files or its input since.

    Where somebody may have, `hilum.batch.task.run_one` reads the bytes.
    """
    folder = out / "scans" / ref.scan_id
    if row.status not in FINISHED or row.stamp != input_stamp(ref, recipe) or record_sha256(folder) != row.scan_sha256:
        return False
    record = read_record(folder)
    return record is not None and is_complete(folder, record) and row.files_stamp == files_stamp(folder, record)


def check_row(row: Row) -> None:
    """End a run where the machine has a fault that every other scan would meet as well.

    Parameters
    ----------
    row : Row
        As it was made; it is not booked then, so that its scan is made by the next run.

    Raises
    ------
    OutputError
        If it tells of such a fault.
    """
    if row.status == "failed" and row.code in STOPS | {NO_MEMORY}:
        raise OutputError(row.shown or row.reason, code=row.code)


def _summaries(refs: Sequence[ScanRef], book: Ledger, out: Path, found: Survey) -> list[DatasetRecord]:
    """Count, for each data set of this run, what became of its nodules."""

    def records(name: str) -> Iterator[ScanRecord | None]:
        for ref in refs:
            if ref.dataset == name:
                row = book.get(ref.scan_id)
                finished = row is not None and row.status in FINISHED
                yield read_record(out / "scans" / ref.scan_id) if finished else None

    names = list(dict.fromkeys(ref.dataset for ref in refs))
    return [
        dataset_summary.summarize(
            name, records(name), tables=found.tables.get(name, ()), notes=found.notes.get(name, ())
        )
        for name in names
    ]
