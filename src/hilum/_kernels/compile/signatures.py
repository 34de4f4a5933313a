"""The types of a kernel's arguments: numbers, arrays with their flags, and tuples of them."""

import ctypes
from collections.abc import Iterator
from typing import Any

Kind = Any  # type of an argument: a numpy type of `NUMBERS`, (type, dimensions, flags) of an array, or a tuple of kinds

NUMBERS: dict[str, tuple[str, Any]] = {
    "|b1": ("q", ctypes.c_bool), "|i1": ("q", ctypes.c_int8), "|u1": ("q", ctypes.c_uint8),
    "<i2": ("q", ctypes.c_int16), "<u2": ("q", ctypes.c_uint16), "<i4": ("q", ctypes.c_int32),
    "<u4": ("q", ctypes.c_uint32), "<i8": ("q", ctypes.c_int64), "<u8": ("Q", ctypes.c_uint64),
    "<f4": ("d", ctypes.c_float), "<f8": ("d", ctypes.c_double),
}  # fmt: skip
"""Struct code of a number in a slot, and its C type as a result. All machines that numba runs on are little-endian."""

C_ORDER, F_ORDER, ALIGNED, WRITABLE = 0x1, 0x2, 0x100, 0x400  # numpy's array flags that a kernel's code depends on


def is_array(kind: Kind) -> bool:
    """Whether a kind that is not a number is an array; otherwise it is a tuple."""
    return len(kind) > 1 and isinstance(kind[1], int)


def slots(kinds: tuple[Kind, ...]) -> Iterator[Kind]:
    """Yield the kind of each slot of the table: a number or an array."""
    for kind in kinds:
        if isinstance(kind, str) or is_array(kind):
            yield kind
        else:
            yield from slots(kind)
