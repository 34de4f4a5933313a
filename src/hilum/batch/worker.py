"""The worker process: it makes one scan after the other until its supervisor closes the connection or kills it.

`hilum.batch.supervisor` starts it and shares a socket with it, which carries jobs in and rows out.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection

READY = "ready"
"""The message of a worker that has imported everything."""

IGNORED = ("SIGINT", "SIGHUP", "SIGTERM")
"""Signals that a terminal or batch system sends to all processes of a run; only the supervisor handles them."""

_PARENT_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)

_CHECK_SECONDS = 0.5  # how often the worker checks that the supervisor is alive


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
    for name in IGNORED:
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    _import_all()
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
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_CHECK_SECONDS)
    os._exit(1)  # sys.exit would end this thread only


def _import_all() -> None:
    """Import everything that a scan needs, before the first one."""
    import hilum.batch.task
    import hilum.io.dicom.reader
    import hilum.io.volumes.metaimage
    import hilum.io.volumes.nifti
    import hilum.pipeline  # noqa: F401 - as above
