"""The same scans on a Dask cluster: its workers may be anywhere that sees both folders.

1. Every worker is asked whether it keeps the contract (`hilum.batch.cluster.contract`); one that does not at the start
   ends the run, one that joins later gets no scan.
2. Each scan is given to one worker, as many at a time as that has threads; Dask chooses none, and hands none on.
3. A row counts when the scan is seen in the output folder from here.
4. A worker that is lost costs the scans it was at, which are tried once more. Without any worker the run waits for one
   for a stated time; without its scheduler it ends.

A Dask worker makes each scan in a child process (`hilum.batch.cluster.worker_pools`), like the supervisor on one
machine: a crash, a timeout or too much memory costs that scan alone. The Dask worker survives.
"""

from __future__ import annotations

import logging
import secrets
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hilum.batch.cluster.contract import contract_of
from hilum.batch.limits import Limits, count_processes
from hilum.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from hilum.batch.task import Task
    from hilum.outputs.ledger_rows import Row

LOCAL = "local"

_WAIT_SECONDS = 30
"""How long to wait for the scheduler."""


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
        If dask.distributed is not installed, there is no scheduler at the address, a worker does not keep the
        contract, or the scheduler or all workers are lost for good.
    OutputError
        If the output folder cannot be written.
    """
    try:
        import distributed  # noqa: F401 - whether it is there
    except ImportError:
        raise InputError("dask.distributed is not installed", do="pip install 'hilum[dask]'", code="no-dask") from None
    from hilum.batch.cluster.connection import SchedulerClient
    from hilum.batch.cluster.dispatch import Dispatch

    waiting = [_absolute(task) for task in tasks]
    with ExitStack() as stack:
        stack.enter_context(_told_once())
        contract = stack.enter_context(contract_of(waiting, secrets.token_hex(8)))
        client = stack.enter_context(_connect(scheduler, workers, stack))
        dispatch = stack.enter_context(Dispatch(SchedulerClient(client, scheduler), contract, limits))
        yield from dispatch.make(waiting, watch)


@contextmanager
def _told_once() -> Iterator[None]:
    """Keep Dask's client from telling with a traceback of a lost scheduler, which is told here in one line."""

    def drop(_: logging.LogRecord) -> bool:
        return False

    log = logging.getLogger("distributed.client")
    log.addFilter(drop)
    try:
        yield
    finally:
        log.removeFilter(drop)


def _absolute(task: Task) -> Task:
    """The same task for a process that may stand in another folder."""
    ref, known = task.ref, task.ref.known
    if known is not None and known.lungs is not None:
        known = replace(known, lungs=known.lungs.absolute())
    annotations = None if ref.annotations is None else ref.annotations.absolute()
    ref = replace(ref, path=ref.path.absolute(), annotations=annotations, known=known)
    return replace(task, ref=ref, out=task.out.absolute())


def _connect(scheduler: str, workers: int, stack: ExitStack) -> Any:
    """A client of the scheduler."""
    import dask.config
    from distributed import Client, LocalCluster
    from distributed.versions import VersionMismatchWarning

    stack.enter_context(dask.config.set({"distributed.diagnostics.nvml": False}))
    try:
        if scheduler == LOCAL:
            cluster = LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=count_processes(workers), threads_per_worker=1, processes=False, dashboard_address=":0"
            )
            return Client(stack.enter_context(cluster))  # type: ignore[no-untyped-call]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # the contract tells, of each worker
            return Client(scheduler, timeout=_WAIT_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, ImportError) as problem:  # ImportError: of versions that cannot talk to each other
        what = f"no Dask scheduler answers: {str(problem) or 'nothing came'}"
        raise InputError(what, where=scheduler, do="start one, or leave --scheduler out", code="no-cluster") from None
