"""Concavity of a lung: the area between its outline and its convex hull, toward the ribs and toward the back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hilum._kernels.compile.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel()
def _below_hull(at: Any, outline: Any, count: int, hull: Any) -> float:
    """Sum the distances, beyond one cell, from the points of an outline to their upper convex hull."""
    size = 0
    for i in range(count):
        while size >= 2:
            a, b = hull[size - 2], hull[size - 1]
            if (outline[b] - outline[a]) * (at[i] - at[a]) > (outline[i] - outline[a]) * (at[b] - at[a]):
                break
            size -= 1
        hull[size] = i
        size += 1
    total = 0.0
    for k in range(size - 1):
        a, b = hull[k], hull[k + 1]
        slope = (outline[b] - outline[a]) / (at[b] - at[a])
        for i in range(a, b):
            total += max(0.0, outline[a] + slope * (at[i] - at[a]) - outline[i] - 1.0)
    return total


@kernel()
def _concavity(shape: Any, outward: int, smallest: int, points: Any, indices: Any) -> float:
    nz, ny, nx = shape.shape
    at, outline, hull, back = points[0], points[1], indices[0], indices[1]
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
                at[rows], outline[rows] = y, far
                rows += 1
        if cells < smallest:
            continue
        total += _below_hull(at, outline, rows, hull)
        columns = 0
        for x in range(nx):
            if back[x] >= 0:
                at[columns], outline[columns] = x, back[x]
                columns += 1
        total += _below_hull(at, outline, columns, hull)
    return total


def concavity(shape: NDArray[np.bool_], *, outward: int, smallest: int) -> float:
    """Count the cells between a shape and its hull in every plane, toward one side and toward the back.

    Distances up to one cell do not count.

    Parameters
    ----------
    shape : ndarray of bool, shape (z, y, x)
        One lung on the coarse grid; the axes run to the head, the back and the left.
    outward : {-1, 1}
        1 for the left lung, whose ribs lie toward larger x; -1 for the right one.
    smallest : int
        Planes with fewer cells are left out.

    Returns
    -------
    float
    """
    longest = max(shape.shape[1:])
    points, indices = np.empty((2, longest)), np.empty((2, longest), np.int64)
    return float(_concavity(np.ascontiguousarray(shape), outward, smallest, points, indices))
