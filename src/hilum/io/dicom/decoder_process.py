"""Compressed frames are decoded in processes of their own: native decoders abort on some damaged frames.

A decoder that crashes, hangs or prints takes nothing with it but its process, and the scan is refused in one line.
The child is started as a plain interpreter, not by `multiprocessing`, which would import the caller's main module.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from hilum.errors import FormatError, HilumError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.dicom.records import Header

    Decode = Callable[[Path, Sequence[Header]], list[NDArray[Any]]]

SECONDS_PER_FRAME = 30
"""How long a decoder may take for a frame before it counts as hanging; one takes 5 to 50 ms."""

_PROGRAM = "import sys; sys.path[:] = {path!r}; from hilum.io.dicom.decoder_process import serve; serve({number})"


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    line: Connection


_idle: LifoQueue[_Child] = LifoQueue()
"""Children that wait for work: starting one takes half a second, so that they are kept until the process ends."""


def decode(path: Path, headers: Sequence[Header]) -> list[NDArray[Any]]:
    """Decode frames of one file where it cannot bring this process down; threads may call it at once.

    Parameters
    ----------
    path : Path
    headers : sequence of Header
        Frames of that file. Uncompressed ones are read in this process.

    Returns
    -------
    list of ndarray, shape (row, column)
        Stored values.

    Raises
    ------
    FormatError
        If the file or its pixels are damaged, or their decoder crashes or hangs.
    UnsupportedError
        If no decoder for their compression is installed.
    """
    if headers[0].native:
        frames: list[NDArray[Any]] = import_module("hilum.io.dicom.by_pydicom").decode_frames(path, headers)
        return frames
    try:
        child = _idle.get_nowait()
    except Empty:
        child = _start()
    try:
        answer = _ask(child, path, headers)
    except BaseException:  # whatever ended the talk, an interrupt included: what comes next is no answer
        _end(child)
        raise
    _idle.put(child)
    if isinstance(answer, HilumError):
        raise answer
    return answer


def _end(child: _Child) -> None:
    child.line.close()
    child.process.kill()
    child.process.wait()


def _end_all() -> None:
    while not _idle.empty():
        _end(_idle.get_nowait())


def _disown() -> None:
    """Leave the children to the process that started them; its fork must not hold their lines open."""
    global _idle  # noqa: PLW0603 - another thread may have held the queue's lock at the fork
    for child in _idle.queue:
        child.line.close()
        child.process.returncode = 0  # not ours to wait for
    _idle = LifoQueue()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_disown)


def _start() -> _Child:
    here, there = Pipe()
    number = there.fileno()
    program = _PROGRAM.format(path=sys.path, number=number)
    process = subprocess.Popen(  # noqa: S603 - this interpreter, this program
        [sys.executable, "-c", program],
        pass_fds=[number],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # decoders print there, beside the one line of a refusal
    )
    there.close()
    return _Child(process, here)


def _ask(child: _Child, path: Path, headers: Sequence[Header]) -> list[NDArray[Any]] | HilumError:
    try:
        child.line.send((path, list(headers)))
        if not child.line.poll(_limit(headers)):
            raise FormatError("the decoder of its pixels does not end", where=path, do="get it again", code="damaged")
        answer: list[NDArray[Any]] | HilumError = child.line.recv()
    except (EOFError, ConnectionError) as error:
        what = f"the decoder of its pixels crashed ({_ending(child.process)})"
        raise FormatError(what, where=path, do="get it again", code="damaged") from error
    return answer


def _limit(headers: Sequence[Header]) -> float:
    return SECONDS_PER_FRAME * (1 + len(headers))


def _ending(process: subprocess.Popen[bytes]) -> str:
    status = process.wait()
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def serve(number: int) -> None:
    """Answer requests until the asking process closes the line; the child's whole program.

    Parameters
    ----------
    number : int
        Of the file descriptor that is the line.
    """
    import warnings

    warnings.simplefilter("ignore")
    decode = import_module("hilum.io.dicom.by_pydicom").decode_frames
    with Connection(number) as line:
        while True:
            try:
                path, headers = line.recv()
            except EOFError:
                return
            signal.alarm(int(_limit(headers)) + 1)  # a decoder that hangs outlives nobody, not even a killed parent
            try:
                answer = decode(path, headers)
            except HilumError as error:
                answer = error
            signal.alarm(0)
            line.send(answer)
