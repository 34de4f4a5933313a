"""Patches rotated about one axis of a volume and zoomed, sampled by one cubic B-spline.

Such a patch does not need 64 coefficients for each voxel. Lines along the axis stay lines (four coefficients), and all
planes across it are rotated alike (sixteen coefficients, whose positions and weights all planes share).

1. The planes that contain the axis, one after the other: the filter runs along the axis, and the weighted sums of the
   outputs are taken at once. They are stored transposed, so that the outputs along the axis are contiguous, in one, two
   or four vectors: every inner loop has a fixed length and needs neither gathers nor remainders.
2. The filter runs along the other two axes.
3. Each position across the axis is a weighted sum of sixteen rows of lanes, scaled and clipped before it is stored.

The box reaches `MARGIN` voxels beyond the coefficients that are used; within them the start of the filter fades out.
"""

from typing import Any

import numpy as np

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.patches.positions import (
    find_spans,
    lanes_of,
    locate_across,
    locate_along,
    value_range,
    write_row,
)
from hilum._kernels.resample.recursive_filter import (
    GAIN,
    POLE,
    START,
    VECTOR,
    WIDTH,
    filter_backward,
    filter_forward,
    filter_rows,
)
from hilum._kernels.resample.weighted_sums import weighted_sums
from hilum._kernels.simd.registers import advance, broadcast, load, multiply_add, store, vector_intrinsic
from hilum._kernels.simd.transpose import transpose

MARGIN = 6  # a step of 4095 HU all around the box changes values inside by 0.13 HU; one voxel less: 0.49, two less: 1.8

BEFORE, AFTER = 1 + MARGIN, 3 + MARGIN  # voxels that a position needs before the one it lies in, and from it on

WEIGHTS = 24  # weights of a position: four along each axis and sixteen products

_U = np.uint64
_PRODUCTS = np.uint64(8)  # index of the first product in a column of weights


@kernel()
def _weights(w: Any, at: Any, count: Any) -> None:
    """Compute four rows of weights of positions; they include the factor for the gain of the filter.

    On entry the first row holds how far each position lies beyond its second coefficient.
    """
    sixth, third = np.float32(GAIN / 6), np.float32(GAIN * 2 / 3)
    one, half = np.float32(GAIN), np.float32(GAIN / 2)
    for k in range(count):
        t = w[at, k]
        s = np.float32(1) - t
        w[at, k] = sixth * s * s * s
        w[at + _U(1), k] = third - t * t * (one - half * t)
        w[at + _U(2), k] = third - s * s * (one - half * s)
        w[at + _U(3), k] = sixth * t * t * t


@kernel()
def _locate(plane: Any, j: Any, row_stride: Any, starts: Any, w: Any, vectors: Any) -> None:
    """Compute the index of the first coefficient and a column of weights for each position of row `j` of the patch.

    A column holds the four weights along each of both axes, and then their sixteen products.
    """
    wide = plane[2]
    locate_across(plane, j, 1, row_stride, starts, w[_U(0)], w[_U(4)], vectors)
    _weights(w, _U(0), _U(wide))
    _weights(w, _U(4), _U(wide))
    for m in range(_U(4)):
        for n in range(_U(4)):
            for k in range(_U(wide)):
                w[_PRODUCTS + m * _U(4) + n, k] = w[m, k] * w[_U(4) + n, k]


@kernel()
def _summed_span(spans: Any, b: Any, rows: Any) -> Any:
    """The coefficients of a row that enter sums; the others only serve the start of the filter along the row."""
    if b < 0 or b >= rows or spans[b, 0] >= spans[b, 1]:
        return _U(0), _U(0)
    return _U(spans[b, 0] + MARGIN), _U(spans[b, 1] - MARGIN)


@kernel(contract=True)
def _filter_row(
    work: Any, row: Any, row_stride: Any, span: Any, core: Any, above: Any, states: Any, vectors: Any
) -> None:
    """Filter along a row of the plane, forward and backward, and forward from the row above where that has sums."""
    first, last, lanes = _U(span[0]), _U(span[1]), lanes_of(vectors)
    left = min(max(above[0], core[0]), core[1])
    right = max(min(above[1], core[1]), left)
    filter_forward(work, row + first * lanes, last - first, vectors)
    before = row - lanes
    for i in range(lanes):
        states[i] = START * work[before + last * lanes + i]
    filter_backward(work, before + last * lanes, last - right, None, states, vectors)
    filter_backward(work, before + right * lanes, right - left, _U(0) - row_stride, states, vectors)
    filter_backward(work, before + left * lanes, left - core[0], None, states, vectors)


@kernel(contract=True)
def _planes(
    src: Any, base: Any, strides: Any, counts: Any, axis: Any, spans: Any, taps: Any, tile: Any, other: Any,
    coefficients: Any, states: Any, vectors: Any,
) -> None:  # fmt: skip
    """Do step 1, and step 2 except for the backward filter across rows."""
    sa, sb, sc = _U(strides[0]), _U(strides[1]), _U(strides[2])
    na, nb, nc = _U(counts[0]), _U(counts[1]), _U(counts[2])
    first, weights = taps
    lanes = lanes_of(vectors)
    locate_along(axis, 1, first, weights[_U(0)], vectors)
    _weights(weights, _U(0), lanes)
    for b in range(_U(0), nb):
        start, stop = _U(spans[b, 0]), _U(spans[b, 1])
        row = b * nc * lanes
        if start >= stop:
            continue
        wide = stop - start
        even = (wide + _U(15)) // _U(16) * _U(16)  # rows begin with a cache line
        at = base + b * sb + start * sc
        if sc == _U(1):
            filter_rows(src, at, sa, tile, _U(0), even, na, wide)
        else:
            transpose(src, at, sc, other, _U(0), even, wide, na)
            filter_rows(other, _U(0), even, tile, _U(0), even, na, wide)
        place = row + start * lanes
        under = at + sb * _U(b + _U(1) < nb)
        ahead = (src, under, sa, na, wide) if sc == _U(1) else (src, under, sc, wide, na)
        weighted_sums(tile, _U(0), even, first, weights, (0, 1, 2, 3), coefficients, place, lanes, lanes, wide, ahead)
        core, above = _summed_span(spans, np.int64(b), counts[1]), _summed_span(spans, np.int64(b) - 1, counts[1])
        _filter_row(coefficients, row, nc * lanes, (start, stop), core, above, states, vectors)


@kernel(contract=True)
def _filter_back_across(work: Any, counts: Any, spans: Any, last: Any, first: Any, vectors: Any) -> None:
    """Filter backward across rows from before `last` to `first`; begin anew where the row below has no sums."""
    lanes = lanes_of(vectors)
    row_stride = _U(counts[2]) * lanes
    for k in range(last - first):
        b = last - k - 1
        core, below = _summed_span(spans, b, counts[1]), _summed_span(spans, b + 1, counts[1])
        row, begin, end = _U(b) * row_stride, core[0] * lanes, core[1] * lanes
        left = min(max(below[0] * lanes, begin), end)
        right = max(min(below[1] * lanes, end), left)
        for i in range(begin, left):
            work[row + i] *= START
        for i in range(left, right):
            work[row + i] += POLE * work[row + row_stride + i]
        for i in range(right, end):
            work[row + i] *= START


def _emit_sum_sixteen(
    builder: Any, coefficients: Any, at: Any, row_stride: Any, weights: Any, weight_stride: Any, k: Any, ends: Any,
    target: Any, to: Any, vectors: Any,
) -> None:  # fmt: skip

    def weight(row: int) -> Any:
        return builder.load(builder.gep(weights.data, [advance(builder, k, weight_stride, row)]))

    factor, offset, low, high, less = (broadcast(builder, end, VECTOR) for end in ends)
    numbers = [[broadcast(builder, weight(int(_PRODUCTS) + 4 * m + n), VECTOR) for n in range(4)] for m in range(4)]
    rows = [advance(builder, at, row_stride, n) for n in range(4)]
    width = len(vectors) * VECTOR
    lanes, totals = range(0, width, VECTOR), list[Any]()
    for row, four in zip(rows, numbers, strict=True):
        for n, number in enumerate(four):
            columns = [load(builder, coefficients, builder.add(row, row.type(n * width + k)), VECTOR) for k in lanes]
            totals = [
                multiply_add(builder, number, column, total)
                for column, total in zip(columns, totals, strict=True)
            ] if totals else [builder.fmul(number, column) for column in columns]  # fmt: skip
    for lane, total in zip(lanes, totals, strict=True):
        value = builder.fsub(builder.fmul(total, factor, flags=["contract"]), offset, flags=["contract"])
        value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
        value = builder.select(builder.fcmp_ordered(">", value, high), high, value)
        store(builder, target, builder.add(to, to.type(lane)), builder.fsub(value, less))


_sum_sixteen = vector_intrinsic(_emit_sum_sixteen)  # sum 4 x 4 rows of coefficients to one of lanes; scale and clip it


@kernel(contract=True)
def rotate_cubic(
    src: Any, base: Any, strides: Any, counts: Any, axis: Any, plane: Any, finish: Any, buffers: Any,
    out: Any, to: Any, out_strides: Any, vectors: Any,
) -> None:  # fmt: skip
    """Sample a box of a flat volume, rotated about one of its axes, into a block of a flat patch.

    The first of three strides or counts belongs to the axis, the others to the plane across it. `axis` is the first
    position of the block along the axis, the spacing of the positions and their number. `plane` maps position (j, k) of
    the patch to the box: (bj, bk, b0, cj, ck, c0), number of j, number of k. One of the strides of the patch is 1.
    `vectors` has an entry for each vector of `VECTOR` numbers along the axis, enough for the positions: 1, 2 or 4.
    """
    spans, taps, tile, other, coefficients, row, starts, weights = buffers
    find_spans(plane, counts, BEFORE, AFTER, WIDTH, spans)
    _planes(src, _U(base), strides, counts, axis, spans, taps, tile, other, coefficients, row, vectors)
    high, wide = _U(plane[1]), _U(plane[2])
    oa, ob, oc = _U(out_strides[0]), _U(out_strides[1]), _U(out_strides[2])
    lanes = lanes_of(vectors)
    row_stride, ends = _U(counts[2]) * lanes, value_range(finish)
    (bj, bk, b0, _, _, _), last = plane[0], counts[1]
    for n in range(_U(0), high):
        j = high - _U(1) - n if bj > 0 else n
        first = max(int(np.floor(bj * np.float64(j) + b0 + min(bk * (np.float64(wide) - 1), 0.0))) - 2, 0)
        _filter_back_across(coefficients, counts, spans, last, first, vectors)
        last = min(last, first)
        _locate(plane, np.float64(j), np.int64(row_stride), starts, weights, vectors)
        for k in range(_U(0), wide):
            _sum_sixteen(
                coefficients, _U(starts[k]), row_stride, weights, _U(weights.shape[1]), k, ends, row, k * lanes, vectors
            )
        write_row(row, wide, _U(axis[2]), finish[0], out, _U(to) + j * ob, oa, oc, vectors)
