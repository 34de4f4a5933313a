"""Compiled kernels that start without their compiler.

A kernel is a Python function in numba's subset, marked with `kernel`. A wheel has its machine code in a library
(docs/decisions/0016-kernels-ahead-of-time.md). Elsewhere numba compiles it once on a machine for each combination of
argument types into a file; later processes load the file through llvmlite and do not import numba, which takes half a
second (docs/decisions/0005-kernels-without-their-compiler.md).

The machine code takes a table of 8-byte slots: a number, or the address of an array. It reads the data, shape and
strides of the array from numpy's own structure. A kernel releases the interpreter lock, returns nothing or one number,
and allocates nothing: callers pass buffers.
"""

import ctypes
import functools
import logging
import struct
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile import library
from hilum._kernels.compile.definitions import Definition, UnknownConventionError
from hilum._kernels.compile.signatures import (
    ALIGNED,
    C_ORDER,
    F_ORDER,
    NUMBERS,
    WRITABLE,
    Kind,
    is_array,
    record,
    signature_line,
    slots,
)
from hilum.errors import UnsupportedError

F = TypeVar("F", bound=Callable[..., Any])


Entry = tuple[Any, struct.Struct | None, Any]
"""Machine code, layout of its table, ctypes type of its result or None; a function of numba has no table."""

_UNUSED = ctypes.create_string_buffer(16)
_NOWHERE = ctypes.addressof(_UNUSED)  # where kernels put an error, or no result; nobody reads it

_FLAGS = C_ORDER | F_ORDER | ALIGNED | WRITABLE

_DONE = (0, -2)  # status of a kernel that returned a number, and of one that returned nothing

_lock = threading.RLock()

_log = logging.getLogger("hilum")


class Kernel(Definition):
    """A function in numba's subset, and its machine code by argument types."""

    def __init__(self, function: Callable[..., Any], *, contract: bool) -> None:
        super().__init__(function, contract=contract)
        functools.update_wrapper(self, function)
        self._entries: dict[tuple[Kind, ...], Entry] = {}

    def __call__(self, *args: Any) -> Any:
        """Run the machine code; load it, or compile it, at the first call with these argument types."""
        values: list[Any] = []
        kinds = _flatten(args, values)
        if (entry := self._entries.get(kinds)) is None:
            with _lock:
                entry = self._entries.get(kinds) or self._entries.setdefault(kinds, _entry(self, kinds))
        function, table, result = entry
        if table is None:
            return function(*_plain(args))
        if result is None:
            status, out = function(_NOWHERE, _NOWHERE, table.pack(*values)), None
        else:
            returned = result()
            status = function(ctypes.byref(returned), _NOWHERE, table.pack(*values))
            out = returned.value
        if status not in _DONE:
            raise ArithmeticError(f"kernel {self.function.__name__} failed with status {status}")
        return out


class ArrayTuple:
    """A tuple of arrays for many kernel calls; its arrays are inspected once, not at every call."""

    def __init__(self, *arrays: Any) -> None:
        self.arrays = arrays
        self.values: list[Any] = []
        self.kinds = _flatten(arrays, self.values)


def kernel(*, contract: bool = False) -> Callable[[F], F]:
    """Mark a function as a kernel.

    Parameters
    ----------
    contract : bool
        Allow fused multiply-adds: the order of sums stays as written, so the bytes depend on nothing else.

    Returns
    -------
    callable
        Turns a function into a `Kernel`; to type checkers it stays the same function.
    """
    return cast("Callable[[F], F]", functools.partial(Kernel, contract=contract))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """View an array as read-only, so that one compiled kernel serves writable and read-only arrays."""
    view = array.view()
    view.flags.writeable = False
    return view


def _flatten(args: tuple[Any, ...], values: list[Any]) -> tuple[Kind, ...]:
    """Append the slots of the arguments to `values`, and return the kinds of the arguments."""
    kinds: list[Kind] = []
    for arg in args:
        kind = type(arg)
        if kind in _PLAIN:
            kinds.append(_PLAIN[kind])
            values.append(arg)
        elif isinstance(arg, np.ndarray):
            kinds.append((arg.dtype.str, arg.ndim, arg.flags.num & _FLAGS))
            values.append(id(arg))
        elif kind is ArrayTuple:
            kinds.append(arg.kinds)
            values += arg.values
        elif isinstance(arg, tuple):
            kinds.append(_flatten(arg, values))
        elif isinstance(arg, np.generic):
            kinds.append(arg.dtype.str)
            values.append(arg.item())
        else:
            raise TypeError(f"a kernel takes arrays, numbers and tuples of them, not {kind.__name__}")
    return tuple(kinds)


def _as_compiled(kind: Kind) -> Kind:
    """The kind to compile for. An array with at most one row is both C- and F-contiguous; compile it as C."""
    if isinstance(kind, str):
        return kind
    if is_array(kind):
        dtype, dimensions, flags = kind
        return dtype, dimensions, flags & ~F_ORDER if flags & C_ORDER else flags
    return tuple(_as_compiled(part) for part in kind)


_PLAIN = {bool: "|b1", int: "<i8", float: "<f8"}  # the types of Python's own numbers


def _plain(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.arrays if isinstance(arg, ArrayTuple) else arg for arg in args)


def _entry(definition: Kernel, kinds: tuple[Kind, ...]) -> Entry:
    """Find the machine code for these kinds in the library or in its file, or compile it."""
    compiled = tuple(_as_compiled(kind) for kind in kinds)
    line = signature_line(definition, compiled)
    record(line)
    if (found := library.find(line)) is None:
        _check_compiler(line)
        # Late: machine_code imports llvmlite, which a process with a complete library does not need.
        from hilum._kernels.compile import machine_code

        try:
            found = machine_code.load(definition, compiled)
        except UnknownConventionError as problem:
            from hilum._kernels.compile import compiler

            _log.warning("kernel %s runs as numba's own function: %s", definition.function.__name__, problem)
            return compiler.plain_kernel(definition), None, None
    address, result = found
    layout = "".join(NUMBERS[kind][0] if isinstance(kind, str) else "P" for kind in slots(kinds))
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(address)
    return function, struct.Struct(layout), NUMBERS[result][1] if result else None


def _check_compiler(line: str) -> None:
    """Refuse to compile where the compiler is not installed, in one line that says what to do."""
    if not (_is_installed("numba") and _is_installed("llvmlite")):
        what = f"this copy of hilum has no machine code for {line.rpartition('._kernels.')[2]}, and no compiler"
        raise UnsupportedError(what, do="pip install 'hilum[compile]'", code="no-compiler")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:  # somebody forbids the import
        return False
