"""A volume in its store, of which a box is read without the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hilum.errors import InputError
from hilum.ops.patches.boxes import cut_box, lies_inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hilum.geometry import Geometry

Box = tuple[int, int, int]


class OpenVolume(Protocol):
    """A volume that is open for reading.

    Attributes
    ----------
    shape : tuple of int, (z, y, x)
    dtype : dtype
    geometry : Geometry
        As the file itself says it.
    array : ndarray or None
        The voxels where they can be had without unpacking: all of them in memory, or a memory map; None where they
        are packed in chunks.
    resident : bool
        Whether they are in memory, all of them.
    """

    @property
    def shape(self) -> Box: ...  # noqa: D102 - above
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102 - above
    @property
    def geometry(self) -> Geometry: ...  # noqa: D102 - above
    @property
    def array(self) -> NDArray[Any] | None: ...  # noqa: D102 - above
    @property
    def resident(self) -> bool: ...  # noqa: D102 - above

    def read(self, start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
        """Copy a box out of the store.

        Parameters
        ----------
        start : sequence of int, (z, y, x)
            Its first voxel.
        size : sequence of int, (z, y, x)

        Returns
        -------
        ndarray, shape `size`
            Its own memory, C-contiguous.

        Raises
        ------
        InputError
            If the box is not inside the volume, or the store is damaged there.
        """


class OpenArray:
    """Voxels that are an array already: memory-mapped, or read whole.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
    geometry : Geometry
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

    Raises
    ------
    InputError
        If it is not.
    """
    if min(size) < 1 or not lies_inside(shape, start, size):
        what = f"a box of {tuple(map(int, size))} voxels at {tuple(map(int, start))} is not inside {tuple(shape)}"
        raise InputError(what, do="cut it at the volume's borders, or pad it with read_padded_box", code="option")


def read_all(stored: OpenVolume) -> NDArray[Any]:
    """Every voxel of a stored volume.

    Parameters
    ----------
    stored : OpenVolume

    Returns
    -------
    ndarray, shape (z, y, x)
        The store's own array where it has one.
    """
    return stored.read((0, 0, 0), stored.shape) if stored.array is None else stored.array


def read_padded_box(stored: OpenVolume, start: Sequence[int], size: Sequence[int], *, fill: float = 0) -> NDArray[Any]:
    """Copy a box out of a stored volume, `fill` where it reaches beyond.

    Parameters
    ----------
    stored : OpenVolume
    start, size : sequence of int, (z, y, x)
    fill : float

    Returns
    -------
    ndarray, shape `size`
        Its own memory, C-contiguous.
    """
    return cut_box(stored.read, stored.shape, stored.dtype, start, size, fill=fill)
