"""Signals that ask the program to end: it ends as with Ctrl-C, in one line, with nothing half-done left."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hilum.cli.status import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")
"""Of a batch system or a service manager, and of a terminal that is closed."""


class Ended(KeyboardInterrupt):
    """A signal asked the program to end.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have signals raise `Ended` in the main thread; those that are ignored, as with nohup, stay ignored.

    Yields
    ------
    None
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ending(asked: KeyboardInterrupt) -> str:
    """Say what ended the program.

    Parameters
    ----------
    asked : KeyboardInterrupt

    Returns
    -------
    str
    """
    return f"ended by {signal.Signals(asked.number).name}" if isinstance(asked, Ended) else "interrupted"


def status_of(asked: KeyboardInterrupt) -> int:
    """Exit status of a program that was asked to end: 128 and the number of the signal, as shells have it.

    Parameters
    ----------
    asked : KeyboardInterrupt

    Returns
    -------
    int
    """
    return 128 + asked.number if isinstance(asked, Ended) else INTERRUPTED


def _raise(number: int, frame: FrameType | None) -> None:
    del frame
    for name in _NAMES:  # once is enough: what follows is not to be cut short
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise Ended(number)
