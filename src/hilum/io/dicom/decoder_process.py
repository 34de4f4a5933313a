"""Decode compressed frames in other processes: native decoders abort on some damaged frames.

A decoder that crashes, hangs or prints only costs its own process; the scan is refused in one line. The process is
started as a plain interpreter: `multiprocessing` would import the caller's main module.
"""

import atexit
import faulthandler
import subprocess
import sys
import warnings
from collections.abc import Sequence
from multiprocessing import Pipe
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, NamedTuple, cast

from numpy.typing import NDArray

from hilum._os.children import Channel, start_python
from hilum._os.processes import call_in_fork
from hilum.errors import FormatError, HilumError
from hilum.io.dicom.records import SliceHeader

SECONDS_PER_FRAME = 30  # a decoder that takes longer for a frame counts as hanging; a frame takes 5 to 50 ms

_PROGRAM = "import sys; sys.path[:] = {path!r}; from hilum.io.dicom.decoder_process import serve; serve({number})"


class _Decoder(NamedTuple):
    process: subprocess.Popen[bytes]
    connection: Channel


_idle: LifoQueue[_Decoder] = LifoQueue()
"""Decoders that wait for work until this process ends: starting one takes half a second."""


def decode(path: Path, headers: Sequence[SliceHeader]) -> list[NDArray[Any]]:
    """Decode frames of one file without risk for this process; safe to call from several threads.

    Takes and returns what `hilum.io.dicom.by_pydicom.decode_frames` does; uncompressed frames are read in this process.

    Raises
    ------
    FormatError, UnsupportedError
        As there; also if a decoder crashes or hangs.
    """
    if headers[0].native:
        from hilum.io.dicom.by_pydicom import decode_frames

        return decode_frames(path, headers)
    try:
        decoder = _idle.get_nowait()
    except Empty:
        decoder = _start()
    try:
        result = _request(decoder, path, headers)
    except BaseException:  # also after an interrupt, the next message may belong to this request
        _stop(decoder)
        raise
    _idle.put(decoder)
    if isinstance(result, HilumError):
        raise result
    return result


def _stop(decoder: _Decoder) -> None:
    decoder.connection.close()
    decoder.process.kill()
    decoder.process.wait()


def _stop_all() -> None:
    while not _idle.empty():
        _stop(_idle.get_nowait())


def _forget_all() -> None:
    """In a fork: leave the decoders to the parent. An open connection here would keep them alive after it ends."""
    global _idle  # noqa: PLW0603 - another thread may have held the queue's lock at the fork
    for decoder in _idle.queue:
        decoder.connection.close()
        decoder.process.returncode = 0  # only the parent can wait for it
    _idle = LifoQueue()


atexit.register(_stop_all)
call_in_fork(_forget_all)


def _start() -> _Decoder:
    here, there = Pipe()
    program = _PROGRAM.format(path=sys.path, number=there.fileno())
    null = subprocess.DEVNULL  # decoders print; a refusal is one line
    process = start_python(["-c", program], there, out=null, errors=null)
    there.close()
    return _Decoder(process, here)


def _request(decoder: _Decoder, path: Path, headers: Sequence[SliceHeader]) -> list[NDArray[Any]] | HilumError:
    try:
        decoder.connection.send((path, list(headers)))
        if not decoder.connection.poll(SECONDS_PER_FRAME * (1 + len(headers))):
            raise FormatError("the decoder of its pixels does not end", where=path, do="get it again", code="damaged")
        return cast("list[NDArray[Any]] | HilumError", decoder.connection.recv())
    except (EOFError, ConnectionError) as error:
        status = decoder.process.wait()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        what = f"the decoder of its pixels crashed ({how})"
        raise FormatError(what, where=path, do="get it again", code="damaged") from error


def serve(number: int) -> None:
    """Decode what the parent requests until it closes the connection; the whole program of a decoder.

    Parameters
    ----------
    number : int
        The number that the system gave to the connection.
    """
    from hilum.io.dicom.by_pydicom import decode_frames

    warnings.simplefilter("ignore")
    with Channel(number) as connection:
        while True:
            try:
                path, headers = connection.recv()
            except EOFError:
                return
            limit = int(SECONDS_PER_FRAME * (1 + len(headers)))
            faulthandler.dump_traceback_later(limit + 1, exit=True)  # ends a hanging one, even if the parent was killed
            try:
                result: Any = decode_frames(path, headers)
            except HilumError as error:
                result = error
            faulthandler.cancel_dump_traceback_later()
            connection.send(result)
