"""The worker process: it makes one scan after the other until its supervisor closes the connection or kills it.

A socket carries jobs in and rows out. Workers are always started from one thread that lives as long as this process: on
Linux the kernel kills a worker when the thread that started it ends, and the caller's thread may end long before.
"""

import functools
import os
import subprocess
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from queue import SimpleQueue

from hilum._os.children import Channel, end_with, start_python
from hilum._os.processes import ending_signals
from hilum.batch.task import Task

Started = Future[subprocess.Popen[bytes]]

READY = "ready"  # the message of a worker that has imported everything

IGNORED = ["SIGINT", *(number.name for number in ending_signals())]
"""The signals that are sent to all processes of a run, of which only the supervisor handles them."""

_COMMAND = (
    "import signal; [signal.signal(signal.Signals[name], signal.SIG_IGN) for name in {ignored}]; "
    "from hilum.batch.worker import main; main({handle}, {parent})"
)


def main(handle: int, parent: int) -> None:
    """Do jobs until the supervisor closes the connection.

    Parameters
    ----------
    handle : int
        The number that the system gave to the connection.
    parent : int
        The process number of the supervisor.
    """
    end_with(parent)
    from hilum.io.dicom import reader  # noqa: F401 - what a scan needs is imported before the first one
    from hilum.io.volumes import metaimage, nifti  # noqa: F401 - as above

    pipe = Channel(handle)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(READY)
        while True:
            pipe.send(pipe.recv().make())


@dataclass(eq=False)
class Worker:
    """A worker process and its job.

    ``seconds`` is the time spent on the job, without the time in which the process was stopped. ``checked`` is when it
    was last updated.
    """

    process: subprocess.Popen[bytes]
    pipe: Channel
    ready: bool = False
    job: Task | None = None
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
        _starter(os.getpid()).put((there, started))
        return Worker(started.result(), here)
    except BaseException:  # an interrupt: end the worker that may just be starting
        here.close()
        started.add_done_callback(_kill)
        raise


@functools.cache
def _starter(_pid: int) -> SimpleQueue[tuple[Channel, Started]]:
    """The requests to the starting thread of a process; a forked process has no copy of the thread."""
    queue: SimpleQueue[tuple[Channel, Started]] = SimpleQueue()
    # A daemon thread ends with the process, not with the main thread.
    threading.Thread(target=_start_requested, args=(queue,), name="hilum-starter", daemon=True).start()
    return queue


def _start_requested(queue: SimpleQueue[tuple[Channel, Started]]) -> None:
    while True:
        there, started = queue.get()
        try:
            started.set_result(_spawn(there))
        except BaseException as problem:  # noqa: BLE001 - passed to the caller
            started.set_exception(problem)
        finally:
            there.close()


def _spawn(there: Channel) -> subprocess.Popen[bytes]:
    program = _COMMAND.format(ignored=IGNORED, handle=there.fileno(), parent=os.getpid())
    return start_python(["-P", "-c", program], there, out=2)  # libraries print to stderr; stdout is for results


def _kill(started: Started) -> None:
    if started.exception() is None:
        process = started.result()
        process.kill()
        process.wait()
