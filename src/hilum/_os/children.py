"""Child processes: how each system starts and ends them, and lets them talk to their parent."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection

    Channel = PipeConnection
else:
    from multiprocessing.connection import Connection

    Channel = Connection

KILLED = -int(getattr(signal, "SIGKILL", 9))  # the exit status of a process that was killed, as Python gives it

_IS_WINDOWS = os.name == "nt"

_LOOK_S = 0.5  # how often a process looks whether its parent is alive, where no system tells it


def start_python(
    options: Sequence[str], channel: Channel, *, out: int | None = None, errors: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a Python that inherits one end of a connection and nothing else of this process.

    Parameters
    ----------
    options : sequence of str
        Of the command line. The program gets ``channel.fileno()`` there, and gives it to `Channel`.
    channel : Channel
        The end of a `multiprocessing.Pipe` that the program gets. Close it here afterwards.
    out, errors : int, optional
        The program's standard streams, as for `subprocess.Popen`. It has no input.

    Raises
    ------
    OSError
        If the system has no process, memory or file handle left.
    """
    handle, null = channel.fileno(), subprocess.DEVNULL
    if sys.platform == "win32":
        # The Python of a virtual environment starts another one there, which would have another number and parent.
        environment = {**os.environ, "__PYVENV_LAUNCHER__": sys.executable}
        command = [getattr(sys, "_base_executable", sys.executable), *options]
        os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
        return subprocess.Popen(command, stdin=null, stdout=out, stderr=errors, env=environment, startupinfo=startup)  # noqa: S603 - our own command
    else:  # noqa: RET505 - mypy knows this form
        command = [sys.executable, *options]
        return subprocess.Popen(command, stdin=null, stdout=out, stderr=errors, pass_fds=[handle])  # noqa: S603 - as above


def end_with(parent: int) -> None:
    """End this process when its parent ends, because nobody would collect its results.

    On Linux the kernel does it. Elsewhere a thread looks; it is delayed while compiled code holds the GIL.

    Parameters
    ----------
    parent : int
        The number of the process that started this one.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: int) -> None:
    if _IS_WINDOWS:  # getppid goes on naming a parent that has ended
        import psutil

        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(parent)
            while process.is_running():
                time.sleep(_LOOK_S)
    else:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
    os._exit(1)  # sys.exit would end this thread only


def is_stopped(pid: int) -> bool:
    """Check whether a signal or a debugger stopped a process."""
    import psutil

    with suppress(psutil.Error, OSError):
        return psutil.Process(pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
    return False
