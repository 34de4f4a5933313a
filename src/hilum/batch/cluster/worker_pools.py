"""What a Dask worker does for a run: it has each scan made by a process beside it, and gives up what nobody awaits.

A process is kept from one scan to the next. A scan whose run has gone (the command was killed, or lost the scheduler)
is ended at once, so that its worker is free for the run that comes next and does not write beside it.
"""

from __future__ import annotations

import pickle
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from hilum._kernels.threads import count_workers
from hilum.batch.limits import Limits, free_memory
from hilum.batch.supervisor import WorkerPool
from hilum.batch.task import Task, with_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IDLE_SECONDS = 30.0
"""How long a process is kept without a scan; a run that has gone does not say so."""

_LOOK = 0.25
"""Seconds between two looks at whether the scans at work are still wanted."""

_ENDING = frozenset({"closing", "closed", "failed", "stopped"})
"""What a Dask worker says of itself when it will hand over no more results."""


@dataclass(eq=False)
class _Hired:
    """A process that makes scans for a run, and what it is at; `key` is empty while it waits for the next scan."""

    run: str
    dask_worker: Any
    pool: WorkerPool
    key: str = ""
    since: float = 0.0


_admitted: set[str] = set()
"""The runs whose contract this process keeps."""

_hired: list[_Hired] = []
_lock = threading.Lock()
_warden: threading.Thread | None = None


def admit(run: str) -> None:
    """Let a run have scans made here: its contract was looked at in this very process.

    Parameters
    ----------
    run : str
    """
    _admitted.add(run)


def make_here(given: bytes) -> bytes:
    """Make a scan in a process beside this one, a thread of a Dask worker.

    Parameters
    ----------
    given : bytes
        A task, limits and the name of its run, pickled: the scheduler on the way need not know hilum.

    Returns
    -------
    bytes
        The row as JSON; empty where this process was not looked at, since the worker was started anew.
    """
    from distributed import get_worker

    task, limits, run = pickle.loads(given)  # noqa: S301 - from the run's own client, by way of Dask, which pickles too
    if run not in _admitted:
        return b""
    dask_worker = get_worker()
    threads = dask_worker.state.nthreads
    with _hire(run, dask_worker, limits, threads) as pool:
        row = next(pool.make(iter([_with_share(task, threads)])))
    return msgspec.json.encode(row)


def dismiss(run: str) -> None:
    """End the processes that wait here for another scan of a run.

    Parameters
    ----------
    run : str
    """
    _admitted.discard(run)
    _end(lambda hired: hired.run == run and not hired.key)


def _with_share(task: Task, threads: int) -> Task:
    return with_threads(task, max(1, count_workers(0) // threads))


@contextmanager
def _hire(run: str, dask_worker: Any, limits: Limits, threads: int) -> Iterator[WorkerPool]:
    """A process for one scan: one of the run's that waits, or a new one. Dask's threads come and go, it stays."""
    global _warden  # noqa: PLW0603 - one for the process, as the list it watches
    with _lock:
        waiting = (one for one in _hired if one.run == run and one.dask_worker is dask_worker and not one.key)
        hired = next(waiting, None)
        if hired is None:
            limit = getattr(dask_worker.memory_manager, "memory_limit", 0) or free_memory()
            memory = limits.memory or min(limit, free_memory() or limit) // threads
            hired = _Hired(run, dask_worker, WorkerPool(1, replace(limits, memory=memory)))
            _hired.append(hired)
        hired.key = dask_worker.get_current_task()
        if _warden is None:
            _warden = threading.Thread(target=_watch, name="hilum-warden", daemon=True)
            _warden.start()
    try:
        yield hired.pool
    finally:
        with _lock:
            hired.key, hired.since = "", time.monotonic()
            if hired.pool.cancelled:
                _hired.remove(hired)
        if hired.pool.cancelled:
            hired.pool.__exit__()


def _watch() -> None:
    """Look now and then at what is at work and what waits, for as long as there is any."""
    global _warden  # noqa: PLW0603 - as above
    while True:
        time.sleep(_LOOK)
        with _lock:
            for hired in _hired:
                if hired.key and not _is_wanted(hired):
                    hired.pool.cancel()
        _end(lambda hired: not hired.key and hired.since < time.monotonic() - IDLE_SECONDS)
        with _lock:
            if not _hired:
                _warden = None
                return


def _is_wanted(hired: _Hired) -> bool:
    """Whether anybody waits for the scan: Dask cancels a task at its worker when the client that gave it has gone."""
    task = hired.dask_worker.state.tasks.get(hired.key)
    return task is not None and task.state == "executing" and hired.dask_worker.status.name not in _ENDING


def _end(which: Callable[[_Hired], bool]) -> None:
    """End the processes of a kind."""
    with _lock:
        chosen = [hired for hired in _hired if which(hired)]
        for hired in chosen:
            _hired.remove(hired)
    for hired in chosen:
        hired.pool.__exit__()
