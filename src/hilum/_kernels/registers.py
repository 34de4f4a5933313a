"""What instructions for whole vectors are put together from: vectors read from flat arrays, exchanged and written.

LLVM makes vector loops of plain ones, but short ones it guards: each begins with a test whether its arrays overlap, and
ends with a remainder, which for rows of a hundred elements takes as long as the row. An `Intrinsic` says what is meant.

These functions run where numba compiles a kernel. Places and distances are values of LLVM's type i64.
"""

from __future__ import annotations

from typing import Any, NamedTuple


def widest() -> int:
    """How many float32 a register of this processor holds, 8 or 16, of which there are enough for a square."""
    from hilum._kernels.objects import processor

    return 16 if "+avx512f" in processor()[1].split(",") else 8


class Flat(NamedTuple):
    """A one-dimensional array in the code that is being built: its first element, LLVM's type of one, its bytes."""

    data: Any
    kind: Any
    whole: bool
    size: int


def flat(context: Any, builder: Any, kind: Any, value: Any) -> Flat:
    """An argument of an intrinsic, of numba's type `kind`, as an array."""
    from numba import types

    data = context.make_array(kind)(context, builder, value).data
    whole = isinstance(kind.dtype, types.Integer)
    return Flat(data, context.get_data_type(kind.dtype), whole, int(kind.dtype.bitwidth) // 8)


def load(builder: Any, array: Flat, at: Any, width: int) -> Any:
    """So many elements from a place on, as float32."""
    from llvmlite import ir

    row = builder.load(_place(builder, array, at, width), align=array.size)
    return builder.sitofp(row, ir.VectorType(ir.FloatType(), width)) if array.whole else row


def store(builder: Any, array: Flat, at: Any, row: Any) -> None:
    """Write a vector of float32, whole numbers where the array holds such."""
    from llvmlite import ir

    width = row.type.count
    made = builder.fptosi(row, ir.VectorType(array.kind, width)) if array.whole else row
    builder.store(made, _place(builder, array, at, width), align=array.size)


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


def _place(builder: Any, array: Flat, at: Any, width: int) -> Any:
    from llvmlite import ir

    return builder.bitcast(builder.gep(array.data, [at]), ir.VectorType(array.kind, width).as_pointer())
