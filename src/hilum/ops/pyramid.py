"""A volume at half its size, for viewers that load an overview before the details."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry
from hilum.volume import AnyVolume, Mask


def halve(volume: AnyVolume) -> AnyVolume:
    """Halve a volume along each axis that has at least two voxels.

    Parameters
    ----------
    volume : Volume or Mask
        The volume to halve.

    Returns
    -------
    Volume or Mask
        A voxel of a volume is the mean of the eight voxels that it covers (rounded for integers), and lies in their
        middle. A mask keeps every second label, at its position. The last voxel of an odd axis is left out.

    Examples
    --------
    >>> from hilum.volume import Volume
    >>> small = halve(Volume(np.array([[[0, 2, 9], [4, 6, 9]]]), Geometry((1, 2, 3), (5.0, 1.0, 1.0))))
    >>> small.array.tolist(), small.geometry.spacing, small.geometry.origin
    ([[[3]]], (5.0, 2.0, 2.0), (0.5, 0.5, 0.0))
    """
    grid = volume.geometry
    steps = tuple(2 if n > 1 else 1 for n in grid.shape)
    shape = tuple(n // s for n, s in zip(grid.shape, steps, strict=True))
    is_mask = isinstance(volume, Mask)
    first = (0.0, 0.0, 0.0) if is_mask else tuple((s - 1) / 2 for s in steps)
    x, y, z = grid.index_to_world(first).tolist()
    spacing = tuple(a * s for a, s in zip(grid.spacing, steps, strict=True))
    small = Geometry(shape, spacing, (x, y, z), grid.direction)  # type: ignore[arg-type]  # three of each
    array = _every(volume.array, steps, shape) if is_mask else _means(volume.array, steps, shape)
    return replace(volume, array=array, geometry=small)


def _every(
    array: NDArray[Any], steps: tuple[int, ...], shape: tuple[int, ...], at: tuple[int, ...] = (0, 0, 0)
) -> NDArray[Any]:
    return array[tuple(slice(a, a + n * s, s) for a, n, s in zip(at, shape, steps, strict=True))]


def _means(array: NDArray[Any], steps: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    integers = array.dtype.kind != "f"
    total = np.zeros(shape, np.int64 if integers and array.dtype.itemsize > 2 else np.int32 if integers else np.float64)
    for at in np.ndindex(*steps):
        total += _every(array, steps, shape, at)
    count = int(np.prod(steps))
    if integers:
        return np.asarray((2 * total + count) // (2 * count)).astype(array.dtype)
    return np.asarray(total / count).astype(array.dtype)
