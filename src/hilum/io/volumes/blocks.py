"""Blocks of voxels in files: read up to the declared size, unpacked piece by piece, and written.

A header can declare petabytes, and a few megabytes can unpack to any size. So the declared size is compared with the
file before memory is allocated, and no more is unpacked than the caller needs.
"""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, UnsupportedError
from hilum.io.volumes.volume_file import Packing
from hilum.scan import Note

GZIP_MAGIC = b"\x1f\x8b"

BYTES_LIMIT = 2**32  # the largest volume read, in bytes: 4096 slices of 512 by 512 as 32-bit numbers

_DEFLATE_RATIO = 1032  # the highest ratio that deflate reaches: two bits for 258 bytes (RFC 1951, 3.2.5)


_PIECE = 65536

_ZEROS = bytes(_PIECE)

_WRITTEN = 2**18  # bytes of one call; for a larger one Linux takes huge pages, which virtual machines are slow to get


def check_size(shape: tuple[int, ...], dtype: np.dtype[np.generic], *, where: Path) -> int:
    """Refuse a volume that is too large, before memory is allocated.

    Parameters
    ----------
    shape : tuple of int
        Number of voxels along each axis.
    dtype : dtype
        The type of a voxel.
    where : Path
        The file that declares them.

    Returns
    -------
    int
        Bytes of the voxels.

    Raises
    ------
    UnsupportedError
        If there are more than `BYTES_LIMIT`.
    """
    if (size := math.prod(shape) * dtype.itemsize) > BYTES_LIMIT:
        what = f"declares {size:.3g} bytes of voxels, more than {BYTES_LIMIT / 2**30:.0f} GiB"
        raise UnsupportedError(what, where=where, do="check the sizes in the header", code="too-large")
    return size


def check_packed(size: int, present: int, *, where: Path) -> None:
    """Refuse packed data that declare an implausible unpacked size.

    Parameters
    ----------
    size : int
        Declared unpacked bytes.
    present : int
        Packed bytes in the file.
    where : Path
        For messages.

    Raises
    ------
    FormatError
        If they look like a decompression bomb.
    """
    if size > max(2**30, 100 * present):  # 1 GiB, and 100 times the packed size
        what = f"{present} packed bytes declare {size} unpacked: no scan packs so well"
        raise FormatError(what, where=where, code="too-large")


def _decoder(packing: Packing) -> Any:
    if packing == "bzip2":
        from bz2 import BZ2Decompressor

        return BZ2Decompressor()
    from isal import igzip_lib

    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP if packing == "gzip" else igzip_lib.DECOMP_ZLIB)


class Block:
    """A part of a file, packed or not, that is read into the caller's arrays.

    Parameters
    ----------
    handle : BinaryIO
        At the first byte; the caller closes it.
    packing : str
        ``"raw"``, ``"gzip"``, ``"zlib"`` or ``"bzip2"``.
    where : Path
        For messages.
    length : int, optional
        Bytes of the part; by default, up to the end of the file.
    """

    def __init__(self, handle: BinaryIO, packing: Packing, *, where: Path, length: int = -1) -> None:
        self._handle, self._packing, self._where = handle, packing, where
        present = os.fstat(handle.fileno()).st_size - handle.tell()
        self._left = present if length < 0 else min(length, present)
        self._present = self._left
        self._filled = 0
        self._most = _PIECE
        self._pieces = self._unpack()

    def expect(self, size: int) -> None:
        """Refuse a size that the file cannot hold, before memory is allocated.

        Parameters
        ----------
        size : int
            Unpacked bytes that the caller will read.

        Raises
        ------
        FormatError
            If the file has fewer bytes, or too few to unpack to that size.
        """
        if self._packing == "raw":
            if size > self._present:
                raise truncated(self._present, size, self._where)
        elif self._packing != "bzip2" and size > _DEFLATE_RATIO * self._present:
            raise truncated(_DEFLATE_RATIO * self._present, size, self._where)
        else:
            check_packed(size, self._present, where=self._where)

    def fill(self, target: NDArray[np.generic], *, zeroed: bool = False) -> None:
        """Fill an array.

        Parameters
        ----------
        target : ndarray, C-contiguous
            Overwritten.
        zeroed : bool
            Whether it holds zeros, fresh from ``np.zeros``. Packed zeros then are not written: the system gives an
            array its memory only where it is written, and most of a label map is background.

        Raises
        ------
        FormatError
            If the file ends early, or its packed data are damaged.
        """
        view = memoryview(target.reshape(-1).view(np.uint8).data)
        done = 0
        while done < len(view):
            if not (got := self._some(view[done:], zeroed=zeroed)):
                raise truncated(done, len(view), self._where)
            done += got
        self._filled += done

    def finish(self) -> tuple[Note, ...]:
        """Read to the end, up to a limit, to verify the checksum there.

        Returns
        -------
        tuple of Note
            Code ``"trailing-bytes"``, where undeclared bytes follow.

        Raises
        ------
        FormatError
            If the checksum is wrong or missing, or there are twice the declared bytes: then sizes or type are wrong.
        """
        extra, scratch = 0, memoryview(bytearray(_PIECE))
        if self._packing == "raw":
            extra = self._left
        else:
            while extra < 2**24 and (got := self._some(scratch)):
                extra += got
        if not extra:
            return ()
        if extra >= max(self._filled, _PIECE):
            what = f"holds twice the {self._filled} bytes declared, or more"
            raise FormatError(what, where=self._where, do="check sizes and type in the header", code="size")
        return (Note("trailing-bytes", f"ignored at least {extra} bytes after the declared voxels"),)

    def _some(self, view: memoryview, *, zeroed: bool = False) -> int:
        if self._packing == "raw":
            got = self._handle.readinto(view[: self._left]) if self._left else 0  # type: ignore[attr-defined]  # FileIO
            self._left -= got
            return int(got)
        self._most = min(len(view), _PIECE)
        try:
            piece = next(self._pieces, b"")
        except FormatError:
            raise
        except Exception as error:  # isal and bz2 raise error classes of their own
            what = f"the {self._packing} data are damaged: {error}"
            raise FormatError(what, where=self._where, do="download it again", code="damaged") from error
        if not (zeroed and piece == _ZEROS):  # the comparison ends at the first other byte
            view[: len(piece)] = piece
        return len(piece)

    def _unpack(self) -> Iterator[bytes]:
        """Unpack all members (RFC 1952 2.2), in pieces of at most `_most` bytes; zeros between members are padding."""
        packed = b""
        while True:
            decoder = _decoder(self._packing)
            while not decoder.eof:
                if not packed and decoder.needs_input and not (packed := self._read()):
                    raise truncated(self._present, self._present + 1, self._where, packed=True)
                if piece := decoder.decompress(packed, max_length=self._most):
                    yield piece
                packed = b""
            if self._packing == "zlib":
                return
            packed = decoder.unused_data.lstrip(b"\0")
            while len(packed) < 3 and (more := self._read()):
                packed = (packed + more).lstrip(b"\0")
            if not packed.startswith(GZIP_MAGIC if self._packing == "gzip" else b"BZh"):
                return

    def _read(self) -> bytes:
        got = self._handle.read(min(_PIECE, self._left)) or b""
        self._left -= len(got)
        return got


def truncated(present: int, expected: int, where: Path, *, packed: bool = False) -> FormatError:
    """Make the error for data that end early.

    Parameters
    ----------
    present, expected : int
        Bytes.
    where : Path
        The file.
    packed : bool
        Whether packed data end, so that the unpacked size is unknown.
    """
    what = "the packed data end early" if packed else f"the data end after {present} of {expected} bytes"
    return FormatError(what, where=where, do="download or copy it again", code="truncated")


def stored_array(array: NDArray[Any]) -> NDArray[Any]:
    """Prepare an array for a file.

    Returns
    -------
    ndarray, C-contiguous
        Little-endian; bool as uint8.
    """
    numbers = array.view(np.uint8) if array.dtype == np.bool_ else array
    return np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<"))


def write_raw(out: BinaryIO, parts: Iterable[bytes | memoryview]) -> None:
    """Write parts as they are, in pieces."""
    for part in parts:
        out.writelines(part[start : start + _WRITTEN] for start in range(0, len(part), _WRITTEN))


def write_gzip(out: BinaryIO, parts: Iterable[bytes | memoryview]) -> None:
    """Write parts as one gzip stream, without time or name: the same parts give the same bytes."""
    from isal import isal_zlib

    packer = isal_zlib.compressobj(level=1, wbits=31)
    for part in parts:
        # Faster than a part at once: a piece fits in the processor's cache.
        out.writelines(packer.compress(part[start : start + _PIECE]) for start in range(0, len(part), _PIECE))
    out.write(packer.flush())
