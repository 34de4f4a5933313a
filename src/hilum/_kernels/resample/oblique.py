"""Sample an array at the voxels of a grid that is turned against it, by one cubic B-spline or linearly.

The grids of `hilum._kernels.resample.spline` have parallel axes, and a voxel costs twelve multiply-adds; here it costs
64, or 8. The coefficients come from the same filter.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import kernel
from hilum._kernels.resample.spline import coefficient_taps, interpolate
from hilum._kernels.resample.spline_blocks import PAD, TAPS
from hilum._kernels.threads import run_slabs

_EDGE = 0.5 + 1e-6  # voxels beyond the outer voxel centers that still belong to the array, despite rounding


@kernel(contract=True)
def _sample(
    coefficients: Any, size: Any, step: Any, cubic: Any, finish: Any, weights: Any, out: Any, begin: Any, end: Any
) -> None:  # fmt: skip
    """Fill planes `begin` to `end` of the output; voxels outside the array keep their value."""
    low, high, half = finish
    first, last = (0, 4) if cubic else (1, 3)
    for k in range(begin, end):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                inside = True
                for axis in range(3):
                    p = step[axis, 0] * k + step[axis, 1] * j + step[axis, 2] * i + step[axis, 3]
                    if not (-_EDGE <= p <= size[axis] - 1 + _EDGE):
                        inside = False
                        break
                    p = min(max(p, -0.5), size[axis] - 0.5)
                    base = np.floor(p)
                    t = p - base
                    s = 1.0 - t
                    weights[axis, 4] = base - 1 + PAD
                    if cubic:
                        weights[axis, 0] = s * s * s / 6
                        weights[axis, 1] = 2 / 3 - t * t * (2 - t) / 2
                        weights[axis, 2] = 2 / 3 - s * s * (2 - s) / 2
                        weights[axis, 3] = t * t * t / 6
                    else:
                        weights[axis, 1] = s
                        weights[axis, 2] = t
                if not inside:
                    continue
                z, y, x = int(weights[0, 4]), int(weights[1, 4]), int(weights[2, 4])
                total = 0.0
                for a in range(first, last):
                    plane = 0.0
                    for b in range(first, last):
                        row = 0.0
                        for c in range(first, last):
                            row += weights[2, c] * coefficients[z + a, y + b, x + c]
                        plane += weights[1, b] * row
                    total += weights[0, a] * plane
                total += half if total > 0 else -half
                out[k, j, i] = min(max(total, low), high)


def sample_oblique(
    array: NDArray[Any], step: NDArray[np.float64], *, order: int, out: NDArray[Any], workers: int = 1
) -> None:
    """Sample an array at the voxels of a grid, as far as they lie in it.

    Parameters
    ----------
    array : ndarray of int16, uint8 or float32, shape (z, y, x)
        Finite. Its edge voxels reach half a voxel outward.
    step : ndarray, shape (4, 4)
        From an index of the grid, (z, y, x, 1), to one of the array.
    order : int
        3 for the cubic spline, 1 for linear interpolation.
    out : ndarray of the array's type, shape of the grid
        Voxels outside the array are left as they are. Integers are rounded half away from zero and clipped.
    workers : int
        Threads; 0 for one per available core. The result does not depend on it.
    """
    source = np.ascontiguousarray(array, np.float32)
    if order == 3:
        source = interpolate(source, *map(coefficient_taps, source.shape), workers=workers)
    else:
        source = np.pad(source, PAD, mode="edge")
    bounds = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
    finish = (float(bounds.min), float(bounds.max), 0.5) if bounds else (-np.inf, np.inf, 0.0)
    size, matrix = np.array(array.shape, np.float64), np.ascontiguousarray(step, np.float64)

    def work(begin: int, end: int) -> None:
        _sample(source, size, matrix, order == 3, finish, np.empty((3, TAPS + 1)), out, begin, end)

    run_slabs(work, len(out), workers=workers)
