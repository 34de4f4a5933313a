"""Fill a polygon on an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_EDGES_AT_ONCE = 4096


def fill_polygon(vertices: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find the pixels inside a polygon, and those on its edge.

    Parameters
    ----------
    vertices : ndarray, shape (n, 2), (row, column)
        The last is joined to the first. Vertices may lie outside the image.
    shape : tuple of int, (rows, columns)

    Returns
    -------
    inside : ndarray of bool, shape (rows, columns)
        Pixels whose center has a winding number other than 0; undefined for pixels on the polygon.
    on : ndarray of bool, shape (rows, columns)
        Pixels whose center lies on an edge, and the pixel nearest to each vertex.
    """
    winding = np.zeros((shape[0], shape[1] + 1), np.int32)
    on = np.zeros(shape, bool)
    _set(on, np.rint(vertices[:, 0]), np.rint(vertices[:, 1]))
    start, stop = vertices, np.roll(vertices, -1, axis=0)
    for k in range(0, len(start), _EDGES_AT_ONCE):
        a, b = start[k : k + _EDGES_AT_ONCE], stop[k : k + _EDGES_AT_ONCE]
        rows, columns, edge = _crossings(a, b, shape[0])
        up = np.sign(b[edge, 0] - a[edge, 0]).astype(np.int32)
        counted = rows < np.maximum(a[edge, 0], b[edge, 0])  # of two edges that meet on a row, only one counts
        first = np.clip(np.floor(columns[counted]) + 1, 0, shape[1]).astype(int)
        np.add.at(winding, (rows[counted], first), up[counted])
        on_center = np.abs(columns - np.rint(columns)) < 1e-6
        _set(on, rows[on_center], np.rint(columns[on_center]))
        across, down, _ = _crossings(a[:, ::-1], b[:, ::-1], shape[1])
        on_center = np.abs(down - np.rint(down)) < 1e-6
        _set(on, np.rint(down[on_center]), across[on_center])
    return np.cumsum(winding[:, :-1], axis=1) != 0, on


def _crossings(
    a: NDArray[np.float64], b: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Find where edges cross the rows of an image: row, column and edge number. Edges along a row have no crossing."""
    least, most = np.minimum(a[:, 0], b[:, 0]), np.maximum(a[:, 0], b[:, 0])
    first = np.maximum(np.ceil(least), 0).astype(int)
    last = np.minimum(np.floor(most), size - 1).astype(int)
    count = np.where(most > least, np.maximum(last - first + 1, 0), 0)
    edge = np.repeat(np.arange(len(a)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    fraction = (row - a[edge, 0]) / (b[edge, 0] - a[edge, 0])
    return row, a[edge, 1] + fraction * (b[edge, 1] - a[edge, 1]), edge


def _set(image: NDArray[np.bool_], at_rows: NDArray[Any], at_columns: NDArray[Any]) -> None:
    rows, columns = at_rows.astype(int), at_columns.astype(int)
    inside = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
    image[rows[inside], columns[inside]] = True
