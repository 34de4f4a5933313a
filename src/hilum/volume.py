"""A volume is an array and its geometry; a mask is a volume of labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hilum.errors import GeometryError
from hilum.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and their geometry; immutable.

    Parameters
    ----------
    array : ndarray, shape (z, y, x)
        The voxels; Hounsfield units as int16 for a CT. Stored as a read-only view, not copied.
    geometry : Geometry
        Its shape must be the array's.

    Raises
    ------
    GeometryError
        If the array is not three-dimensional or its shape is not the geometry's.
    """

    array: NDArray[Any]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise GeometryError(f"array of shape {self.array.shape} on a grid of shape {self.geometry.shape}")
        view = self.array.view()
        view.flags.writeable = False
        object.__setattr__(self, "array", view)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild through the constructor, so that an unpickled copy is read-only too."""
        return type(self), (self.array, self.geometry)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels, (z, y, x)."""
        return self.geometry.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centers, (z, y, x), mm."""
        return self.geometry.spacing

    def _repr_html_(self) -> str:
        """Show pictures and geometry in a notebook."""
        # By name, and when a notebook asks: the nouns lie below everything that draws.
        shown: str = import_module("hilum.viewer.summary").volume_html(self)
        return shown

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Self:
        """The voxels of a box inside the volume, as a view; they keep their world positions.

        Parameters
        ----------
        start, stop : sequence of int, (z, y, x)
            First voxel, and one past the last, as in a Python slice.

        Returns
        -------
        Volume or Mask

        Raises
        ------
        GeometryError
            If the box is empty or reaches beyond the volume.
        """
        if any(a < 0 or a >= b or b > n for a, b, n in zip(start, stop, self.shape, strict=True)):
            raise GeometryError(f"box {tuple(start)} to {tuple(stop)} is not inside a volume of shape {self.shape}")
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        return type(self)(self.array[box], self.geometry.crop(start, stop))


AnyVolume = TypeVar("AnyVolume", bound=Volume)  # a volume or a mask: functions that take it return the same type


@dataclass(frozen=True, eq=False)
class Mask(Volume):
    """A volume of uint8 labels, 0 for background; its type picks nearest-neighbor resampling.

    Parameters
    ----------
    array : ndarray of uint8 (or bool), shape (z, y, x)
    geometry : Geometry

    Raises
    ------
    GeometryError
        If the array is neither uint8 nor bool, or does not fit the geometry.
    """

    def __post_init__(self) -> None:
        if self.array.dtype == np.bool_:
            object.__setattr__(self, "array", self.array.view(np.uint8))
        if self.array.dtype != np.uint8:
            raise GeometryError(f"a mask holds uint8 labels, not {self.array.dtype}")
        super().__post_init__()

    def volume_ml(self, label: int | None = None) -> float:
        """Volume of one label, or of all of them, in milliliters.

        Parameters
        ----------
        label : int, optional
            The label to count; by default every label except 0.

        Returns
        -------
        float
        """
        count = np.count_nonzero(self.array if label is None else self.array == label)
        return float(count * self.geometry.voxel_volume / 1000)
