"""One scan of a run: what it is made from, and how it is made; it never raises for what is wrong with the scan."""

from __future__ import annotations

import functools
import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import hilum
from hilum.datasets import DATASETS
from hilum.errors import HilumError, MissingInputError, OutputError, one_line
from hilum.io.ledger import Row
from hilum.io.machine import read_fault
from hilum.io.parts import list_parts
from hilum.io.store import is_whole, read_record, store_scan
from hilum.io.sums import file_sha256
from hilum.ops.lungs import MODEL
from hilum.ops.lungs_onnx import model_digest
from hilum.pipeline import preprocess, preview_of
from hilum.recipes import Compute, Recipe, recipe_fingerprint
from hilum.scan import Known, ScanRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hilum.io.ledger import Status
    from hilum.io.records import ScanRecord

OUT_OF_MEMORY = "out-of-memory"

VANISHED = "vanished"
"""The code of an input that was there when the run began."""


@dataclass(frozen=True, slots=True)
class Task:
    """One scan to be made: its place, the recipe, the run's output folder.

    ``written`` is the SHA-256 of its ``scan.json`` as the ledger has it; empty where it has none. ``seen`` says whether
    its input was there when the run began.
    """

    ref: ScanRef
    recipe: Recipe
    out: Path
    overwrite: bool = False
    written: str = ""
    seen: bool = False

    def make(self) -> Row:
        """Make the scan, as `run_one` does."""
        return run_one(self.ref, self.recipe, self.out, overwrite=self.overwrite, written=self.written, seen=self.seen)


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
    ref: ScanRef, recipe: Recipe, out: Path, *, overwrite: bool = False, written: str = "", seen: bool = False
) -> Row:
    """Load, preprocess and store one scan, and never raise for what is wrong with it.

    A finished scan with the same fingerprint is kept; one of the same recipe whose input or version changed is made
    anew.

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
    seen : bool
        Whether its input was there when the run began: one that is gone since has failed, and is not refused.

    Returns
    -------
    Row
        The ledger's line.
    """
    return guarded(ref, lambda: _make(ref, recipe, out, overwrite, written), seen=seen)


def guarded(ref: ScanRef, make: Callable[[], Row], *, doubtful: Status = "refused", seen: bool = False) -> Row:
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
        row = Row(id=ref.scan_id, status="failed", code=problem.code, reason=str(problem))
    except MemoryError:
        text = f"{ref.path}: the machine had no memory for it; give fewer --workers"
        row = Row(id=ref.scan_id, status="failed", code=OUT_OF_MEMORY, reason=one_line(text))
    except Exception as failure:  # noqa: BLE001 - one scan may break in any way; the others go on and the ledger tells
        row = _unread(ref, failure, doubtful, seen)
    return msgspec.structs.replace(row, seconds=round(time.perf_counter() - started, 3))


def _unread(ref: ScanRef, problem: Exception, doubtful: Status, seen: bool) -> Row:
    """The row of a scan that came to no result: for want of its input, by the machine's fault, its own, or hilum's."""
    status: Status = "failed"
    code, text = type(problem).__name__, f"{ref.path}: {type(problem).__name__}: {problem}"
    if (fault := read_fault(problem)) is not None:
        code, text = fault.code, f"{problem if isinstance(problem, HilumError) else text}; {fault.do}"
    elif seen and (gone := [path for path in inputs_of(ref) if not os.path.lexists(path)]):
        what, do = "was there when the run began and is gone, or cannot be seen from here", "check its disk or mount"
        code, text = VANISHED, str(MissingInputError(what, where=gone[0], do=f"{do}, and run again", code="vanished"))
    elif isinstance(problem, HilumError):
        status, code, text = doubtful, problem.code, str(problem)
    return Row(id=ref.scan_id, status=status, code=code, reason=one_line(text))


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


def _make(ref: ScanRef, recipe: Recipe, out: Path, overwrite: bool, written: str) -> Row:
    """Make one scan's output, or find it made."""
    seen, mark = stamp(ref, recipe), fingerprint(ref, recipe)
    folder = out / "scans" / ref.scan_id
    kept = read_record(folder)
    sound = kept is not None and is_whole(folder, kept) and written in {"", record_sha256(folder)}
    if kept is not None and sound and kept.fingerprint == mark:
        return finished_row(folder, kept, stamp=seen)
    decided = recipe_fingerprint(recipe)
    if kept is not None and kept.recipe_sha256 != decided and not overwrite:
        raise OutputError("holds this scan by another recipe", where=folder, do="give --overwrite", code="exists")
    scan = DATASETS[ref.dataset].load(ref, max_gap_mm=recipe.read.max_gap_mm)
    ready = preprocess(scan, recipe)
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
    )
    return finished_row(folder, record, stamp=seen)


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
    return Row(
        id=folder.name,
        status="repaired" if record.notes else "done",
        notes=[f"{note['code']}: {note['text']}" for note in record.notes],
        fingerprint=record.fingerprint,
        stamp=stamp,
        scan_sha256=record_sha256(folder),
    )


def record_sha256(folder: Path) -> str:
    """Hash a scan's ``scan.json``.

    Parameters
    ----------
    folder : Path
        The scan's folder.

    Returns
    -------
    str
        64 hexadecimal digits; empty where there is no such file.
    """
    try:
        return hashlib.sha256((folder / "scan.json").read_bytes()).hexdigest()
    except OSError:
        return ""


def fingerprint(ref: ScanRef, recipe: Recipe) -> str:
    """Hash of everything a result comes from: the content of the input's files, the recipe, the version.

    Parameters
    ----------
    ref : ScanRef
        Its files are read; neither their times nor where the data set lies count. What the tables of its data set say
        of this one scan counts, not the rest of them.
    recipe : Recipe
        Where its lung method is a model, that file's bytes count.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = _origin(ref, recipe)
    if (model := _model(recipe)) is not None:
        digest.update(model_digest(model).encode())
    for root in _roots(ref):
        for name, path in list_parts(root):
            try:
                digest.update(f"\n{name} {file_sha256(path)}".encode("utf-8", "surrogateescape"))
            except OSError:  # the reader's to refuse
                digest.update(f"\n{name} unreadable".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def stamp(ref: ScanRef, recipe: Recipe) -> str:
    """Hash of the same, with the size and time of change of the input's files in place of their content.

    Where it is unchanged nothing is; where it changed, `fingerprint` decides.

    Parameters
    ----------
    ref : ScanRef
    recipe : Recipe

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = _origin(ref, recipe)
    model = _model(recipe)
    for root in (*_roots(ref), *([model] if model is not None and model.exists() else [])):
        for name, path in list_parts(root):
            try:
                found = path.stat()
            except OSError:
                continue
            text = f"\n{name} {found.st_size} {found.st_mtime_ns}"
            digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _origin(ref: ScanRef, recipe: Recipe) -> hashlib._Hash:
    digest = hashlib.sha256(f"{hilum.__version__} {_decided(recipe)} {ref.series_uid}".encode())
    known = ref.known or Known()
    digest.update(repr((sorted(known.labels.items()), [(n.center, n.diameter_mm) for n in known.nodules])).encode())
    for kind, values in sorted(known.locations.items()):
        digest.update(kind.encode() + values.tobytes())
    return digest


_decided = functools.lru_cache(maxsize=4)(recipe_fingerprint)
"""The same for every scan of a run."""


def _model(recipe: Recipe) -> Path | None:
    method = recipe.lungs.method
    return Path(method.removeprefix(MODEL)) if method.startswith(MODEL) else None


def _roots(ref: ScanRef) -> Iterator[Path]:
    """Where a scan's files lie; what is not there is the reader's to refuse."""
    for root in (ref.path, ref.annotations, (ref.known or Known()).lungs):
        if root is not None and root.exists():
            yield root
