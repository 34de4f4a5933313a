"""Make scans on a Dask cluster, whose workers may run on any machine that sees the input and the output.

1. Every worker is checked against the contract (`hilum.batch.cluster.contract`). A worker that does not fulfill it ends
   the run at its start; one that joins later gets no scan.
2. Each scan is assigned to one worker, with as many at a time as it has threads. Dask does not move scans.
3. A row counts when this process sees the scan in the output folder.
4. If a worker is lost, its current scans are tried once more. Without workers the run waits for a limited time;
   without its scheduler it ends.

A Dask worker makes each scan in a child process (`hilum.batch.cluster.worker_pools`), like the supervisor on one
machine: a crash, a timeout or too much memory costs that scan alone. The Dask worker survives.
"""

from __future__ import annotations

import logging
import secrets
import warnings
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hilum.batch.cluster.contract import contract_of
from hilum.batch.limits import Limits, count_processes
from hilum.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from hilum.batch.task import Task
    from hilum.outputs.ledger_rows import Row

LOCAL = "local"

_WAIT_SECONDS = 30  # how long to wait for the scheduler to answer


def make_on_cluster(
    tasks: Sequence[Task],
    *,
    scheduler: str,
    workers: int | None,
    limits: Limits,
    watch: Callable[[tuple[str, ...]], None],
) -> Generator[Row]:
    """Make scans with the workers of a Dask scheduler.

    Parameters
    ----------
    tasks, limits, watch
        As the jobs, limits and callback of `hilum.batch.supervisor.make_rows`; it yields the same too.
    scheduler : str
        Its address; ``local`` starts one on this machine.
    workers : int or None
        Their number with ``local``; 0 or None for one per core, as far as memory allows.

    Raises
    ------
    InputError
        If dask.distributed is not installed, no scheduler answers at the address, a worker does not fulfill the
        contract, or the scheduler or all workers are lost.
    OutputError
        If the output folder cannot be written.
    """
    try:
        import distributed  # noqa: F401 - only to check that it is installed
    except ImportError:
        raise InputError("dask.distributed is not installed", do="pip install 'hilum[dask]'", code="no-dask") from None
    from hilum.batch.cluster.connection import SchedulerClient
    from hilum.batch.cluster.dispatch import Dispatch

    waiting = [_absolute(task) for task in tasks]
    log, drop = logging.getLogger("distributed.client"), lambda _: False
    with ExitStack() as stack:
        log.addFilter(drop)  # its tracebacks for a lost scheduler; hilum reports that in one line
        stack.callback(log.removeFilter, drop)
        contract = stack.enter_context(contract_of(waiting, secrets.token_hex(8)))
        client = stack.enter_context(_connect(scheduler, workers or 0, stack))
        dispatch = stack.enter_context(closing(Dispatch(SchedulerClient(client, scheduler), contract, limits)))
        yield from dispatch.make(waiting, watch)


def _absolute(task: Task) -> Task:
    """Make the paths of a task absolute, for processes in other folders."""
    ref, known = task.ref, task.ref.known
    if known is not None and known.lungs is not None:
        known = replace(known, lungs=known.lungs.absolute())
    annotations = None if ref.annotations is None else ref.annotations.absolute()
    ref = replace(ref, path=ref.path.absolute(), annotations=annotations, known=known)
    return replace(task, ref=ref, out=task.out.absolute())


def _connect(scheduler: str, workers: int, stack: ExitStack) -> Any:
    """Connect to the scheduler."""
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
        warnings.simplefilter("ignore", VersionMismatchWarning)  # the contract reports it for each worker
        return Client(scheduler, timeout=_WAIT_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, ImportError) as problem:  # ImportError: incompatible versions
        what = f"no Dask scheduler answers: {str(problem) or 'no answer'}"
        raise InputError(what, where=scheduler, do="start one, or leave --scheduler out", code="no-cluster") from None
