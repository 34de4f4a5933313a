"""Modality LUTs: from raw elements to a table (PS3.3 C.11.1)."""

import struct
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class ModalityLut(NamedTuple):
    """A table that maps stored values to other units (PS3.3 C.11.1).

    Parameters
    ----------
    kind : str
        Modality LUT Type: ``"HU"`` for Hounsfield units, ``"US"`` for unspecified ones.
    first : int
        The stored value that the first entry maps.
    table : bytes
        Entries as int32 in native byte order; empty if the table is broken.
    """

    kind: str
    first: int
    table: bytes

    def look_up(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """Map stored values through the table; values beyond its ends get the end entries."""
        index = np.subtract(values, self.first, dtype=np.int64)
        mapped: NDArray[np.int32] = np.take(np.frombuffer(self.table, np.int32), index, mode="clip")
        return mapped


@lru_cache(maxsize=8)
def parse_lut(descriptor: bytes, data: bytes, kind: str, *, order: Any, signed: bool, negative: bool) -> ModalityLut:
    """Parse the raw elements of one item; cached, because the slices of a series share a table.

    Parameters
    ----------
    descriptor : bytes
        LUT Descriptor (0028,3002): number of entries (0 stands for 65536), first mapped value, bits of an entry.
    data : bytes
        LUT Data (0028,3006), in words of 16 bits; entries of 8 bits may also be bytes.
    kind : str
        Modality LUT Type (0028,3004).
    order : {"little", "big"}
        Byte order of the words of the table.
    signed : bool
        Pixel Representation: whether the first mapped value is signed.
    negative : bool
        Whether the entries are signed, that is, have the value representation SS (C.11.1.1).

    Returns
    -------
    ModalityLut
        Without a table if the elements contradict each other.
    """
    broken = ModalityLut(kind, 0, b"")
    if len(descriptor) != 6:
        return broken
    entries, first, bits = struct.unpack(f"{'>' if order == 'big' else '<'}H{'h' if signed else 'H'}H", descriptor)
    entries = entries or 65536
    narrow = bits == 8 and len(data) == entries + entries % 2 and entries > 2
    sign = "i" if negative else "u"
    word = np.dtype(f"{sign}1") if narrow else np.dtype(f"{sign}2").newbyteorder(order)
    if not 8 <= bits <= 16 or len(data) < entries * word.itemsize:
        return broken
    return ModalityLut(kind, first, np.frombuffer(data, word, entries).astype(np.int32).tobytes())
