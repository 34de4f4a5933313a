"""Blocks of voxels in files: read only as far as declared, and unpacked piece by piece.

A header can declare petabytes, and a few megabytes can unpack to any size. So what is declared is compared with
what is there before anything is allocated, and no more is unpacked than was asked for.
"""

from __future__ import annotations

import bz2
import os
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from hilum.errors import FormatError, UnsupportedError
from hilum.scan import Note

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

Packing = Literal["raw", "gzip", "zlib", "bzip2"]

GZIP_MAGIC = b"\x1f\x8b"

BYTES_LIMIT = 2**32
"""The largest volume read, in bytes: 4096 slices of 512 by 512 as 32-bit numbers."""

_DEFLATE_RATIO = 1032
"""The most that deflate can pack: two bits for 258 bytes (RFC 1951, 3.2.5)."""

_PLAIN_UNPACKED = 2**30
_PLAIN_RATIO = 100
"""More than a gibibyte from less than a hundredth of it is a bomb, no scan."""

_PIECE = 65536
_COMPRESSION = 1
_DRAIN_LIMIT = 2**24


def check_size(count: int, dtype: np.dtype[np.generic], *, where: Path) -> int:
    """Bytes of a declared number of voxels, if a computer can be asked for them.

    Parameters
    ----------
    count : int
        Number of voxels.
    dtype : dtype
    where : Path
        The file that declares them.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    UnsupportedError
        If they are more than `BYTES_LIMIT`.
    """
    size = count * dtype.itemsize
    if size > BYTES_LIMIT:
        raise UnsupportedError(
            f"declares {size:.3g} bytes of voxels, more than {BYTES_LIMIT / 2**30:.0f} GiB",
            where=where,
            do="check the sizes in the header",
            code="too-large",
        )
    return size


def check_packed(size: int, present: int, *, where: Path) -> None:
    """Refuse packed bytes that declare far more than any scan's would.

    Parameters
    ----------
    size : int
        Bytes declared, unpacked.
    present : int
        Bytes there, packed.
    where : Path
        For messages.

    Raises
    ------
    FormatError
        If they are a bomb.
    """
    if size > max(_PLAIN_UNPACKED, _PLAIN_RATIO * present):
        what = f"{present} packed bytes declare {size} unpacked: no scan packs so well"
        raise FormatError(what, where=where, code="too-large")


class _Decoder(Protocol):
    @property
    def needs_input(self) -> bool: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _decoder(packing: Packing) -> _Decoder:
    if packing == "bzip2":
        return bz2.BZ2Decompressor()
    from isal import igzip_lib

    flag = igzip_lib.DECOMP_GZIP if packing == "gzip" else igzip_lib.DECOMP_ZLIB
    decoder: _Decoder = igzip_lib.IgzipDecompressor(flag=flag)
    return decoder


class Block:
    """A stretch of a file, packed or not, that is read into memory given by the caller.

    Parameters
    ----------
    handle : BinaryIO
        Stands at the first byte; not closed here.
    packing : str
        ``"raw"``, ``"gzip"``, ``"zlib"`` or ``"bzip2"``.
    where : Path
        For messages.
    length : int, optional
        Bytes of the stretch; to the end of the file without it.
    """

    def __init__(self, handle: BinaryIO, packing: Packing, *, where: Path, length: int = -1) -> None:
        self._handle, self._packing, self._where = handle, packing, where
        present = os.fstat(handle.fileno()).st_size - handle.tell()
        self._left = present if length < 0 else min(length, present)
        self._present = self._left
        self._filled = 0
        self._decoder = None if packing == "raw" else _decoder(packing)

    def expect(self, size: int) -> None:
        """Refuse before allocating what the file cannot hold.

        Parameters
        ----------
        size : int
            Bytes that will be asked for, unpacked.

        Raises
        ------
        FormatError
            If fewer bytes are there, or so few that unpacking cannot yield as many.
        """
        if self._packing == "raw":
            if size > self._present:
                raise _truncated(self._present, size, self._where)
        elif self._packing != "bzip2" and size > _DEFLATE_RATIO * self._present:
            raise _truncated(_DEFLATE_RATIO * self._present, size, self._where)
        else:
            check_packed(size, self._present, where=self._where)

    def fill(self, target: NDArray[np.generic]) -> None:
        """Read exactly as many bytes as an array holds.

        Parameters
        ----------
        target : ndarray, C-contiguous
            Overwritten.

        Raises
        ------
        FormatError
            If the file ends before, or its packed bytes are damaged.
        """
        view = memoryview(target.reshape(-1).view(np.uint8).data)
        done = 0
        while done < len(view):
            got = self._some(view[done:])
            if not got:
                raise _truncated(done, len(view), self._where)
            done += got
        self._filled += done

    def finish(self) -> tuple[Note, ...]:
        """Read on to the end, for the checksum that stands there, but not without bound.

        Returns
        -------
        tuple of Note
            One with the code ``"trailing-bytes"`` where bytes follow that nobody declared.

        Raises
        ------
        FormatError
            If the checksum is wrong or missing, or twice the bytes are there: then sizes or type are wrong.
        """
        extra, scratch = 0, memoryview(bytearray(_PIECE))
        while self._packing != "raw" and extra < _DRAIN_LIMIT:
            got = self._some(scratch)
            if not got:
                break
            extra += got
        if self._packing == "raw":
            extra = self._left
        if not extra:
            return ()
        if extra >= max(self._filled, _PIECE):
            raise FormatError(
                f"holds twice the {self._filled} bytes declared, or more",
                where=self._where,
                do="check sizes and type in the header",
                code="size",
            )
        return (Note("trailing-bytes", f"ignored at least {extra} bytes after the declared voxels"),)

    def _some(self, view: memoryview) -> int:
        if self._decoder is None:
            got = self._handle.readinto(view[: self._left]) if self._left else 0  # type: ignore[attr-defined]  # FileIO
            self._left -= got
            return int(got)
        try:
            piece = self._unpack(len(view))
        except FormatError:
            raise
        except Exception as error:
            # isal and bz2 raise classes of their own; whatever it is, these bytes cannot be unpacked.
            raise FormatError(
                f"the {self._packing} data are damaged: {error}",
                where=self._where,
                do="download it again",
                code="damaged",
            ) from error
        view[: len(piece)] = piece
        return len(piece)

    def _unpack(self, most: int) -> bytes:
        assert self._decoder is not None  # noqa: S101 - tells the type checker what _some made sure of
        packed = b""
        while True:
            if self._decoder.eof:
                packed = self._next_member()
                if not packed:
                    return b""
            elif self._decoder.needs_input:
                packed = self._read()
                if not packed:
                    raise _truncated(self._present, self._present + 1, self._where, packed=True)
            piece = self._decoder.decompress(packed, max_length=min(most, _PIECE))
            packed = b""
            if piece:
                return piece

    def _next_member(self) -> bytes:
        """First bytes of another packed member (RFC 1952 2.2), or nothing; zeros between are padding."""
        assert self._decoder is not None  # noqa: S101 - as above
        if self._packing == "zlib":
            return b""
        rest = self._decoder.unused_data.lstrip(b"\0")
        while len(rest) < 3 and (more := self._read()):
            rest = (rest + more).lstrip(b"\0")
        if not rest.startswith(GZIP_MAGIC if self._packing == "gzip" else b"BZh"):
            return b""
        self._decoder = _decoder(self._packing)
        return rest

    def _read(self) -> bytes:
        got = self._handle.read(min(_PIECE, self._left)) or b""
        self._left -= len(got)
        return got


def write_gzip(out: BinaryIO, parts: Iterable[bytes | memoryview]) -> None:
    """Write parts as one gzip stream; the same parts give the same bytes, for no time or name is stored.

    Parameters
    ----------
    out : BinaryIO
    parts : iterable of bytes or memoryview of bytes
    """
    from isal import isal_zlib

    packer = isal_zlib.compressobj(level=_COMPRESSION, wbits=31)
    for part in parts:
        # Faster than in one go: a piece stays in the processor's cache.
        out.writelines(packer.compress(part[start : start + _PIECE]) for start in range(0, len(part), _PIECE))
    out.write(packer.flush())


def _truncated(found: int, wanted: int, where: Path, *, packed: bool = False) -> FormatError:
    what = "the packed data end early" if packed else f"the data end after {found} of {wanted} bytes"
    return FormatError(what, where=where, do="download or copy it again", code="truncated")
