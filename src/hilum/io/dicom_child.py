"""Compressed frames are decoded in processes of their own: native decoders abort on some damaged frames.

A decoder that crashes, hangs or prints takes nothing with it but its process, and the scan is refused in one line.
The child is started as a plain interpreter, not by `multiprocessing`, which would import the caller's main module.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from hilum.errors import FormatError, HilumError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.dicom_records import Header

    Decode = Callable[[Path, Sequence[Header]], list[NDArray[Any]]]

SECONDS_PER_FRAME = 30
"""How long a decoder may take for a frame before it counts as hanging; one takes 5 to 50 ms."""

_PROGRAM = "import sys; sys.path[:] = {path!r}; from hilum.io.dicom_child import serve; serve({number})"


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    line: Connection


@contextmanager
def decoders() -> Iterator[Decode]:
    """Provide a decoder that cannot bring this process down; threads may share it, each then gets a child.

    Yields
    ------
    callable
        As `hilum.io.dicom_dialects.decode_frames`, with its errors. Uncompressed frames are read in this process.
    """
    idle: LifoQueue[_Child] = LifoQueue()
    children: list[_Child] = []

    def decode(path: Path, headers: Sequence[Header]) -> list[NDArray[Any]]:
        if headers[0].native:
            frames: list[NDArray[Any]] = import_module("hilum.io.dicom_dialects").decode_frames(path, headers)
            return frames
        try:
            child = idle.get_nowait()
        except Empty:
            child = _start()
            children.append(child)
        frames = _ask(child, path, headers)
        idle.put(child)  # not after an error: the read ends there
        return frames

    try:
        yield decode
    finally:
        for child in children:
            child.line.close()
            child.process.kill()
            child.process.wait()


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


def _ask(child: _Child, path: Path, headers: Sequence[Header]) -> list[NDArray[Any]]:
    try:
        child.line.send((path, list(headers)))
        if not child.line.poll(SECONDS_PER_FRAME * (1 + len(headers))):
            raise FormatError("the decoder of its pixels does not end", where=path, do="get it again", code="damaged")
        answer = child.line.recv()
    except (EOFError, ConnectionError) as error:
        what = f"the decoder of its pixels crashed ({_ending(child.process)})"
        raise FormatError(what, where=path, do="get it again", code="damaged") from error
    if isinstance(answer, HilumError):
        raise answer
    frames: list[NDArray[Any]] = answer
    return frames


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
    decode = import_module("hilum.io.dicom_dialects").decode_frames
    with Connection(number) as line:
        while True:
            try:
                path, headers = line.recv()
            except EOFError:
                return
            try:
                answer = decode(path, headers)
            except HilumError as error:
                answer = error
            line.send(answer)
