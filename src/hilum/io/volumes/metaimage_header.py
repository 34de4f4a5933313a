"""The text header of a MetaImage, read up to a limit and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from hilum.errors import FormatError, UnsupportedError, one_line
from hilum.io.files import HEADER_LIMIT
from hilum.io.volumes.volume_file import VolumeHeader, make_geometry
from hilum.scan import Note

if TYPE_CHECKING:
    from pathlib import Path

    from hilum.geometry import Geometry
    from hilum.io.volumes.blocks import Packing

MET_TYPES = MappingProxyType({
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
    "MET_LONG": "i4", "MET_ULONG": "u4",  # four bytes in MetaIO's own table
})  # fmt: skip
"""numpy's code of each element type; of two names for one type, the first is written."""

_DIRECTION = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Position", "Origin")
_BYTE_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_LIST_LIMIT = 2**20
_SKIP_LIMIT = 2**30


@dataclass(frozen=True, kw_only=True)
class MetaImageHeader(VolumeHeader):
    """The header of a MetaImage, checked.

    Parameters
    ----------
    dtype : dtype
        With the byte order of the file.
    packing : str
        ``"raw"`` or ``"zlib"``, where the data may also be gzip.
    packed_size : int
        Bytes of the packed block; -1 for all that follow.
    skip : int
        HeaderSize: bytes before the voxels in their file, 0 for none, -1 where the voxels are its last bytes.
    files : tuple of str
        Data files as named in the header, one for all slices or one for each; empty where the header file holds the
        voxels.
    offset : int
        Bytes of the header itself.
    """

    dtype: np.dtype[Any]
    packing: Packing
    packed_size: int
    skip: int
    files: tuple[str, ...]
    offset: int


def read_header(handle: BinaryIO, path: Path) -> MetaImageHeader:
    """Read and check a header.

    Parameters
    ----------
    handle : BinaryIO
        At the start of the file.
    path : Path
        For messages.

    Raises
    ------
    FormatError, UnsupportedError, GeometryError
        If a required key is missing, a key contradicts another, or a value is impossible.
    """
    keys, offset = _read_keys(handle, path)
    sizes = keys.whole_numbers("DimSize")
    dims = keys.whole_number("NDims", len(sizes))
    if dims != len(sizes):
        raise keys.wrong("DimSize", f"{len(sizes)} sizes for NDims = {dims}")
    if min(sizes) < 1:
        raise keys.wrong("DimSize", f"{sizes[:7]}: a size below 1")
    if dims < 3 or max(sizes[3:], default=1) > 1:
        what = f"holds {dims} dimensions of sizes {sizes[:7]}, expected one 3-D volume"
        raise UnsupportedError(what, where=path, do="split it")
    if keys.whole_number("ElementNumberOfChannels", 1) != 1:
        raise UnsupportedError("has several numbers per voxel, as a color image", where=path, do="give a CT")
    if not keys.flag(("BinaryData",), default=True):
        raise UnsupportedError("holds its numbers as text", where=path, do="write it with BinaryData = True")
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if keys.numbers((key,), 1, default=[neutral]) != [neutral]:
            raise UnsupportedError(f"scales its numbers by {key}", where=path, do="write it as Hounsfield units")
    geometry, notes = _geometry(keys, sizes, path)
    packed = keys.flag(("CompressedData",), default=False)
    packed_size = keys.whole_number("CompressedDataSize", 0) if packed else 0
    skip = keys.whole_number("HeaderSize", 0)
    if not -1 <= skip <= _SKIP_LIMIT or (packed and skip < 0):
        raise keys.wrong("HeaderSize", f"{skip}, expected a number of bytes")
    files = _files(keys, sizes[2], handle, path)
    if packed and (len(files) > 1 or packed_size < 0):
        raise UnsupportedError("compressed lists of slice files are not read", where=path, do="write one .mha file")
    order = ">" if keys.flag(_BYTE_ORDER, default=False) else "<"
    return MetaImageHeader(
        geometry=geometry,
        series_uid=keys.text("SeriesInstanceUID") if keys.has("SeriesInstanceUID") else "",
        notes=notes,
        dtype=np.dtype(order + keys.element_type()),
        packing="zlib" if packed else "raw",
        packed_size=packed_size or -1,
        skip=skip,
        files=files,
        offset=offset,
    )


def _geometry(keys: _Keys, sizes: list[int], path: Path) -> tuple[Geometry, tuple[Note, ...]]:
    dims, notes = len(sizes), []
    if not keys.has(*_DIRECTION):
        notes.append(Note("no-direction", "the header lacks TransformMatrix: assumed axes to the left, back and head"))
    if not keys.has(*_ORIGIN):
        notes.append(Note("no-origin", "the header lacks Offset: assumed 0 0 0"))
    matrix = np.array(keys.numbers(_DIRECTION, dims * dims, default=np.eye(dims).ravel().tolist())).reshape(dims, dims)
    if np.any(matrix[:3, 3:]) or np.any(matrix[3:, :3]):
        raise keys.wrong(_DIRECTION[0], "mixes space with a fourth axis")
    origin = keys.numbers(_ORIGIN, dims, default=[0.0] * dims)
    spacing_key = "ElementSpacing"
    if not keys.has(spacing_key) and keys.has("ElementSize"):
        spacing_key = "ElementSize"
        notes.append(Note("element-size", "the header lacks ElementSpacing: ElementSize was used"))
    geometry = make_geometry(
        sizes[2::-1],
        spacing=keys.numbers((spacing_key,), dims)[2::-1],
        origin=origin[:3],
        direction=matrix[2::-1, :3].tolist(),
        where=path,
    )
    return geometry, tuple(notes)


def _files(keys: _Keys, slices: int, handle: BinaryIO, path: Path) -> tuple[str, ...]:
    """Names of the data files: one, a list with one per slice, or a pattern ``name%03d.raw first last step``."""
    name = keys.text("ElementDataFile")
    words = name.split()
    if not words:
        raise keys.wrong("ElementDataFile", "empty")
    if name.upper() == "LOCAL":
        return ()
    if words[0].upper() == "LIST":
        if words[1:] not in ([], ["2"], ["2D"]):
            raise UnsupportedError("a list of files that are not slices is not read", where=path, do="write one file")
        text = handle.read(_LIST_LIMIT).decode("utf-8", "replace")
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
    elif pattern := re.fullmatch(r"([^%]*)%(0?\d?)d([^%]*?) +(\d{1,9}) +(\d{1,9})(?: +(\d{1,9}))?", name):
        before, width, after, first, last, step = pattern.groups()
        numbers = range(int(first), int(last) + 1, max(1, int(step or 1)))
        names = tuple(f"{before}{k:{width}d}{after}" for k in numbers[: slices + 1])
    else:
        return (name,)
    if len(names) != slices:
        what = f"names {len(names)} files for {slices} slices"
        raise FormatError(what, where=path, do="check that the list is complete", code="list")
    return names


class _Keys:
    """The keys of a header with their values as text."""

    def __init__(self, values: dict[str, str], path: Path) -> None:
        self._values, self._path = values, path

    def wrong(self, key: str, what: str) -> FormatError:
        return FormatError(f"header: {key} is {what}", where=self._path, do="correct the header", code="header")

    def has(self, *names: str) -> bool:
        return any(name in self._values for name in names)

    def text(self, key: str) -> str:
        if key not in self._values:
            raise self.wrong(key, "missing")
        return self._values[key]

    def whole_numbers(self, key: str) -> list[int]:
        words = self.text(key).split()
        if not words or not all(re.fullmatch(r"[+-]?[0-9]{1,18}", word) for word in words):
            raise self.wrong(key, f"{one_line(self.text(key), limit=60)!r}, expected whole numbers")
        return [int(word) for word in words]

    def whole_number(self, key: str, default: int) -> int:
        if not self.has(key):
            return default
        numbers = self.whole_numbers(key)
        if len(numbers) != 1:
            raise self.wrong(key, f"{len(numbers)} numbers, expected one")
        return numbers[0]

    def numbers(self, names: tuple[str, ...], count: int, *, default: list[float] | None = None) -> list[float]:
        """The numbers of a key that has several names; refuse names with different values."""
        values = {name: self._floats(name, count) for name in names if self.has(name)}
        if not values:
            if default is None:
                self.text(names[0])
            return default or []
        (first, expected), *others = values.items()
        for name, numbers in others:
            if numbers != expected:
                raise self.wrong(name, f"not equal to {first}")
        return expected

    def _floats(self, key: str, count: int) -> list[float]:
        text = self._values[key]
        try:
            numbers = [float(word) for word in text.replace("_", "?").split()]
        except ValueError:
            numbers = []
        if len(numbers) != count:
            raise self.wrong(key, f"{one_line(text, limit=60)!r}, expected {count} numbers")
        return numbers

    def flag(self, names: tuple[str, ...], *, default: bool) -> bool:
        answers = set()
        for name in filter(self.has, names):
            text = self._values[name]
            if text.lower() not in ("true", "false", "t", "f", "1", "0", "yes", "no"):
                raise self.wrong(name, f"{one_line(text, limit=60)!r}, expected True or False")
            answers.add(text.lower() in ("true", "t", "1", "yes"))
        if len(answers) > 1:
            raise self.wrong(names[1], f"not equal to {names[0]}")
        return answers.pop() if answers else default

    def element_type(self) -> str:
        name = self.text("ElementType")
        if name not in MET_TYPES:
            what = f"ElementType {one_line(name, limit=40)!r} is not read"
            raise UnsupportedError(what, where=self._path, do="write it as MET_SHORT")
        return MET_TYPES[name]


def _read_keys(handle: BinaryIO, path: Path) -> tuple[_Keys, int]:
    """All keys up to ElementDataFile, and the bytes of the header; leaves the file at the end of the header."""
    head = handle.read(HEADER_LIMIT).removeprefix(b"\xef\xbb\xbf")
    bom = handle.tell() - len(head)
    values: dict[str, str] = {}
    position = 0
    for raw in head.splitlines(keepends=True) if b"\n" in head else [head]:
        position += len(raw)
        line = raw.decode("utf-8", "replace").strip()
        key, separator, value = re.fullmatch(r"([^=:]*)([=:]?)(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]  # matches anything
        key, value = key.strip(), value.strip()
        if not (key.isascii() and key.isprintable()):
            raise FormatError("is not a MetaImage: the header is not text", where=path, do="give a .mhd or .mha file")
        if not separator:
            continue  # free text between the keys, which other readers ignore, too
        if values.setdefault(key, value) != value:
            what = f"header: {one_line(key, limit=40)!r} is there twice with different values"
            raise FormatError(what, where=path, code="header")
        if key == "ElementDataFile" and (raw.endswith((b"\n", b"\r")) or len(head) < HEADER_LIMIT):
            handle.seek(bom + position)
            return _Keys(values, path), bom + position
    long = f" in its first {HEADER_LIMIT} bytes" if len(head) >= HEADER_LIMIT else ""
    raise FormatError(f"is not a MetaImage: no ElementDataFile{long}", where=path, do="give a .mhd or .mha file")
