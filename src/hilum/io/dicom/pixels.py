"""Frames of DICOM files as stored: uncompressed pixels are read at their offset, others go through decoders."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hilum.io.dicom.records import SliceHeader


def stored_frames(root: Path, headers: Sequence[SliceHeader], scratch: NDArray[np.int16]) -> Iterator[NDArray[Any]]:
    """Read frames of one file as stored.

    Parameters
    ----------
    root : Path
        The folder that header paths are relative to.
    headers : sequence of SliceHeader
        Frames of one file.
    scratch : ndarray of int16, shape (row, column)
        A contiguous buffer for uncompressed 16-bit frames, one after the other. It fits the cache, so that a frame
        crosses the memory only once on its way to the volume.

    Yields
    ------
    ndarray, shape (row, column)
        Stored values in native byte order, unused bits unchanged. Valid until the next one is read.

    Raises
    ------
    FormatError
        If the pixels are damaged.
    UnsupportedError
        If no decoder for their compression is installed.
    """
    first = headers[0]
    if first.pixel_offset < 0:
        from hilum.io.dicom.decoder_process import decode  # late: few series need it

        return iter(decode(root / first.path, headers))
    return _native_frames(root, headers, scratch)


def _native_frames(root: Path, headers: Sequence[SliceHeader], scratch: NDArray[np.int16]) -> Iterator[NDArray[Any]]:
    path = f"{root}{os.sep}{headers[0].path}"  # making Paths, the threads would wait for each other
    try:
        with io.FileIO(path) as file:
            for h in headers:
                file.seek(h.pixel_offset + h.frame * h.frame_bytes)
                if h.bits_allocated == 16:
                    count = file.readinto(scratch.data) or 0
                else:
                    data = file.read(h.frame_bytes)
                    count = len(data)
                if count != h.frame_bytes:
                    what = f"{count} of {h.frame_bytes} bytes of pixels"
                    raise FormatError(what, where=Path(path), do="get it again", code="truncated")
                if h.bits_allocated != 16:
                    yield _as_array(data, h)
                else:
                    stored = scratch if h.signed else scratch.view(np.uint16)
                    yield stored if h.big_endian == (sys.byteorder == "big") else stored.byteswap(inplace=True)
    except OSError as error:
        raise FormatError("the file can no longer be read", where=path, do="get it again") from error


def _as_array(data: bytes, h: SliceHeader) -> NDArray[Any]:
    """The pixels of one frame in native byte order."""
    kind = np.dtype(f"{'i' if h.signed else 'u'}{h.bits_allocated // 8}").newbyteorder(">" if h.big_endian else "<")
    array = np.frombuffer(data, kind).reshape(h.rows, h.columns)
    return array.astype(kind.newbyteorder("="), copy=False)
