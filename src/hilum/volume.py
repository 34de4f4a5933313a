"""A volume is an array and its geometry; a mask is a volume of labels.

Neither can be changed, and both are arrays to numpy: a function, an operator or ``numpy.asarray`` gives a plain array.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import EllipsisType, MappingProxyType
from typing import Any, Self, TypeVar, cast, overload

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from hilum.errors import GeometryError, InputError, name_some
from hilum.geometry import Box, Geometry, Vector, as_box
from hilum.interop.conversions import Conversions
from hilum.interop.frozen import freeze


@dataclass(frozen=True, eq=False, repr=False)
class Volume(Conversions, NDArrayOperatorsMixin):
    """Voxels and their geometry; immutable.

    numpy takes it as an array: ``volume > -500``, ``np.mean(volume)`` and ``np.asarray(volume)`` give plain arrays
    without a geometry. ``Volume.from_array`` and ``dataclasses.replace(volume, array=...)`` make volumes of them.

    Parameters
    ----------
    array : array_like, shape (z, y, x)
        The voxels, numbers; Hounsfield units as int16 for a CT. An array that owns its memory, or
        shows the whole of one that does, becomes read-only and is not copied; nor is one that nobody can write to. Any
        other, such as a writable part of a larger array, is copied.
    geometry : Geometry
        Its shape must be the array's.

    Raises
    ------
    GeometryError
        If the array is not three-dimensional or its shape is not the geometry's.
    InputError
        If the array holds something else than numbers.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> volume = hilum.Volume(np.zeros((4, 5, 6), np.int16), hilum.Geometry((4, 5, 6), (2.0, 1.0, 1.0)))
    >>> volume[::2, 1:3]
    Volume(int16, shape=(2, 2, 6), spacing=(4, 1, 1) mm, origin=(0, 1, 0), axes=SPL)
    """

    array: NDArray[Any]
    geometry: Geometry

    __hash__ = object.__hash__  # by identity: `==` compares voxels

    def __post_init__(self) -> None:
        array = freeze(self.array)
        _check_geometry(self.geometry)
        if array.shape != self.geometry.shape:
            raise GeometryError(f"array of shape {array.shape} on a grid of shape {self.geometry.shape}")
        object.__setattr__(self, "array", array)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild through the constructor, so that an unpickled copy is read-only too."""
        return type(self), (self.array, self.geometry)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype}, shape={self.shape}, {self.geometry.place})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """The voxels, copied only where a type or a copy is asked for."""
        return np.array(self.array, dtype, copy=copy)

    def _repr_html_(self) -> str:
        """Show pictures and geometry in a notebook."""
        # By name, and when a notebook asks: the nouns lie below everything that draws.
        shown: str = import_module("hilum.viewer.summary").volume_html(self)
        return shown

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Let numpy compute with the voxels of volumes on one grid; the result is a plain array."""
        if any(isinstance(out, Volume) for out in kwargs.get("out", ())):
            do = "compute a new array, and make a volume of it"
            raise InputError("a volume cannot be changed", do=do, code="read-only")
        others = [one.geometry for one in inputs if isinstance(one, Volume)]
        if not all(one is others[0] or one.isclose(others[0]) for one in others[1:]):
            what = f"{ufunc.__name__} of volumes on different grids: {others[0]} and {others[1]}"
            raise GeometryError(what, do="hilum.resample(a, like=b) puts a on the grid of b")
        if ufunc is np.invert and isinstance(self, Mask):
            raise InputError("~mask flips the bits of its labels", do="mask == 0 is what is outside", code="invert")
        return getattr(ufunc, method)(*(np.asarray(x) if isinstance(x, Volume) else x for x in inputs), **kwargs)

    @classmethod
    def _of(cls, array: NDArray[Any], geometry: Geometry) -> Self:
        return cls(array, geometry)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels, (z, y, x)."""
        return self.geometry.shape

    @property
    def ndim(self) -> int:
        """Number of axes, always 3."""
        return 3

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return self.array.dtype

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centers, (z, y, x), mm."""
        return self.geometry.spacing

    @property
    def origin(self) -> tuple[float, float, float]:
        """World position of the center of voxel (0, 0, 0), (x, y, z), LPS mm."""
        return self.geometry.origin

    @property
    def direction(self) -> tuple[Vector, Vector, Vector]:
        """World direction of each array axis z, y, x: unit vectors (x, y, z), LPS."""
        return self.geometry.direction

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """Matrix of hilum, shape (4, 4): from a voxel index (z, y, x, 1) to the world (x, y, z, 1), LPS mm."""
        return self.geometry.affine

    @property
    def affine_ras(self) -> NDArray[np.float64]:
        """Matrix as NIfTI has it, shape (4, 4): from a voxel index (x, y, z, 1) to the world (x, y, z, 1), RAS mm."""
        return self.geometry.affine_ras

    def __getitem__(self, index: slice | EllipsisType | tuple[slice | EllipsisType, ...]) -> Self:
        """The voxels that slices choose, as a view; each keeps its world position.

        An integer is refused: it would drop an axis, and with it the place of the voxels. ``volume.array[3]`` is a
        plain plane, ``volume[3:4]`` a volume with one.
        """
        box = as_box(index)
        return replace(self, array=self.array[box], geometry=self.geometry[box])

    @overload
    def crop(self, start: Box, /) -> Self: ...

    @overload
    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Self: ...

    def crop(self, start: Box | Sequence[int], stop: Sequence[int] | None = None) -> Self:
        """The voxels of a box inside the volume, as a view; they keep their world positions.

        Parameters
        ----------
        start : sequence of int, (z, y, x), or three slices
            First voxel, as in a Python slice; or the whole box as slices without steps, and no `stop`.
        stop : sequence of int, (z, y, x)
            One past the last voxel.

        Returns
        -------
        Volume or Mask

        Raises
        ------
        GeometryError
            If the box is empty or reaches beyond the volume; ``volume[...]`` cuts it as numpy does.
        InputError
            If the box is not three slices without steps, or two triples of whole numbers.

        Examples
        --------
        >>> import hilum
        >>> import numpy as np
        >>> volume = hilum.Volume.from_array(np.zeros((4, 5, 6), np.int16), spacing=(2.0, 1.0, 1.0))
        >>> volume.crop((slice(1, 3), slice(0, 5), slice(2, 6))).shape == volume.crop((1, 0, 2), (3, 5, 6)).shape
        True
        """
        first, last = _corners(start, self.shape) if stop is None else (cast("Sequence[int]", start), stop)
        if any(a < 0 or a >= b or b > n for a, b, n in zip(first, last, self.shape, strict=True)):
            raise GeometryError(f"box {tuple(first)} to {tuple(last)} is not inside a volume of shape {self.shape}")
        z, y, x = (slice(a, b) for a, b in zip(first, last, strict=True))
        return self[z, y, x]


AnyVolume = TypeVar("AnyVolume", bound=Volume)  # a volume or a mask: functions that take it return the same type


@dataclass(frozen=True, eq=False, repr=False)
class Mask(Volume):
    """A volume of uint8 labels, 0 for background; its type picks nearest-neighbor resampling.

    Parameters
    ----------
    array : array_like of uint8 (or bool), shape (z, y, x)
        Kept or copied as by `Volume`. ``Mask.from_array`` takes labels of other types.
    geometry : Geometry
        Its shape must be the array's.
    names : mapping of int to str
        The name of each label that has one, 1 to 255; by default none.

    Raises
    ------
    GeometryError
        If the array is neither uint8 nor bool, or does not fit the geometry.
    InputError
        If a name is not a text, or belongs to no label from 1 to 255.

    Examples
    --------
    >>> import hilum
    >>> import numpy as np
    >>> lungs = np.zeros((4, 50, 60), np.uint8)
    >>> lungs[:2, :25] = 1
    >>> grid = hilum.Geometry((4, 50, 60), (2.0, 1.0, 1.0))
    >>> mask = hilum.Mask(lungs, grid, {1: "right lung", 2: "left lung"})
    >>> mask.volumes_ml()
    {'right lung': 6.0, 'left lung': 0.0}
    """

    _is_labels = True

    names: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.array.dtype == np.bool_:
            object.__setattr__(self, "array", self.array.view(np.uint8))
        if self.array.dtype != np.uint8:
            raise GeometryError(f"a mask holds uint8 labels, not {self.array.dtype}")
        if not all(value in range(1, 256) and isinstance(name, str) for value, name in self.names.items()):
            raise InputError(f"the names {dict(self.names)} are not texts of labels from 1 to 255", code="label-names")
        object.__setattr__(self, "names", MappingProxyType({int(value): name for value, name in self.names.items()}))

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild through the constructor, as a volume."""
        return type(self), (self.array, self.geometry, dict(self.names))

    def __repr__(self) -> str:
        names = ", ".join(f"{value}={name!r}" for value, name in self.names.items())
        return f"Mask(shape={self.shape}, {self.geometry.place}" + (f", names: {names})" if names else ")")

    @classmethod
    def _of(cls, array: NDArray[Any], geometry: Geometry) -> Self:
        labels = array if array.dtype.kind == "b" else array.astype(np.uint8, copy=False)
        if not np.array_equal(labels, array):
            what = f"a mask holds whole numbers from 0 to 255; these {array.dtype} values are others"
            raise InputError(what, do="use hilum.Volume for an image", code="labels")
        return cls(labels, geometry)

    def volume_ml(self, label: int | str | None = None) -> float:
        """Volume of one label, or of all of them, in milliliters.

        Parameters
        ----------
        label : int or str, optional
            The label to count, or its name; by default every label except 0.

        Returns
        -------
        float

        Raises
        ------
        InputError
            If no label has the name.

        Examples
        --------
        >>> import hilum
        >>> import numpy as np
        >>> mask = hilum.Mask.from_array(np.ones((10, 10, 10)), spacing=(1.0, 1.0, 1.0))
        >>> mask.volume_ml(1), mask.volume_ml(2)
        (1.0, 0.0)
        """
        if isinstance(label, str):
            values = [value for value, name in self.names.items() if name == label]
            if not values:
                known = name_some(self.names.values()) or "none"
                raise InputError(f"no label of the mask has the name {label!r}; names: {known}", code="label-names")
            return sum(self.volume_ml(value) for value in values)
        count = np.count_nonzero(self.array if label is None else self.array == label)
        return float(count * self.geometry.voxel_volume / 1000)

    def volumes_ml(self) -> dict[str | int, float]:
        """Volume of every label in milliliters.

        Returns
        -------
        dict
            By the label's name, by its value if it has none. Labels with a name come first, also where no voxel has
            them.
        """
        counts = sum(np.bincount(plane.ravel(), minlength=256) for plane in self.array)
        ml = np.asarray(counts) * self.geometry.voxel_volume / 1000
        others = [int(value) for value in np.flatnonzero(ml) if value and value not in self.names]
        return {self.names.get(value, value): float(ml[value]) for value in (*self.names, *others)}


def _check_geometry(geometry: object) -> None:
    if not isinstance(geometry, Geometry):
        do = "hilum.Volume.from_array(array, spacing=(z, y, x)) makes one"
        raise InputError(f"a volume needs a hilum.Geometry, not {type(geometry).__name__}", do=do, code="type")


def _corners(box: object, shape: tuple[int, int, int]) -> tuple[list[int], list[int]]:
    """The first voxel of a box of slices, and one past the last; not cut at the volume's edge."""
    if not (isinstance(box, tuple | list) and len(box) == 3 and all(isinstance(part, slice) for part in box)):
        do = "crop((slice(0, 9), slice(0, 9), slice(0, 9))), or crop(start, stop), each (z, y, x)"
        raise InputError("a box is three slices (z, y, x)", do=do, code="index")
    if any(part.step not in {None, 1} for part in box):
        raise InputError("a box has no steps", do="volume[::2, ::2, ::2] takes every second voxel", code="index")
    start = [0 if part.start is None else part.start for part in box]
    return start, [n if part.stop is None else part.stop for part, n in zip(box, shape, strict=True)]
