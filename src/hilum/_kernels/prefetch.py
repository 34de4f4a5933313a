"""Memory as the processor's caches like it: asked for before it is needed, and beginning where a cache line does.

To ask is one machine instruction, a hint that changes no result.
The processor foresees a loop that goes straight through memory. It does not foresee one that takes a few cache lines
of each row of a slice, or writes a block of a transposed one: there every line is waited for, unless it was asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.kernel import Intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

LINE = 64
"""Bytes of a cache line."""


def _asker(*, to_write: bool, flat: bool = False, near: int = 3) -> Callable[..., Any]:
    def of_flat(_context: Any, array: Any, at: Any) -> Any:
        return declared(array, at)

    def of_plane(_context: Any, array: Any, row: Any, column: Any) -> Any:
        return declared(array, row, column)

    def declared(*operands: Any) -> Any:
        from llvmlite import ir
        from numba import types
        from numba.core import cgutils as typed

        cgutils: Any = typed  # its functions have no types

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind, number, nothing = signature.args[0], ir.IntType(32), ir.VoidType()
            view = context.make_array(kind)(context, builder, arguments[0])
            place = cgutils.get_item_pointer(context, builder, kind, view, arguments[1:], wraparound=False)
            byte = builder.bitcast(place, ir.IntType(8).as_pointer())
            told = ir.FunctionType(nothing, [byte.type, number, number, number])
            hint = cgutils.get_or_insert_function(builder.module, told, "llvm.prefetch.p0")
            builder.call(hint, [byte, number(int(to_write)), number(near), number(1)])  # the last: data
            return context.get_dummy_value()

        return types.void(*operands), code

    return of_flat if flat else of_plane


fetch = Intrinsic(_asker(to_write=False))
"""``fetch(array, row, column)``: the cache line of an element of a two-dimensional array will be read."""

fetch_flat = Intrinsic(_asker(to_write=False, flat=True))
"""``fetch_flat(array, at)``: the cache line of an element of a one-dimensional array will be read."""

fetch_far = Intrinsic(_asker(to_write=False, flat=True, near=2))
"""As `fetch_flat`, but into the second cache. The first takes up two dozen lines at a time and forgets what is asked
beyond: where many are, only the second is of use.
"""

fetch_to_write = Intrinsic(_asker(to_write=True))
"""``fetch_to_write(array, row, column)``: it will be written."""


def aligned(shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """An empty array that begins with a cache line: vectors that straddle two cost a fifth of the time."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    raw = np.empty(size + LINE, np.uint8)
    begin = -raw.__array_interface__["data"][0] % LINE
    return raw[begin : begin + size].view(kind).reshape(shape)
