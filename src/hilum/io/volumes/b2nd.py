"""A volume as .b2nd: chunks and blocks packed by Blosc2, as nnU-Net v2 reads its training data.

The array in the file has four axes, (channel, z, y, x) with one channel: nnU-Net's own form. The placement of the
volume is in a layer of the file's header called ``hilum``, with a checksum of the voxels: Blosc2 has none, and does
not notice one changed byte in four. This module checks the header before the library opens the file: a file with
an impossible shape, type or size, or one that makes the library run code, is refused.

Source: the C-Blosc2 frame format and the b2nd metalayer, both documented with C-Blosc2.
"""

import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, HilumError, UnsupportedError
from hilum.io import files, optional_packages
from hilum.io.volumes import open_volumes, volume_file
from hilum.io.volumes.blocks import check_packed, check_size
from hilum.io.volumes.placement import NOT_OURS, TypedPlacement, decode_placement, placement_of
from hilum.volume import Volume

CHUNK, BLOCK, CODEC, LEVEL, FILTER = 128, 16, "LZ4", 5, "BITSHUFFLE"
"""Edges of the cubes that are packed together and one by one, and how they are packed: measured in decision 0008."""

_LAYER = "hilum"
_LAYERS = {"b2nd", _LAYER}
"""All layers in the header of our files. Other layers make the library run code, or read voxels from elsewhere."""


class _Layer(TypedPlacement, frozen=True, kw_only=True):
    """Our layer of the header, as JSON; the CRC-32 is that of the voxels in C order."""

    crc32: int


def write_b2nd(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a .b2nd with its geometry in the file's header, as `hilum.io.volumes.formats.Format.write`."""
    from hilum.io.atomic import atomic_path  # late: reading does not need it

    blosc2 = optional_packages.import_extra("b2nd")
    array = np.ascontiguousarray(volume.array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)[None]
    placement = msgspec.structs.asdict(placement_of(volume, series_uid=series_uid))
    layer = _Layer(**placement, dtype=array.dtype.name, crc32=_crc32(array))
    chunks, blocks = ((1, *(min(edge, n) for n in volume.shape)) for edge in (CHUNK, BLOCK))
    one_thread = {"nthreads": 1}  # with several the packed bytes differ from run to run
    codec, filters = blosc2.Codec[CODEC], [blosc2.Filter[FILTER]]
    packing = {"codec": codec, "clevel": LEVEL, "filters": filters, "filters_meta": [0], **one_thread}
    meta = {_LAYER: msgspec.json.encode(layer).decode()}
    packed = blosc2.asarray(array, chunks=chunks, blocks=blocks, cparams=packing, dparams=one_thread, meta=meta)
    with atomic_path(path, synced=False) as temporary:  # not by the library, which does not report a full disk
        temporary.write_bytes(packed.to_cframe())


def read_b2nd(path: Path) -> volume_file.VolumeFile:
    """Read a volume or mask that `write_b2nd` made, as `hilum.io.volumes.formats.Format.read`."""
    opened = OpenB2nd(path)
    array = opened.read((0, 0, 0), opened.shape)
    if _crc32(array) != opened.layer.crc32:
        raise FormatError("its voxels do not match their checksum", where=path, do="write it again", code="checksum")
    return volume_file.VolumeFile(opened.header, array)


def read_b2nd_header(path: Path) -> volume_file.VolumeHeader:
    """Read the geometry of a .b2nd that `write_b2nd` made; blosc2 is not needed."""
    return _read_layer(path).to_header(where=path)


class OpenB2nd:
    """A .b2nd file as an `hilum.io.volumes.open_volumes.OpenVolume`.

    A box has no checksum of its own: before training, verify the file against ``scan.json``.
    """

    array = None
    resident = False

    def __init__(self, path: Path) -> None:
        self.path, self.layer = path, _read_layer(path)
        blosc2 = optional_packages.import_extra("b2nd")
        self.header = self.layer.to_header(where=path)
        self.geometry, self.shape = self.header.geometry, self.layer.shape
        self.dtype = np.dtype(self.layer.dtype).newbyteorder("<")
        try:
            self._packed = blosc2.open(str(path), mode="r", dparams={"nthreads": 1}, mmap_mode="r")
        except Exception as problem:  # the library raises classes of many kinds
            raise _damaged(path, problem) from problem

    def read(self, start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
        """Copy a box; only the blocks that it overlaps are unpacked."""
        open_volumes.check_box(self.shape, start, size)
        box = tuple(slice(int(a), int(a) + int(n)) for a, n in zip(start, size, strict=True))
        try:
            voxels: NDArray[Any] = self._packed[(slice(0, 1), *box)]
        except Exception as problem:  # as above
            raise _damaged(self.path, problem) from problem
        return np.ascontiguousarray(voxels.reshape(tuple(size)))


def _crc32(array: NDArray[Any]) -> int:
    from isal import isal_zlib

    return int(isal_zlib.crc32(array.reshape(-1).view(np.uint8)))


def _damaged(path: Path, problem: Exception) -> FormatError:
    return FormatError(f"cannot be unpacked: {problem}", where=path, do="write it again", code="damaged")


def _read_layer(path: Path) -> _Layer:
    """Our layer of a file's header, checked against the rest of the header and the size of the file."""
    with files.open_file(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        head = handle.read(24)
        if len(head) < 24 or not head.startswith(b"\x9e\xa8b2frame\x00\xd2"):
            raise FormatError("is not a Blosc2 frame", where=path)
        length, declared = struct.unpack(">i", head[11:15])[0], struct.unpack(">Q", head[16:24])[0]
        if declared != size:
            raise FormatError(f"has {size} bytes, not the {declared} that its header says", where=path,
                              do="copy or write it again", code="truncated")  # fmt: skip
        if not 24 < length <= min(files.HEADER_LIMIT, size):
            raise FormatError(f"says its header has {length} bytes", where=path, code="damaged")
        head += handle.read(length - 24)
    try:
        return _parse(head, path, size)
    except HilumError:
        raise
    except Exception as problem:  # bytes of any kind raise errors of any kind
        raise FormatError(f"its header is damaged: {problem}", where=path, do="write it again") from problem


def _parse(head: bytes, path: Path, file_size: int) -> _Layer:
    fields = msgspec.msgpack.decode(head, type=list)
    nbytes, chunk_bytes, names = fields[4], fields[8], list(fields[13][1])
    if set(names) != _LAYERS:
        raise UnsupportedError(NOT_OURS, where=path, do="give the scan it was made from", code="not-ours")
    layers = dict(zip(names, fields[13][2], strict=True))
    _, axes, shape, chunks, blocks, form, kind = msgspec.msgpack.decode(layers["b2nd"], type=list)
    if axes != 4 or len(shape) != 4 or shape[0] != 1 or min(shape) < 1 or form != 0:
        raise FormatError(f"has shape {shape}, expected (1, z, y, x)", where=path, code="shape")
    dtype = np.dtype(str(kind))
    if dtype.kind not in "iufb" or dtype.newbyteorder("<") != dtype:
        raise UnsupportedError(f"holds {dtype}, expected numbers", where=path)
    check_packed(check_size(tuple(shape), dtype, where=path), file_size, where=path)
    if not all(len(c) == 4 and min(c) >= 1 for c in (chunks, blocks)) or any(
        b > c or c > n for b, c, n in zip(blocks, chunks, shape, strict=True)
    ):
        raise FormatError(f"has chunks of {chunks} and blocks of {blocks} voxels", where=path, code="damaged")
    padded = math.prod(-(-n // c) * c for n, c in zip(shape, chunks, strict=True)) * dtype.itemsize
    widest = math.prod(-(-c // b) * b for c, b in zip(chunks, blocks, strict=True)) * dtype.itemsize
    if widest > 2**26 or chunk_bytes != widest:
        raise FormatError(f"has chunks of {chunk_bytes} bytes", where=path, code="damaged")
    if nbytes % chunk_bytes or nbytes < padded:
        raise FormatError(f"holds {nbytes} bytes unpacked, expected {padded}", where=path, code="damaged")
    layer = decode_placement(msgspec.msgpack.decode(layers[_LAYER], type=str), _Layer, where=path)
    layer.check((shape[1], shape[2], shape[3]), dtype, where=path)
    return layer
