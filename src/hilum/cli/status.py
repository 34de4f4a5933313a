"""Exit statuses of the program; it ends on SIGTERM and SIGHUP as on Ctrl-C, with one line and no unfinished files."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hilum._os.processes import ending_signals

ALL_WELL, REFUSED, USAGE, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141


class Terminated(KeyboardInterrupt):
    """A signal told the program to end; the argument is its number."""


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Make signals raise `Terminated` in the main thread; those that are ignored, as with nohup, stay ignored."""
    is_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in ending_signals() if is_main and signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def describe_interrupt(interrupt: KeyboardInterrupt) -> str:
    """Name what ended the program: ``interrupted``, or the signal."""
    return f"ended by {signal.Signals(interrupt.args[0]).name}" if isinstance(interrupt, Terminated) else "interrupted"


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status of an interrupted program: 128 plus the number of the signal, as in a shell."""
    return 128 + int(interrupt.args[0]) if isinstance(interrupt, Terminated) else INTERRUPTED


def _raise(number: int, _frame: object) -> None:
    for other in ending_signals():  # a second signal must not interrupt the cleanup
        signal.signal(other, signal.SIG_IGN)
    raise Terminated(number)
