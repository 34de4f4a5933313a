"""Images of ITK's own Python package."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry
from hilum.interop.asking import COMMON, check_axes, check_channels, check_kind, check_numbers, library, native

_WRAPPED = COMMON - {"int8", "int64"}  # the package on PyPI has no images of these


def to_image(array: NDArray[Any], geometry: Geometry) -> Any:
    """Make an image of an array and its geometry."""
    with library("itk"):
        import itk

    # ITK takes an array that is Fortran-contiguous as (x, y, z), and so it would take one of a single line of voxels.
    image = itk.image_from_array(np.ascontiguousarray(native(array, library="ITK", types=_WRAPPED)).T)
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection(itk.matrix_from_array(np.array(geometry.direction)[::-1].T))
    return image


def from_image(image: Any) -> tuple[NDArray[Any], Geometry]:
    """Read the array and the geometry of an image."""
    with library("itk"):
        import itk

    check_kind(image, itk.DataObject, name="an itk.Image")
    check_axes(image.GetImageDimension(), do="give one volume")
    check_channels(image.GetNumberOfComponentsPerPixel(), do="give an image of one value a voxel")
    z, y, x = itk.array_from_matrix(image.GetDirection()).T[::-1].tolist()
    array = itk.array_from_image(image)
    check_numbers(array)
    return array, Geometry(array.shape, tuple(image.GetSpacing())[::-1], tuple(image.GetOrigin()), (z, y, x))
