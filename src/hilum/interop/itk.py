"""Images of ITK's own Python package."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry
from hilum.interop.asking import check_axes, check_channels, check_kind, check_numbers, library, native

_PIXELS = {"uint8": "UC", "int16": "SS", "uint16": "US", "int32": "SI", "uint32": "UI", "float32": "F", "float64": "D"}
"""ITK's names of the types for which the package on PyPI has images."""


def to_image(array: NDArray[Any], geometry: Geometry) -> Any:
    """Make an image of an array and its geometry."""
    with library("itk"):
        import itk

    voxels = native(array, library="ITK", types=frozenset(_PIXELS))
    # Not by itk.image_from_array: it takes an array of shape (n, 1, 1) as (1, 1, n).
    image = itk.Image[getattr(itk, _PIXELS[voxels.dtype.name]), 3].New(Regions=geometry.shape[::-1])
    image.Allocate()
    itk.array_view_from_image(image)[:] = voxels
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
