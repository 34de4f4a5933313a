"""An array as .npy and its place in the world as .json beside it: ``ct.npy`` and ``ct.json``.

The plainest store for training: numpy maps the array, and reads a patch of it, without this library.
Source: NEP 1, "A simple file format for NumPy arrays".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from hilum.errors import FormatError, MissingInputError, UnsupportedError
from hilum.io.atomic import atomic_path
from hilum.io.files import HEADER_LIMIT, open_file
from hilum.io.volumes.blocks import Block, check_size
from hilum.io.volumes.open_volumes import OpenArray
from hilum.io.volumes.placement import check_placed, decode_placement, placed_geometry, placed_volume, placement_of

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from hilum.io.volumes.placement import Placement
    from hilum.volume import Volume


def write_npy(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a volume or mask as .npy with a .json of its geometry beside it.

    Parameters
    ----------
    volume : Volume
        Of numbers or bool.
    path : Path
        Ends in .npy; the .json gets the same name. Each appears only when complete, the .json last.
    series_uid : str
        Kept in the .json, where it is a UID.

    Raises
    ------
    UnsupportedError
        If the name does not end in .npy.
    OutputError
        If a file cannot be written.
    """
    if path.suffix.lower() != ".npy":
        raise UnsupportedError("a numpy file ends in .npy", where=path)
    record = placement_of(volume, series_uid=series_uid)
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        np.lib.format.write_array(out, np.ascontiguousarray(volume.array), version=(1, 0), allow_pickle=False)
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def read_npy(path: Path) -> Volume:
    """Read a volume or mask from a .npy file and the .json beside it.

    Parameters
    ----------
    path : Path
        The .npy file.

    Returns
    -------
    Volume
        A `Mask` where one was written; voxels of the file's own type.

    Raises
    ------
    FormatError, GeometryError, MissingInputError, UnsupportedError
        If a file is damaged, is not there, disagrees with the other, or holds anything but numbers.
    """
    record = read_npy_placement(path)
    with open_file(path) as handle:
        shape, fortran, dtype = _declared(handle, record, path)
        block = Block(handle, "raw", where=path)
        block.expect(check_size(math.prod(shape), dtype, where=path))
        array = np.empty(shape[::-1] if fortran else shape, dtype)
        block.fill(array)
    return placed_volume(record, array.T if fortran else array, where=path)


def open_npy(path: Path) -> OpenArray:
    """Map a .npy file that `write_npy` made into memory: of it is read what is asked for.

    Parameters
    ----------
    path : Path

    Returns
    -------
    OpenArray

    Raises
    ------
    InputError
        As `read_npy`.
    """
    record = read_npy_placement(path)
    with open_file(path) as handle:
        shape, fortran, dtype = _declared(handle, record, path)
        Block(handle, "raw", where=path).expect(check_size(math.prod(shape), dtype, where=path))
        offset = handle.tell()
        array = np.memmap(handle, dtype, "r", offset, shape, "F" if fortran else "C")
    return OpenArray(array, placed_geometry(record, where=path), resident=False)


def read_npy_placement(path: Path) -> Placement:
    """Read where a .npy file that `write_npy` made puts its voxels, from the .json beside it.

    Parameters
    ----------
    path : Path
        The .npy file.

    Returns
    -------
    Placement

    Raises
    ------
    FormatError, MissingInputError
        If the .json is damaged or not there.
    """
    path = path.with_suffix(".json")
    try:
        with open_file(path) as handle:
            text = handle.read(HEADER_LIMIT + 1)
    except MissingInputError as error:
        raise MissingInputError(
            "the geometry of the array is missing", where=path, do="keep the .json beside its .npy"
        ) from error
    if len(text) > HEADER_LIMIT:
        raise FormatError(f"is longer than {HEADER_LIMIT} bytes, no geometry", where=path)
    return decode_placement(text, where=path)


def _declared(handle: BinaryIO, record: Placement, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """What `_read_header` gives, where it is numbers and what the .json says."""
    shape, fortran, dtype = _read_header(handle, path)
    if dtype.kind not in "iufb":
        raise UnsupportedError(f"holds {dtype}, expected numbers", where=path)
    check_placed(record, shape, dtype, where=path)
    return shape, fortran, dtype


def _read_header(handle: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether the first axis is the fastest, and type, before anything is allocated."""
    try:
        version = np.lib.format.read_magic(handle)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(handle)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(handle)
    except Exception as error:
        # The header is a Python literal: numpy lets whatever its parser raises through.
        raise FormatError(f"is not a numpy file: {error}", where=path) from error
    if len(shape) != 3 or min(shape) < 1:
        raise FormatError(f"has shape {shape}, expected (z, y, x)", where=path, code="shape")
    return shape, fortran, dtype
