"""Frames of DICOM files as stored: native pixels read in place, compressed ones through decoders."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hilum.io.dicom.decoder_process import Decode
    from hilum.io.dicom.records import Header


def stored_frames(
    root: Path, headers: Sequence[Header], scratch: NDArray[np.int16], *, decode: Decode | None = None
) -> Iterator[NDArray[Any]]:
    """Read frames of one file as stored.

    Parameters
    ----------
    root : Path
        The folder that header paths are relative to.
    headers : sequence of Header
        Frames of one file.
    scratch : ndarray of int16, shape (row, column)
        Contiguous; uncompressed 16-bit frames are read into it one after the other. Small enough for a cache, where
        the volume is not: what is read there and rescaled into the volume crosses the memory once.
    decode : callable, optional
        From `hilum.io.dicom.decoder_process.decode`, for what cannot be read in place; in this very process without it.

    Yields
    ------
    ndarray, shape (row, column)
        Stored values in native byte order, unused bits as they are; good until the next frame is asked for.

    Raises
    ------
    FormatError
        If the pixels are damaged.
    UnsupportedError
        If no decoder for their compression is installed.
    """
    first = headers[0]
    if first.pixel_offset < 0:
        decode = decode or import_module("hilum.io.dicom.by_pydicom").decode_frames
        return iter(decode(root / first.path, headers))
    return _native_frames(root, headers, scratch)


def _native_frames(root: Path, headers: Sequence[Header], scratch: NDArray[np.int16]) -> Iterator[NDArray[Any]]:
    path = f"{root}{os.sep}{headers[0].path}"  # with a Path of each name the threads would wait for each other
    try:
        with io.FileIO(path) as file:
            for h in headers:
                file.seek(h.pixel_offset + h.frame * h.frame_bytes)
                if h.bits_allocated != 16:
                    yield _shaped(file.read(h.frame_bytes), h, Path(path))
                    continue
                got = file.readinto(scratch.data)
                if got != h.frame_bytes:
                    raise _too_short(got or 0, h, Path(path))
                stored = scratch if h.signed else scratch.view(np.uint16)
                yield stored if h.big_endian == (sys.byteorder == "big") else stored.byteswap(inplace=True)
    except OSError as error:
        raise FormatError("the file can no longer be read", where=path, do="get it again") from error


def _too_short(got: int, h: Header, path: Path) -> FormatError:
    what = f"{got} of {h.frame_bytes} bytes of pixels"
    return FormatError(what, where=path, do="get it again", code="truncated")


def _shaped(data: bytes, h: Header, path: Path) -> NDArray[Any]:
    if len(data) < h.frame_bytes:
        raise _too_short(len(data), h, path)
    kind = np.dtype(f"{'i' if h.signed else 'u'}{h.bits_allocated // 8}").newbyteorder(">" if h.big_endian else "<")
    array = np.frombuffer(data, kind).reshape(h.rows, h.columns)
    return array.astype(kind.newbyteorder("="), copy=False)
