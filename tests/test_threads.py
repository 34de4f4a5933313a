"""Handing out slabs to threads."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum._kernels.threads import count_workers, run_slabs


@given(st.integers(0, 200), st.integers(0, 5), st.integers(0, 40))
def test_slabs_cover_every_item_once(count, workers, slabs):
    seen = []
    run_slabs(lambda a, b: seen.append((a, b)), count, workers=workers, slabs=slabs)
    seen.sort()
    assert [i for a, b in seen for i in range(a, b)] == list(range(count))
    assert all(a < b for a, b in seen)
    alone = min(count_workers(workers), count) <= 1
    assert len(seen) == min(count, slabs or (1 if alone else 16))


def test_slabs_are_of_nearly_the_same_size():
    sizes = []
    run_slabs(lambda a, b: sizes.append(b - a), 101, workers=1, slabs=7)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("workers", [1, 3])
def test_the_error_of_a_slab_reaches_the_caller(workers):
    def work(start, _stop):
        if start >= 5:
            raise ZeroDivisionError(f"slab at {start}")

    with pytest.raises(ZeroDivisionError, match="slab at 5"):
        run_slabs(work, 10, workers=workers, slabs=10)


def test_one_worker_stays_in_the_callers_thread_and_two_work_at_once():
    names = set()
    run_slabs(lambda _a, _b: names.add(threading.current_thread().name), 8, workers=1)
    assert names == {threading.current_thread().name}
    meeting = threading.Barrier(2, timeout=120)  # breaks, and so fails the test, unless two threads come to it
    run_slabs(lambda _a, _b: meeting.wait(), 2, workers=2)


def test_workers_are_counted(monkeypatch):
    assert count_workers(3) == 3
    assert count_workers(0) == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_workers(0) == 1
