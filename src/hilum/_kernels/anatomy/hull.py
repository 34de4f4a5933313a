"""How far the outline of a shape lies behind its convex hull, plane by plane, toward one side and toward the back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel()
def _lack(at: Any, reach: Any, count: int, hull: Any) -> float:
    """Sum, over points of an outline, of what lies between them and their upper convex hull, but for one cell."""
    size = 0
    for i in range(count):
        while size >= 2:
            a, b = hull[size - 2], hull[size - 1]
            if (reach[b] - reach[a]) * (at[i] - at[a]) > (reach[i] - reach[a]) * (at[b] - at[a]):
                break
            size -= 1
        hull[size] = i
        size += 1
    total = 0.0
    for k in range(size - 1):
        a, b = hull[k], hull[k + 1]
        slope = (reach[b] - reach[a]) / (at[b] - at[a])
        for i in range(a, b):
            total += max(0.0, reach[a] + slope * (at[i] - at[a]) - reach[i] - 1.0)
    return total


@kernel()
def _dents(shape: Any, outward: int, smallest: int, points: Any, indices: Any) -> float:
    nz, ny, nx = shape.shape
    at, reach, hull, back = points[0], points[1], indices[0], indices[1]
    total = 0.0
    for z in range(nz):
        rows, cells = 0, 0
        back[:nx] = -1
        for y in range(ny):
            far = -nx
            for x in range(nx):
                if shape[z, y, x]:
                    cells += 1
                    far = max(far, outward * x)
                    back[x] = y
            if far > -nx:
                at[rows], reach[rows] = y, far
                rows += 1
        if cells < smallest:
            continue
        total += _lack(at, reach, rows, hull)
        columns = 0
        for x in range(nx):
            if back[x] >= 0:
                at[columns], reach[columns] = x, back[x]
                columns += 1
        total += _lack(at, reach, columns, hull)
    return total


def dents(shape: NDArray[np.bool_], *, outward: int, smallest: int) -> float:
    """Cells between a shape's outline and its hull, beyond one cell, toward one side and the back of every plane.

    Parameters
    ----------
    shape : ndarray of bool, shape (z, y, x)
        One lung on cells, axes to the head, the back and the left.
    outward : {-1, 1}
        1 for the left lung, whose ribs lie toward larger x; -1 for the right.
    smallest : int
        Planes with fewer cells are passed over.

    Returns
    -------
    float
    """
    longest = max(shape.shape[1:])
    points, indices = np.empty((2, longest)), np.empty((2, longest), np.int64)
    return float(_dents(np.ascontiguousarray(shape), outward, smallest, points, indices))
