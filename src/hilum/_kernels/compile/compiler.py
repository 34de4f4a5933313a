"""Compile a kernel with numba for some argument types into an object file. Imported only if no file is cached."""

import functools
import types
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.extending import intrinsic

from hilum._kernels.compile.definitions import Definition, Intrinsic
from hilum._kernels.compile.processor import SYMBOL, make_machine
from hilum._kernels.compile.signatures import ALIGNED, C_ORDER, F_ORDER, NUMBERS, WRITABLE, Kind, is_array, slots

SUPPLIED = frozenset({"memcpy", "memmove", "memset", "floor", "ceil", "sqrt", "fma", "fmod", "pread"})
"""Functions of the C library that a kernel's code may call."""

_HEAD = object.__basicsize__
_DATA, _SHAPE, _STRIDES = _HEAD, _HEAD + 16, _HEAD + 24  # offsets in PyArrayObject_fields of numpy's C interface

_NO_OWNERS = "define void @NRT_MemInfo_call_dtor(ptr %owner) { ret void }"
"""Numba calls this to release an array. Arrays of kernels have no owner to release."""

_FLOATS = {"<f4": "float", "<f8": "double"}  # their types in LLVM; those of integers are named by their bits


def compile_kernel(definition: Definition, kinds: tuple[Kind, ...]) -> tuple[bytes, str]:
    """Compile a kernel for one combination of argument types.

    Returns
    -------
    code : bytes
        An object file whose entry point is `SYMBOL`.
    result : str
        numpy's type of the number it returns, "" for none.

    Raises
    ------
    TypeError
        If numba cannot compile it, or its code needs numba at run time.
    """
    signature = tuple(_numba_type(kind) for kind in kinds)
    disabled, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, 0  # a user sets it to debug their own functions
    try:
        dispatcher = _dispatcher(definition)
        dispatcher.compile(signature)
    finally:
        numba.config.DISABLE_JIT = disabled
    compiled = dispatcher.overloads[signature]
    result = _result(definition, compiled.signature.return_type)
    module = llvm.parse_assembly(dispatcher.inspect_llvm(signature))
    function = module.get_function(compiled.fndesc.llvm_func_name)
    code, passed = _entry_point(function.name, kinds)
    name, taken = definition.function.__name__, [str(part.type) for part in function.arguments]
    if taken != passed:  # the calling convention is numba's own, and could change
        raise TypeError(f"numba {numba.__version__} takes {taken} for kernel {name}, not {passed}")
    module.link_in(llvm.parse_assembly(code))
    for other in module.functions:
        if other.is_declaration and not other.name.startswith("llvm.") and other.name not in SUPPLIED:
            do = "hand its buffers in and raise nothing"
            raise TypeError(f"kernel {name} needs {other.name} of numba's runtime; {do}")
    return make_machine().emit_object(module), result


def _entry_point(native: str, kinds: tuple[Kind, ...]) -> tuple[str, list[str]]:
    """Write LLVM code that reads the table and calls numba's function; return it and the types of the arguments.

    numba's function takes a pointer to the result, a pointer to an error, then the arguments. An array is passed as its
    owner, parent, size, item size, data, shape and strides.
    """
    lines: list[str] = []
    passed = ["ptr %result", "ptr %error"]
    for k, kind in enumerate(slots(kinds)):
        lines.append(f"%slot{k} = getelementptr i64, ptr %table, i64 {k}")
        if isinstance(kind, str):
            passed.append(_read_number(lines, k, kind))
        else:
            passed += _read_array(lines, k, kind)
    kinds_passed = [part.split()[0] for part in passed]
    body = "\n  ".join([
        "%error = alloca ptr",
        "%unused = alloca i64",
        "%none = icmp eq ptr %out, null",
        "%result = select i1 %none, ptr %unused, ptr %out",
        *lines,
        f'%status = call i32 @"{native}"({", ".join(passed)})',
        "ret i32 %status",
    ])  # fmt: skip
    declared = f'declare i32 @"{native}"({", ".join(kinds_passed)})'
    entry = f"define i32 @{SYMBOL}(ptr %out, ptr %table) {{\n  {body}\n}}"
    return f"{declared}\n{_NO_OWNERS}\n{entry}", kinds_passed


def _read_number(lines: list[str], k: int, kind: str) -> str:
    name = _FLOATS.get(kind, f"i{8 * np.dtype(kind).itemsize}")
    wide = "double" if kind in _FLOATS else "i64"
    if name == wide:
        lines.append(f"%number{k} = load {wide}, ptr %slot{k}")
    else:
        lines.append(f"%wide{k} = load {wide}, ptr %slot{k}")
        lines.append(f"%number{k} = {'fptrunc' if wide == 'double' else 'trunc'} {wide} %wide{k} to {name}")
    return f"{name} %number{k}"


def _read_array(lines: list[str], k: int, kind: Kind) -> list[str]:
    dtype, dimensions, _ = kind
    lines.append(f"%array{k} = load ptr, ptr %slot{k}")
    for field, offset in (("data", _DATA), ("shape", _SHAPE), ("strides", _STRIDES)):
        lines.append(f"%{field}_at{k} = getelementptr i8, ptr %array{k}, i64 {offset}")
        lines.append(f"%{field}{k} = load ptr, ptr %{field}_at{k}")
    items = "1"
    for field in ("shape", "strides"):
        for axis in range(dimensions):
            lines.append(f"%{field}{k}_at{axis} = getelementptr i64, ptr %{field}{k}, i64 {axis}")
            lines.append(f"%{field}{k}_{axis} = load i64, ptr %{field}{k}_at{axis}")
    for axis in range(dimensions):
        lines.append(f"%items{k}_{axis} = mul i64 {items}, %shape{k}_{axis}")
        items = f"%items{k}_{axis}"
    sizes = [f"i64 %{field}{k}_{axis}" for field in ("shape", "strides") for axis in range(dimensions)]
    return ["ptr null", "ptr null", f"i64 {items}", f"i64 {np.dtype(dtype).itemsize}", f"ptr %data{k}", *sizes]


@functools.cache
def _dispatcher(definition: Definition) -> Any:
    """Make numba's dispatcher of a kernel; kernels and intrinsics among its globals become numba's objects, too."""
    scope = dict(definition.function.__globals__)
    for name in definition.function.__code__.co_names:
        value = scope.get(name)
        if isinstance(value, Definition):
            scope[name] = _dispatcher(value)
        elif isinstance(value, Intrinsic):
            scope[name] = intrinsic(value.function)
    copy = types.FunctionType(definition.function.__code__, scope, definition.function.__name__)
    copy.__module__ = definition.function.__module__
    fastmath = {"contract"} if definition.contract else False
    return numba.njit(copy, nogil=True, fastmath=fastmath, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _numba_type(kind: Kind) -> Any:
    if isinstance(kind, str):
        if kind not in NUMBERS:
            raise TypeError(f"a kernel takes {', '.join(NUMBERS)}, not {kind}; convert before the call")
        return numba.from_dtype(np.dtype(kind))
    if is_array(kind):
        dtype, dimensions, flags = kind
        item = _numba_type(dtype)
        layout = "C" if flags & C_ORDER else "F" if flags & F_ORDER else "A"
        return numba.types.Array(item, dimensions, layout, readonly=not flags & WRITABLE, aligned=bool(flags & ALIGNED))
    return numba.types.Tuple([_numba_type(part) for part in kind])


def _result(definition: Definition, kind: Any) -> str:
    if kind == numba.types.none:
        return ""
    for name in NUMBERS:
        if kind == numba.from_dtype(np.dtype(name)):
            return name
    raise TypeError(f"kernel {definition.function.__name__} returns {kind}; return one number or nothing")
