"""Scans on one machine: a few worker processes, and what is done about one that crashes, hangs or takes too much.

A worker makes one scan after the other, so that no scan pays for the start of a process; one that dies takes the scan
it was making with it, no other, and a new one takes its place. A worker is watched from outside: neither time nor
memory is left to its own good will.
"""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Self

import msgspec

from hilum.batch.limits import check_memory, is_stopped, memory_per_process, resident_bytes
from hilum.batch.start import Job, Worker, start
from hilum.batch.worker import READY
from hilum.errors import OutputError, one_line
from hilum.io.errno_faults import start_fault
from hilum.outputs.ledger_rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hilum.batch.limits import Limits

DIED, TIMEOUT, OUT_OF_MEMORY = "process-died", "timeout", "out-of-memory"
"""The codes of scans whose process was lost."""

_LOOK = 0.05
"""Seconds between two looks at the memory of workers at work."""

_LOOK_AT_MOST = 1.0
"""Seconds that count between two looks: beyond them the machine slept, the run stood still, or its caller was busy."""

_START = 600.0
"""Seconds in which a worker gets ready; one that does not hangs."""

_LAST_WAIT = 5.0
"""Seconds for a killed worker to end; one that waits for a disk that does not answer stays until that answers."""

_RESTING = 0.25
"""The share of its limit that a worker may hold between scans; one that holds more is replaced."""

_FALSE_STARTS = 3
"""Workers that die before they are ready, in a row, after which no more are started."""


class WorkerPool:
    """Worker processes that are kept: started when first needed, replaced when they die, ended with the pool."""

    def __init__(self, processes: int, limits: Limits) -> None:
        self.processes = processes
        self.limits = limits
        self.cancelled = False
        self.memory = limits.memory or memory_per_process(processes)
        check_memory(self.memory)
        self._workers: list[Worker] = []
        self._lost: list[subprocess.Popen[bytes]] = []
        self._again: list[tuple[Job, int]] = []
        self._false_starts = 0

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the workers, whatever they are at."""
        for worker in list(self._workers):
            self._kill(worker)

    def cancel(self) -> None:
        """Have what is at work ended at the next look, from another thread: nobody awaits it."""
        self.cancelled = True

    def make(self, tasks: Iterator[Job], watch: Callable[[tuple[str, ...]], None] = lambda _: None) -> Iterator[Row]:
        """Have scans made.

        Parameters
        ----------
        tasks : iterator of Job
            Taken as workers get free.
        watch : callable
            Called with the ids of the scans that are being made whenever they change.

        Yields
        ------
        Row
            One per task, as they end.

        Raises
        ------
        OutputError
            If no worker process comes up.
        """
        coming = ((task, 1) for task in tasks)
        while True:
            while worker := self._idle():
                taken = self._again.pop() if self._again else next(coming, None)
                if taken is None:
                    break
                self._give(worker, *taken)
            running = tuple(worker.task.ref.scan_id for worker in self._workers if worker.task)
            watch(running)
            if not running and not self._again:
                return
            for worker in self._changed():
                row = self._collect(worker)
                if row is not None:
                    yield row

    def _idle(self) -> Worker | None:
        """A worker without a task, or a new one where there may be one more; None where all are at work."""
        for worker in [worker for worker in self._workers if worker.task is None]:
            if worker.process.poll() is None:
                return worker
            self._kill(worker)  # it died between two scans: no scan is to blame
        if len(self._workers) < self.processes:
            try:
                self._workers.append(start())
            except OSError as problem:  # no more processes or files
                if not self._workers:
                    raise _no_start(problem) from None
                self.processes = len(self._workers)  # those that there are do the work
                return None
            return self._workers[-1]
        return None

    def _give(self, worker: Worker, task: Job, attempt: int) -> None:
        worker.task, worker.attempt, worker.seconds, worker.looked = task, attempt, 0.0, time.monotonic()
        with suppress(OSError):  # it died this very moment: its pipe tells
            worker.pipe.send(task)

    def _changed(self) -> list[Worker]:
        """Wait until a worker answers, ends, or has to be ended."""
        while True:
            busy = [worker for worker in self._workers if worker.task]
            answered = set(wait([worker.pipe for worker in busy], _LOOK))
            self._count(busy)
            found = [
                worker
                for worker in busy
                if worker.pipe in answered or self._fails_to_start(worker) or self._excess(worker)
            ]
            if found:
                return found

    def _count(self, busy: list[Worker]) -> None:
        """Add the time since the last look to that of the workers which could use it."""
        now = time.monotonic()
        for worker in busy:
            if not is_stopped(worker.process.pid):
                worker.seconds += min(now - worker.looked, _LOOK_AT_MOST)
            worker.looked = now

    def _collect(self, worker: Worker) -> Row | None:
        """The row of a worker's scan; None where there is none yet."""
        try:
            answer = worker.pipe.recv() if worker.pipe.poll() else None
        except (EOFError, OSError):
            return self._handle_death(worker)
        if answer == READY:
            worker.ready, worker.seconds, self._false_starts = True, 0.0, 0
            return None
        if isinstance(answer, Row):
            worker.task = None
            if self.memory and resident_bytes(worker.process.pid) > self.memory * _RESTING:
                self._kill(worker)
            return msgspec.structs.replace(answer, attempts=worker.attempt)
        if not worker.ready and self._fails_to_start(worker):
            return self._handle_death(worker)
        excess = self._excess(worker)
        if excess is not None:
            self._kill(worker)
        return excess

    def _handle_death(self, worker: Worker) -> Row | None:
        """What is to be said of the scan of a worker that died; None where it is tried again."""
        hung = self._fails_to_start(worker)
        if not hung:
            with suppress(subprocess.TimeoutExpired):  # a pipe closes a moment before its process is gone
                worker.process.wait(1.0)
        status = self._kill(worker)
        task = worker.task
        if task is None:
            return None
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                end = f"was not ready after {_START:g} s" if hung else _told(status)
                raise OutputError(f"worker processes do not start: each {end}", do="see the message above")
            self._again.append((task, worker.attempt))
            return None
        if worker.attempt <= self.limits.retries and not self.cancelled:
            self._again.append((task, worker.attempt + 1))
            return None
        return _failed(worker, task, DIED, f"its process {_told(status)}")

    def _kill(self, worker: Worker) -> int:
        """End a worker and return its exit status, negative for a signal; that of one that had ended is its own."""
        self._workers.remove(worker)
        worker.pipe.close()
        if worker.process.poll() is None:
            worker.process.kill()
        try:
            return worker.process.wait(_LAST_WAIT)
        except subprocess.TimeoutExpired:
            self._lost.append(worker.process)
            return -signal.SIGKILL

    def _fails_to_start(self, worker: Worker) -> bool:
        """Whether a worker does not get ready."""
        return worker.task is not None and not worker.ready and worker.seconds > _START

    def _excess(self, worker: Worker) -> Row | None:
        """The row of a worker's scan where that takes too much; else None."""
        task = worker.task
        if task is None or not worker.ready:
            return None
        if self.cancelled:
            return _failed(worker, task, DIED, "nobody awaits it any more: its run has gone")
        if worker.seconds > self.limits.seconds:
            text = f"not done after {self.limits.seconds:g} s, ended; give --timeout if it needs more"
            return _failed(worker, task, TIMEOUT, text)
        if self.memory and resident_bytes(worker.process.pid) > self.memory:
            text = f"took more than {self.memory >> 20} MB of memory, ended; give --memory, or fewer --workers"
            return _failed(worker, task, OUT_OF_MEMORY, text)
        return None


def _no_start(problem: OSError) -> OutputError:
    """Say that the system starts no process."""
    fault = start_fault(problem)
    return OutputError(f"no worker process can be started: {problem.strerror or problem}", do=fault.do, code=fault.code)


def _failed(worker: Worker, task: Job, code: str, text: str) -> Row:
    return Row(
        id=task.ref.scan_id,
        status="failed",
        code=code,
        reason=one_line(text),
        full_reason=one_line(f"{task.ref.path}: {text}"),
        seconds=round(worker.seconds, 3),
        attempts=worker.attempt,
    )


def _told(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"ended with exit code {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    by = ", by hand or by the kernel for want of memory" if name == "SIGKILL" else ""
    return f"was killed by {name} (exit code {status}){by}"
