"""The types of a kernel's arguments: numbers, arrays with their flags, and tuples of them.

`signatures.txt` lists the kernels and types that the program uses. The library of compiled kernels has exactly these.
`python3 dev.py signatures` renews the list: it runs the tests, and each new combination writes a line.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hilum._kernels.compile.definitions import Definition

Kind = Any  # type of an argument: a numpy type of `NUMBERS`, (type, dimensions, flags) of an array, or a tuple of kinds

NUMBERS: dict[str, tuple[str, Any]] = {
    "|b1": ("q", ctypes.c_bool), "|i1": ("q", ctypes.c_int8), "|u1": ("q", ctypes.c_uint8),
    "<i2": ("q", ctypes.c_int16), "<u2": ("q", ctypes.c_uint16), "<i4": ("q", ctypes.c_int32),
    "<u4": ("q", ctypes.c_uint32), "<i8": ("q", ctypes.c_int64), "<u8": ("Q", ctypes.c_uint64),
    "<f4": ("d", ctypes.c_float), "<f8": ("d", ctypes.c_double),
}  # fmt: skip
"""Struct code of a number in a slot, and its C type as a result. All machines that numba runs on are little-endian."""

LIST = Path(__file__).with_name("signatures.txt")

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


def signature_line(definition: Definition, kinds: tuple[Kind, ...]) -> str:
    """Write a kernel and the types of its arguments as a line of the list."""
    return f"{definition.function.__module__}.{definition.function.__name__} {as_listed(kinds)!r}"


def as_listed(kind: Kind) -> Kind:
    """The kind that the library is compiled for: its arrays may be written, and begin at any address."""
    if isinstance(kind, str):
        return kind
    if is_array(kind):
        dtype, dimensions, flags = kind
        return dtype, dimensions, flags & (C_ORDER | F_ORDER) | WRITABLE
    return tuple(as_listed(part) for part in kind)


def listed() -> list[str]:
    """Read the list of the kernels and types that the program uses."""
    return LIST.read_text(encoding="utf-8").splitlines()


def record(line: str) -> None:
    """Write down what is used, if the environment names a file for it: the tests compare it with the list."""
    if file := os.environ.get("HILUM_KERNEL_SIGNATURES"):
        # A process that may write no more, as some tests have it, runs on.
        with suppress(OSError), Path(file).open("a", encoding="utf-8", newline="\n") as lines:
            lines.write(f"{line}\n")
