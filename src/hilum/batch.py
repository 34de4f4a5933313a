"""Many scans: each is loaded, preprocessed and stored, and whatever becomes of it stands in the ledger."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import hilum
from hilum._kernels.threads import count_workers
from hilum.datasets import DATASETS
from hilum.datasets.survey import Survey, index, survey
from hilum.errors import HilumError, OutputError, one_line
from hilum.io.ledger import Row, append_row, read_ledger, rewrite_ledger
from hilum.io.store import read_record, store_scan
from hilum.io.summary import summarize, write_summary
from hilum.ops.lungs import MODEL
from hilum.ops.lungs_onnx import model_digest
from hilum.pipeline import preprocess, preview_of
from hilum.recipes import Compute, Recipe, recipe_fingerprint, recipe_toml
from hilum.scan import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

    from hilum.io.records import ScanRecord
    from hilum.scan import ScanRef

__all__ = ["Survey", "fingerprint", "index", "run", "run_one", "survey"]


def run(
    refs: Sequence[ScanRef],
    recipe: Recipe,
    out: Path,
    *,
    workers: int = 1,
    overwrite: bool = False,
    refused: Sequence[Row] = (),
    found: Survey | None = None,
    report: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """Preprocess scans into an output folder.

    Parameters
    ----------
    refs : sequence of ScanRef
        From a data set's ``index``; their ids must differ.
    recipe : Recipe
    out : Path
        The output folder, made where it is missing: ``recipe.toml``, ``ledger.jsonl``, ``dataset.json`` and
        ``scans/``.
    workers : int
        Scans at a time; 0 is one per core. From two on each has a process of its own, so that one that crashes
        costs itself alone; with 1 all stay in this process, and no scan pays for starting another.
    overwrite : bool
        Whether finished scans of another recipe, input or version are replaced; without it they are refused.
        A finished scan with the same fingerprint is kept as it is.
    refused : sequence of Row
        Inputs that `index` refused; they stand in the ledger too.
    found : Survey, optional
        Where `refs` come from: what it tells of tables goes to ``dataset.json``.
    report : callable
        Called with each row as soon as it is known.

    Returns
    -------
    list of Row
        One per input refused and one per ref, in their order; the ledger holds them too, beside those of earlier runs.

    Raises
    ------
    OutputError
        If the output folder cannot be written.
    """
    _prepare(out, recipe)
    rows = read_ledger(out)
    processes = min(count_workers(workers), len(refs))
    together = processes > 1
    made = _at_once(refs, recipe, out, overwrite, processes) if together else _in_turn(refs, recipe, out, overwrite)
    for row in itertools.chain(refused, made):
        rows[row.id] = row
        append_row(out, row)
        report(row)
    rewrite_ledger(out, rows.values())
    _summarize(refs, rows, out, found or Survey([], []))
    return [*refused, *(rows[ref.scan_id] for ref in refs)]


def _summarize(refs: Sequence[ScanRef], rows: Mapping[str, Row], out: Path, found: Survey) -> None:
    """Count, for each data set of this run, what became of its nodules."""
    made: dict[str, list[ScanRecord | None]] = {ref.dataset: [] for ref in refs}
    for ref in refs:
        finished = rows[ref.scan_id].status in {"done", "repaired"}
        made[ref.dataset].append(read_record(out / "scans" / ref.scan_id) if finished else None)
    write_summary(
        out,
        [
            summarize(name, records, tables=found.tables.get(name, ()), notes=found.notes.get(name, ()))
            for name, records in made.items()
        ],
    )


def run_one(ref: ScanRef, recipe: Recipe, out: Path, *, overwrite: bool = False) -> Row:
    """Load, preprocess and store one scan, and never raise for what is wrong with it.

    Parameters
    ----------
    ref : ScanRef
    recipe : Recipe
    out : Path
        The run's output folder.
    overwrite : bool
        Whether a finished scan with another fingerprint is replaced.

    Returns
    -------
    Row
        The ledger's line.
    """
    started = time.perf_counter()
    try:
        mark, notes = _make(ref, recipe, out, overwrite)
        row = Row(id=ref.scan_id, status="repaired" if notes else "done", notes=notes, fingerprint=mark)
    except HilumError as refusal:
        row = Row(id=ref.scan_id, status="refused", code=refusal.code, reason=str(refusal))
    except Exception as failure:  # noqa: BLE001 - one scan may break in any way; the others go on and the ledger tells
        text = f"{ref.path}: {type(failure).__name__}: {failure}"
        row = Row(id=ref.scan_id, status="failed", code=type(failure).__name__, reason=one_line(text))
    return msgspec.structs.replace(row, seconds=round(time.perf_counter() - started, 3))


def _make(ref: ScanRef, recipe: Recipe, out: Path, overwrite: bool) -> tuple[str, list[str]]:
    """Make one scan's output, or find it made; returns its fingerprint and its notes."""
    mark = fingerprint(ref, recipe)
    kept = read_record(out / "scans" / ref.scan_id)
    if kept is not None and kept.fingerprint == mark:
        return mark, [f"{note['code']}: {note['text']}" for note in kept.notes]
    if kept is not None and not overwrite:
        folder = out / "scans" / ref.scan_id
        raise OutputError("holds another result for this scan", where=folder, do="give --overwrite", code="exists")
    scan = DATASETS[ref.dataset].load(ref, max_gap_mm=recipe.read.max_gap_mm)
    ready = preprocess(scan, recipe)
    store_scan(
        ready,
        out / "scans",
        scan_id=ref.scan_id,
        file_format=recipe.output.format,
        source=scan.ct.geometry,
        recipe_name=recipe.name,
        recipe_sha256=recipe_fingerprint(recipe),
        fingerprint=mark,
        dataset=ref.dataset,
        preview=preview_of(ready, recipe),
    )
    return mark, [str(note) for note in ready.notes]


def fingerprint(ref: ScanRef, recipe: Recipe) -> str:
    """Hash of everything a result comes from: the input's files, the recipe, the version.

    Parameters
    ----------
    ref : ScanRef
        Its files are known by name, size and time of change; their bytes are not read. What the tables of its data
        set say of this one scan counts, not the rest of them.
    recipe : Recipe
        Where its lung method is a model, that file's bytes count.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(f"{hilum.__version__} {recipe_fingerprint(recipe)} {ref.series_uid}".encode())
    if recipe.lungs.method.startswith(MODEL):
        digest.update(model_digest(Path(recipe.lungs.method.removeprefix(MODEL))).encode())
    known = ref.known or Known()
    digest.update(repr((sorted(known.labels.items()), [(n.center, n.diameter_mm) for n in known.nodules])).encode())
    for kind, values in sorted(known.locations.items()):
        digest.update(kind.encode() + values.tobytes())
    for root in (ref.path, ref.annotations, known.lungs):
        if root is not None and root.exists():  # one that is not is the reader's to refuse
            for path in sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else (root,):
                found = path.stat()
                digest.update(f"\n{path.relative_to(root)} {found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()


def _prepare(out: Path, recipe: Recipe) -> None:
    try:
        (out / "scans").mkdir(parents=True, exist_ok=True)
        (out / "recipe.toml").write_text(recipe_toml(recipe))
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise OutputError(f"cannot be written: {reason}", where=out, do="choose another --out") from None


def _in_turn(refs: Sequence[ScanRef], recipe: Recipe, out: Path, overwrite: bool) -> Iterator[Row]:
    for ref in refs:
        yield run_one(ref, recipe, out, overwrite=overwrite)


_PRELOADED = ["hilum.batch", "hilum.io.dicom", "hilum._kernels.spline", "hilum._kernels.morphology"]
"""Imported once by the server that forks the workers: numba alone takes a second."""


@dataclass(frozen=True)
class _Job:
    ref: ScanRef
    process: ForkServerProcess
    answer: Connection


def _at_once(refs: Sequence[ScanRef], recipe: Recipe, out: Path, overwrite: bool, processes: int) -> Iterator[Row]:
    """Run one process per scan, `processes` of them alive: one that dies takes its own scan with it, no other."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    threads = recipe.compute.workers or max(1, count_workers(0) // processes)
    shared = msgspec.structs.replace(recipe, compute=Compute(workers=threads))
    waiting, alive = list(refs)[::-1], list[_Job]()
    while waiting or alive:
        while waiting and len(alive) < processes:
            ref = waiting.pop()
            answer, question = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(question, ref, shared, out, overwrite))
            process.start()
            question.close()
            alive.append(_Job(ref, process, answer))
        ready = set(wait([job.answer for job in alive]))
        for job in [job for job in alive if job.answer in ready]:
            alive.remove(job)
            yield _collect(job)


def _collect(job: _Job) -> Row:
    try:
        row: Row = job.answer.recv()
        job.process.join()
    except EOFError:
        job.process.join()
        reason = f"{job.ref.path}: its process ended with exit code {job.process.exitcode}"
        row = Row(id=job.ref.scan_id, status="failed", code="process-died", reason=one_line(reason))
    job.answer.close()
    return row


def _work(question: Connection, ref: ScanRef, recipe: Recipe, out: Path, overwrite: bool) -> None:
    question.send(run_one(ref, recipe, out, overwrite=overwrite))
    question.close()
