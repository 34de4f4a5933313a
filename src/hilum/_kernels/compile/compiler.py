"""Compile a kernel with numba for some argument types. Imported only if no machine code is at hand.

Two things here know how numba works inside: `_arguments` builds its array structure, with numba's own functions, and
`compile_kernel` checks what its compiled functions take. Where a later numba differs, the kernel runs as numba's own
function (`plain_kernel`).
"""

import functools
import types
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core.errors import LoweringError
from numba.extending import intrinsic

from hilum._kernels.compile.definitions import Definition, Intrinsic, UnknownConventionError
from hilum._kernels.compile.signatures import ALIGNED, C_ORDER, F_ORDER, NUMBERS, WRITABLE, Kind, is_array

SUPPLIED = frozenset({"memcpy", "memmove", "memset", "floor", "ceil", "sqrt", "fma", "fmod", "pread"})
"""Functions of the C library that a kernel's code may call."""

_HEAD = object.__basicsize__
_DATA, _SHAPE, _STRIDES = _HEAD, _HEAD + 16, _HEAD + 24  # offsets in PyArrayObject_fields of numpy's C interface

_NO_OWNERS = "define void @NRT_MemInfo_call_dtor(ptr %owner) { ret void }"
"""Numba calls this to release an array. Arrays of kernels have no owner to release."""

_CONVENTION = ("i32", "ptr", "ptr", "i64")
"""Types of the result and the arguments of numba's function: status; result, error and the address of the table."""


def compile_kernel(definition: Definition, kinds: tuple[Kind, ...], symbol: str) -> tuple[Any, str]:
    """Compile a kernel for one combination of argument types.

    Returns
    -------
    module : llvmlite's ModuleRef
        Optimized code; its one visible function is `symbol`, which takes the place of the result, the place of an
        error, and the table of slots.
    result : str
        numpy's type of the number it returns, "" for none.

    Raises
    ------
    TypeError
        If numba cannot compile it, or its code needs numba at run time.
    UnknownConventionError
        If numba's function takes something else.
    """
    signature = (numba.types.intp,)
    disabled, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, 0  # a user sets it to debug their own functions
    try:
        dispatcher = _entry_point(definition, kinds)
        dispatcher.compile(signature)
    except (AttributeError, ImportError, LoweringError) as problem:  # or an error of the kernel, which numba repeats
        raise UnknownConventionError(str(problem)) from problem
    finally:
        numba.config.DISABLE_JIT = disabled
    compiled = dispatcher.overloads[signature]
    result = _result(definition, compiled.signature.return_type)
    module = llvm.parse_assembly(dispatcher.inspect_llvm(signature))
    function = module.get_function(compiled.fndesc.llvm_func_name)
    returned = str(function.global_value_type).partition(" ")[0]
    if (returned, *(str(part.type) for part in function.arguments)) != _CONVENTION:
        raise UnknownConventionError(f"numba {numba.__version__} passes arguments in another way")
    module.link_in(llvm.parse_assembly(_NO_OWNERS))
    name = definition.function.__name__
    for other in module.functions:
        if other.is_declaration and not other.name.startswith("llvm.") and other.name not in SUPPLIED:
            do = "hand its buffers in and raise nothing"
            raise TypeError(f"kernel {name} needs {other.name} of numba's runtime; {do}")
    function.name = symbol
    _hide_all_but(module, symbol)
    return module, result


def plain_kernel(definition: Definition) -> Any:
    """The kernel as a function of numba, which is called from Python and stays with its compiler."""
    return _dispatcher(definition, for_python=True)


def _hide_all_but(module: Any, symbol: str) -> None:
    for part in (*module.functions, *module.global_variables):
        if not part.is_declaration and part.name != symbol:
            part.linkage = "internal"


def _entry_point(definition: Definition, kinds: tuple[Kind, ...]) -> Any:
    """Make numba's dispatcher of a function that takes the address of a table of slots and calls the kernel."""
    called, arguments = _dispatcher(definition), _arguments(kinds)

    def entry(table: Any) -> Any:
        return called(*arguments(table))

    return numba.njit(entry, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _arguments(kinds: tuple[Kind, ...]) -> Any:
    """Make an instruction that reads the arguments from a table of slots into a tuple."""
    result = _numba_type(kinds)

    def declare(_context: Any, table: Any) -> Any:
        def code(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            slot = iter(range(1 << 30))

            def read(kind: Any) -> Any:
                if isinstance(kind, numba.types.BaseTuple):
                    return context.make_tuple(builder, kind, [read(part) for part in kind])
                return _read_slot(context, builder, kind, builder.add(values[0], ir.IntType(64)(8 * next(slot))))

            return read(result)

        return result(table), code

    return intrinsic(declare)


def _read_slot(context: Any, builder: Any, kind: Any, at: Any) -> Any:
    """Read a number, or the data, shape and strides of the array whose address is in the slot."""

    def load(llvm_type: Any, address: Any) -> Any:
        return builder.load(builder.inttoptr(address, llvm_type.as_pointer()))

    def moved(address: Any, by: int) -> Any:
        return builder.add(address, address.type(by))

    word = ir.IntType(64)
    if isinstance(kind, numba.types.Float):
        number = load(ir.DoubleType(), at)
        return number if kind.bitwidth == 64 else builder.fptrunc(number, ir.FloatType())
    number = load(word, at)
    if isinstance(kind, numba.types.Boolean):
        return builder.icmp_unsigned("!=", number, word(0))
    if isinstance(kind, numba.types.Integer):
        return number if kind.bitwidth == 64 else builder.trunc(number, ir.IntType(kind.bitwidth))
    from numba.np.arrayobj import populate_array

    array, sizes = context.make_array(kind)(context, builder), ir.ArrayType(word, kind.ndim)
    populate_array(
        array,
        data=load(context.get_data_type(kind.dtype).as_pointer(), moved(number, _DATA)),
        shape=load(sizes, load(word, moved(number, _SHAPE))),
        strides=load(sizes, load(word, moved(number, _STRIDES))),
        itemsize=context.get_abi_sizeof(context.get_data_type(kind.dtype)),
        meminfo=None,
    )
    return array._getvalue()  # noqa: SLF001 - how numba's extensions read a structure


@functools.cache
def _dispatcher(definition: Definition, *, for_python: bool = False) -> Any:
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
    bare = not for_python
    return numba.njit(copy, nogil=True, fastmath=fastmath, no_cpython_wrapper=bare, no_cfunc_wrapper=bare)


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
