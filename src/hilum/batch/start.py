"""How a worker process is started: always by one thread, which lives as long as this process.

On Linux the kernel ends a worker when the thread that started it ends (`hilum.batch.worker`), and the thread of the
caller may end long before its process does.
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

# A signal for all processes of a run is the supervisor's to answer, from a worker's first moment.
_COMMAND = (
    "import signal; [signal.signal(signal.Signals[name], signal.SIG_IGN) for name in {ignored}]; "
    "from hilum.batch.worker import main; main({handle}, {parent})"
)

_starters: dict[int, SimpleQueue[tuple[Connection, Started]]] = {}
"""What the starting thread is asked, by process: a fork does not take the thread along."""


class Job(Protocol):
    """What a worker is given: it survives pickling, and makes the row of one scan without raising."""

    @property
    def ref(self) -> ScanRef:
        """The scan."""

    def make(self) -> Row:
        """Make it."""


@dataclass(eq=False)
class Worker:
    """A worker process, and what it is at.

    ``seconds`` is how long it has been at it, as far as it was seen and could go on; ``looked`` when it was last seen.
    """

    process: subprocess.Popen[bytes]
    pipe: Connection
    ready: bool = False
    task: Job | None = None
    attempt: int = 1
    seconds: float = 0.0
    looked: float = 0.0


def start() -> Worker:
    """Start a worker.

    Returns
    -------
    Worker

    Raises
    ------
    OSError
        If the system has no process, memory or file for it.
    """
    here, there = Pipe()
    started: Started = Future()
    try:
        _starter().put((there, started))
        return Worker(started.result(), here)
    except BaseException:  # an interrupt comes in the middle: what is started then has nobody to work for
        here.close()
        started.add_done_callback(_end)
        raise


def _starter() -> SimpleQueue[tuple[Connection, Started]]:
    pid = os.getpid()
    if pid not in _starters:
        queue: SimpleQueue[tuple[Connection, Started]] = SimpleQueue()
        # A daemon: it ends with the process and no sooner, also where the main thread ends before the others.
        threading.Thread(target=_serve, args=(queue,), name="hilum-starter", daemon=True).start()
        _starters[pid] = queue
    return _starters[pid]


def _serve(queue: SimpleQueue[tuple[Connection, Started]]) -> None:
    while True:
        there, started = queue.get()
        try:
            started.set_result(_open(there.fileno()))
        except BaseException as problem:  # noqa: BLE001 - the caller's to deal with
            started.set_exception(problem)
        finally:
            there.close()


def _open(handle: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-c", _COMMAND.format(ignored=IGNORED, handle=handle, parent=os.getpid())]
    # What a library prints goes to stderr: stdout is for results.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[handle])  # noqa: S603 - us


def _end(started: Started) -> None:
    if started.exception() is None:
        process = started.result()
        process.kill()
        process.wait()
