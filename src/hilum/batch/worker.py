"""The process that makes scans for a supervisor, one after the other, until it is told to stop, or killed.

It is started by `hilum.batch.supervisor` and shares a socket with it: tasks come in, rows go out.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection

READY = "ready"
"""What a worker sends when everything is imported."""

_PARENT_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)


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
    for number in (signal.SIGINT, signal.SIGHUP):  # of the terminal: the supervisor decides
        signal.signal(number, signal.SIG_IGN)
    _prepare()
    pipe = Connection(handle)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(READY)
        while True:
            pipe.send(pipe.recv().make())


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies: nobody would collect what it makes."""
    with suppress(OSError, AttributeError):  # Linux alone has it; elsewhere the scan at hand is finished first
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prepare() -> None:
    """Import what a scan needs before the first one comes."""
    import hilum.batch.task
    import hilum.io.dicom
    import hilum.io.metaimage
    import hilum.io.nifti
    import hilum.pipeline  # noqa: F401 - as above
