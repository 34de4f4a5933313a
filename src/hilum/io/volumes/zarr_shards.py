"""Read boxes of the .zarr folders that `hilum.io.volumes.ome_zarr` writes: one file of compressed chunks.

This module reads only what hilum writes, and refuses any other form. It does not use the zarr library, which reads a
missing chunk as zeros, which are water, and takes five times as long for a patch.

Source: the Zarr core specification version 3, and its codecs ``sharding_indexed``, ``blosc``, ``crc32c``.
"""

import math
import os
import struct
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from hilum.errors import FormatError, MissingInputError, UnsupportedError
from hilum.io import files, optional_packages
from hilum.io.volumes import blocks, volume_file
from hilum.io.volumes.open_volumes import Shape, check_box
from hilum.io.volumes.placement import NOT_OURS, TypedPlacement, decode_placement

HEADER, ATTRIBUTE = "zarr.json", "hilum"

ARRAY, SHARD = "0", "0/c/0/0/0"  # the array of full size in the folder, and its one file of chunks

_TYPES = {"bool", *(f"{kind}{8 * n}" for n in (1, 2, 4, 8) for kind in ("int", "uint")), "float32", "float64"}


_CHECK = 4  # bytes of a CRC-32C


_T = TypeVar("_T")
_Box = tuple[slice, ...]


class _Named(msgspec.Struct, frozen=True):
    name: str
    configuration: dict[str, Any] = {}


class _Group(msgspec.Struct, frozen=True):
    zarr_format: Literal[3]
    node_type: Literal["group"]
    attributes: dict[str, Any] = {}


class _Array(msgspec.Struct, frozen=True):
    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: tuple[int, int, int]
    data_type: str
    chunk_grid: _Named
    chunk_key_encoding: _Named
    codecs: list[_Named]
    storage_transformers: list[Any] = []


def read_zarr_header(path: Path) -> volume_file.VolumeHeader:
    """Read the geometry of a .zarr folder; zarr is not needed."""
    return _read_placement(path).to_header(where=path)


class OpenZarr:
    """A .zarr folder as an `hilum.io.volumes.open_volumes.OpenVolume`."""

    array = None
    resident = False

    def __init__(self, path: Path) -> None:
        self.path = path
        placement = _read_placement(path)
        self.header = placement.to_header(where=path)
        self.geometry = self.header.geometry
        optional_packages.import_extra("zarr")
        header = _decode(path, f"{ARRAY}/{HEADER}", _Array)
        self.shape: Shape = header.shape
        self.dtype, self._edges = _form(header, path / ARRAY / HEADER)
        placement.check(self.shape, self.dtype, where=path)
        self._chunk_bytes = math.prod(self._edges) * self.dtype.itemsize
        self._counts = tuple(-(-n // c) for n, c in zip(self.shape, self._edges, strict=True))
        with files.open_file(_inside(path, SHARD)) as handle:
            file_size = os.fstat(handle.fileno()).st_size
            blocks.check_packed(blocks.check_size(self.shape, self.dtype, where=path), file_size, where=path)
            if file_size < 16 * math.prod(self._counts) + _CHECK:
                raise FormatError(f"{SHARD} ends early", where=path, do="copy or write it again", code="truncated")
            self._bytes = np.memmap(handle, np.uint8, "r")
        self._index = self._read_index()

    def read(self, start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
        """Copy a box; only the chunks that it overlaps are unpacked, and their checksums verified."""
        check_box(self.shape, start, size)
        box = np.empty(tuple(size), self.dtype)
        chunk = np.empty(self._edges, self.dtype)
        for index, source, target in _overlaps(start, size, self._edges):
            self._unpack(index, chunk)
            box[target] = chunk[source]
        return box

    def _unpack(self, index: Shape, chunk: NDArray[Any]) -> None:
        from google_crc32c import value as crc32c
        from numcodecs import blosc

        offset, length = self._index[index]
        packed = self._bytes[offset : offset + length].tobytes()
        body, check = packed[:-_CHECK], packed[-_CHECK:]
        if crc32c(body) != int.from_bytes(check, "little"):
            raise _damaged(self.path, f"chunk {index} of {SHARD} does not match its checksum")
        # Check the lengths in Blosc's own header before it writes to our memory.
        if struct.unpack("<I4xI", body[4:16]) != (chunk.nbytes, len(body)):
            raise _damaged(self.path, f"chunk {index} of {SHARD} does not have the size that {HEADER} says")
        try:
            blosc.decompress(body, chunk)
        except (RuntimeError, ValueError) as problem:
            raise _damaged(self.path, f"chunk {index} of {SHARD} cannot be unpacked: {problem}") from problem

    def _read_index(self) -> NDArray[np.int64]:
        """Offset and length of every chunk; refuse the file if one is missing."""
        from google_crc32c import value as crc32c

        tail = self._bytes[-(16 * math.prod(self._counts) + _CHECK) :].tobytes()
        if crc32c(tail[:-_CHECK]) != int.from_bytes(tail[-_CHECK:], "little"):
            raise _damaged(self.path, f"the index of {SHARD} does not match its checksum")
        index = np.frombuffer(tail[:-_CHECK], "<u8").reshape(*self._counts, 2)
        if (index == 2**64 - 1).any():  # the mark of an absent chunk
            raise _damaged(self.path, f"a chunk of {SHARD} is missing")
        end = len(self._bytes) - len(tail)
        if (index > end).any() or (index.sum(axis=-1) > end).any() or (index[..., 1] < 16 + _CHECK).any():
            raise _damaged(self.path, f"the index of {SHARD} leads out of the file")
        return index.astype(np.int64)


def _overlaps(start: Sequence[int], size: Sequence[int], edges: Shape) -> Iterator[tuple[Shape, _Box, _Box]]:
    """For each chunk that a box overlaps: its index, the overlap within the chunk, the overlap within the box."""
    axes = []
    for a, n, c in zip(start, size, edges, strict=True):
        spans = ((k, max(a, k * c), min(a + n, (k + 1) * c)) for k in range(a // c, (a + n - 1) // c + 1))
        axes.append([(k, slice(low - k * c, high - k * c), slice(low - a, high - a)) for k, low, high in spans])
    for z, y, x in product(*axes):
        yield (z[0], y[0], x[0]), (z[1], y[1], x[1]), (z[2], y[2], x[2])


def _form(header: _Array, where: Path) -> tuple[np.dtype[Any], Shape]:
    """Type and chunk edges of an array in the form that we write; refuse any other form."""
    if header.data_type not in _TYPES:
        raise UnsupportedError(f"holds {header.data_type[:40]}, expected numbers", where=where)
    if min(header.shape) < 1:
        raise FormatError(f"has shape {header.shape}, expected (z, y, x)", where=where, code="shape")
    try:
        (sharding,) = header.codecs
        inner = msgspec.convert(sharding.configuration["codecs"], list[_Named])
        index = msgspec.convert(sharding.configuration["index_codecs"], list[_Named])
        location = sharding.configuration.get("index_location", "end")
        edges = msgspec.convert(sharding.configuration["chunk_shape"], tuple[int, int, int])
        outer = msgspec.convert(header.chunk_grid.configuration["chunk_shape"], tuple[int, int, int])
    except (ValueError, KeyError, msgspec.ValidationError) as problem:
        raise _other_form(where) from problem
    names = [codec.name for codec in (sharding, *inner, *index)]
    endian = {codec.configuration.get("endian", "little") for codec in (*inner, *index)}
    usual = ["sharding_indexed", "bytes", "blosc", "crc32c", "bytes", "crc32c"]
    keys = header.chunk_key_encoding
    is_usual = names == usual and endian == {"little"} and location == "end" and not header.storage_transformers
    has_usual_keys = keys.name == "default" and keys.configuration.get("separator") == "/"
    if not (is_usual and has_usual_keys and header.chunk_grid.name == "regular"):
        raise _other_form(where)
    dtype = np.dtype(header.data_type)
    if min(edges) < 1 or math.prod(edges) * dtype.itemsize > 2**24:
        raise FormatError(f"has chunks of {edges} voxels", where=where, code="damaged")
    if any(o != -(-n // c) * c for o, n, c in zip(outer, header.shape, edges, strict=True)):
        raise _other_form(where)
    return dtype, edges


def _read_placement(path: Path) -> TypedPlacement:
    attribute = _decode(path, HEADER, _Group).attributes.get(ATTRIBUTE)
    if not isinstance(attribute, dict):
        raise UnsupportedError(NOT_OURS, where=path, do="give the scan it was made from", code="not-ours")
    return decode_placement(attribute, TypedPlacement, where=path)


def _decode(root: Path, name: str, kind: type[_T]) -> _T:
    with files.open_file(_inside(root, name)) as handle:
        text = handle.read(files.HEADER_LIMIT + 1)
    if len(text) > files.HEADER_LIMIT:
        raise FormatError(f"{name} is longer than {files.HEADER_LIMIT} bytes", where=root)
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise FormatError(f"{name} is not of the form that hilum writes: {problem}", where=root) from problem


def _inside(root: Path, name: str) -> Path:
    """The path of a file in a store; refuse links, which could lead out of it."""
    path = root / name
    if any(part.is_symlink() for part in (path, *path.parents[: name.count("/")])):
        raise FormatError(f"{name} leads over a link", where=root, do="give a folder without links", code="path")
    if not path.exists():
        raise MissingInputError(f"{name} is missing", where=root, do="copy or write it again")
    return path


def _other_form(where: Path) -> UnsupportedError:
    return UnsupportedError("is not of the form that hilum writes", where=where,
                            do="read it with zarr, and check that no chunk is missing", code="not-ours")  # fmt: skip


def _damaged(path: Path, what: str) -> FormatError:
    return FormatError(what, where=path, do="copy or write it again", code="damaged")
