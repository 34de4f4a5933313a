"""An array as .npy, with its geometry in a .json of the same name: ``ct.npy`` and ``ct.json``.

The plainest training store: numpy maps the array and reads a patch of it, without this library.
Source: NEP 1, "A simple file format for NumPy arrays".
"""

from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from hilum.errors import FormatError, MissingInputError, UnsupportedError
from hilum.io.files import HEADER_LIMIT, open_file
from hilum.io.volumes import blocks, open_volumes, volume_file
from hilum.io.volumes.placement import Placement, decode_placement, placement_of
from hilum.volume import Volume


def write_npy(volume: Volume, path: Path, *, series_uid: str = "") -> None:
    """Write a .npy, then its geometry as .json of the same name, as `hilum.io.volumes.formats.Format.write`."""
    from hilum.io.atomic import atomic_path  # late: reading does not need it

    placement = placement_of(volume, series_uid=series_uid)
    with atomic_path(path, synced=False) as temporary, temporary.open("wb") as out:
        np.lib.format.write_array(out, np.ascontiguousarray(volume.array), version=(1, 0), allow_pickle=False)
    with atomic_path(path.with_suffix(".json"), synced=False) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(placement), indent=1) + b"\n")


def read_npy(path: Path) -> volume_file.VolumeFile:
    """Read a volume or mask from a .npy file and its .json, as `hilum.io.volumes.formats.Format.read`."""
    placement = _read_placement(path)
    with open_file(path) as handle:
        shape, fortran, dtype = _check_array(handle, placement, path)
        array = np.empty(shape[::-1] if fortran else shape, dtype)
        blocks.Block(handle, "raw", where=path).fill(array)
    return volume_file.VolumeFile(placement.to_header(where=path), array.T if fortran else array)


def open_npy(path: Path) -> open_volumes.OpenArray:
    """Map a .npy file that `write_npy` made into memory."""
    placement = _read_placement(path)
    with open_file(path) as handle:
        shape, fortran, dtype = _check_array(handle, placement, path)
        array = np.memmap(handle, dtype, "r", handle.tell(), shape, "F" if fortran else "C")
    return open_volumes.OpenArray(array, placement.to_header(where=path).geometry, resident=False)


def read_npy_header(path: Path) -> volume_file.VolumeHeader:
    """Read the geometry of a .npy file that `write_npy` made, from its .json."""
    return _read_placement(path).to_header(where=path)


def _read_placement(path: Path) -> Placement:
    path = path.with_suffix(".json")
    try:
        with open_file(path) as handle:
            text = handle.read(HEADER_LIMIT + 1)
    except MissingInputError as error:
        what = "the geometry of the array is missing"
        raise MissingInputError(what, where=path, do="copy the .json into the folder of its .npy") from error
    if len(text) > HEADER_LIMIT:
        raise FormatError(f"is longer than {HEADER_LIMIT} bytes, no geometry", where=path)
    return decode_placement(text, Placement, where=path)


def _check_array(handle: BinaryIO, placement: Placement, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis is the fastest, and type: checked before anything is allocated."""
    try:
        form = np.lib.format
        read_header = form.read_array_header_1_0 if form.read_magic(handle) == (1, 0) else form.read_array_header_2_0
        shape, fortran, dtype = read_header(handle)
    except Exception as error:  # the header is a Python literal: numpy lets through whatever its parser raises
        raise FormatError(f"is not a numpy file: {error}", where=path) from error
    if len(shape) != 3 or min(shape) < 1:
        raise FormatError(f"has shape {shape}, expected (z, y, x)", where=path, code="shape")
    if dtype.kind not in "iufb":
        raise UnsupportedError(f"holds {dtype}, expected numbers", where=path)
    placement.check(shape, dtype, where=path)
    blocks.Block(handle, "raw", where=path).expect(blocks.check_size(shape, dtype, where=path))
    return shape, fortran, dtype
