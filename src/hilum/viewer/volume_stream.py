"""Volumes as the page gets them: uncompressed NIfTI-1 in chunks, masks cut to their labels."""

from collections.abc import Iterator

import numpy as np

from hilum.errors import HilumError, InputError
from hilum.io.volumes.nifti import pack_header
from hilum.ops.labels.shares import measure_labels
from hilum.volume import AnyVolume, Volume

HEADER_BYTES = 352  # offset of the voxels in a NIfTI file

CHUNK_BYTES = 1 << 22


def nifti_chunks(volume: Volume, *, first: int = 0) -> Iterator[bytes]:
    """Write a volume as an uncompressed NIfTI-1 file, in chunks.

    Parameters
    ----------
    volume : Volume
        int16, float32, or labels up to 255.
    first : int
        After the header come the slices from this one on, then those before it.

    Yields
    ------
    bytes
    """
    array = volume.array
    if array.dtype.kind != "f" and array.dtype != np.int16:
        if array.size and not 0 <= array.min() <= array.max() <= 255:
            raise HilumError("a mask has labels above 255")
        array = array.astype(np.uint8, copy=False)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    yield pack_header(volume.geometry, array.dtype.str[1:], "") + bytes(4)
    for part in (array[first:], array[:first]):
        flat = memoryview(part.reshape(-1).view(np.uint8).data)
        for start in range(0, len(flat), CHUNK_BYTES):
            yield bytes(flat[start : start + CHUNK_BYTES])


def first_slice(text: str, volume: Volume) -> int:
    """The number of a slice as an address names it.

    Raises
    ------
    InputError
        If the volume has no such slice.
    """
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < volume.shape[0]:
        return int(text)
    raise InputError("there is no such slice", do=f"first is from 0 to {volume.shape[0] - 1}", code="option")


def cut_to_labels(mask: AnyVolume) -> AnyVolume:
    """The box around the labels of a mask, or its first voxel if it has none; the page fills up the rest."""
    if mask.array.dtype != np.uint8:
        return mask
    boxes = [one.box for one in measure_labels(mask.array, workers=0).values()]
    if not boxes:
        return mask.crop((0, 0, 0), (1, 1, 1))
    sides = list(zip(*boxes, strict=True))
    return mask.crop([min(s.start for s in side) for side in sides], [max(s.stop for s in side) for side in sides])
