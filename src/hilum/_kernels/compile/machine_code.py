"""Machine code of kernels: kept in files, loaded through llvmlite.

A file's name holds a digest of everything the code depends on: the kernel's bytecode and that of the kernels it
calls, the constants both use, the argument types, the versions of the compiler, and the processor with its features.
What is found under the name is therefore current; where files lie, and whose are loaded, `hilum._kernels.compile.cache`
says.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from hilum._kernels.compile import cache
from hilum._kernels.compile.definitions import Definition, Intrinsic
from hilum._kernels.compile.processor import SYMBOL, make_machine, processor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hilum._kernels.compile.signatures import Kind


DECIDING = ("BOUNDSCHECK", "CPU_FEATURES", "CPU_NAME", "DEBUGINFO", "DISABLE_INTEL_SVML", "ENABLE_AVX",
            "EXTEND_VARIABLE_LIFETIMES", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE")  # fmt: skip
"""What of numba's environment variables, NUMBA_ before them, changes the code: such code is kept under another name."""

_log = logging.getLogger("hilum")
_libraries: list[Any] = []
"""Owners of the machine code in use: it lives as long as they do."""


def load(asked: Definition, kinds: tuple[Kind, ...]) -> tuple[int, str]:
    """Address of a kernel's machine code for these argument types, and the kind of its result ("" for none).

    Raises
    ------
    TypeError
        If the compiler refuses the kernel, or its code breaks the calling convention.
    """
    name = _file_name(asked, kinds)
    source = Path(asked.function.__code__.co_filename).parent
    content = cache.read(name, source)
    if content is None:
        from hilum._kernels.compile import compiler

        _tell()
        code, result = compiler.compile_kernel(asked, kinds)
        content = result.encode() + b"\n" + code
        cache.write(name, source, content)
    head, _, code = content.partition(b"\n")
    return _link(code), head.decode()


@functools.cache
def _engine() -> Any:
    """What links machine code into this process, a library for each kernel: one engine each took four times as long."""
    return llvm.create_lljit_compiler(make_machine())


def _link(code: bytes) -> int:
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(SYMBOL)
    library = builder.link(_engine(), f"kernel {len(_libraries)}")
    _libraries.append(library)
    address: int = library[SYMBOL]
    return address


def _file_name(asked: Definition, kinds: tuple[Kind, ...]) -> str:
    function = asked.function
    parts = [_stamp(), repr(kinds), *_identity(asked, set())]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}.{digest}.kernel"


@functools.cache
def _stamp() -> str:
    versions = (sys.version, _numba_version(), llvmlite.__version__)
    settings = [f"{name}={value}" for name in DECIDING if (value := os.environ.get(f"NUMBA_{name}")) is not None]
    return repr((versions, processor(), SYMBOL, settings))


def _numba_version() -> str:
    """What tells numba's versions apart, without importing it: the digest of the file that holds its version."""
    found = find_spec("numba")
    if found is None or found.origin is None:
        return "none"
    return hashlib.sha256(Path(found.origin).with_name("_version.py").read_bytes()).hexdigest()


def _identity(asked: Definition | Intrinsic | types.FunctionType, seen: set[int]) -> Iterator[str]:
    """Everything in the source that decides on the machine code."""
    if id(asked) in seen:
        return
    seen.add(id(asked))
    yield repr(sorted(getattr(asked, "fastmath", ())))
    function = asked if isinstance(asked, types.FunctionType) else asked.function
    yield from _bytecode(function.__code__)
    for name, value in _values(function):
        if isinstance(value, (Definition, Intrinsic, types.FunctionType)):
            yield from _identity(value, seen)
        elif isinstance(value, (bool, int, float, str, tuple, np.generic)):
            yield f"{name}={value!r}"


def _values(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function takes from its module, from the function that made it, and from its own defaults."""
    scope, code = function.__globals__, function.__code__
    yield from ((name, scope.get(name)) for name in _names(code))
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents
    yield from (("default", value) for value in function.__defaults__ or ())
    yield from sorted((function.__kwdefaults__ or {}).items())


def _names(code: types.CodeType) -> Iterator[str]:
    """What a function, and those within it, may take from its module."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _bytecode(code: types.CodeType) -> Iterator[str]:
    yield repr((code.co_name, code.co_varnames, code.co_names, code.co_code))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _bytecode(constant)
        else:
            yield repr(constant)


@functools.cache
def _tell() -> None:
    """Say once in a process why it takes its time."""
    _log.info("compiling kernels for this machine (once; later starts load them)")
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write("hilum: compiling kernels for this machine (once; later starts load them)\n")
