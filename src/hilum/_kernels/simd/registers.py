"""Building blocks of vector intrinsics: load, compute, transpose and store vectors of flat arrays.

LLVM turns plain loops into vector loops, but guards each with a test for overlapping arrays and ends it with a
remainder loop. For rows of a hundred elements that doubles the time. An `Intrinsic` states the vector instructions.

These functions run while numba compiles a kernel, and emit LLVM code. Indices and strides are values of LLVM type i64.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from hilum._kernels.compile.definitions import Intrinsic


def widest() -> int:
    """Number of float32 in a register of this processor: 8, or 16 with AVX-512, whose 32 registers hold a square."""
    from hilum._kernels.compile.processor import processor

    return 16 if "+avx512f" in processor()[1].split(",") else 8


class FlatArray(NamedTuple):
    """An array in emitted code: pointer to its first element; LLVM type, kind and bytes of an element; length."""

    data: Any
    kind: Any
    integer: bool
    signed: bool
    size: int
    length: Any


def vector_intrinsic(emit: Callable[..., None]) -> Intrinsic:
    """Make an intrinsic, without a result, of a function that emits its code.

    `emit` gets LLVM's builder and the arguments: an array as `FlatArray`, a tuple as a list of LLVM values, None as
    None, and a number as LLVM value.
    """

    def declare(_context: Any, *kinds: Any) -> Any:
        from numba import types

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            emit(builder, *(_argument(context, builder, k, v) for k, v in zip(signature.args, values, strict=True)))
            return context.get_dummy_value()

        return types.void(*kinds), code

    declare.__dict__["__signature__"] = inspect.signature(emit)  # numba does not take ``*kinds``
    declare.__name__ = emit.__name__
    return Intrinsic(declare)


def _argument(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    from numba import types

    if isinstance(kind, types.NoneType):
        return None
    if isinstance(kind, types.BaseTuple):
        return [builder.extract_value(value, k) for k in range(len(kind))]
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    integer = isinstance(kind.dtype, types.Integer)
    signed = integer and bool(kind.dtype.signed)
    size = int(kind.dtype.bitwidth) // 8
    return FlatArray(array.data, context.get_data_type(kind.dtype), integer, signed, size, array.nitems)


def variables(builder: Any, kind: Any, count: int) -> list[Any]:
    """Allocate variables of an LLVM type on the stack; LLVM keeps them in registers."""
    from numba.core import cgutils

    return [cgutils.alloca_once(builder, kind) for _ in range(count)]


def repeat(builder: Any, count: Any, start: Any = None) -> Any:
    """Emit a loop, as a context manager, whose ``index`` runs from `start` or 0 to one before `count`."""
    from numba.core import cgutils

    return cgutils.for_range(builder, count, start=start)


def load(builder: Any, array: FlatArray, at: Any, width: int, number: Any = None) -> Any:
    """Load `width` elements from index `at` on, as float32 or another floating type `number` of LLVM."""
    from llvmlite import ir

    row = builder.load(_vector(builder, array, at, width), align=array.size)
    wanted = ir.VectorType(number or ir.FloatType(), width)
    if array.integer:
        return (builder.sitofp if array.signed else builder.uitofp)(row, wanted)
    return row if row.type == wanted else builder.fpext(row, wanted)


def store(builder: Any, array: FlatArray, at: Any, row: Any) -> None:
    """Store a vector of floats from index `at` on; an integer array gets integers, cut toward zero."""
    from llvmlite import ir

    wanted = ir.VectorType(array.kind, row.type.count)
    result = row
    if row.type != wanted:
        result = builder.fptosi(row, wanted) if array.integer else builder.fptrunc(row, wanted)
    builder.store(result, _vector(builder, array, at, row.type.count), align=array.size)


def round_to_integer(builder: Any, array: FlatArray, row: Any) -> Any:
    """Round float64 half away from zero, to integers within the range of the array's type.

    The values must lie within the range of int32.
    """
    from llvmlite import ir
    from numba.core import cgutils

    width, bits = row.type.count, 8 * array.size
    half = broadcast(builder, row.type.element(0.5), width)
    function_type = ir.FunctionType(row.type, [row.type] * 2)
    sign = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.copysign.v{width}f64")
    wide = ir.VectorType(ir.IntType(32), width)
    result = builder.fptosi(builder.fadd(row, builder.call(sign, [half, row])), wide)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if array.signed else (0, (1 << bits) - 1)
    for bound, over in ((low, "<"), (high, ">")):
        limit = ir.Constant(wide, [bound] * width)
        result = builder.select(builder.icmp_signed(over, result, limit), limit, result)
    return builder.trunc(result, ir.VectorType(array.kind, width))


def broadcast(builder: Any, number: Any, width: int) -> Any:
    """A vector with the same number in every lane."""
    from llvmlite import ir

    none = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    first = builder.insert_element(none, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width))


def constant(builder: Any, number: Any, width: int) -> Any:
    """A vector with the same constant float32 in every lane."""
    from llvmlite import ir

    return broadcast(builder, ir.Constant(ir.FloatType(), float(number)), width)


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once where the processor does so in one instruction."""
    return builder.fadd(builder.fmul(a, b, flags=["contract"]), c, flags=["contract"])


def transpose_square(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose a square of vectors.

    In the round of distance d, rows k and k + d swap their off-diagonal blocks of d elements, with one instruction for
    each row.
    """
    from llvmlite import ir

    rows, width = list(rows), len(rows)

    def shuffle(a: Any, b: Any, lanes: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), width), lanes))

    distance = 1
    while distance < width:
        for k in range(width):
            if not k & distance:
                a, b = rows[k], rows[k + distance]
                low = [lane if not lane & distance else width + lane - distance for lane in range(width)]
                high = [lane + distance if not lane & distance else width + lane for lane in range(width)]
                rows[k], rows[k + distance] = shuffle(a, b, low), shuffle(a, b, high)
        distance *= 2
    return rows


def advance(builder: Any, start: Any, stride: Any, count: int) -> Any:
    """The index `count` rows after `start`."""
    return builder.add(start, builder.mul(stride, stride.type(count)))


def element_pointer(builder: Any, array: FlatArray, at: Any) -> Any:
    """Pointer to an element."""
    return builder.gep(array.data, [at])


def _vector(builder: Any, array: FlatArray, at: Any, width: int) -> Any:
    from llvmlite import ir

    return builder.bitcast(element_pointer(builder, array, at), ir.VectorType(array.kind, width).as_pointer())
