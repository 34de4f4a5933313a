"""Prefetching of cache lines, and arrays that begin with one.

A prefetch is one machine instruction, a hint that changes no result. The processor predicts a loop that goes straight
through memory. It does not predict one that reads a few cache lines of each row of a slice or writes a transposed
block; without a prefetch such a loop waits for every line.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.simd.registers import element_pointer, vector_intrinsic

LINE = 64  # bytes of a cache line


def emit_prefetch(builder: Any, where: Any, *, to_write: bool = False, near: int = 3) -> None:
    """Emit the prefetch of the cache line at a pointer, into the first-level cache (`near` 3) or the second (2)."""
    from llvmlite import ir
    from numba.core import cgutils

    number = ir.IntType(32)
    byte = builder.bitcast(where, ir.IntType(8).as_pointer())
    function_type = ir.FunctionType(ir.VoidType(), [byte.type, number, number, number])
    hint = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    builder.call(hint, [byte, number(int(to_write)), number(near), number(1)])  # the last: data


def _prefetch(near: int) -> Intrinsic:
    def emit(builder: Any, array: Any, at: Any) -> None:
        emit_prefetch(builder, element_pointer(builder, array, at), near=near)

    return vector_intrinsic(emit)


prefetch_l1 = _prefetch(near=3)  # (array, at): prefetch an element of a flat array into the first-level cache

prefetch_l2 = _prefetch(near=2)  # into the second level: the first handles only some two dozen prefetches at a time


def empty_aligned(shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """Make an uninitialized array that begins with a cache line; vectors that straddle two cost a fifth of the time."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    raw = np.empty(size + LINE, np.uint8)
    begin = -raw.__array_interface__["data"][0] % LINE
    return raw[begin : begin + size].view(kind).reshape(shape)
