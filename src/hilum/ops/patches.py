"""Boxes of a given size out of a volume, padded where they reach beyond it; each voxel keeps its place in the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hilum.errors import GeometryError
from hilum.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

AnyVolume = TypeVar("AnyVolume", bound=Volume)

Box = tuple[int, int, int]


def patch_start(center: ArrayLike, size: Sequence[int]) -> Box:
    """The first voxel of the box whose center comes nearest to a place.

    Parameters
    ----------
    center : array_like, shape (3,), (z, y, x)
        A fractional voxel index.
    size : sequence of int, (z, y, x)

    Returns
    -------
    tuple of int, (z, y, x)
        May be negative. The box's center, ``start + (size - 1) / 2``, is at most half a voxel away along each axis.
    """
    first = np.rint(np.asarray(center, np.float64) - (np.asarray(size) - 1) / 2).astype(int)
    return int(first[0]), int(first[1]), int(first[2])


def cut_patch(volume: AnyVolume, start: Sequence[int], size: Sequence[int], *, fill: float = 0) -> AnyVolume:
    """Copy a box out of a volume, `fill` where it reaches beyond.

    Only the voxels asked for are read: a memory-mapped array is touched nowhere else.

    Parameters
    ----------
    volume : Volume or Mask
    start : sequence of int, (z, y, x)
        First voxel; may lie outside.
    size : sequence of int, (z, y, x)
        At least 1 along each axis.
    fill : float
        The value of voxels outside the volume.

    Returns
    -------
    Volume or Mask
        Of the same type, its geometry that of the box.

    Raises
    ------
    GeometryError
        If a size is below 1.

    Examples
    --------
    >>> from hilum.geometry import Geometry
    >>> volume = Volume(np.arange(8).reshape(2, 2, 2), Geometry((2, 2, 2), (1.0, 1.0, 1.0)))
    >>> patch = cut_patch(volume, (1, 1, 1), (1, 1, 2), fill=-1)
    >>> patch.array.tolist(), patch.geometry.origin
    ([[[7, -1]]], (1.0, 1.0, 1.0))
    """
    if min(size) < 1:
        raise GeometryError(f"patch size (z, y, x) is {tuple(size)}, expected at least 1 along each axis")
    stop = [a + n for a, n in zip(start, size, strict=True)]
    return type(volume)(cut_array(volume.array, start, size, fill=fill), volume.geometry.crop(start, stop))


def cut_array(array: NDArray[Any], start: Sequence[int], size: Sequence[int], *, fill: float = 0) -> NDArray[Any]:
    """Copy a box out of an array, `fill` where it reaches beyond: `cut_patch` for bare voxels.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
    start, size : sequence of int, (z, y, x)
    fill : float

    Returns
    -------
    ndarray, shape `size`
        Its own memory, C-contiguous.
    """
    spans = [(min(max(a, 0), m), min(max(a + n, 0), m), a) for a, n, m in zip(start, size, array.shape, strict=True)]
    inside = array[tuple(slice(low, high) for low, high, _ in spans)]
    if inside.shape == tuple(size):
        return np.array(inside, order="C")
    patch = np.full(tuple(size), fill, array.dtype)
    if inside.size:
        patch[tuple(slice(low - a, high - a) for low, high, a in spans)] = inside
    return patch


def padded_voxels(shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> int:
    """How many voxels of a box lie outside a volume.

    Parameters
    ----------
    shape : sequence of int, (z, y, x)
        Of the volume.
    start, size : sequence of int, (z, y, x)

    Returns
    -------
    int
    """
    spans = [max(0, min(a + n, m) - max(a, 0)) for a, n, m in zip(start, size, shape, strict=True)]
    return int(np.prod(size)) - int(np.prod(spans))
