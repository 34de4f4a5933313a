"""Volumes open for reading: a box of voxels is read without the rest."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hilum.errors import InputError
from hilum.geometry import Geometry
from hilum.ops.patches.boxes import cut_box, lies_inside

Shape = tuple[int, int, int]


class OpenVolume(Protocol):
    """A volume that is open for reading.

    Attributes
    ----------
    shape : tuple of int, (z, y, x)
    dtype : dtype
    geometry : Geometry
        As the file states it.
    array : ndarray or None
        All voxels, in memory or as a memory map; None where they are packed in chunks.
    resident : bool
        Whether all voxels are in memory.
    """

    shape: Shape
    dtype: np.dtype[Any]
    geometry: Geometry
    resident: bool

    @property
    def array(self) -> NDArray[Any] | None: ...  # noqa: D102 - above

    def read(self, start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
        """Copy a box.

        Parameters
        ----------
        start : sequence of int, (z, y, x)
            Its first voxel.
        size : sequence of int, (z, y, x)
            Number of voxels along each axis.

        Returns
        -------
        ndarray, shape `size`
            A copy, C-contiguous.

        Raises
        ------
        InputError
            If the box is not inside the volume, or the file is damaged there.
        """


class OpenArray:
    """An array, in memory or memory-mapped, as an `OpenVolume`.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        The voxels.
    geometry : Geometry
        Where they lie.
    resident : bool
        Whether the array is in memory, not a map of a file.
    """

    def __init__(self, array: NDArray[Any], geometry: Geometry, *, resident: bool) -> None:
        self.array, self.geometry, self.resident = array, geometry, resident
        self.shape, self.dtype = geometry.shape, array.dtype

    def read(self, start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
        """Copy a box, as `OpenVolume.read` does."""
        check_box(self.shape, start, size)
        return np.array(self.array[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))], order="C")


def check_box(shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> None:
    """Refuse a box that is not inside a volume.

    Parameters
    ----------
    shape, start, size : sequence of int, (z, y, x)
        Size of the volume, and first voxel and size of the box.

    Raises
    ------
    InputError
        If it is not inside.
    """
    if min(size) < 1 or not lies_inside(shape, start, size):
        what = f"a box of {tuple(map(int, size))} voxels at {tuple(map(int, start))} is not inside {tuple(shape)}"
        raise InputError(what, do="crop it to the volume, or call read_padded_box", code="option")


def read_all(volume: OpenVolume) -> NDArray[Any]:
    """Read every voxel of an open volume.

    Returns
    -------
    ndarray, shape (z, y, x)
        Its own array where it has one, not a copy.
    """
    return volume.read((0, 0, 0), volume.shape) if volume.array is None else volume.array


def read_padded_box(volume: OpenVolume, start: Sequence[int], size: Sequence[int], *, fill: float = 0) -> NDArray[Any]:
    """Copy a box out of an open volume, with `fill` for voxels outside the volume.

    Parameters
    ----------
    volume : OpenVolume
        The volume to copy from.
    start, size : sequence of int, (z, y, x)
        First voxel, which may be negative, and number of voxels.
    fill : float
        The value outside the volume.

    Returns
    -------
    ndarray, shape `size`
        A copy, C-contiguous.
    """
    return cut_box(volume.read, volume.shape, volume.dtype, start, size, fill=fill)
