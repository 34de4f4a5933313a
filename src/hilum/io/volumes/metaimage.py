"""MetaImage: .mhd with its data file, and .mha with the data after the header.

A text header of ``Key = Value`` lines ends with ElementDataFile; a block of numbers follows. The reader is our own:
ITK's opens any path that a header names, and trusts any size. World coordinates are LPS. Each row of TransformMatrix
is the direction of one axis, x first.

Source: MetaIO documentation, https://itk.org/Wiki/MetaIO/Documentation, and ITK's ``metaTypes.h``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hilum.errors import FormatError, OutputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.files import open_data, open_file
from hilum.io.volumes import blocks, metaimage_header
from hilum.io.volumes.volume_file import BlockHeader, VolumeFile, volume_file
from hilum.scan import Note
from hilum.volume import Volume


def read_metaimage(path: Path) -> VolumeFile:
    """Read a .mhd or .mha file, as `hilum.io.volumes.formats.Format.read`.

    The data files must be in the header's folder or below it. The series UID is the key SeriesInstanceUID.
    """
    with open_file(path) as handle:
        header = metaimage_header.read_header(handle, path)
        size = blocks.check_size(header.geometry.shape, header.dtype, where=path)
        parts = header.files or ("",)
        notes: list[Note] = []
        for k, name in enumerate(parts):
            with open_data(path, handle, name) as (where, source):
                block = _block(source, header, size // len(parts), where)
                if k == 0:  # only now: the first file is large enough for its part
                    array = np.zeros(header.geometry.shape, header.dtype)
                block.fill(array.reshape(len(parts), -1)[k], zeroed=True)
                notes += [note for note in block.finish() if note not in notes]
    return volume_file(header, array, notes)


def read_metaimage_header(path: Path) -> BlockHeader:
    """Read the header of a .mhd or .mha file."""
    with open_file(path) as handle:
        return metaimage_header.read_header(handle, path)


def write_metaimage(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write .mha, or .mhd and .raw, as `hilum.io.volumes.formats.Format.write`.

    Geometry and voxels are stored bit for bit. The header of a .mhd appears after its data.
    """
    from hilum.io.atomic import atomic_path  # late: reading does not need it

    array = blocks.stored_array(volume.array)
    element = next((name for name, code in metaimage_header.MET_TYPES.items() if code == array.dtype.str[1:]), "")
    if not element:
        raise UnsupportedError(f"MetaImage cannot store voxels of type {array.dtype}", where=path)
    voxels, raw = array.reshape(-1).view(np.uint8).data, path.with_suffix(".raw")
    if not raw.name.isprintable() or "%" in raw.name or raw.name != raw.name.strip():
        raise OutputError("a MetaImage header cannot contain this file name", where=path, do="choose a plain name")
    local = path.suffix.lower() == ".mha"
    text = _header_text(volume.geometry, element, "LOCAL" if local else raw.name, series_uid).encode()
    with atomic_path(path, synced=False) as temporary:
        if local:
            with temporary.open("wb") as out:
                blocks.write_raw(out, (text, voxels))
            return
        temporary.write_bytes(text)
        with atomic_path(raw, synced=False) as data, data.open("wb") as out:  # has its name first
            blocks.write_raw(out, (voxels,))


def _header_text(geometry: Geometry, element: str, data: str, series_uid: str) -> str:
    def row(values: Sequence[float]) -> str:
        return " ".join(repr(v) for v in values)  # the shortest text that reads back as the same number

    uid = f"SeriesInstanceUID = {series_uid}\n" if series_uid else ""
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        f"TransformMatrix = {' '.join(map(row, geometry.direction[::-1]))}\nOffset = {row(geometry.origin)}\n"
        f"CenterOfRotation = 0 0 0\nElementSpacing = {row(geometry.spacing[::-1])}\n"
        f"DimSize = {row(geometry.shape[::-1])}\nElementType = {element}\n{uid}ElementDataFile = {data}\n"
    )


def _block(source: BinaryIO, header: BlockHeader, size: int, where: Path) -> blocks.Block:
    """The part of a file that holds `size` bytes of voxels; refuse it if it is too short."""
    start = source.tell()
    if header.skip < 0:  # HeaderSize -1: the voxels are the last bytes
        end = source.seek(0, 2)
        if end - start < size:
            raise blocks.truncated(end - start, size, where)
        source.seek(end - size)
    else:  # HeaderSize counts from the start of the file
        if 0 < header.skip < start:
            raise FormatError(f"HeaderSize {header.skip} is inside the header", where=where, code="header")
        source.seek(header.skip or start)
    packing = header.packing
    if packing == "zlib":  # MetaIO also unpacks gzip
        packing = "gzip" if source.read(2) == blocks.GZIP_MAGIC else "zlib"
        source.seek(header.skip or start)
    block = blocks.Block(source, packing, where=where, length=header.packed_size)
    block.expect(size)
    return block
