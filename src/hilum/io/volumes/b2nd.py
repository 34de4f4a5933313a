"""A volume as .b2nd: chunks and blocks packed by Blosc2, as nnU-Net v2 reads its training data.

The array in the file has four axes, (channel, z, y, x) with one channel: nnU-Net's own form. Where it lies in the
world stands in a layer of the file's header called ``hilum``, with a checksum of the voxels, for Blosc2 has none: one
changed byte in four gives other voxels without a word. The header is read here before the library sees the
file: one that lies about shape, type or sizes, or that asks for code to be run, is refused unopened.

Source: the C-Blosc2 frame format and the b2nd metalayer, both documented with C-Blosc2.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from hilum.errors import FormatError, HilumError, UnsupportedError
from hilum.io.atomic import atomic_path
from hilum.io.files import HEADER_LIMIT, open_file
from hilum.io.optional_packages import need
from hilum.io.volumes.blocks import check_packed, check_size
from hilum.io.volumes.open_volumes import check_box
from hilum.io.volumes.placement import (
    TypedPlacement,
    check_placed,
    check_type,
    decode_placement,
    placed_geometry,
    placed_volume,
    placement_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hilum.io.volumes.open_volumes import Box
    from hilum.io.volumes.placement import Placement
    from hilum.volume import Volume

CHUNK, BLOCK, CODEC, LEVEL, FILTER = 128, 16, "LZ4", 5, "BITSHUFFLE"
"""Edges of the cubes that are packed together and one by one, and how: measured, in docs/decisions/0008."""

_LAYER = "hilum"
_LAYERS = {"b2nd", _LAYER}
"""All that the header of our files holds; others make the library run code or look elsewhere for the voxels."""

_MAGIC = b"\x9e\xa8b2frame\x00\xd2"
_CHUNK_LIMIT = 2**26
"""The largest chunk read, in bytes; ours of 64-bit voxels have 2**24."""


class _Layer(TypedPlacement, frozen=True, kw_only=True):
    """What our layer of the header holds, as JSON: place, type, and the CRC-32 of the voxels in C order."""

    crc32: int


@dataclass(frozen=True)
class _Header:
    shape: Box
    dtype: np.dtype[Any]
    layer: _Layer


def write_b2nd(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a volume or mask as .b2nd, its geometry in the file's header.

    Parameters
    ----------
    volume : Volume
        Of numbers or bool.
    path : Path
        Ends in .b2nd; appears only when complete. The same voxels give the same bytes.
    series_uid : str
        Kept in the header, where it is a UID.

    Raises
    ------
    UnsupportedError
        If the name does not end in .b2nd.
    OutputError
        If the file cannot be written.
    InputError
        If blosc2 is not installed.
    """
    if path.suffix.lower() != ".b2nd":
        raise UnsupportedError("a Blosc2 array ends in .b2nd", where=path)
    blosc2 = need("b2nd")
    array = np.ascontiguousarray(volume.array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)[None]
    place = msgspec.to_builtins(placement_of(volume, series_uid=series_uid))
    packed = blosc2.asarray(
        array,
        chunks=(1, *(min(CHUNK, n) for n in array.shape[1:])),
        blocks=(1, *(min(BLOCK, n) for n in array.shape[1:])),
        cparams={
            "codec": blosc2.Codec[CODEC],
            "clevel": LEVEL,
            "filters": [blosc2.Filter[FILTER]],
            "filters_meta": [0],
            "nthreads": 1,  # several give the same voxels, but other bytes each time
        },
        dparams={"nthreads": 1},
        meta={_LAYER: msgspec.json.encode({**place, "dtype": array.dtype.name, "crc32": _crc32(array)}).decode()},
    )
    frame = packed.to_cframe()
    with atomic_path(path) as temporary:  # by hand: the library does not say when the disk is full
        temporary.write_bytes(frame)


def read_b2nd(path: Path) -> Volume:
    """Read a volume or mask that `write_b2nd` made.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Volume
        A `Mask` where one was written; voxels of the file's own type.

    Raises
    ------
    FormatError, GeometryError, MissingInputError, UnsupportedError
        If the file is damaged, is not there, or is not one that hilum wrote.
    InputError
        If blosc2 is not installed.
    """
    stored = OpenB2nd(path)
    array = stored.read((0, 0, 0), stored.shape)
    if _crc32(array) != stored.layer.crc32:
        raise FormatError("its voxels do not match their checksum", where=path, do="write it again", code="checksum")
    return placed_volume(stored.layer, array, where=path)


def read_b2nd_placement(path: Path) -> Placement:
    """Read where a .b2nd file that `write_b2nd` made puts its voxels; blosc2 is not needed.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Placement

    Raises
    ------
    FormatError, MissingInputError, UnsupportedError
        As `read_b2nd`.
    """
    return _read_header(path).layer


class OpenB2nd:
    """A .b2nd file that is open for reading: what `hilum.io.volumes.open_volumes.OpenVolume` says.

    A box has no checksum of its own: whoever trains on it holds the file against ``scan.json`` before.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        As `read_b2nd`.
    """

    array = None
    resident = False

    def __init__(self, path: Path) -> None:
        header = _read_header(path)
        blosc2 = need("b2nd")
        self.path, self.shape, self.dtype, self.layer = path, header.shape, header.dtype, header.layer
        self.geometry = placed_geometry(header.layer, where=path)
        mapped = {} if os.name == "nt" else {"mmap_mode": "r"}
        try:
            self._packed = blosc2.open(str(path), mode="r", dparams={"nthreads": 1}, **mapped)
            seen = tuple(self._packed.shape), self._packed.dtype
        except Exception as problem:  # the library raises classes of many kinds
            raise _damaged(path, problem) from problem
        if seen != ((1, *self.shape), self.dtype):
            raise FormatError(f"is {seen[1]} of shape {seen[0]}, not what its header says", where=path, code="shape")

    def read(self, start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
        """Copy a box; only the blocks that it touches are unpacked."""
        check_box(self.shape, start, size)
        box = tuple(slice(int(a), int(a) + int(n)) for a, n in zip(start, size, strict=True))
        try:
            found: NDArray[Any] = self._packed[(slice(0, 1), *box)]
        except Exception as problem:  # as above
            raise _damaged(self.path, problem) from problem
        return np.ascontiguousarray(found.reshape(tuple(size)))


def _crc32(array: NDArray[Any]) -> int:
    from isal import isal_zlib

    return int(isal_zlib.crc32(array.reshape(-1).view(np.uint8)))


def _damaged(path: Path, problem: Exception) -> FormatError:
    return FormatError(f"cannot be unpacked: {problem}", where=path, do="write it again", code="damaged")


def _read_header(path: Path) -> _Header:
    """What a file says of itself, held against its size and against what can be."""
    with open_file(path) as handle:
        there = os.fstat(handle.fileno()).st_size
        head = handle.read(24)
        if len(head) < 24 or not head.startswith(_MAGIC):
            raise FormatError("is not a Blosc2 frame", where=path)
        length, total = struct.unpack(">i", head[11:15])[0], struct.unpack(">Q", head[16:24])[0]
        if total != there:
            raise FormatError(f"has {there} bytes, not the {total} it says", where=path,
                              do="copy or write it again", code="truncated")  # fmt: skip
        if not 24 < length <= min(HEADER_LIMIT, there):
            raise FormatError(f"says its header has {length} bytes", where=path, code="damaged")
        head += handle.read(length - 24)
    try:
        return _parse(head, path, there)
    except HilumError:
        raise
    except Exception as problem:  # whatever is odd about bytes from anywhere
        raise FormatError(f"its header is damaged: {problem}", where=path, do="write it again") from problem


def _parse(head: bytes, path: Path, there: int) -> _Header:
    fields = msgspec.msgpack.decode(head, type=list)
    nbytes, chunk_bytes, names = fields[4], fields[8], list(fields[13][1])
    if set(names) != _LAYERS:
        raise UnsupportedError("is not one that hilum wrote: it does not say how it lies", where=path,
                               do="give the scan it was made from", code="not-ours")  # fmt: skip
    layers = dict(zip(names, fields[13][2], strict=True))
    _, axes, shape, chunks, blocks, form, kind = msgspec.msgpack.decode(layers["b2nd"], type=list)
    if axes != 4 or len(shape) != 4 or shape[0] != 1 or min(shape) < 1 or form != 0:
        raise FormatError(f"has shape {shape}, expected (1, z, y, x)", where=path, code="shape")
    dtype = np.dtype(str(kind))
    if dtype.kind not in "iufb" or dtype.newbyteorder("<") != dtype:
        raise UnsupportedError(f"holds {dtype}, expected numbers", where=path)
    size = check_size(math.prod(shape), dtype, where=path)
    check_packed(size, there, where=path)
    if not all(len(c) == 4 and min(c) >= 1 for c in (chunks, blocks)) or any(
        b > c or c > n for b, c, n in zip(blocks, chunks, shape, strict=True)
    ):
        raise FormatError(f"has chunks of {chunks} and blocks of {blocks} voxels", where=path, code="damaged")
    padded = math.prod(-(-n // c) * c for n, c in zip(shape, chunks, strict=True)) * dtype.itemsize
    widest = math.prod(-(-c // b) * b for c, b in zip(chunks, blocks, strict=True)) * dtype.itemsize
    if widest > _CHUNK_LIMIT or chunk_bytes != widest:
        raise FormatError(f"has chunks of {chunk_bytes} bytes", where=path, code="damaged")
    if nbytes % chunk_bytes or nbytes < padded:
        raise FormatError(f"holds {nbytes} bytes unpacked, expected {padded}", where=path, code="damaged")
    layer = decode_placement(msgspec.msgpack.decode(layers[_LAYER], type=str), where=path, kind=_Layer)
    place = (shape[1], shape[2], shape[3])
    check_type(layer, dtype, where=path)
    check_placed(layer, place, dtype, where=path)
    return _Header(place, dtype, layer)
