"""Machine code of kernels: cached in files, loaded through llvmlite.

The name of a file contains a digest of everything the code depends on: the bytecode of the kernel and of the kernels it
calls, the constants they use, the argument types, the versions of the compiler, and the processor with its features.
So a file with the right name is current. `hilum._kernels.compile.cache` decides where files are, and which are trusted.
"""

import contextlib
import functools
import hashlib
import logging
import os
import sys
import time
import types
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from hilum._kernels.compile import cache
from hilum._kernels.compile.definitions import Definition, Intrinsic
from hilum._kernels.compile.processor import SYMBOL, make_machine, processor
from hilum._kernels.compile.signatures import Kind
from hilum._os.files import lock_handle

DECIDING = ("BOUNDSCHECK", "CPU_FEATURES", "CPU_NAME", "DEBUGINFO", "DISABLE_INTEL_SVML", "ENABLE_AVX",
            "EXTEND_VARIABLE_LIFETIMES", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE")  # fmt: skip
"""Environment variables of numba, without NUMBA_, that change the code; their values are part of the file name."""

_log = logging.getLogger("hilum")
_libraries: list[Any] = []  # owners of the machine code in use, which lives as long as they do


def load(definition: Definition, kinds: tuple[Kind, ...]) -> tuple[int, str]:
    """Load a kernel for these argument types; return its address and the kind of its result ("" for none).

    Raises
    ------
    TypeError
        If numba cannot compile the kernel, or its code needs numba at run time.
    UnknownConventionError
        If this version of numba compiles functions that hilum does not know how to call.
    """
    name, module = _file_name(definition, kinds), Path(definition.function.__code__.co_filename)
    content = cache.read(name, module.parent)
    if content is None:
        with _only_process(module):
            content = cache.read(name, module.parent) or _compile(definition, kinds, name, module.parent)
    head, _, code = content.partition(b"\n")
    return _link(code), head.decode()


def _compile(definition: Definition, kinds: tuple[Kind, ...], name: str, source: Path) -> bytes:
    from hilum._kernels.compile import compiler

    _announce()
    module, result = compiler.compile_kernel(definition, kinds, SYMBOL)
    content = result.encode() + b"\n" + bytes(make_machine().emit_object(module))
    cache.write(name, source, content)
    return content


@contextlib.contextmanager
def _only_process(module: Path) -> Iterator[None]:
    """Wait until no other process compiles kernels of a module; where files cannot be locked, some compile twice."""
    try:
        handle = os.open(module, os.O_RDONLY)
    except OSError:  # code from a string
        yield
        return
    try:
        while lock_handle(handle) is False:
            time.sleep(0.01)
        yield
    finally:
        os.close(handle)


@functools.cache
def _engine() -> Any:
    """The engine that links one library for each kernel into this process; one engine each takes four times as long."""
    return llvm.create_lljit_compiler(make_machine())


def _link(code: bytes) -> int:
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(SYMBOL)
    library = builder.link(_engine(), f"kernel {len(_libraries)}")
    _libraries.append(library)
    address: int = library[SYMBOL]
    return address


def _file_name(definition: Definition, kinds: tuple[Kind, ...]) -> str:
    function = definition.function
    parts = [_stamp(), repr(kinds), *_identity(definition, set())]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}.{digest}.kernel"


@functools.cache
def _stamp() -> str:
    versions = (sys.version, _numba_version(), llvmlite.__version__)
    settings = [f"{name}={value}" for name in DECIDING if (value := os.environ.get(f"NUMBA_{name}")) is not None]
    return repr((versions, processor(), SYMBOL, settings))


def _numba_version() -> str:
    """Identify numba's version without importing it: the digest of the file that holds the version."""
    if (found := find_spec("numba")) is None or found.origin is None:
        return "none"
    return hashlib.sha256(Path(found.origin).with_name("_version.py").read_bytes()).hexdigest()


def _identity(definition: Definition | Intrinsic | types.FunctionType, seen: set[int]) -> Iterator[str]:
    """Yield everything in the source that the machine code depends on."""
    if id(definition) in seen:
        return
    seen.add(id(definition))
    yield repr(getattr(definition, "contract", False))
    function = definition if isinstance(definition, types.FunctionType) else definition.function
    for code in _codes(function.__code__):
        yield repr((code.co_name, code.co_varnames, code.co_names, code.co_code))
        yield from (repr(constant) for constant in code.co_consts if not isinstance(constant, types.CodeType))
    for name, value in _values(function):
        if isinstance(value, (Definition, Intrinsic, types.FunctionType)):
            yield from _identity(value, seen)
        elif isinstance(value, (bool, int, float, str, tuple, np.generic)):
            yield f"{name}={value!r}"


def _values(function: Any) -> Iterator[tuple[str, Any]]:
    """Yield the globals, closure variables and defaults that a function uses."""
    scope, code = function.__globals__, function.__code__
    yield from ((name, scope.get(name)) for part in _codes(code) for name in part.co_names)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents
    yield from (("default", value) for value in function.__defaults__ or ())
    yield from sorted((function.__kwdefaults__ or {}).items())


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of a function and of its inner functions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@functools.cache
def _announce() -> None:
    """Say once in a process why the start takes time."""
    told = (
        "compiling kernels for this machine: about a second each, half a minute for all (once; later starts load them)"
    )
    _log.info(told)
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"hilum: {told}\n")
