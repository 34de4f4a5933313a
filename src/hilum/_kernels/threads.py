"""Python threads that run kernels, which release the interpreter lock, on slabs of a volume."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise


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
    if workers > 0:
        return workers
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not available on every system
        return os.cpu_count() or 1


def run_slabs(work: Callable[[int, int], object], count: int, *, workers: int = 1, slabs: int = 0) -> None:
    """Call ``work(start, stop)`` for consecutive ranges that cover ``range(count)``, on threads.

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
        The first one that `work` raised.
    """
    threads = min(count_workers(workers), count)
    pieces = min(count, slabs or (16 if threads > 1 else 1))
    edges = [count * k // pieces for k in range(pieces + 1)] if pieces else []
    if threads <= 1:
        for start, stop in pairwise(edges):
            work(start, stop)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
