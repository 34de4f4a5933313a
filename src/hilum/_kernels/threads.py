"""Python threads that run kernels, which release the interpreter lock, on slabs of a volume."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import TypeVar

from hilum._os.processes import call_in_fork, count_cores
from hilum.errors import check_number

T = TypeVar("T")


def count_workers(workers: int) -> int:
    """Resolve a ``workers`` option to a number of threads.

    Parameters
    ----------
    workers : int
        0 for one per core that this process may use.

    Returns
    -------
    int
        At least 1.
    """
    check_number("workers", workers)
    return int(workers) if workers > 0 else count_cores()


def run_slabs(work: Callable[[int, int], object], count: int, *, workers: int = 1, slabs: int = 0) -> None:
    """Call ``work(start, stop)`` for consecutive ranges that cover ``range(count)``, on this thread and others.

    A kernel must write only to its slab, so that the result does not depend on the ranges or the number of threads.

    Parameters
    ----------
    work : callable
        Gets the first index and one past the last. It runs in parallel as far as it releases the interpreter lock.
    count : int
        Number of items.
    workers : int
        Threads; 0 for one per available core.
    slabs : int
        Number of ranges. 0 for 16, so that a slow range does not leave the other threads idle; with one thread for 1.

    Raises
    ------
    Exception
        One that `work` raised. The ranges that are waiting then are left out.
    """
    threads = min(count_workers(workers), count)
    pieces = min(count, slabs or (16 if threads > 1 else 1))
    edges = [count * k // pieces for k in range(pieces + 1)] if pieces else []
    if threads <= 1:
        for start, stop in pairwise(edges):
            work(start, stop)
        return
    waiting = deque(pairwise(edges))
    helpers = [_pool().submit(_do_all, work, waiting) for _ in range(min(threads, pieces) - 1)]
    try:
        _do_all(work, waiting)
    finally:
        waiting.clear()  # after an exception
        started = [helper for helper in helpers if not helper.cancel()]  # the pool may be busy with other calls
        wait(started)
    for helper in started:
        helper.result()


def begin(work: Callable[[], T], *, workers: int = 0) -> Callable[[], T]:
    """Begin work on another thread, if there may be more than one.

    Parameters
    ----------
    work : callable
        Called once, without arguments.
    workers : int
        Threads; 0 for one per available core. With one, the work is done when its result is asked for.

    Returns
    -------
    callable
        Waits for the result and returns it, or raises what `work` raised.
    """
    return _pool().submit(work).result if count_workers(workers) > 1 else work


def _do_all(work: Callable[[int, int], object], waiting: deque[tuple[int, int]]) -> None:
    """Do the ranges that no other thread has taken; after an exception nobody takes the rest."""
    try:
        while (taken := _take(waiting)) is not None:
            work(*taken)
    except BaseException:
        waiting.clear()
        raise


def _take(waiting: deque[tuple[int, int]]) -> tuple[int, int] | None:
    with suppress(IndexError):
        return waiting.popleft()
    return None


@cache
def _pool() -> ThreadPoolExecutor:
    """The threads that help the calling ones, kept: to start two for a call costs half a millisecond."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="hilum")


call_in_fork(_pool.cache_clear)  # a child process has none of its parent's threads
