"""Python threads that hand out slabs to kernels which release the interpreter lock."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def count_workers(workers: int) -> int:
    """Number of threads meant by a ``workers`` option.

    Parameters
    ----------
    workers : int
        As given; 0 stands for one per core that this process may use.

    Returns
    -------
    int
        At least 1.
    """
    if workers > 0:
        return workers
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def run_slabs(work: Callable[[int, int], object], count: int, *, workers: int = 1, slabs: int = 0) -> None:
    """Call ``work(start, stop)`` for consecutive ranges that cover ``range(count)``, on threads.

    A kernel has to keep to its slab: then its bytes depend neither on the ranges nor on the number of threads.

    Parameters
    ----------
    work : callable
        Gets the first index and one past the last; must release the interpreter lock to gain anything.
    count : int
        How many items there are.
    workers : int
        Threads; 0 for one per available core.
    slabs : int
        How many ranges; 0 for 16 (enough that one slow range does not leave the other threads idle), or for one
        where there is one thread.

    Raises
    ------
    Exception
        The first one that `work` raised.
    """
    threads = min(count_workers(workers), count)
    pieces = min(count, slabs or (16 if threads > 1 else 1))
    edges = [count * k // pieces for k in range(pieces + 1)] if pieces else []
    ranges = list(itertools.pairwise(edges))
    if threads <= 1:
        for start, stop in ranges:
            work(start, stop)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, start, stop) for start, stop in ranges]:
            done.result()
