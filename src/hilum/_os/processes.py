"""What the system tells this process about itself; cheap to import."""

import os
import signal
from collections.abc import Callable

_ENDING = ("SIGTERM", "SIGHUP", "SIGBREAK")
"""What batch systems and service managers send, and a terminal that is closed, on Windows the last."""


def ending_signals() -> list[signal.Signals]:
    """List the signals of this system that ask a program to end, without that of Ctrl-C."""
    return [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]


def count_cores() -> int:
    """Count the cores that this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def call_in_fork(function: Callable[[], object]) -> None:
    """Call a function in each process that is forked from this one, on systems that fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
