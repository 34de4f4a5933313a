"""MetaImage: .mhd with its data file, and .mha with the data behind the header.

The format is a text header of ``Key = Value`` lines, which ends with ElementDataFile, and a block of numbers. The
reader is our own, because the usual one follows any path and trusts any size. World coordinates are LPS already.
Each row of TransformMatrix is the direction of one axis, x first.

Source: MetaIO documentation, https://itk.org/Wiki/MetaIO/Documentation, and ITK's ``metaTypes.h``.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.errors import FormatError, OutputError, UnsupportedError
from hilum.io.atomic import atomic_path
from hilum.io.files import data_path, open_file
from hilum.io.uids import is_uid
from hilum.io.volumes.blocks import GZIP_MAGIC, Block, check_size
from hilum.io.volumes.metaimage_header import MET_TYPES, Header, read_header
from hilum.io.volumes.volume_file import to_scan
from hilum.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from hilum.geometry import Geometry
    from hilum.scan import Note, Scan


def read_metaimage(path: Path) -> Scan:
    """Read a CT from a .mhd or .mha file.

    Parameters
    ----------
    path : Path
        The header, of Hounsfield units. Its data file is looked for in the header's folder and nowhere else.

    Returns
    -------
    Scan
        int16 HU in the order in which the file stores them; named by the key SeriesInstanceUID where the header has
        one, or after the file, which LUNA16 names by series UID.

    Raises
    ------
    FormatError, UnsupportedError, GeometryError, MissingInputError, InputError
        If header or data are damaged, truncated or missing, name a file elsewhere, or hold no 3-D volume of numbers.
    """
    array, header = _load(path)
    return to_scan(array, header.geometry, where=path, notes=header.notes, series_uid=header.series_uid)


def header_uid(path: Path) -> str:
    """Read the series UID that a header names, and no voxel.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        What the header has in its place; it may be no UID.

    Raises
    ------
    HilumError
        If it is no header.
    """
    with open_file(path) as handle:
        return read_header(handle, path).series_uid


def read_metaimage_volume(path: Path) -> Volume:
    """Read a .mhd or .mha file of anything, a mask for example, with the numbers that it holds.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Volume
        Of the file's own type.

    Raises
    ------
    FormatError, UnsupportedError, GeometryError, MissingInputError, InputError
        As `read_metaimage`.
    """
    array, header = _load(path)
    return Volume(array, header.geometry)


def write_metaimage(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a volume or mask as .mha, or as .mhd with a .raw beside it; geometry and voxels are kept bit for bit.

    Parameters
    ----------
    volume : Volume
        Of integers, floats or bool.
    path : Path
        Ends in .mhd or .mha. Each file appears only when complete, the header after its data.
    series_uid : str
        Kept in the header as the key SeriesInstanceUID, where it is a UID.

    Raises
    ------
    UnsupportedError
        If the name or the type of the voxels does not fit the format.
    OutputError
        If a file cannot be written.
    """
    if path.suffix.lower() not in (".mhd", ".mha"):
        raise UnsupportedError("a MetaImage ends in .mhd or .mha", where=path)
    array = volume.array.view(np.uint8) if volume.array.dtype == np.bool_ else volume.array
    element = next((name for name, code in MET_TYPES.items() if code == array.dtype.str[1:]), "")
    if not element:
        raise UnsupportedError(f"MetaImage holds no voxels of type {array.dtype}", where=path)
    raw = path.with_suffix(".raw")
    if not raw.name.isprintable() or "%" in raw.name or raw.name != raw.name.strip():
        raise OutputError("this file name cannot stand in a MetaImage header", where=path, do="choose a plain name")
    voxels = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    local = path.suffix.lower() == ".mha"
    text = _header_text(volume.geometry, element, "LOCAL" if local else raw.name, series_uid).encode()
    with atomic_path(path) as temporary:
        if local:
            with temporary.open("wb") as out:
                out.write(text)
                out.write(voxels.data)
            return
        temporary.write_bytes(text)
        with atomic_path(raw) as beside:  # takes its name before the header takes its own
            beside.write_bytes(voxels.data)


def _header_text(geometry: Geometry, element: str, data: str, series_uid: str) -> str:
    def row(values: Sequence[float]) -> str:
        return " ".join(repr(v) for v in values)  # the shortest text that reads back as the same number

    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": " ".join(row(axis) for axis in geometry.direction[::-1]),
        "Offset": row(geometry.origin),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": row(geometry.spacing[::-1]),
        "DimSize": row(geometry.shape[::-1]),
        "ElementType": element,
        **({"SeriesInstanceUID": series_uid} if is_uid(series_uid) else {}),
        "ElementDataFile": data,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def _load(path: Path) -> tuple[NDArray[Any], Header]:
    with open_file(path) as handle:
        header = read_header(handle, path)
        size = check_size(math.prod(header.geometry.shape), header.dtype, where=path)
        pieces = len(header.files) or 1
        array = None
        notes: list[Note] = []
        for k in range(pieces):
            name = header.files[k] if header.files else ""
            where = data_path(path, name) if name else path
            opened: AbstractContextManager[BinaryIO] = open_file(where, named=name) if name else nullcontext(handle)
            with opened as source:
                block = _block(source, header, size // pieces, where)
                if array is None:  # only now: the first file is large enough for its share
                    array = np.empty(header.geometry.shape, header.dtype)
                block.fill(array.reshape(pieces, -1)[k])
                notes += [note for note in block.finish() if note not in notes]
    assert array is not None  # noqa: S101 - there is at least one piece
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder())
    return array, header.with_notes(notes)


def _block(source: BinaryIO, header: Header, size: int, where: Path) -> Block:
    """The stretch of a file that holds `size` bytes of voxels, found to be long enough for them."""
    start = header.offset if not header.files else 0
    if header.skip < 0:  # HeaderSize -1: the voxels are the last bytes
        end = source.seek(0, 2)
        if end - start < size:
            raise FormatError(
                f"the data end after {end - start} of {size} bytes",
                where=where,
                do="download or copy it again",
                code="truncated",
            )
        source.seek(end - size)
    else:  # HeaderSize counts from the start of the file
        if 0 < header.skip < start:
            raise FormatError(f"HeaderSize {header.skip} is inside the header", where=where, code="header")
        source.seek(header.skip or start)
    packing = header.packing
    if packing == "zlib":  # MetaIO unpacks either
        packing = "gzip" if source.read(2) == GZIP_MAGIC else "zlib"
        source.seek(header.skip or start)
    block = Block(source, packing, where=where, length=header.packed_size)
    block.expect(size)
    return block
