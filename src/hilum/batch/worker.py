"""The worker process: it makes one scan after the other until its supervisor closes the connection or kills it.

A socket carries jobs in and rows out. Workers are always started from one thread that lives as long as this process: on
Linux the kernel kills a worker when the thread that started it ends, and the caller's thread may end long before.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hilum.batch.task import Task

Started = Future[subprocess.Popen[bytes]]

READY = "ready"  # the message of a worker that has imported everything

IGNORED = ("SIGINT", "SIGHUP", "SIGTERM")  # sent to all processes of a run, of which only the supervisor handles them

_COMMAND = (
    "import signal; [signal.signal(signal.Signals[name], signal.SIG_IGN) for name in {ignored}]; "
    "from hilum.batch.worker import main; main({handle}, {parent})"
)


def main(handle: int, parent: int) -> None:
    """Do jobs until the supervisor closes the connection.

    Parameters
    ----------
    handle : int
        The file descriptor of the connection.
    parent : int
        The process number of the supervisor.
    """
    _die_with(parent)
    from hilum.io.dicom import reader  # noqa: F401 - what a scan needs is imported before the first one
    from hilum.io.volumes import metaimage, nifti  # noqa: F401 - as above

    pipe = Connection(handle)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(READY)
        while True:
            pipe.send(pipe.recv().make())


def _die_with(parent: int) -> None:
    """End this process when its parent ends, because nobody would collect its results.

    On Linux the kernel does it. Elsewhere a thread checks; it is delayed while compiled code holds the GIL.
    """
    with suppress(OSError, AttributeError):  # only Linux has prctl
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)  # sys.exit would end this thread only


@dataclass(eq=False)
class Worker:
    """A worker process and its job.

    ``seconds`` is the time spent on the job, without the time in which the process was stopped. ``checked`` is when it
    was last updated.
    """

    process: subprocess.Popen[bytes]
    pipe: Connection
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
def _starter(_pid: int) -> SimpleQueue[tuple[Connection, Started]]:
    """The requests to the starting thread of a process; a forked process has no copy of the thread."""
    queue: SimpleQueue[tuple[Connection, Started]] = SimpleQueue()
    # A daemon thread ends with the process, not with the main thread.
    threading.Thread(target=_start_requested, args=(queue,), name="hilum-starter", daemon=True).start()
    return queue


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
