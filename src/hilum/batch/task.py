"""One scan of a run: what it is made from, and how it is made; it never raises for what is wrong with the scan."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

import msgspec

from hilum.batch.identity import CHANGED, InputSnapshot, check_unchanged, fingerprint, input_stamp, snapshot
from hilum.batch.lock import check_run
from hilum.datasets import DATASETS
from hilum.datasets.survey import hide_row_uids
from hilum.errors import HilumError, InputError, MissingInputError, OutputError, one_line
from hilum.io.errno_faults import read_fault
from hilum.io.uids import hashed_uid, hide_uids, is_uid
from hilum.outputs.findings import codes_of, finished_status
from hilum.outputs.finished import check_files, files_stamp, read_record, record_sha256
from hilum.outputs.ledger_rows import Row
from hilum.outputs.reasons import crash_reason, reason_without_names
from hilum.outputs.store import store_scan
from hilum.pipeline import preprocess, preview_of, promised_parts
from hilum.recipes import Compute, Recipe, recipe_fingerprint
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hilum.outputs.ledger_rows import Status
    from hilum.outputs.records import ScanRecord
    from hilum.scan import Scan, ScanRef

OUT_OF_MEMORY = "out-of-memory"

VANISHED = "vanished"
"""The code of an input that was there when the run began."""


@dataclass(frozen=True, slots=True)
class Task:
    """One scan to be made: its place, the recipe, the run's output folder.

    ``written`` is the SHA-256 of its ``scan.json`` according to the ledger, empty without one. ``run`` is the name of
    the run that holds the output folder, from `hilum.batch.lock.output_lock`. ``seen``: the input existed when the run
    began.
    """

    ref: ScanRef
    recipe: Recipe
    out: Path
    overwrite: bool = False
    written: str = ""
    run: str = ""
    seen: bool = False

    def make(self) -> Row:
        """Make the scan, as `run_one` does."""
        known = {"written": self.written, "run": self.run}
        return run_one(self.ref, self.recipe, self.out, overwrite=self.overwrite, seen=self.seen, **known)


def with_threads(task: Task, threads: int) -> Task:
    """Give a task its share of the cores, unless its recipe says how many threads it takes.

    Parameters
    ----------
    task : Task
    threads : int

    Returns
    -------
    Task
    """
    compute = Compute(workers=task.recipe.compute.workers or threads)
    return replace(task, recipe=msgspec.structs.replace(task.recipe, compute=compute))


def run_one(
    ref: ScanRef,
    recipe: Recipe,
    out: Path,
    *,
    overwrite: bool = False,
    written: str = "",
    run: str = "",
    seen: bool = False,
) -> Row:
    """Load, preprocess and store one scan, and never raise for what is wrong with it.

    A finished scan with the same fingerprint is kept, if every file matches its checksum; one of the same recipe whose
    input or version changed is made anew.

    Parameters
    ----------
    ref : ScanRef
    recipe : Recipe
    out : Path
        The run's output folder.
    overwrite : bool
        Whether a finished scan of another recipe is replaced; without it the scan is refused.
    written : str
        SHA-256 of the ``scan.json`` of a finished scan, where the ledger has it: one that differs is not kept.
    run : str
        The run that the scan is made for: nothing takes its place once another run holds the folder. Empty where
        nobody holds it.
    seen : bool
        Whether its input was there when the run began: one that is gone since has failed, and is not refused.

    Returns
    -------
    Row
        The ledger's line.
    """
    row = row_or_failure(ref, lambda: _make(ref, recipe, out, overwrite, written, run), seen=seen)
    return row if recipe.output.series_uid == "keep" else hide_row_uids(row)


def row_or_failure(ref: ScanRef, make: Callable[[], Row], *, doubtful: Status = "refused", seen: bool = False) -> Row:
    """Make a scan's row, and turn whatever it raises into a row that says so.

    Parameters
    ----------
    ref : ScanRef
    make : callable
    doubtful : str
        The status where what was read cannot be trusted. Where the output or the machine is to blame it is ``failed``.
    seen : bool
        As `run_one` takes it.

    Returns
    -------
    Row
        With the seconds that it took.
    """
    started = time.perf_counter()
    try:
        row = make()
    except OutputError as problem:
        row = _told(ref, problem, "failed")
    except MemoryError:
        text = "the machine had no memory for it; give fewer --workers"
        shown = one_line(f"{ref.path}: {text}")
        row = Row(id=ref.scan_id, status="failed", code=OUT_OF_MEMORY, reason=text, shown=shown)
    except Exception as failure:  # noqa: BLE001 - one scan may break in any way; the others go on and the ledger tells
        row = _unread(ref, failure, doubtful, seen)
    return msgspec.structs.replace(row, seconds=round(time.perf_counter() - started, 3))


def _unread(ref: ScanRef, problem: Exception, doubtful: Status, seen: bool) -> Row:
    """The row of a scan that came to no result: for want of its input, by the machine's fault, its own, or hilum's."""
    fault = read_fault(problem)
    if fault is None and seen and (gone := [path for path in inputs_of(ref) if not os.path.lexists(path)]):
        what, do = "was there when the run began and is gone, or cannot be seen from here", "check its disk or mount"
        return _told(ref, MissingInputError(what, where=gone[0], do=f"{do}, and run again", code=VANISHED), "failed")
    if isinstance(problem, HilumError):
        row = _told(ref, problem, doubtful if fault is None else "failed")
    else:
        shown = one_line(f"{ref.path}: {type(problem).__name__}: {problem}")
        reason = crash_reason(problem)
        row = Row(id=ref.scan_id, status="failed", code=type(problem).__name__, reason=reason, shown=shown)
    if fault is None:
        return row
    reason, shown = (one_line(f"{text}; {fault.do}") for text in (row.reason, row.shown))
    return msgspec.structs.replace(row, code=fault.code, reason=reason, shown=shown)


def inputs_of(ref: ScanRef) -> list[Path]:
    """Where a scan is read from.

    Parameters
    ----------
    ref : ScanRef

    Returns
    -------
    list of Path
    """
    return [path for path in (ref.path, ref.annotations) if path is not None]


def _told(ref: ScanRef, problem: HilumError, status: Status) -> Row:
    """The row of a scan that was not made, for a reason that is known."""
    reason = reason_without_names(problem, path=ref.path, annotations=ref.annotations)
    if not isinstance(problem.where, PurePath):  # a person finds a scan by its path, not by its UID
        problem = HilumError(problem.what, where=ref.path, do=problem.do, code=problem.code)
    return Row(id=ref.scan_id, status=status, code=problem.code, reason=reason, shown=str(problem))


def _make(ref: ScanRef, recipe: Recipe, out: Path, overwrite: bool, written: str, run: str) -> Row:
    """Make one scan's output, or find it made."""
    before, seen = snapshot(ref), input_stamp(ref, recipe)
    mark = fingerprint(ref, recipe, before)
    folder = out / "scans" / ref.scan_id
    kept = read_record(folder)
    if kept is not None and kept.fingerprint == mark and _is_sound(folder, kept, written):
        return msgspec.structs.replace(finished_row(folder, kept, stamp=seen), kept=True)
    decided = recipe_fingerprint(recipe)
    if kept is not None and kept.recipe_sha256 != decided and not overwrite:
        raise OutputError("holds this scan by another recipe", where=folder, do="give --overwrite", code="exists")
    try:
        scan = _load(ref, recipe, before)
    except InputError as problem:
        if problem.code != CHANGED:
            raise
        return _told(ref, problem, "failed")
    ready = preprocess(scan, recipe)
    if recipe.output.series_uid == "hash":
        ready = _hide_series(ready)
    record = store_scan(
        ready,
        out / "scans",
        scan_id=ref.scan_id,
        file_format=recipe.output.format,
        source=scan.ct.geometry,
        recipe_name=recipe.name,
        recipe_sha256=decided,
        fingerprint=mark,
        dataset=ref.dataset,
        preview=preview_of(ready, recipe),
        promised=promised_parts(recipe),
        before=lambda: check_run(out, run),
    )
    return finished_row(folder, record, stamp=seen)


def _is_sound(folder: Path, record: ScanRecord, written: str) -> bool:
    """Whether a finished scan is what the ledger says, down to the last byte."""
    if written not in {"", record_sha256(folder)}:
        return False
    try:
        check_files(folder, record)
    except InputError:
        return False
    return True


def _load(ref: ScanRef, recipe: Recipe, before: InputSnapshot) -> Scan:
    """Load a scan; one whose files changed meanwhile is neither trusted nor called bad."""
    try:
        scan = DATASETS[ref.dataset].load(ref, max_gap_mm=recipe.read.max_gap_mm)
    except HilumError:
        check_unchanged(ref, before)
        raise
    check_unchanged(ref, before)
    return scan


def _hide_series(scan: Scan) -> Scan:
    """A scan as it leaves where its series UID must not: what is written of it is written of this one."""
    notes = tuple(Note(note.code, hide_uids(note.text)) for note in scan.notes)
    uid = hashed_uid(scan.series_uid) if is_uid(scan.series_uid) else scan.series_uid
    return replace(scan, series_uid=uid, notes=notes)


def finished_row(folder: Path, record: ScanRecord, *, stamp: str) -> Row:
    """Write the ledger's line of a scan that has its folder.

    Parameters
    ----------
    folder : Path
        The scan's folder.
    record : ScanRecord
        Its ``scan.json``.
    stamp : str
        As `stamp` gives it.

    Returns
    -------
    Row
    """
    row = Row(
        id=folder.name,
        status="done",
        notes=[f"{note['code']}: {note['text']}" for note in record.notes],
        fingerprint=record.fingerprint,
        stamp=stamp,
        scan_sha256=record_sha256(folder),
        files_stamp=files_stamp(folder, record),
    )
    return with_status(row)


def with_status(row: Row) -> Row:
    """Give a finished scan's line the status and the alarms that its notes have by this version.

    Parameters
    ----------
    row : Row

    Returns
    -------
    Row
    """
    return msgspec.structs.replace(row, status=finished_status(row.notes), alarms=codes_of(row.notes, "alarm"))
