"""NRRD: .nrrd, and .nhdr with its data file.

pynrrd parses the header. This module reads the voxels itself: pynrrd opens any path and unpacks without limit.

Source: G. Kindlmann, "Definition of NRRD File Format", https://teem.sourceforge.net/nrrd/format.html.
"""

import math
import re
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from hilum.errors import FormatError, GeometryError, UnsupportedError, one_line
from hilum.geometry import Geometry
from hilum.io.files import HEADER_LIMIT, open_data, open_file
from hilum.io.volumes.blocks import Block, check_size, stored_array, write_gzip
from hilum.io.volumes.volume_file import (
    BlockHeader,
    Packing,
    VolumeFile,
    geometry_from_steps,
    unit_notes,
    unit_of_length,
    volume_file,
)
from hilum.scan import Note
from hilum.volume import Mask, Volume

_TYPES = MappingProxyType({
    "int8": "i1", "int8_t": "i1", "signed char": "i1",
    "uint8": "u1", "uint8_t": "u1", "uchar": "u1", "unsigned char": "u1",
    "int16": "i2", "int16_t": "i2", "short": "i2", "short int": "i2", "signed short": "i2", "signed short int": "i2",
    "uint16": "u2", "uint16_t": "u2", "ushort": "u2", "unsigned short": "u2", "unsigned short int": "u2",
    "int32": "i4", "int32_t": "i4", "int": "i4", "signed int": "i4",
    "uint32": "u4", "uint32_t": "u4", "uint": "u4", "unsigned int": "u4",
    "int64": "i8", "int64_t": "i8", "longlong": "i8", "long long": "i8", "long long int": "i8",
    "signed long long": "i8", "signed long long int": "i8",
    "uint64": "u8", "uint64_t": "u8", "ulonglong": "u8", "unsigned long long": "u8", "unsigned long long int": "u8",
    "float": "f4", "double": "f8",
})  # fmt: skip
"""numpy's code of each type name in the definition; of several names for one type, the first is written."""

_LPS_SIGNS = MappingProxyType({
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
})  # fmt: skip
"""The signs that turn the axes of a space, x first, into LPS."""

_PACKINGS: dict[str, Packing] = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_SPATIAL_KINDS = {"domain", "space", "none", "???"}
_LIST = re.compile(rb"data ?file:\s*LIST\b", re.IGNORECASE)


def read_nrrd(path: Path) -> VolumeFile:
    """Read a .nrrd or .nhdr file, as `hilum.io.volumes.formats.Format.read`.

    Data files must be in the header's folder or below it. The series UID is the one that `write_nrrd` stored.
    """
    with open_file(path) as handle:
        header = _read_header(handle, path)
        parts = header.files or ("",)
        size = check_size(header.geometry.shape, header.dtype, where=path) // len(parts)
        notes: list[Note] = []
        for k, name in enumerate(parts):
            with open_data(path, handle, name) as (where, source):
                if header.skip < 0:  # the voxels are the last bytes
                    source.seek(max(source.tell(), source.seek(0, 2) - size))
                block = Block(source, header.packing, where=where)
                block.expect(max(0, header.skip) + size)
                block.fill(np.empty(max(0, header.skip), np.uint8))  # counted after unpacking
                if k == 0:  # only now: the first file is large enough for its part
                    array = np.zeros(header.geometry.shape, header.dtype)
                block.fill(array.reshape(len(parts), -1)[k], zeroed=True)
                notes += [note for note in block.finish() if note not in notes]
    return volume_file(header, array, notes)


def read_nrrd_header(path: Path) -> BlockHeader:
    """Read the header of a .nrrd or .nhdr file."""
    with open_file(path) as handle:
        return _read_header(handle, path)


def write_nrrd(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a .nrrd, packed with gzip, as `hilum.io.volumes.formats.Format.write`.

    The format stores direction times spacing: in an oblique grid the last bit of either can change. The series UID is
    the key ``series_uid``. The names of a mask's labels are those of segments, as 3D Slicer writes and reads them.
    """
    from hilum.io.atomic import atomic_path  # late: reading does not need it

    array = stored_array(volume.array)
    name = next((name for name, code in _TYPES.items() if code == array.dtype.str[1:]), "")
    if not name:
        raise UnsupportedError(f"NRRD cannot store voxels of type {array.dtype}", where=path)
    geometry = volume.geometry
    vectors = ["(" + ",".join(map(repr, v)) + ")" for v in [*geometry.affine[:3].T.tolist()[2::-1], geometry.origin]]
    text = (
        f"NRRD0004\ntype: {name}\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, geometry.shape[::-1]))}\nspace directions: {' '.join(vectors[:3])}\n"
        f"kinds: domain domain domain\nendian: little\nencoding: gzip\nspace origin: {vectors[3]}\n"
    )
    text += f"series_uid:={series_uid}\n" if series_uid else ""
    for k, (value, label) in enumerate(volume.names.items() if isinstance(volume, Mask) else ()):
        text += f"Segment{k}_ID:=Segment_{value}\nSegment{k}_LabelValue:={value}\nSegment{k}_Layer:=0\n"
        text += f"Segment{k}_Name:={one_line(label, limit=64)}\n"
    text += "\n"
    with atomic_path(path, synced=False) as temporary, temporary.open("wb") as out:
        out.write(text.encode())
        write_gzip(out, (array.reshape(-1).view(np.uint8).data,))


def _read_header(handle: BinaryIO, path: Path) -> BlockHeader:
    fields = _read_fields(handle, path)
    for old, new in (("datafile", "data file"), ("byteskip", "byte skip"), ("lineskip", "line skip")):
        if old in fields:
            fields.setdefault(new, fields.pop(old))
    for name in ("dimension", "sizes", "type", "encoding"):
        if name not in fields:
            raise _wrong(name, "missing", path)
    sizes = _spatial_axes(fields, path)
    dtype, packing = _element(fields, path)
    if fields.get("line skip", 0):
        raise UnsupportedError("line skip is not read", where=path, do="write one .nrrd file")
    skip, files = fields.get("byte skip", 0), _data_files(fields, sizes, path)
    if not (0 <= skip <= 2**24 or (skip == -1 and packing == "raw")):
        raise _wrong("byte skip", str(skip), path)
    geometry, notes = _geometry(fields, sizes, path)
    uid = str(fields.get("series_uid", ""))
    return BlockHeader(
        geometry=geometry, series_uid=uid, notes=notes, dtype=dtype, packing=packing, skip=skip, files=files,
        label_names=_segment_names(fields),
    )  # fmt: skip


def _segment_names(fields: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    """The names and values of segments, as 3D Slicer writes them: ``Segment0_Name``, ``Segment0_LabelValue``."""
    names = []
    for key, name in fields.items():
        value = str(fields.get(key.removesuffix("Name") + "LabelValue", "")) if key.startswith("Segment") else ""
        if key.endswith("_Name") and value.isdecimal():
            names.append((str(name), int(value)))
    return tuple(names)


def _spatial_axes(fields: dict[str, Any], path: Path) -> list[int]:
    """The sizes of the three axes of space; an axis of one entry, such as a list of one, is left out of the fields."""
    sizes = [int(n) for n in fields["sizes"]]
    if fields["dimension"] != len(sizes) or not sizes or min(sizes) < 1:
        raise _wrong("sizes", f"{sizes[:7]} for dimension {fields['dimension']}", path)
    kinds = [kind.lower() for kind in fields.get("kinds", ["domain"] * len(sizes))]
    kept = list(range(len(sizes)))
    if len(sizes) > 3 and len(kinds) == len(sizes):
        vectors = fields.get("space directions")
        has_vector = [
            vectors is None or np.isfinite(vector).any() for vector in (sizes if vectors is None else vectors)
        ]
        if len(has_vector) == len(sizes):
            kept = [k for k in kept if sizes[k] > 1 or (has_vector[k] and kinds[k] in _SPATIAL_KINDS)]
            fields["space directions"] = None if vectors is None else [vectors[k] for k in kept]
    if len(kept) != 3 or len(kinds) != len(sizes) or not _SPATIAL_KINDS.issuperset(kinds[k] for k in kept):
        what = f"holds {len(sizes)} dimensions of sizes {sizes[:7]} and kinds {kinds[:7]}, expected one 3-D volume"
        raise UnsupportedError(what, where=path, do="split it")
    return [sizes[k] for k in kept]


def _data_files(fields: dict[str, Any], sizes: list[int], path: Path) -> tuple[str, ...]:
    """Names of the data files, each an equal part: one, a list, or a pattern ``name%03d.raw first last step``."""
    text = str(fields.get("data file", ""))
    words = text.split()
    if words[:1] == ["LIST"]:
        names, rest = tuple(fields["files"]), words[1:]
    elif pattern := re.fullmatch(r"([^%]*)%(0?\d?)d([^%]*?) +(\d{1,9}) +(\d{1,9}) +(-?\d{1,9})(?: +(\d))?", text):
        before, width, after, first, last, step, subdim = pattern.groups()
        numbers = range(int(first), int(last) + (1 if int(step) > 0 else -1), int(step) or 1)
        names = tuple(f"{before}{k:{width}d}{after}" for k in numbers[: sizes[1] * sizes[2] + 1])
        rest = [subdim] if subdim else []
    else:
        return (text,) if text else ()
    dims = len(fields["sizes"])
    subdim = int(rest[0]) if rest and rest[0].isdecimal() else dims - 1  # the axes that one file holds
    expected = math.prod(int(n) for n in fields["sizes"][subdim:])
    if subdim == dims and names and sizes[2] % len(names) == 0:
        expected = len(names)  # each holds as many of the slices
    if not 0 < subdim <= dims or len(names) != expected:
        what = f"names {len(names)} data files for {expected} parts"
        raise FormatError(what, where=path, do="check that the list is complete", code="list")
    return names


def _element(fields: dict[str, Any], path: Path) -> tuple[np.dtype[Any], Packing]:
    code = _TYPES.get(fields["type"].lower())
    packing = _PACKINGS.get(fields["encoding"].lower())
    if code is None or packing is None:
        what = f"holds {fields['type']} as {fields['encoding']}"
        raise UnsupportedError(what, where=path, do="write it as short, raw or gzip")
    order = {"little": "<", "big": ">"}.get(str(fields.get("endian", "little" if code[1] == "1" else "")).lower())
    if order is None:
        raise _wrong("endian", "neither little nor big", path)
    return np.dtype(order + code), packing


def _geometry(fields: dict[str, Any], sizes: list[int], path: Path) -> tuple[Geometry, tuple[Note, ...]]:
    signs = _LPS_SIGNS.get(str(fields.get("space", "")).lower())
    directions = fields.get("space directions")
    if signs is None or directions is None:
        what = f"orientation unknown: space is {one_line(fields.get('space', 'missing'), limit=40)!r}"
        what += f", space directions are {'missing' if directions is None else 'given'}"
        raise GeometryError(what, where=path, do="export it with left-posterior-superior")
    scales = [unit_of_length(str(unit), where=path) for unit in fields.get("space units", [])] or [1.0, 1.0, 1.0]
    if len(scales) != 3:
        raise _wrong("space units", f"{len(scales)} units, expected 3", path)
    notes = unit_notes(*scales)
    if "space origin" not in fields:
        notes += (Note("no-origin", "the header lacks space origin: assumed 0 0 0"),)
    steps, origin = np.asarray(directions, float), np.asarray(fields.get("space origin", (0, 0, 0)), float)
    if steps.shape != (3, 3) or origin.shape != (3,):
        raise _wrong("space directions", "not three vectors with an origin", path)
    to_lps = np.multiply(signs, scales)
    lps_origin = (origin * to_lps + 0.0).tolist()  # no negative zeros
    return geometry_from_steps(sizes[::-1], steps=steps[::-1] * to_lps, origin=lps_origin, where=path), notes


def _read_fields(handle: BinaryIO, path: Path) -> dict[str, Any]:
    """Fields as pynrrd parses them; leaves the file after the empty line that ends the header."""
    import nrrd  # late: few scans are NRRD

    head = handle.read(HEADER_LIMIT)
    if not head.startswith(b"NRRD000"):
        raise FormatError("is not a NRRD file of version 1 to 5", where=path, do="give a .nrrd or .nhdr file")
    lines = head.splitlines(keepends=True)
    count = next((k for k, line in enumerate(lines) if not line.strip()), len(lines))
    listed = next((k + 1 for k, line in enumerate(lines[:count]) if _LIST.match(line)), None)
    if count == len(lines) and len(head) >= HEADER_LIMIT and listed is None:
        raise FormatError(f"the header does not end within {HEADER_LIMIT} bytes", where=path)
    handle.seek(len(head) if listed else sum(map(len, lines[: count + 1])))
    try:
        with np.errstate(all="raise"):  # a size of 1e30 is an error, not a warning
            fields = dict(nrrd.read_header(lines[: listed or count]))
            names = [] if listed is None else (b"".join(lines[listed:]) + handle.read(2**20)).decode().splitlines()
            return {**fields, "files": [name.strip() for name in names if name.strip()]}
    except Exception as error:  # numpy, int, float, shlex and unpacking raise errors of many kinds
        raise FormatError(f"header: {error}", where=path, do="export it again", code="header") from error


def _wrong(field: str, what: str, path: Path) -> FormatError:
    return FormatError(f"header: {field} is {what}", where=path, do="correct the header", code="header")
