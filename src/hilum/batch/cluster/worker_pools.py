"""The pools of worker processes inside a Dask worker: each scan of a run is made by a process next to it.

A process is reused for the next scan. If the run of a scan has ended (the command was killed, or lost the scheduler),
the scan is ended at once, so that the worker is free for the next run and does not write at the same time.
"""

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from hilum._kernels.threads import count_workers
from hilum._os.memory import free_memory
from hilum.batch.limits import Limits
from hilum.batch.supervisor import WorkerPool

IDLE_SECONDS = 30.0  # how long an idle process is kept; a run that died cannot end its processes

_ENDING = frozenset({"closing", "closed", "failed", "stopped"})  # states of a Dask worker that returns no results


@dataclass(eq=False)
class _RunPool:
    """A pool with one process for a run, and the key of its Dask task; the key is empty while the process is idle."""

    run: str
    dask_worker: Any
    pool: WorkerPool
    key: str = ""
    idle_since: float = 0.0


_accepted: set[str] = set()  # the runs whose contract this process fulfills

_pools: list[_RunPool] = []
_lock = threading.Lock()
_watcher: threading.Thread | None = None


def accept_run(run: str) -> None:
    """Let a run make scans in this process, which was checked against its contract."""
    _accepted.add(run)


def make_scan(message: bytes) -> bytes:
    """Make a scan in a process next to this one, which is a Dask worker.

    Parameters
    ----------
    message : bytes
        A task, limits and the name of the run, pickled, so that the scheduler does not need hilum.

    Returns
    -------
    bytes
        The row as JSON; empty if this process was restarted and not checked against the contract.
    """
    from distributed import get_worker

    task, limits, run = pickle.loads(message)  # noqa: S301 - from the run's own client; Dask pickles too
    if run not in _accepted:
        return b""
    dask_worker = get_worker()
    threads = dask_worker.state.nthreads
    with _reserve(run, dask_worker, limits, threads) as pool:
        row = next(pool.make([task.with_threads(max(1, count_workers(0) // threads))]))
    return msgspec.json.encode(row)


def end_run(run: str) -> None:
    """End the idle processes of a run.

    Parameters
    ----------
    run : str
        The identity of the run.
    """
    _accepted.discard(run)
    _close(lambda pool: pool.run == run and not pool.key)


@contextmanager
def _reserve(run: str, dask_worker: Any, limits: Limits, threads: int) -> Iterator[WorkerPool]:
    """Reserve an idle pool of the run for one scan, or create one."""
    global _watcher  # noqa: PLW0603 - one for the process, like the list that it watches
    with _lock:
        mine = next((p for p in _pools if p.run == run and p.dask_worker is dask_worker and not p.key), None)
        if mine is None:
            limit = getattr(dask_worker.memory_manager, "memory_limit", 0) or free_memory()
            memory = limits.memory or min(limit, free_memory() or limit) // threads
            mine = _RunPool(run, dask_worker, WorkerPool(1, replace(limits, memory=memory)))
            _pools.append(mine)
        mine.key = dask_worker.get_current_task()
        if _watcher is None:
            _watcher = threading.Thread(target=_watch, name="hilum-watcher", daemon=True)
            _watcher.start()
    try:
        yield mine.pool
    finally:
        with _lock:
            mine.key, mine.idle_since = "", time.monotonic()
            if mine.pool.cancelled:
                _pools.remove(mine)
        if mine.pool.cancelled:
            mine.pool.close()


def _watch() -> None:
    """Cancel scans that are not needed any more and end idle processes, until there are none."""
    global _watcher  # noqa: PLW0603 - as above
    while True:
        time.sleep(0.25)
        with _lock:
            for one in _pools:
                if one.key and not _is_needed(one):
                    one.pool.cancel()
        _close(lambda one: not one.key and one.idle_since < time.monotonic() - IDLE_SECONDS)
        with _lock:
            if not _pools:
                _watcher = None
                return


def _is_needed(one: _RunPool) -> bool:
    """Check that the run still waits for the scan: Dask cancels a task at its worker when the client disappears."""
    task = one.dask_worker.state.tasks.get(one.key)
    return task is not None and task.state == "executing" and one.dask_worker.status.name not in _ENDING


def _close(condition: Callable[[_RunPool], bool]) -> None:
    with _lock:
        chosen = [one for one in _pools if condition(one)]
        for one in chosen:
            _pools.remove(one)
    for one in chosen:
        one.pool.close()
