"""The library of compiled kernels that a wheel holds: one file, with the code of every kernel for several processors.

`python -m hilum._kernels.compile` builds it. A process loads it through ctypes, without numba and llvmlite, and takes
the code for the highest level that its processor has: on x86-64 the baseline, v3 (AVX2 and FMA, since 2013) or v4
(AVX-512). The environment variable HILUM_KERNEL_LEVEL names another level, or ``compile`` for no library.
"""

import ctypes
import functools
import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum._os.files import load_library
from hilum.errors import InputError

ROOM = Path(__file__).parent.parent

FILE = ROOM / "kernels.bin"  # not named as an extension module of Python

COMPILE = "compile"

_log = logging.getLogger("hilum")


@dataclass(frozen=True)
class Library:
    """An open library: the level in use, and number and kind of result of each kernel by its line in the list."""

    handle: Any
    level: str
    kernels: dict[str, tuple[int, str]]


def find(line: str) -> tuple[int, str] | None:
    """Find a kernel for some argument types; return its address and the kind of its result ("" for none).

    Parameters
    ----------
    line : str
        The kernel and its types, as `hilum._kernels.compile.signatures.signature_line` writes them.
    """
    library = open_library()
    if library is None or line not in library.kernels:
        return None
    number, result = library.kernels[line]
    function = library.handle[symbol(library.level, number)]
    return ctypes.cast(function, ctypes.c_void_p).value or 0, result


@functools.cache
def open_library() -> Library | None:
    """Open the library beside the source; None where there is none for this source, or none is wanted.

    Raises
    ------
    InputError
        If HILUM_KERNEL_LEVEL names a level that the library or the processor does not have.
    """
    wanted = os.environ.get("HILUM_KERNEL_LEVEL", "")
    library = None if wanted == COMPILE else _open()
    if library is None:
        if wanted not in {"", COMPILE}:
            do = "build it with 'python -m hilum._kernels.compile', or set no level"
            raise InputError(f"HILUM_KERNEL_LEVEL is {wanted!r}, and there is no library of kernels", do=do)
        return None
    handle, levels, kernels = library
    usable = levels[: handle.hilum_level() + 1]
    if wanted and wanted not in usable:
        raise InputError(f"HILUM_KERNEL_LEVEL is {wanted!r}; this machine can use {', '.join((*usable, COMPILE))}")
    return Library(handle, wanted or usable[-1], kernels)


def is_current() -> bool:
    """Check whether the library beside the source is there and was built from it."""
    return _open() is not None


def _open() -> tuple[Any, list[str], dict[str, tuple[int, str]]] | None:
    if not FILE.is_file():
        return None
    try:
        handle = load_library(FILE)
    except OSError as problem:  # of another system
        _log.warning("the library of kernels cannot be loaded: %s", problem)
        return None
    text = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(handle, "hilum_index"))).decode()
    stamp, levels, *lines = text.splitlines()
    if stamp != source_stamp():
        _log.info("the library of kernels is not of this source: 'python -m hilum._kernels.compile' builds it anew")
        return None
    parts = [line.split("\t") for line in lines]
    return handle, levels.split(), {line: (int(number), result) for number, result, line in parts}


def symbol(level: str, number: int) -> str:
    """The name of a kernel in the library."""
    return f"hilum_{level}_{number}"


def source_stamp() -> str:
    """Identify the source of the kernels, their list, and the size of Python's objects, which the code knows."""
    kinds = (".py", ".txt")
    files = [Path(folder, name) for folder, _, names in os.walk(ROOM) for name in names if name.endswith(kinds)]
    content = b"".join(path.read_bytes() for path in sorted(files))
    return f"{hashlib.sha256(content).hexdigest()} {object.__basicsize__}"
