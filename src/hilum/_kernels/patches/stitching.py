"""Overlapping windows of a volume, stitched to one: at each voxel the weighted mean of the windows that cover it.

The mean is updated window by window: the share of a new window is its weight over the sum of the weights so far. So a
voxel whose windows all say the same keeps that value to the last bit, and no sum of weights is stored: the weights are
products of one number per axis, and the windows come in the order of the array.
"""

from typing import Any

import numpy as np

from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import kernel

_U = np.uint64

OWN, BEFORE, WITH, TOTAL = range(4)
"""Rows of a table of weights along an axis, by voxel of the window: of this window; the sum of the windows before it;
of these and this one; of all."""


def _ratio(_context: Any, dividend: Any, divisor: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fdiv(*arguments)

    return dividend(dividend, divisor), code


_divide = Intrinsic(_ratio)  # numba's own division tests for zero, which keeps a loop from vector registers


@kernel()
def add_window(answer: Any, size: Any, low: Any, high: Any, out: Any, shape: Any, start: Any, tables: Any) -> None:
    """Update the means of the voxels from `low` to `high` of a window that begins at the voxel `start`.

    `answer` and `out` are flat, with the same number of channels of `size` and `shape` voxels. `tables` has the
    weights along z, y and x.
    """
    along_z, along_y, along_x = tables
    first, stop, rows, columns = _U(low[2]), _U(high[2]), _U(size[1]), _U(size[2])
    window, volume = _U(size[0]) * rows * columns, _U(shape[0] * shape[1] * shape[2])
    for channel in range(_U(answer.size) // window):
        for z in range(low[0], high[0]):
            for y in range(low[1], high[1]):
                own = along_z[OWN, z] * along_y[OWN, y]
                earlier = along_z[BEFORE, z] * along_y[TOTAL, y] + along_z[OWN, z] * along_y[BEFORE, y]
                source = channel * window + (_U(z) * rows + _U(y)) * columns
                row = ((z + start[0]) * shape[1] + y + start[1]) * shape[2] + start[2]  # negative for a wide window
                target = channel * volume + _U(row)
                for x in range(first, stop):
                    sum_so_far = earlier * along_x[TOTAL, x] + own * along_x[WITH, x]
                    share = _divide(own * along_x[OWN, x], sum_so_far)
                    out[target + x] += (answer[source + x] - out[target + x]) * share
