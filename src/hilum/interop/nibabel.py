"""nibabel's images of any format with an affine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import UnsupportedError
from hilum.geometry import Geometry
from hilum.interop.asking import check_axes, check_kind, check_numbers, library, native

_MM = {"meter": 1000.0, "micron": 0.001}  # nibabel leaves the units of a header to its reader


def to_image(array: NDArray[Any], geometry: Geometry) -> Any:
    """Make a NIfTI-1 image that shows the voxels of an array; its header has both forms, as a file of hilum."""
    with library("nibabel"):
        import nibabel

    voxels = native(array, library="NIfTI")
    image = nibabel.Nifti1Image(voxels.T, geometry.affine_ras, dtype=voxels.dtype)
    image.header.set_xyzt_units("mm")
    image.header.set_sform(
        geometry.affine_ras, 1
    )  # in the header alone: the image keeps its affine in double precision
    image.header.set_qform(geometry.affine_ras, 1)
    return image


def from_image(image: Any) -> tuple[NDArray[Any], Geometry]:
    """Read the array and the geometry of an image."""
    with library("nibabel"):
        import nibabel
        from nibabel.spatialimages import SpatialImage

    check_kind(image, SpatialImage, name="an image of nibabel")
    if image.affine is None:
        raise UnsupportedError("the image has no affine", do="hilum.Volume.from_array(image.dataobj, spacing=...)")
    array = np.asarray(image.dataobj)
    if array.dtype.names:
        raise UnsupportedError("the voxels are colors, expected one number each", do="give a gray image")
    check_numbers(array)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    check_axes(array.ndim, do="give one volume: image.slicer[..., 0]")
    if not nibabel.is_proxy(image.dataobj):
        array = array.copy(order="K")  # the image's own, which stays writable
    affine = np.array(image.affine, np.float64)
    units = getattr(image.header, "get_xyzt_units", lambda: ("mm",))()[0]
    affine[:3] *= _MM.get(units, 1.0)
    return array.T, Geometry.from_affine_ras(affine, array.shape)
