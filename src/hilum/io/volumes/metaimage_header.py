"""The text header of a MetaImage, read up to a limit and checked."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TypeVar

import numpy as np

from hilum.errors import FormatError, UnsupportedError, one_line
from hilum.geometry import Geometry
from hilum.io.files import HEADER_LIMIT
from hilum.io.volumes.volume_file import BlockHeader, make_geometry, unit_notes, unit_of_length
from hilum.scan import Note

MET_TYPES = MappingProxyType({
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
    "MET_LONG": "i4", "MET_ULONG": "u4",  # four bytes in MetaIO's own table
})  # fmt: skip
"""numpy's code of each element type; of two names for one type, the first is written."""

_DIRECTION = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Position", "Origin")
_TRUTH = {**dict.fromkeys(("true", "t", "1", "yes"), True), **dict.fromkeys(("false", "f", "0", "no"), False)}
_T = TypeVar("_T")


def read_header(handle: BinaryIO, path: Path) -> BlockHeader:
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
    keys = _read_keys(handle, path)
    sizes = keys.whole_numbers("DimSize")
    if (dims := keys.whole_number("NDims", len(sizes))) != len(sizes):
        raise keys.wrong("DimSize", f"{len(sizes)} sizes for NDims = {dims}")
    if min(sizes) < 1:
        raise keys.wrong("DimSize", f"{sizes[:7]}: a size below 1")
    if dims < 3 or max(sizes[3:], default=1) > 1:
        what = f"holds {dims} dimensions of sizes {sizes[:7]}, expected one 3-D volume"
        raise UnsupportedError(what, where=path, do="split it")
    if keys.whole_number("ElementNumberOfChannels", 1) != 1:
        raise UnsupportedError("has several numbers per voxel, as a color image", where=path, do="give a CT")
    if not keys.flag("BinaryData", default=True):
        raise UnsupportedError("holds its numbers as text", where=path, do="write it with BinaryData = True")
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if keys.numbers([key], 1, [neutral]) != [neutral]:
            raise UnsupportedError(f"scales its numbers by {key}", where=path, do="write it as Hounsfield units")
    geometry, notes = _geometry(keys, sizes, path)
    packed = keys.flag("CompressedData", default=False)
    packed_size = keys.whole_number("CompressedDataSize", 0) if packed else 0
    skip = keys.whole_number("HeaderSize", 0)
    if not -1 <= skip <= 2**30 or (packed and skip < 0):
        raise keys.wrong("HeaderSize", f"{skip}, expected a number of bytes")
    files = _files(keys, sizes[2], handle, path)
    if packed and (len(files) > 1 or packed_size < 0):
        raise UnsupportedError("compressed lists of slice files are not read", where=path, do="write one .mha file")
    order = ">" if keys.flag("BinaryDataByteOrderMSB", "ElementByteOrderMSB", default=False) else "<"
    return BlockHeader(
        geometry=geometry,
        series_uid=keys.get("SeriesInstanceUID", ""),
        notes=notes,
        dtype=np.dtype(order + keys.element_type()),
        packing="zlib" if packed else "raw",
        packed_size=packed_size or -1,
        skip=skip,
        files=files,
    )


def _geometry(keys: "_Keys", sizes: list[int], path: Path) -> tuple[Geometry, tuple[Note, ...]]:
    dims, notes = len(sizes), []
    if not keys.has(*_DIRECTION):
        notes.append(Note("no-direction", "the header lacks TransformMatrix: assumed axes to the left, back and head"))
    if not keys.has(*_ORIGIN):
        notes.append(Note("no-origin", "the header lacks Offset: assumed 0 0 0"))
    matrix = np.array(keys.numbers(_DIRECTION, dims * dims, np.eye(dims).ravel().tolist())).reshape(dims, dims)
    if np.any(matrix[:3, 3:]) or np.any(matrix[3:, :3]):
        raise keys.wrong(_DIRECTION[0], "mixes space with a fourth axis")
    origin = keys.numbers(_ORIGIN, dims, [0.0] * dims)[:3]
    spacing_key = "ElementSpacing"
    if not keys.has(spacing_key) and keys.has("ElementSize"):
        spacing_key = "ElementSize"
        notes.append(Note("element-size", "the header lacks ElementSpacing: ElementSize was used"))
    scale = unit_of_length(keys.get("DistanceUnits", ""), where=path)
    notes += unit_notes(scale)
    spacing = [scale * size for size in keys.numbers([spacing_key], dims)[2::-1]]
    origin, direction = [scale * x for x in origin], matrix[2::-1, :3].tolist()
    return make_geometry(sizes[2::-1], spacing, origin, direction, where=path), tuple(notes)


def _files(keys: "_Keys", slices: int, handle: BinaryIO, path: Path) -> tuple[str, ...]:
    """Names of the data files: one, a list with one per slice, or a pattern ``name%03d.raw first last step``."""
    name = keys.text("ElementDataFile")
    if not (words := name.split()):
        raise keys.wrong("ElementDataFile", "empty")
    if name.upper() == "LOCAL":
        return ()
    if words[0].upper() == "LIST":
        if words[1:] not in ([], ["2"], ["2D"]):
            raise UnsupportedError("a list of files that are not slices is not read", where=path, do="write one file")
        text = handle.read(2**20).decode("utf-8", "replace")
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


class _Keys(dict[str, str]):
    """The keys of a header with their values as text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def wrong(self, key: str, what: str) -> FormatError:
        return FormatError(f"header: {key} is {what}", where=self.path, do="correct the header", code="header")

    def not_as_expected(self, key: str, expected: str) -> FormatError:
        return self.wrong(key, f"{one_line(self[key], limit=60)!r}, expected {expected}")

    def has(self, *names: str) -> bool:
        return any(name in self for name in names)

    def text(self, key: str) -> str:
        if key not in self:
            raise self.wrong(key, "missing")
        return self[key]

    def whole_numbers(self, key: str) -> list[int]:
        words = self.text(key).split()
        if not words or not all(re.fullmatch(r"[+-]?[0-9]{1,18}", word) for word in words):
            raise self.not_as_expected(key, "whole numbers")
        return [int(word) for word in words]

    def whole_number(self, key: str, default: int) -> int:
        numbers = self.whole_numbers(key) if key in self else [default]
        if len(numbers) != 1:
            raise self.wrong(key, f"{len(numbers)} numbers, expected one")
        return numbers[0]

    def one_value(self, names: Sequence[str], parse: Callable[[str], _T], default: _T) -> _T:
        """The value of a key that may have several names; refuse names with different values."""
        values = {name: parse(name) for name in names if name in self}
        first = next(iter(values), "")
        for name, value in values.items():
            if value != values[first]:
                raise self.wrong(name, f"not equal to {first}")
        return values.get(first, default)

    def numbers(self, names: Sequence[str], count: int, default: Sequence[float] = ()) -> list[float]:
        def parse(name: str) -> list[float]:
            try:
                numbers = [float(word) for word in self[name].replace("_", "?").split()]
            except ValueError:
                numbers = []
            if len(numbers) != count:
                raise self.not_as_expected(name, f"{count} numbers")
            return numbers

        if not default and not self.has(*names):
            raise self.wrong(names[0], "missing")
        return self.one_value(names, parse, list(default))

    def flag(self, *names: str, default: bool) -> bool:
        def parse(name: str) -> bool:
            if self[name].lower() not in _TRUTH:
                raise self.not_as_expected(name, "True or False")
            return _TRUTH[self[name].lower()]

        return self.one_value(names, parse, default)

    def element_type(self) -> str:
        if (name := self.text("ElementType")) not in MET_TYPES:
            what = f"ElementType {one_line(name, limit=40)!r} is not read"
            raise UnsupportedError(what, where=self.path, do="write it as MET_SHORT")
        return MET_TYPES[name]


def _read_keys(handle: BinaryIO, path: Path) -> _Keys:
    """All keys up to ElementDataFile; leaves the file at the end of the header."""
    head = handle.read(HEADER_LIMIT).removeprefix(b"\xef\xbb\xbf")
    position = handle.tell() - len(head)  # after the byte order mark
    keys = _Keys(path)
    for raw in head.splitlines(keepends=True) if b"\n" in head else [head]:
        position += len(raw)
        line = raw.decode("utf-8", "replace").strip()
        key, separator, value = re.fullmatch(r"([^=:]*)([=:]?)(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]  # matches anything
        key, value = key.strip(), value.strip()
        if not (key.isascii() and key.isprintable()):
            raise FormatError("is not a MetaImage: the header is not text", where=path, do="give a .mhd or .mha file")
        if not separator:
            continue  # free text between the keys, which other readers ignore, too
        if keys.setdefault(key, value) != value:
            what = f"header: {one_line(key, limit=40)!r} is there twice with different values"
            raise FormatError(what, where=path, code="header")
        if key == "ElementDataFile" and (raw.endswith((b"\n", b"\r")) or len(head) < HEADER_LIMIT):
            handle.seek(position)
            return keys
    long = f" in its first {HEADER_LIMIT} bytes" if len(head) >= HEADER_LIMIT else ""
    raise FormatError(f"is not a MetaImage: no ElementDataFile{long}", where=path, do="give a .mhd or .mha file")
