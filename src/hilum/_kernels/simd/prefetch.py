"""Memory as the processor's caches like it: asked for before it is needed, and beginning where a cache line does.

To ask is one machine instruction, a hint that changes no result.
The processor foresees a loop that goes straight through memory. It does not foresee one that takes a few cache lines
of each row of a slice, or writes a block of a transposed one: there every line is waited for, unless it was asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.simd.registers import flat, place

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

LINE = 64
"""Bytes of a cache line."""


def ask(builder: Any, where: Any, *, to_write: bool = False, near: int = 3) -> None:
    """Ask for the cache line of a place in the code that is being built; 3 means the first cache, 2 the second."""
    from llvmlite import ir
    from numba.core import cgutils as typed

    cgutils: Any = typed  # its functions have no types
    number = ir.IntType(32)
    byte = builder.bitcast(where, ir.IntType(8).as_pointer())
    told = ir.FunctionType(ir.VoidType(), [byte.type, number, number, number])
    hint = cgutils.get_or_insert_function(builder.module, told, "llvm.prefetch.p0")
    builder.call(hint, [byte, number(int(to_write)), number(near), number(1)])  # the last: data


def _asker(*, near: int) -> Callable[..., Any]:
    def declared(_context: Any, array: Any, at: Any) -> Any:
        from numba import types

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            view = flat(context, builder, signature.args[0], arguments[0])
            ask(builder, place(builder, view, arguments[1]), near=near)
            return context.get_dummy_value()

        return types.void(array, at), code

    return declared


fetch = Intrinsic(_asker(near=3))
"""``fetch(array, at)``: the cache line of an element of a flat array will be read."""

fetch_far = Intrinsic(_asker(near=2))
"""As `fetch`, but into the second cache. The first takes up two dozen lines at a time and forgets what is asked beyond:
where many are, only the second is of use.
"""


def aligned(shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """An empty array that begins with a cache line: vectors that straddle two cost a fifth of the time."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    raw = np.empty(size + LINE, np.uint8)
    begin = -raw.__array_interface__["data"][0] % LINE
    return raw[begin : begin + size].view(kind).reshape(shape)
