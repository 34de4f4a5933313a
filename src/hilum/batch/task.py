"""Make one scan of a run. Faults of the scan become a row of the ledger; they are never raised."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import msgspec

from hilum._kernels.threads import begin
from hilum.batch import corrections, identity, lock
from hilum.datasets import DATASETS, survey
from hilum.errors import HilumError, InputError, MissingInputError, OutputError, one_line
from hilum.io import errno_faults, names
from hilum.io.labels.attach import attach_labels
from hilum.io.read_options import ReadOptions
from hilum.outputs import findings, finished, reasons, records, store
from hilum.outputs.ledger import Row, Status
from hilum.pipeline import preprocess_beside, preview_of, promised_parts
from hilum.recipe_sections import Compute
from hilum.recipes import Recipe, recipe_fingerprint
from hilum.scan import Note, Scan
from hilum.scan_ref import ScanRef

OUT_OF_MEMORY = "out-of-memory"

VANISHED = "vanished"  # the code of an input that disappeared during the run


@dataclass(frozen=True, slots=True)
class Task:
    """One scan to be made: the job of a worker. It can be pickled.

    ``written_sha256`` is the SHA-256 of its ``scan.json`` according to the ledger, empty without one. ``run`` is the
    name of the run that holds the output folder, from `hilum.batch.lock.output_lock`. ``existed``: the input existed
    when the run began.
    """

    ref: ScanRef
    recipe: Recipe
    out: Path
    overwrite: bool = False
    written_sha256: str = ""
    run: str = ""
    existed: bool = False

    def with_threads(self, threads: int) -> "Task":
        """Return the same task with a number of threads, unless its recipe sets one."""
        compute = Compute(workers=self.recipe.compute.workers or threads)
        return replace(self, recipe=msgspec.structs.replace(self.recipe, compute=compute))

    def make(self) -> Row:
        """Make the scan and return its row."""
        row = row_or_failure(self.ref, lambda: _make(self), existed=self.existed)
        return row if self.recipe.output.series_uid == "keep" else survey.hide_row_uids(row)


def run_one(ref: ScanRef, recipe: Recipe, out: Path, *, overwrite: bool = False) -> Row:
    """Load, preprocess and store one scan; a fault of the scan becomes a row.

    A finished scan with the same fingerprint is kept if every file matches its checksum. If its input or the version
    changed, it is made again.

    Parameters
    ----------
    ref : ScanRef
        The scan to load.
    recipe : Recipe
        What is done to it.
    out : Path
        The run's output folder.
    overwrite : bool
        Replace a finished scan of another recipe; otherwise the scan is refused.

    Returns
    -------
    Row
        For the ledger.
    """
    return Task(ref, recipe, out, overwrite).make()


def row_or_failure(ref: ScanRef, make: Callable[[], Row], *, status: Status = "refused", existed: bool = False) -> Row:
    """Make a scan's row; any exception becomes a row that describes it.

    Parameters
    ----------
    ref, make
        The scan, and what makes its row.
    status : str
        The status if the input is at fault; if the output or the machine is, the status is ``failed``.
    existed : bool
        The input existed when the run began: if it is missing now, the scan has failed and is not refused.

    Returns
    -------
    Row
        With the elapsed seconds.
    """
    started = time.perf_counter()
    try:
        row = make()
    except OutputError as problem:
        row = _problem_row(ref, problem, "failed")
    except MemoryError:
        row = failed_row(ref, OUT_OF_MEMORY, "the machine had no memory for it; give fewer --workers")
    except Exception as failure:  # noqa: BLE001 - one scan may fail in any way; the others continue
        row = _failure_row(ref, failure, status, existed)
    return msgspec.structs.replace(row, seconds=round(time.perf_counter() - started, 3))


def failed_row(ref: ScanRef, code: str, reason: str, full_reason: str = "") -> Row:
    """Build the ledger row of a failed scan; `full_reason` is for the screen, which also shows the scan's path."""
    full = one_line(f"{ref.path}: {full_reason or reason}")
    return Row(id=ref.scan_id, status="failed", code=code, reason=one_line(reason), full_reason=full)


def _failure_row(ref: ScanRef, problem: Exception, input_status: Status, existed: bool) -> Row:
    """The row of a scan without a result: its input disappeared, or the machine, the input or hilum is at fault."""
    if isinstance(problem, InputError) and problem.code == identity.CHANGED:
        return _problem_row(ref, problem, "failed")
    fault = errno_faults.read_fault(problem)
    if fault is None and existed and (missing := [path for path in inputs_of(ref) if not os.path.lexists(path)]):
        what, do = "disappeared during the run, or is not visible from here", "check its disk or mount, and run again"
        return _problem_row(ref, MissingInputError(what, where=missing[0], do=do, code=VANISHED), "failed")
    if isinstance(problem, HilumError):
        row = _problem_row(ref, problem, input_status if fault is None else "failed")
    else:
        code = type(problem).__name__
        row = failed_row(ref, code, reasons.crash_reason(problem), f"{code}: {problem}")
    if fault is None:
        return row
    reason, full = (one_line(f"{text}; {fault.do}") for text in (row.reason, row.full_reason))
    return msgspec.structs.replace(row, code=fault.code, reason=reason, full_reason=full)


def inputs_of(ref: ScanRef) -> list[Path]:
    """List the files and folders from which a scan is read."""
    labels = (file.path for file in ref.label_files)
    corrected = (one.path for one in ref.corrections)
    return [path for path in (ref.path, ref.annotations, *labels, *corrected) if path is not None]


def _problem_row(ref: ScanRef, problem: HilumError, status: Status) -> Row:
    """The row of a scan that was not made for a known reason."""
    reason = reasons.reason_without_names(problem, path=ref.path, annotations=ref.annotations)
    if not isinstance(problem.where, PurePath):  # the screen names a scan by its path, not by its UID
        problem = HilumError(problem.what, where=ref.path, do=problem.do, code=problem.code)
    return Row(id=ref.scan_id, status=status, code=problem.code, reason=reason, full_reason=str(problem))


def _make(task: Task) -> Row:
    """Make one scan, or keep the finished one."""
    ref, recipe, out = task.ref, task.recipe, task.out
    before, stamp = identity.snapshot(ref), identity.input_stamp(ref, recipe)
    fingerprint, images = identity.hash_input(ref, recipe, before)
    folder = out / "scans" / ref.scan_id
    old = finished.read_record(folder)
    as_listed = task.written_sha256 in {"", finished.record_sha256(folder)}
    if old is not None and old.fingerprint == fingerprint and as_listed and finished.is_intact(folder, old):
        return msgspec.structs.replace(finished_row(folder, old, stamp=stamp), kept=True)
    recipe_sha256 = recipe_fingerprint(recipe)
    if old is not None and old.recipe_sha256 != recipe_sha256 and not task.overwrite:
        raise OutputError("is of another recipe", where=folder, do="give --overwrite", code="exists")
    scan, ready = _load_and_preprocess(ref, recipe, before, images)
    if recipe.output.series_uid == "hash":
        ready = _hide_series_uid(ready)
    record = store.store_scan(
        ready,
        out / "scans",
        scan_id=ref.scan_id,
        file_format=recipe.output.format,
        source=scan.ct.geometry,
        recipe_name=recipe.name,
        recipe_sha256=recipe_sha256,
        fingerprint=fingerprint,
        input_sha256=images,
        dataset=ref.dataset,
        preview=preview_of(ready, recipe),
        required_parts=promised_parts(recipe),
        before_publish=lambda: lock.check_run(out, task.run),
        workers=recipe.compute.workers,
    )
    return finished_row(folder, record, stamp=stamp)


def _load_and_preprocess(
    ref: ScanRef, recipe: Recipe, before: identity.InputSnapshot, images: str
) -> tuple[Scan, Scan]:
    """Load a scan, and preprocess it while its label files are read.

    If a file changed meanwhile, the result does not count, and neither does a refusal.
    """
    try:
        scan = DATASETS[ref.dataset].load(ref, options=ReadOptions.of_recipe(recipe.read))
        given = corrections.read_corrected_masks(ref, scan, recipe, images=images)
        scan = replace(scan, notes=(*scan.notes, *given.notes))
        labeled = begin(lambda: given.put_into(attach_labels(scan, ref.label_files)), workers=recipe.compute.workers)
        ready = preprocess_beside(scan, recipe, labeled, corrected=given.masks)
    except HilumError:
        identity.check_unchanged(ref, before)
        raise
    identity.check_unchanged(ref, before)
    return scan, ready


def _hide_series_uid(scan: Scan) -> Scan:
    """Hash the series UID of a scan and the UIDs in its notes."""
    notes = tuple(Note(note.code, names.hide_uids(note.text)) for note in scan.notes)
    uid = names.hashed_uid(scan.series_uid) if names.is_uid(scan.series_uid) else scan.series_uid
    return replace(scan, series_uid=uid, notes=notes)


def finished_row(folder: Path, record: records.ScanRecord, *, stamp: str) -> Row:
    """Build the ledger row of a finished scan; `stamp` is from `hilum.batch.identity.input_stamp`."""
    notes = [f"{note['code']}: {note['text']}" for note in record.notes]
    row = Row(id=folder.name, status="done", notes=notes, fingerprint=record.fingerprint, stamp=stamp)
    sha256, files_stamp = finished.record_sha256(folder), finished.files_stamp(folder, record)
    return with_status(msgspec.structs.replace(row, scan_sha256=sha256, files_stamp=files_stamp))


def with_status(row: Row) -> Row:
    """Set the status and the alarms of a finished scan's row from its notes, as this version judges them."""
    status, alarms = findings.finished_status(row.notes), findings.codes_of(row.notes, "alarm")
    return msgspec.structs.replace(row, status=status, alarms=alarms)
