"""SimpleITK images."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum.geometry import Geometry
from hilum.interop.asking import check_axes, check_channels, check_kind, check_numbers, library, native

if TYPE_CHECKING:
    import SimpleITK


def to_image(array: NDArray[Any], geometry: Geometry) -> "SimpleITK.Image":
    """Make an image of an array and its geometry."""
    with library("SimpleITK"):
        import SimpleITK

    image = SimpleITK.GetImageFromArray(native(array, library="SimpleITK"), isVector=False)
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection(np.array(geometry.direction)[::-1].T.ravel().tolist())
    return image


def from_image(image: Any) -> tuple[NDArray[Any], Geometry]:
    """Read the array and the geometry of an image."""
    with library("SimpleITK"):
        import SimpleITK

    check_kind(image, SimpleITK.Image, name="a SimpleITK.Image")
    check_axes(image.GetDimension(), do="give one volume: image[:, :, :, 0]")
    check_channels(image.GetNumberOfComponentsPerPixel(), do="SimpleITK.VectorIndexSelectionCast(image, 0) takes one")
    z, y, x = np.reshape(image.GetDirection(), (3, 3)).T[::-1].tolist()
    array = SimpleITK.GetArrayFromImage(image)
    check_numbers(array)
    return array, Geometry(array.shape, image.GetSpacing()[::-1], image.GetOrigin(), (z, y, x))
