"""Fill polygons on a lattice of pixels by their crossings with its rows."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_DECIMALS = 6  # pixels; corners are rounded to this: the conversion from world coordinates costs some 1e-12

_PIXELS_AT_ONCE, _POINTS_AT_ONCE = 2**20, 2**18


class FilledPolygon(NamedTuple):
    """The pixels of a polygon in a box around it.

    Parameters
    ----------
    row, column : int
        First row and column of the box.
    inside : ndarray of bool, shape (rows, columns)
        The pixels whose centers lie inside.
    """

    row: int
    column: int
    inside: NDArray[np.bool_]


def fill_even_odd(polygons: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> Iterator[FilledPolygon]:
    """Fill each polygon by the even-odd rule.

    A pixel is inside if its center is. A center on an edge belongs to what is on the side of higher columns or, for an
    edge along a row, of higher rows. So of two polygons that share an edge exactly one gets the centers on it.

    Parameters
    ----------
    polygons : sequence of ndarray, each shape (n, 2), (row, column)
        The last corner is joined to the first. Corners may lie outside the image.
    shape : tuple of int, (rows, columns)
        Of the image; nothing is filled outside.

    Yields
    ------
    FilledPolygon
        One for each polygon, in their order.
    """
    chunk: list[NDArray[np.float64]] = []
    boxes: list[tuple[int, int, int, int]] = []
    pixels = points = 0
    for polygon in polygons:
        corners = np.round(polygon, _DECIMALS)
        (top, left), (bottom, right) = (np.clip(edge, 0, shape).astype(int).tolist() for edge in _limits(corners))
        boxes.append((top, left, bottom, right))
        chunk.append(corners)
        pixels += (bottom - top) * (right - left + 1)
        points += len(corners)
        if pixels > _PIXELS_AT_ONCE or points > _POINTS_AT_ONCE:
            yield from _fill_chunk(chunk, boxes)
            chunk, boxes, pixels, points = [], [], 0, 0
    yield from _fill_chunk(chunk, boxes)


def _limits(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first pixel whose center can be inside, and one past the last."""
    if not len(corners):
        return np.zeros(2), np.zeros(2)
    return np.ceil(corners.min(axis=0)), np.floor(corners.max(axis=0)) + 1


def _fill_chunk(
    polygons: Sequence[NDArray[np.float64]], boxes: list[tuple[int, int, int, int]]
) -> Iterator[FilledPolygon]:
    """Fill polygons at once, each in its box (top, left, bottom, right): all boxes lie in one flat array."""
    if not polygons:
        return
    top, left, bottom, right = np.array(boxes).T
    width = right - left + 1  # one more column, in which a row's last crossing may lie
    ends = np.cumsum((bottom - top) * width)
    start = np.concatenate(polygons)
    stop = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    owner = np.repeat(np.arange(len(polygons)), list(map(len, polygons)))
    # From the upper end to the lower one: both polygons of an edge then compute the same crossings, to the last bit.
    down = (start[:, 0] < stop[:, 0])[:, None]
    upper, lower = np.where(down, start, stop), np.where(down, stop, start)
    first = np.maximum(np.ceil(upper[:, 0]), top[owner]).astype(int)
    count = np.maximum(np.minimum(np.ceil(lower[:, 0]), bottom[owner]).astype(int) - first, 0)
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    upper, lower, of = upper[edge], lower[edge], owner[edge]
    column = upper[:, 1] + (row - upper[:, 0]) / (lower[:, 0] - upper[:, 0]) * (lower[:, 1] - upper[:, 1])
    column = np.clip(np.ceil(np.round(column, _DECIMALS)), left[of], right[of]).astype(int)
    flips = np.zeros(int(ends[-1]), np.uint8)
    np.add.at(flips, (ends - (bottom - top) * width)[of] + (row - top[of]) * width[of] + column - left[of], np.uint8(1))
    # Every row has an even number of crossings, so one pass over all rows of all boxes starts each with 0.
    inside = (np.add.accumulate(flips, dtype=np.uint8) & 1).view(bool)
    for k, (t, s, b, e) in enumerate(boxes):
        yield FilledPolygon(t, s, inside[ends[k] - (b - t) * (e - s + 1) : ends[k]].reshape(b - t, e - s + 1)[:, :-1])
