"""What instructions for whole vectors are put together from: vectors read from flat arrays, exchanged and written.

LLVM makes vector loops of plain ones, but short ones it guards: each begins with a test whether its arrays overlap, and
ends with a remainder, which for rows of a hundred elements takes as long as the row. An `Intrinsic` says what is meant.

These functions run where numba compiles a kernel. Places and distances are values of LLVM's type i64.
"""

from __future__ import annotations

from typing import Any, NamedTuple


def widest() -> int:
    """How many float32 a register of this processor holds, 8 or 16, of which there are enough for a square."""
    from hilum._kernels.compile.processor import processor

    return 16 if "+avx512f" in processor()[1].split(",") else 8


class Flat(NamedTuple):
    """An array in the code that is being built: its first element, LLVM's type of one, its sign and bytes."""

    data: Any
    kind: Any
    whole: bool
    signed: bool
    size: int


def flat(context: Any, builder: Any, kind: Any, value: Any) -> Flat:
    """An argument of an intrinsic, of numba's type `kind`, as an array."""
    from numba import types

    data = context.make_array(kind)(context, builder, value).data
    whole = isinstance(kind.dtype, types.Integer)
    signed = whole and bool(kind.dtype.signed)
    return Flat(data, context.get_data_type(kind.dtype), whole, signed, int(kind.dtype.bitwidth) // 8)


def load(builder: Any, array: Flat, at: Any, width: int, number: Any = None) -> Any:
    """So many elements from a place on, as float32 or another of LLVM's floating types."""
    from llvmlite import ir

    row = builder.load(_vector(builder, array, at, width), align=array.size)
    wanted = ir.VectorType(number or ir.FloatType(), width)
    if array.whole:
        return (builder.sitofp if array.signed else builder.uitofp)(row, wanted)
    return row if row.type == wanted else builder.fpext(row, wanted)


def store(builder: Any, array: Flat, at: Any, row: Any) -> None:
    """Write a vector of floats; where the array holds whole numbers, of such."""
    from llvmlite import ir

    wanted = ir.VectorType(array.kind, row.type.count)
    made = row
    if row.type != wanted:
        made = builder.fptosi(row, wanted) if array.whole else builder.fptrunc(row, wanted)
    builder.store(made, _vector(builder, array, at, row.type.count), align=array.size)


def round_off(builder: Any, array: Flat, row: Any) -> Any:
    """float64 within the range of int32 as the whole numbers that an array holds.

    Rounded half away from zero, and kept within the array's range.
    """
    from llvmlite import ir
    from numba.core import cgutils as typed

    cgutils: Any = typed  # its functions have no types
    width, bits = row.type.count, 8 * array.size
    half = spread(builder, row.type.element(0.5), width)
    told = ir.FunctionType(row.type, [row.type] * 2)
    sign = cgutils.get_or_insert_function(builder.module, told, f"llvm.copysign.v{width}f64")
    wide = ir.VectorType(ir.IntType(32), width)
    made = builder.fptosi(builder.fadd(row, builder.call(sign, [half, row])), wide)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if array.signed else (0, (1 << bits) - 1)
    for bound, over in ((low, "<"), (high, ">")):
        limit = ir.Constant(wide, [bound] * width)
        made = builder.select(builder.icmp_signed(over, made, limit), limit, made)
    return builder.trunc(made, ir.VectorType(array.kind, width))


def spread(builder: Any, number: Any, width: int) -> Any:
    """A vector of one number."""
    from llvmlite import ir

    none = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    first = builder.insert_element(none, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once where the processor does so in one instruction."""
    return builder.fadd(builder.fmul(a, b, flags=["contract"]), c, flags=["contract"])


def exchange(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of a square of vectors.

    In the round of distance d rows k and k + d swap what lies across their diagonal, d elements each: one instruction
    for each row.
    """
    from llvmlite import ir

    rows, width = list(rows), len(rows)

    def pick(a: Any, b: Any, lanes: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), width), lanes))

    distance = 1
    while distance < width:
        for k in range(width):
            if not k & distance:
                a, b = rows[k], rows[k + distance]
                low = [lane if not lane & distance else width + lane - distance for lane in range(width)]
                high = [lane + distance if not lane & distance else width + lane for lane in range(width)]
                rows[k], rows[k + distance] = pick(a, b, low), pick(a, b, high)
        distance *= 2
    return rows


def step(builder: Any, start: Any, pitch: Any, count: int) -> Any:
    """So many rows on from a place."""
    return builder.add(start, builder.mul(pitch, pitch.type(count)))


def place(builder: Any, array: Flat, at: Any) -> Any:
    """Where an element lies."""
    return builder.gep(array.data, [at])


def _vector(builder: Any, array: Flat, at: Any, width: int) -> Any:
    from llvmlite import ir

    return builder.bitcast(place(builder, array, at), ir.VectorType(array.kind, width).as_pointer())
