"""Rasterize triangles with a depth buffer: each pixel shows the nearest triangle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.compile.kernel import kernel


@kernel()
def _draw(points: Any, normals: Any, faces: Any, depth: Any, interpolated: Any) -> None:
    height, width = depth.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-12:
            continue
        x0 = max(0, int(np.ceil(min(ax, bx, cx))))
        x1 = min(width - 1, int(np.floor(max(ax, bx, cx))))
        y0 = max(0, int(np.ceil(min(ay, by, cy))))
        y1 = min(height - 1, int(np.floor(max(ay, by, cy))))
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                u = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
                v = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                far = w * points[a, 2] + u * points[b, 2] + v * points[c, 2]
                if far < depth[y, x]:
                    depth[y, x] = far
                    for k in range(3):
                        interpolated[y, x, k] = w * normals[a, k] + u * normals[b, k] + v * normals[c, k]


def draw_triangles(
    points: NDArray[np.float64], normals: NDArray[np.float64], faces: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw triangles without perspective.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        Column, row and depth of each corner; pixel centers are whole numbers, and smaller depths are nearer.
    normals : ndarray, shape (n, 3)
        Values of the corners to interpolate over each triangle.
    faces : ndarray of int64, shape (m, 3)
        Indices of the corners of each triangle.
    shape : tuple of int, (rows, columns)
        Size of the picture in pixels.

    Returns
    -------
    depth : ndarray, shape (rows, columns)
        Of the nearest triangle that covers the pixel's center; infinite where there is none.
    interpolated : ndarray, shape (rows, columns, 3)
        The normals of that triangle; 0 where there is none.
    """
    depth = np.full(shape, np.inf)
    interpolated = np.zeros((*shape, 3))
    points, normals = (np.ascontiguousarray(array, np.float64) for array in (points, normals))
    _draw(points, normals, np.ascontiguousarray(faces, np.int64), depth, interpolated)
    return depth, interpolated
