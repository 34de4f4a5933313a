"""Modality LUTs: tables that replace slope and intercept (PS3.3 C.11.1). Parsing, use, and reasons to refuse them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.io.dicom.records import Finding, ModalityLut, SliceHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@functools.lru_cache(maxsize=8)
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
    """Map stored values through a table; values beyond its ends get the end entries."""
    table = np.frombuffer(lut.table, np.int32)
    mapped: NDArray[np.int32] = np.take(table, np.subtract(values, lut.first, dtype=np.int64), mode="clip")
    return mapped


def refuse_luts(with_lut: Sequence[SliceHeader]) -> Finding | None:
    """Check whether slices with a Modality LUT can be read.

    Parameters
    ----------
    with_lut : sequence of SliceHeader
        At least one, each with a LUT.

    Returns
    -------
    Finding or None
        Why they cannot be read; None if they can.
    """
    luts = [(h, h.lut) for h in with_lut if h.lut is not None]
    both = tuple(h.path for h, _ in luts if h.slope is not None or h.intercept is not None)
    foreign = tuple(h.path for h, lut in luts if lut.kind != "HU")
    broken = tuple(h.path for h, lut in luts if not lut.table)
    rescaled = f"{len(both)} slices have a rescale slope or intercept beside their Modality LUT, which DICOM forbids"
    unknown = f"{len(foreign)} slices have a Modality LUT whose type is not HU: their units are unknown"
    contradictory = f"{len(broken)} slices have a Modality LUT whose descriptor and data contradict each other"
    findings = (
        Finding("lut-and-rescale", rescaled, "refused", both),
        Finding("not-hounsfield", unknown, "refused", foreign),
        Finding("bad-modality-lut", contradictory, "refused", broken),
    )
    return next((f for f in findings if f.files), None)
