"""The process that makes scans for a supervisor, one after the other, until it is told to stop, or killed.

It is started by `hilum.batch.supervisor` and shares a socket with it: tasks come in, rows go out.
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
"""What a worker sends when everything is imported."""

IGNORED = ("SIGINT", "SIGHUP", "SIGTERM")
"""Signals that a terminal or a batch system sends to all processes of a run: the supervisor decides what they mean."""

_PARENT_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)

_LOOK = 0.5
"""Seconds between two looks at whether the supervisor is there."""


def main(handle: int, parent: int) -> None:
    """Serve tasks until the supervisor hangs up.

    Parameters
    ----------
    handle : int
        A file descriptor.
    parent : int
        The process that must not be outlived.
    """
    _die_with(parent)
    for name in IGNORED:
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    _prepare()
    pipe = Connection(handle)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(READY)
        while True:
            pipe.send(pipe.recv().make())


def _die_with(parent: int) -> None:
    """End this process when its parent ends, whatever it is at: nobody would collect what it makes.

    On Linux the kernel does it. Elsewhere a thread looks, which waits as long as compiled code keeps all threads from
    running.
    """
    with suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _prepare() -> None:
    """Import what a scan needs before the first one comes."""
    import hilum.batch.task
    import hilum.io.dicom.reader
    import hilum.io.volumes.metaimage
    import hilum.io.volumes.nifti
    import hilum.pipeline  # noqa: F401 - as above
