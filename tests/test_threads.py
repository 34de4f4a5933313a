"""Handing out slabs to threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum._kernels.threads import begin, count_workers, run_slabs


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


def test_ranges_after_an_error_are_left_out():
    seen = []

    def work(start, _stop):
        seen.append(start)
        raise ZeroDivisionError

    for workers in (1, 4):
        seen.clear()
        with pytest.raises(ZeroDivisionError):
            run_slabs(work, 1000, workers=workers, slabs=1000)
        assert len(seen) <= workers


def test_a_call_from_a_helping_thread_does_not_wait_for_itself():
    done = []
    run_slabs(lambda a, _b: run_slabs(lambda c, _d: done.append((a, c)), 8, workers=8), 8, workers=8)
    assert sorted(done) == [(a, c) for a in range(8) for c in range(8)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_threads_of_its_own():
    run_slabs(lambda _a, _b: None, 8, workers=2)
    code = (
        "import os, sys; from hilum._kernels.threads import run_slabs\n"
        "run_slabs(lambda a, b: None, 8, workers=2)\n"
        "if (child := os.fork()) == 0:\n"
        "    seen = []\n"
        "    run_slabs(lambda a, b: seen.append(a), 8, workers=2)\n"
        "    os._exit(sorted(seen) != list(range(8)))\n"
        "sys.exit(os.waitpid(child, 0)[1])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_work_that_was_begun_gives_its_result_or_its_error(workers):
    assert begin(lambda: 7, workers=workers)() == 7
    waits = begin(lambda: 1 // 0, workers=workers)
    with pytest.raises(ZeroDivisionError):
        waits()


def test_work_is_begun_beside_the_callers_only_with_two_threads():
    started = threading.Event()
    waits = begin(started.set, workers=2)
    assert started.wait(120)
    waits()
    started.clear()
    waits = begin(started.set, workers=1)
    assert not started.is_set()
    waits()
    assert started.is_set()


def test_workers_are_counted(monkeypatch):
    assert count_workers(3) == 3
    assert count_workers(0) == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_workers(0) == 1
