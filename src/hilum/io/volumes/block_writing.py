"""Voxels as the bytes of a file, and their packing with gzip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_COMPRESSION = 1
_PIECE = 65536


def stored_array(array: NDArray[Any]) -> NDArray[Any]:
    """Prepare an array for a file.

    Returns
    -------
    ndarray, C-contiguous
        Little-endian; bool as uint8.
    """
    numbers = array.view(np.uint8) if array.dtype == np.bool_ else array
    return np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<"))


def write_gzip(out: BinaryIO, parts: Iterable[bytes | memoryview]) -> None:
    """Write parts as one gzip stream, without time or name: the same parts give the same bytes."""
    from isal import isal_zlib

    packer = isal_zlib.compressobj(level=_COMPRESSION, wbits=31)
    for part in parts:
        # Faster than a part at once: a piece fits in the processor's cache.
        out.writelines(packer.compress(part[start : start + _PIECE]) for start in range(0, len(part), _PIECE))
    out.write(packer.flush())
