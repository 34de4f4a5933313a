"""A pool of worker processes on one machine, and the handling of workers that crash, hang or exceed their limits.

A worker makes one scan after the other, which saves starting a process for each. If it dies, only its current scan is
lost, and a new worker replaces it. The pool measures time and memory of its workers from outside.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from multiprocessing.connection import wait

import msgspec

from hilum._kernels.threads import count_workers
from hilum._os.children import KILLED, is_stopped
from hilum._os.memory import resident_bytes
from hilum.batch.limits import Limits, count_processes, memory_per_process
from hilum.batch.task import OUT_OF_MEMORY, Task, failed_row
from hilum.batch.worker import READY, Worker, start
from hilum.errors import OutputError
from hilum.io.errno_faults import start_fault
from hilum.outputs.ledger import Row

DIED, TIMEOUT = "process-died", "timeout"  # codes of scans whose process died or was killed, as is OUT_OF_MEMORY

_CHECK_SECONDS = 0.05  # how often time and memory of busy workers are checked

_MAX_STEP = 1.0  # the most seconds that count between two checks; in more the machine slept or the run was stopped

_START_SECONDS = 600.0  # a worker that is not ready after this time hangs

_KILL_SECONDS = 5.0  # how long to wait for the end of a killed worker; one that waits for a dead disk ends later

_IDLE_FRACTION = 0.25  # a worker that holds more than this fraction of its memory limit between scans is replaced

_MAX_FAILED_STARTS = 3  # after so many workers in a row that died before they were ready, the run ends


Watch = Callable[[tuple[str, ...]], None]  # called with the ids of the scans in progress whenever they change


def make_rows(jobs: Sequence[Task], workers: int | None, limits: Limits, watch: Watch) -> Generator[Row]:
    """Do jobs in this process, or in worker processes that share the cores.

    Parameters
    ----------
    jobs : sequence of Task
        What is to be done, in the order of the result.
    workers : int or None
        None for this process; 0 for one worker per core, as far as memory allows.
    limits : Limits
        Of one scan in a worker.
    watch : callable
        Only called with workers.

    Yields
    ------
    Row
        One per job, as they end.

    Raises
    ------
    HilumError
        If there is no memory for a worker, or workers do not start.
    """
    if workers is None or not jobs:
        for job in jobs:
            yield job.make()
        return
    processes = min(count_processes(workers, memory=limits.memory), len(jobs))
    threads = max(1, count_workers(0) // processes)
    with closing(WorkerPool(processes, limits)) as pool:
        yield from pool.make((job.with_threads(threads) for job in jobs), watch)


class WorkerPool:
    """Worker processes: started when needed, replaced when they die, killed by `close`."""

    def __init__(self, processes: int, limits: Limits) -> None:
        self.processes, self.limits, self.cancelled = processes, limits, False
        self.memory = memory_per_process(limits, processes)
        self._workers: list[Worker] = []
        self._unreaped: list[subprocess.Popen[bytes]] = []
        self._retries: list[tuple[Task, int]] = []
        self._failed_starts = 0

    def close(self) -> None:
        """Kill the workers, busy or not."""
        for worker in list(self._workers):
            self._kill(worker)

    def cancel(self) -> None:
        """Kill busy workers at the next check. Another thread may call this, if nobody needs the results."""
        self.cancelled = True

    def make(self, jobs: Iterable[Task], watch: Watch = lambda _: None) -> Iterator[Row]:
        """Do jobs, and yield their rows as they end; the parameters are those of `make_rows`.

        Raises
        ------
        OutputError
            If workers do not start.
        """
        new = ((job, 1) for job in jobs)
        while True:
            while worker := self._idle_worker():
                job = self._retries.pop() if self._retries else next(new, None)
                if job is None:
                    break
                worker.job, worker.attempt = job
                worker.seconds, worker.checked = 0.0, time.monotonic()
                with suppress(OSError):  # it just died; reading from its pipe will show it
                    worker.pipe.send(worker.job)
            running = tuple(worker.job.ref.scan_id for worker in self._workers if worker.job)
            watch(running)
            if not running and not self._retries:
                return
            for worker in self._wait():
                if (row := self._collect(worker)) is not None:
                    yield row

    def _idle_worker(self) -> Worker | None:
        """Find a worker without a job, or start one; None if all are busy."""
        for worker in [worker for worker in self._workers if worker.job is None]:
            if worker.process.poll() is None:
                return worker
            self._kill(worker)  # it died between two scans, so no scan is lost
        if len(self._workers) < self.processes:
            try:
                self._workers.append(start())
            except OSError as problem:  # no process or file handle left
                if not self._workers:
                    what = f"no worker process can be started: {problem.strerror or problem}"
                    fault = start_fault(problem)
                    raise OutputError(what, do=fault.do, code=fault.code) from None
                self.processes = len(self._workers)  # continue with these
                return None
            return self._workers[-1]
        return None

    def _wait(self) -> list[Worker]:
        """Wait until workers answer, die or exceed a limit, and return these."""
        while True:
            busy = [worker for worker in self._workers if worker.job]
            answered = set(wait([worker.pipe for worker in busy], _CHECK_SECONDS))
            now = time.monotonic()
            for worker in busy:  # stopped ones do not grow older
                if not is_stopped(worker.process.pid):
                    worker.seconds += min(now - worker.checked, _MAX_STEP)
                worker.checked = now
            if changed := [w for w in busy if w.pipe in answered or self._fails_to_start(w) or self._over_limit(w)]:
                return changed

    def _collect(self, worker: Worker) -> Row | None:
        """Return the row of a worker's scan, or None if it has none yet."""
        try:
            answer = worker.pipe.recv() if worker.pipe.poll() else None
        except (EOFError, OSError):
            return self._handle_death(worker)
        if answer == READY:
            worker.ready, worker.seconds, self._failed_starts = True, 0.0, 0
            return None
        if isinstance(answer, Row):
            worker.job = None
            if self.memory and resident_bytes(worker.process.pid) > self.memory * _IDLE_FRACTION:
                self._kill(worker)
            return msgspec.structs.replace(answer, attempts=worker.attempt)
        if self._fails_to_start(worker):
            return self._handle_death(worker)
        if (row := self._over_limit(worker)) is not None:
            self._kill(worker)
        return row

    def _handle_death(self, worker: Worker) -> Row | None:
        """Return the row of a dead worker's scan, or None if the scan is tried again."""
        if not (hung := self._fails_to_start(worker)):
            with suppress(subprocess.TimeoutExpired):  # the pipe closes a moment before the process ends
                worker.process.wait(1.0)
        status = self._kill(worker)
        if (job := worker.job) is None:
            return None
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                end = f"was not ready after {_START_SECONDS:g} s" if hung else _describe_exit(status)
                raise OutputError(f"worker processes do not start: each {end}", do="see the message above")
            self._retries.append((job, worker.attempt))
            return None
        if worker.attempt > self.limits.retries or self.cancelled:
            return _lost_row(worker, job, DIED, f"its process {_describe_exit(status)}")
        self._retries.append((job, worker.attempt + 1))
        return None

    def _kill(self, worker: Worker) -> int:
        """End a worker. Return its exit status: a negative signal number, or its own status if it ended before."""
        self._workers.remove(worker)
        worker.pipe.close()
        if worker.process.poll() is None:
            worker.process.kill()
        try:
            return worker.process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._unreaped.append(worker.process)
            return KILLED

    def _fails_to_start(self, worker: Worker) -> bool:
        return worker.job is not None and not worker.ready and worker.seconds > _START_SECONDS

    def _over_limit(self, worker: Worker) -> Row | None:
        """Return the row of a worker's scan if it exceeds a limit."""
        if (job := worker.job) is None or not worker.ready:
            return None
        if self.cancelled:
            return _lost_row(worker, job, DIED, "its run has ended")
        if worker.seconds > self.limits.seconds:
            text = f"not done after {self.limits.seconds:g} s, ended; give --timeout if it needs more"
            return _lost_row(worker, job, TIMEOUT, text)
        if self.memory and resident_bytes(worker.process.pid) > self.memory:
            text = f"took more than {self.memory >> 20} MB of memory, ended; give --memory, or fewer --workers"
            return _lost_row(worker, job, OUT_OF_MEMORY, text)
        return None


def _lost_row(worker: Worker, job: Task, code: str, reason: str) -> Row:
    row = failed_row(job.ref, code, reason)
    return msgspec.structs.replace(row, seconds=round(worker.seconds, 3), attempts=worker.attempt)


def _describe_exit(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    by = ", by a person or by the kernel for lack of memory" if name == "SIGKILL" else ""
    return f"was killed by {name} (exit code {status}){by}"
