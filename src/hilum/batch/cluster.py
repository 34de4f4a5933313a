"""The same scans on a Dask cluster: its workers may be anywhere that sees both folders.

A Dask worker makes a scan in a process of its own, as the supervisor of one machine does: what crashes, hangs or
takes too much costs that scan alone, and the Dask worker lives on.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from hilum._kernels.threads import count_workers
from hilum.batch.limits import Limits, count_processes, free_memory
from hilum.batch.supervisor import DIED, Crew
from hilum.batch.task import Task, with_threads
from hilum.errors import HilumError, InputError, one_line
from hilum.io.ledger import Row
from hilum.io.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

LOCAL = "local"

SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.diagnostics.nvml": False,
}
"""A scan whose Dask worker was lost is not handed to the next one to bring down, and none waits on a busy worker."""

_AHEAD = 2
"""Scans handed to the scheduler for each thread of the cluster: enough to keep all at work."""

_WAIT_SECONDS = 30
"""How long to wait for the scheduler, and for its first worker."""

_crews: dict[tuple[str, int], Crew] = {}
"""What the threads of a Dask worker keep from one scan to the next: a worker process, for each run and thread."""


def make_on_cluster(
    tasks: Iterator[Task],
    *,
    scheduler: str,
    workers: int,
    limits: Limits,
    watch: Callable[[tuple[str, ...]], None],
) -> Generator[Row]:
    """Have scans made by the workers of a Dask scheduler.

    Parameters
    ----------
    tasks : iterator of Task
    scheduler : str
        Its address; ``local`` starts one here.
    workers : int
        With ``local``: how many; 0 for one per core where there is memory for as many.
    limits : Limits
    watch : callable
        Called with the ids of the scans that were handed out whenever they change.

    Yields
    ------
    Row
        One per task, as they end.

    Raises
    ------
    InputError
        If dask.distributed is not installed, or there is no scheduler at the address.
    """
    try:
        import dask.config
        from distributed import Client, as_completed
    except ImportError:
        raise InputError("dask.distributed is not installed", do="pip install 'hilum[dask]'", code="no-dask") from None
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        client = stack.enter_context(_connect(Client, scheduler, workers, stack))
        run = secrets.token_hex(8)
        stack.callback(client.run, dismiss, run)
        queue = as_completed()  # type: ignore[no-untyped-call]
        running: dict[Any, tuple[Task, int]] = {}

        def hand_out(task: Task, attempt: int) -> None:
            future = client.submit(make_here, _absolute(task), limits, run, pure=False, retries=0)
            running[future] = (task, attempt)
            queue.add(future)  # type: ignore[no-untyped-call]

        def refill() -> None:
            threads = sum(client.nthreads().values()) or 1  # asked each time: workers come and go
            while len(running) < threads * _AHEAD and (task := next(tasks, None)) is not None:
                hand_out(task, 1)
            watch(tuple(task.ref.scan_id for task, _ in running.values()))

        refill()
        for future in queue:
            task, attempt = running.pop(future)
            row = _row_of(future, task)
            if row.code == DIED and row.attempts == 0 and attempt <= limits.retries:
                hand_out(task, attempt + 1)
            else:
                yield msgspec.structs.replace(row, attempts=max(1, row.attempts) + attempt - 1)
            future.release()
            refill()


def make_here(task: Task, limits: Limits, run: str) -> Row:
    """Make a scan in a process beside this one, a thread of a Dask worker.

    Parameters
    ----------
    task : Task
    limits : Limits
    run : str
        Which run's it is: its process is kept until `dismiss` ends those of the run.

    Returns
    -------
    Row
    """
    from distributed import get_worker

    dask_worker = get_worker()
    threads = dask_worker.state.nthreads
    crew = _crews.get((run, threading.get_ident()))
    if crew is None:
        limit = getattr(dask_worker.memory_manager, "memory_limit", 0) or free_memory()
        limits = replace(limits, memory=limits.memory or min(limit, free_memory() or limit) // threads)
        crew = _crews[run, threading.get_ident()] = Crew(1, limits)
    return next(crew.make(iter([with_threads(task, max(1, count_workers(0) // threads))])))


def dismiss(run: str) -> None:
    """End the processes that this process keeps for a run.

    Parameters
    ----------
    run : str
    """
    for key in [key for key in _crews if key[0] == run]:
        _crews.pop(key).__exit__()


def _absolute(task: Task) -> Task:
    """The same task for a process that may stand in another folder."""
    ref, known = task.ref, task.ref.known
    if known is not None and known.lungs is not None:
        known = replace(known, lungs=known.lungs.absolute())
    annotations = None if ref.annotations is None else ref.annotations.absolute()
    ref = replace(ref, path=ref.path.absolute(), annotations=annotations, known=known)
    return replace(task, ref=ref, out=task.out.absolute())


def _connect(client: Any, scheduler: str, workers: int, stack: ExitStack) -> Any:
    """A client of the scheduler, which has at least one worker."""
    try:
        if scheduler == LOCAL:
            from distributed import LocalCluster

            cluster = LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=count_processes(workers), threads_per_worker=1, processes=False, dashboard_address=":0"
            )
            return client(stack.enter_context(cluster))
        made = client(scheduler, timeout=_WAIT_SECONDS)
        made.wait_for_workers(1, timeout=_WAIT_SECONDS)
    except (OSError, ValueError, TimeoutError) as problem:
        what = f"no Dask scheduler with a worker answers: {str(problem) or 'nothing came'}"
        raise InputError(what, where=scheduler, do="start one, or leave --scheduler out", code="no-cluster") from None
    made.run_on_scheduler(_forgive_nothing)
    return made


def _forgive_nothing(dask_scheduler: Any) -> None:
    """Set on a scheduler that others started what decides there."""
    dask_scheduler.allowed_failures = SETTINGS["distributed.scheduler.allowed-failures"]
    dask_scheduler.WORKER_SATURATION = SETTINGS["distributed.scheduler.worker-saturation"]


def _row_of(future: Any, task: Task) -> Row:
    problem = future.exception()
    if problem is None:
        row: Row = future.result()
        return row
    # No attempt of the scan's own process: its Dask worker, or the way there, was lost.
    code, what = DIED, f"its Dask worker was lost: {type(problem).__name__}"
    reason, shown = what, f"{what}: {problem}"
    if isinstance(problem, HilumError):
        code, reason, shown = problem.code, reason_of(problem, path=task.ref.path), str(problem)
    shown = one_line(f"{task.ref.path}: {shown}")
    return Row(id=task.ref.scan_id, status="failed", code=code, reason=reason, shown=shown, attempts=0)
