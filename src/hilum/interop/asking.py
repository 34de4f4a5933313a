"""What the conversions share: a missing library, an image of another kind, and voxels that a library cannot hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

from numpy.typing import NDArray

from hilum.errors import InputError, UnsupportedError

_DOORS = {"SimpleITK": "from_sitk", "itk": "from_itk", "nibabel": "from_nibabel", "monai": "from_monai",
          "torchio": "from_torchio"}  # fmt: skip

COMMON = frozenset(["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"])
"""Types of voxels that SimpleITK and NIfTI hold."""


@contextmanager
def library(name: str) -> Iterator[None]:
    """Run an import of another library; without the library, name the command that installs it.

    Raises
    ------
    InputError
    """
    try:
        yield
    except ImportError as problem:
        missing = (problem.name or name).partition(".")[0]
        what = f"this needs {missing}, which is not installed"
        raise InputError(what, do=f"pip install {name}", code="no-library") from None


def check_kind(image: object, kind: type, *, name: str) -> None:
    """Refuse an image that is not of the class of a library, and name the function for what it is.

    Raises
    ------
    InputError
    """
    if isinstance(image, kind):
        return
    do = "hilum.Volume.from_array(array, spacing=(z, y, x)) takes an array"
    if isinstance(image, str | PurePath):
        do = "hilum.read(path) reads a file"
    for base in type(image).__mro__:
        if door := _DOORS.get(base.__module__.partition(".")[0]):
            do = f"hilum.Volume.{door} takes it"
            break
    raise InputError(f"expected {name}, not {type(image).__name__}", do=do, code="type")


def check_axes(count: int, *, do: str) -> None:
    """Refuse an image that has not three axes.

    Raises
    ------
    UnsupportedError
    """
    if count != 3:
        raise UnsupportedError(f"the image has {count} axes, expected one volume with three", do=do)


def check_channels(count: int, *, do: str) -> None:
    """Refuse an image with several values a voxel.

    Raises
    ------
    UnsupportedError
    """
    if count != 1:
        raise UnsupportedError(f"the image has {count} values a voxel (color or a vector), expected one", do=do)


def native(array: NDArray[Any], *, library: str, types: frozenset[str] = COMMON) -> NDArray[Any]:
    """Give an array the machine's byte order, and refuse a type that a library does not hold.

    Raises
    ------
    UnsupportedError
    """
    if array.dtype.name not in types:
        do = "replace(volume, array=volume.array.astype('float32')), or 'int16'"
        raise UnsupportedError(f"{library} holds no voxels of {array.dtype}", do=do)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_numbers(array: NDArray[Any]) -> None:
    """Refuse voxels that are no integers or real numbers.

    Raises
    ------
    UnsupportedError
    """
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(
            f"the voxels are {array.dtype}, expected integers or real numbers", do="take np.abs of them"
        )
