"""Modality LUTs: tables in place of slope and intercept (PS3.3 C.11.1), their parsing and what forbids their use."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.io.dicom.records import Finding, ModalityLut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.io.dicom.records import Header


@functools.lru_cache(maxsize=8)
def parse_lut(descriptor: bytes, data: bytes, kind: str, *, order: Any, signed: bool, negative: bool) -> ModalityLut:
    """Make a table of the raw elements of one item; the slices of a series share one.

    Parameters
    ----------
    descriptor : bytes
        LUT Descriptor (0028,3002): number of entries (0 stands for 65536), first mapped value, bits of an entry.
    data : bytes
        LUT Data (0028,3006), in words of 16 bits; entries of 8 bits may lie in bytes, too.
    kind : str
        Modality LUT Type (0028,3004).
    order : {"little", "big"}
    signed : bool
        Pixel Representation, which is the sign of the first mapped value.
    negative : bool
        Whether the entries are signed: those of value representation SS are, all others are not (C.11.1.1).

    Returns
    -------
    ModalityLut
        Without a table where the elements contradict each other.
    """
    broken = ModalityLut(kind, 0, b"")
    if len(descriptor) != 6:
        return broken
    words = [descriptor[k : k + 2] for k in (0, 2, 4)]
    entries = int.from_bytes(words[0], order) or 65536
    first = int.from_bytes(words[1], order, signed=signed)
    bits = int.from_bytes(words[2], order)
    narrow = bits == 8 and len(data) == entries + entries % 2 and entries > 2
    sign = "i" if negative else "u"
    word = np.dtype(f"{sign}1") if narrow else np.dtype(f"{sign}2").newbyteorder(order)
    if not 8 <= bits <= 16 or len(data) < entries * word.itemsize:
        return broken
    return ModalityLut(kind, first, np.frombuffer(data, word, entries).astype(np.int32).tobytes())


def look_up(lut: ModalityLut, values: NDArray[Any]) -> NDArray[np.int32]:
    """Map stored values through a table; those beyond its ends take its end entries.

    Parameters
    ----------
    lut : ModalityLut
    values : ndarray of int or uint

    Returns
    -------
    ndarray of int32
    """
    table = np.frombuffer(lut.table, np.int32)
    mapped: NDArray[np.int32] = np.take(table, np.subtract(values, lut.first, dtype=np.int64), mode="clip")
    return mapped


def refuse_luts(tabled: Sequence[Header]) -> Finding | None:
    """Say why slices with a Modality LUT cannot be read.

    Parameters
    ----------
    tabled : sequence of Header
        At least one, each with a LUT.

    Returns
    -------
    Finding or None
        None where they can.
    """
    both = [h.path for h in tabled if h.slope is not None or h.intercept is not None]
    if both:
        text = f"a Modality LUT beside a rescale slope or intercept, which it forbids, in {len(both)} slices"
        return Finding("lut-and-rescale", text, "refused", tuple(both))
    foreign = [h.path for h in tabled if h.lut is not None and h.lut.kind != "HU"]
    if foreign:
        text = f"a Modality LUT whose type is not HU, so the units are unknown, in {len(foreign)} slices"
        return Finding("not-hounsfield", text, "refused", tuple(foreign))
    broken = [h.path for h in tabled if h.lut is not None and not h.lut.table]
    if broken:
        text = f"a Modality LUT whose descriptor and data do not fit, in {len(broken)} slices"
        return Finding("bad-modality-lut", text, "refused", tuple(broken))
    return None
