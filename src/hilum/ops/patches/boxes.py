"""Cut boxes of a given size out of a volume, with padding beyond it; each voxel keeps its position in the world."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import GeometryError, InputError
from hilum.volume import AnyVolume

Box = tuple[int, int, int]  # first voxel or size of a box, (z, y, x)

_MOST = 1024  # voxels of a patch along an axis


def three_sizes(size: object, what: str = "patch") -> Box:
    """Give the size of a box along each axis.

    Parameters
    ----------
    size : int or sequence of three int, (z, y, x)
        One number stands for all axes.
    what : str
        What has this size, for the message.

    Raises
    ------
    InputError
        If it is something else, or out of range.
    """
    given = list(size) if isinstance(size, (list, tuple, np.ndarray)) else [size] * 3
    sizes = [int(n) for n in given if isinstance(n, (int, np.integer)) and not isinstance(n, bool)]
    if not len(given) == len(sizes) == 3 or not all(1 <= n <= _MOST for n in sizes):
        expected = f"expected a whole number, or three (z, y, x), from 1 to {_MOST}"
        raise InputError(f"the size of a {what} is {size!r}: {expected}", code="option")
    return sizes[0], sizes[1], sizes[2]


def lies_inside(shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> bool:
    """Tell whether a box, given by its first voxel and its size, (z, y, x), lies inside a volume."""
    return all(a >= 0 and a + n <= m for a, n, m in zip(start, size, shape, strict=True))


def cut_patch(volume: AnyVolume, start: Sequence[int], size: Sequence[int], *, fill: float = 0) -> AnyVolume:
    """Copy a box out of a volume, with `fill` beyond the volume.

    Of a memory-mapped array only the voxels of the box are read.

    Parameters
    ----------
    volume : Volume or Mask
        The volume to copy from.
    start : sequence of int, (z, y, x)
        First voxel; may lie outside.
    size : sequence of int, (z, y, x)
        At least 1 along each axis.
    fill : float
        The value of voxels outside the volume.

    Returns
    -------
    Volume or Mask
        The box, of the same type.

    Raises
    ------
    GeometryError
        If a size is below 1.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> from hilum.volume import Volume
    >>> volume = Volume(np.arange(8).reshape(2, 2, 2), Geometry((2, 2, 2), (1.0, 1.0, 1.0)))
    >>> patch = cut_patch(volume, (1, 1, 1), (1, 1, 2), fill=-1)
    >>> patch.array.tolist(), patch.geometry.origin
    ([[[7, -1]]], (1.0, 1.0, 1.0))
    """
    if min(size) < 1:
        raise GeometryError(f"patch size (z, y, x) is {tuple(size)}, expected at least 1 along each axis")
    stop = [a + n for a, n in zip(start, size, strict=True)]
    array = cut_array(volume.array, start, size, fill=fill)
    return replace(volume, array=array, geometry=volume.geometry.crop(start, stop))


def cut_array(array: NDArray[Any], start: Sequence[int], size: Sequence[int], *, fill: float = 0) -> NDArray[Any]:
    """Copy a box out of an array, with `fill` beyond the array.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        The array to copy from.
    start, size, fill
        As for `cut_patch`.

    Returns
    -------
    ndarray, shape `size`
        Its own memory, C-contiguous.
    """

    def copy(low: Sequence[int], span: Sequence[int]) -> NDArray[Any]:
        return np.array(array[tuple(slice(a, a + n) for a, n in zip(low, span, strict=True))], order="C")

    return cut_box(copy, array.shape, array.dtype, start, size, fill=fill)


def cut_box(
    copy: Callable[[Sequence[int], Sequence[int]], NDArray[Any]],
    shape: Sequence[int],
    dtype: np.dtype[Any],
    start: Sequence[int],
    size: Sequence[int],
    *,
    fill: float = 0,
) -> NDArray[Any]:
    """Copy a box by a function that reads the volume, with `fill` beyond the volume.

    Parameters
    ----------
    copy : callable
        Takes the first voxel and the size of a box inside the volume, and returns a copy of the box.
    shape, dtype
        The volume's.
    start, size, fill
        As for `cut_patch`.

    Returns
    -------
    ndarray
        The box, as from `cut_array`.
    """
    low = [min(max(a, 0), m) for a, m in zip(start, shape, strict=True)]
    high = [min(max(a + n, 0), m) for a, n, m in zip(start, size, shape, strict=True)]
    span = [b - a for a, b in zip(low, high, strict=True)]
    if span == list(size):
        return copy(low, span)
    patch = np.full(tuple(size), fill, dtype)
    if min(span) > 0:
        inside = tuple(slice(a - s, a - s + n) for a, s, n in zip(low, start, span, strict=True))
        patch[inside] = copy(low, span)
    return patch


def padded_voxels(shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> int:
    """Count the voxels of a box that lie outside a volume.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
        The volume's.
    start, size : sequence of int, (z, y, x)
        First voxel and number of voxels along each axis.

    Returns
    -------
    int
    """
    spans = [max(0, min(a + n, m) - max(a, 0)) for a, n, m in zip(start, size, shape, strict=True)]
    return int(np.prod(size)) - int(np.prod(spans))
