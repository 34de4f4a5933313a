"""Start worker processes, always from one thread that lives as long as this process.

On Linux the kernel kills a worker when the thread that started it ends (`hilum.batch.worker`), and the caller's thread
may end long before its process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import Pipe
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from hilum.batch.worker import IGNORED

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from hilum.outputs.ledger_rows import Row
    from hilum.scan import ScanRef

    Started = Future[subprocess.Popen[bytes]]

# Workers ignore these signals from the beginning; the supervisor handles them.
_COMMAND = (
    "import signal; [signal.signal(signal.Signals[name], signal.SIG_IGN) for name in {ignored}]; "
    "from hilum.batch.worker import main; main({handle}, {parent})"
)

_starters: dict[int, SimpleQueue[tuple[Connection, Started]]] = {}
"""The requests to the starting thread, by process number: a forked process has no copy of the thread."""


class Job(Protocol):
    """The work on one scan. It can be pickled."""

    @property
    def ref(self) -> ScanRef:
        """The scan."""

    def with_threads(self, threads: int) -> Job:
        """Return the same job with a number of threads."""

    def make(self) -> Row:
        """Do the work and return the row; never raise for the scan's faults."""


@dataclass(eq=False)
class Worker:
    """A worker process and its job.

    ``seconds`` is the time spent on the job, without the time in which the process was stopped. ``checked`` is when it
    was last updated.
    """

    process: subprocess.Popen[bytes]
    pipe: Connection
    ready: bool = False
    job: Job | None = None
    attempt: int = 1
    seconds: float = 0.0
    checked: float = 0.0


def start() -> Worker:
    """Start a worker.

    Returns
    -------
    Worker

    Raises
    ------
    OSError
        If the system has no process, memory or file handle left.
    """
    here, there = Pipe()  # ours, the worker's
    started: Started = Future()
    try:
        _starter().put((there, started))
        return Worker(started.result(), here)
    except BaseException:  # an interrupt: end the worker that may just be starting
        here.close()
        started.add_done_callback(_kill)
        raise


def _starter() -> SimpleQueue[tuple[Connection, Started]]:
    pid = os.getpid()
    if pid not in _starters:
        queue: SimpleQueue[tuple[Connection, Started]] = SimpleQueue()
        # A daemon thread ends with the process, not with the main thread.
        threading.Thread(target=_start_requested, args=(queue,), name="hilum-starter", daemon=True).start()
        _starters[pid] = queue
    return _starters[pid]


def _start_requested(queue: SimpleQueue[tuple[Connection, Started]]) -> None:
    while True:
        there, started = queue.get()
        try:
            started.set_result(_spawn(there.fileno()))
        except BaseException as problem:  # noqa: BLE001 - passed to the caller
            started.set_exception(problem)
        finally:
            there.close()


def _spawn(handle: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-c", _COMMAND.format(ignored=IGNORED, handle=handle, parent=os.getpid())]
    # Libraries print to stderr; stdout is for results.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[handle])  # noqa: S603 - our own command


def _kill(started: Started) -> None:
    if started.exception() is None:
        process = started.result()
        process.kill()
        process.wait()
