"""The methods of `hilum.Volume` and `hilum.Mask` that take and give images of other libraries."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.errors import GeometryError
from hilum.geometry import IDENTITY_DIRECTION, Geometry, Vector

if TYPE_CHECKING:
    import SimpleITK


class Conversions:
    """What volumes and masks have in common with images of other libraries; `hilum.interop` has the conventions."""

    array: NDArray[Any]
    geometry: Geometry
    _is_labels: ClassVar[bool] = False

    @classmethod
    def _of(cls, array: NDArray[Any], geometry: Geometry) -> Self:
        """Make one of voxels of any type."""
        raise NotImplementedError

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        *,
        spacing: Vector,
        origin: Vector = (0.0, 0.0, 0.0),
        direction: tuple[Vector, Vector, Vector] = IDENTITY_DIRECTION,
    ) -> Self:
        """Make a volume or mask of an array.

        Parameters
        ----------
        array : array_like, shape (z, y, x)
            The voxels, as for the constructor; for a mask labels of any type, 0 to 255.
        spacing : tuple of float, (z, y, x), mm
            Distance between neighboring voxel centers along each array axis.
        origin : tuple of float, (x, y, z), LPS mm, default (0.0, 0.0, 0.0)
            World position of the center of voxel (0, 0, 0).
        direction : three unit vectors (x, y, z), LPS
            The world direction of each array axis z, y, x; by default head, back and left.

        Returns
        -------
        Volume or Mask

        Raises
        ------
        GeometryError
            If the array has not three axes, or the grid is invalid.
        InputError
            If the array holds something else than numbers, or a mask's labels are not whole numbers from 0 to 255.

        Examples
        --------
        >>> import hilum
        >>> import numpy as np
        >>> hilum.Volume.from_array(np.zeros((4, 5, 6), np.int16), spacing=(2.5, 0.7, 0.7))
        Volume(int16, shape=(4, 5, 6), spacing=(2.5, 0.7, 0.7) mm, origin=(0, 0, 0), axes=SPL)
        """
        voxels = np.asarray(array)
        if voxels.ndim != 3:
            what = f"an array of shape {voxels.shape} has {voxels.ndim} axes, expected (z, y, x)"
            raise GeometryError(what, do="give one volume: array[0], or array[None] for a plane")
        return cls._of(voxels, Geometry(voxels.shape, spacing, origin, direction))

    @classmethod
    def from_sitk(cls, image: "SimpleITK.Image") -> Self:
        """Copy a SimpleITK image.

        Parameters
        ----------
        image : SimpleITK.Image
            Of three dimensions, with one number a voxel; for a mask whole numbers from 0 to 255.

        Returns
        -------
        Volume or Mask
            With the image's type of voxels (a mask: uint8) and exactly its place.

        Raises
        ------
        InputError
            If it is no such image, or SimpleITK is not installed.

        Examples
        --------
        >>> import hilum
        >>> import SimpleITK
        >>> hilum.Volume.from_sitk(SimpleITK.Image([6, 5, 4], SimpleITK.sitkInt16))
        Volume(int16, shape=(4, 5, 6), spacing=(1, 1, 1) mm, origin=(0, 0, 0), axes=SPL)
        """
        from hilum.interop import simpleitk

        return cls._of(*simpleitk.from_image(image))

    def to_sitk(self) -> "SimpleITK.Image":
        """Copy to a SimpleITK image.

        Returns
        -------
        SimpleITK.Image
            Indices (x, y, z), world LPS mm.

        Raises
        ------
        InputError
            If SimpleITK has no such type of voxels, or is not installed.

        Examples
        --------
        >>> import hilum
        >>> import numpy as np
        >>> hilum.Volume.from_array(np.zeros((4, 5, 6)), spacing=(2.5, 0.7, 0.7)).to_sitk().GetSpacing()
        (0.7, 0.7, 2.5)
        """
        from hilum.interop import simpleitk

        return simpleitk.to_image(self.array, self.geometry)

    @classmethod
    def from_nibabel(cls, image: Any) -> Self:
        """Copy an image of nibabel.

        Parameters
        ----------
        image : SpatialImage
            Of any of its formats, with one number a voxel, scaled as its header says. A fourth axis must have length 1.

        Returns
        -------
        Volume or Mask
            Its array is the image's with the axes in the order z, y, x; the world is LPS.

        Raises
        ------
        InputError
            If it is no such image. `GeometryError` if its affine is sheared: `hilum.read` straightens files.

        Examples
        --------
        >>> import hilum
        >>> import nibabel
        >>> import numpy as np
        >>> hilum.Volume.from_nibabel(nibabel.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.diag([-1, -1, 2, 1])))
        Volume(int16, shape=(4, 5, 6), spacing=(2, 1, 1) mm, origin=(0, 0, 0), axes=SPL)
        """
        from hilum.interop import nibabel

        return cls._of(*nibabel.from_image(image))

    def to_nibabel(self) -> Any:
        """Show the voxels as a NIfTI-1 image of nibabel, without a copy.

        Returns
        -------
        nibabel.Nifti1Image
            Indices (x, y, z), world RAS mm. Its array is read-only.

        Raises
        ------
        InputError
            If NIfTI has no such type of voxels.

        Examples
        --------
        >>> import hilum
        >>> import numpy as np
        >>> hilum.Volume.from_array(np.zeros((4, 5, 6)), spacing=(2.5, 0.7, 0.7)).to_nibabel().shape
        (6, 5, 4)
        """
        from hilum.interop import nibabel

        return nibabel.to_image(self.array, self.geometry)

    @classmethod
    def from_itk(cls, image: Any) -> Self:
        """Copy an image of ITK's Python package ``itk``.

        Parameters
        ----------
        image : itk.Image
            Of three dimensions, with one number a voxel; for a mask whole numbers from 0 to 255.

        Returns
        -------
        Volume or Mask
            With the image's type of voxels (a mask: uint8) and exactly its place.

        Raises
        ------
        InputError
            If it is no such image, or itk is not installed.

        Examples
        --------
        >>> import hilum
        >>> import itk
        >>> volume = hilum.read("scan").ct
        >>> hilum.Volume.from_itk(volume.to_itk()).geometry.isclose(volume.geometry)
        True
        """
        from hilum.interop import itk

        return cls._of(*itk.from_image(image))

    def to_itk(self) -> Any:
        """Copy to an image of ITK's Python package ``itk``.

        Returns
        -------
        itk.Image
            Indices (x, y, z), world LPS mm.

        Raises
        ------
        InputError
            If itk has no such type of voxels (int8, float16, bool, integers of 64 bits), or is not installed.
        """
        from hilum.interop import itk

        return itk.to_image(self.array, self.geometry)

    def to_torch(self) -> Any:
        """Copy the voxels to a tensor of torch.

        Returns
        -------
        torch.Tensor, shape (z, y, x)
            Of the same type, on the CPU, without a place in the world: ``tensor[None, None].float()`` is a batch.

        Raises
        ------
        InputError
            If torch is not installed.
        """
        from hilum.interop import tensors

        return tensors.to_tensor(self.array)

    @classmethod
    def from_monai(cls, tensor: Any) -> Self:
        """Copy a MetaTensor of MONAI.

        Parameters
        ----------
        tensor : monai.data.MetaTensor, shape (1, x, y, z) or (x, y, z)
            With a RAS affine, as MONAI has it, and no pending transforms.

        Returns
        -------
        Volume or Mask
            With the tensor's type of voxels (a mask: uint8).

        Raises
        ------
        InputError
            If it is no such tensor, or MONAI is not installed.

        Examples
        --------
        >>> import hilum
        >>> import monai
        >>> volume = hilum.read("scan").ct
        >>> hilum.Volume.from_monai(volume.to_monai()).geometry.isclose(volume.geometry)
        True
        """
        from hilum.interop import tensors

        return cls._of(*tensors.from_meta_tensor(tensor))

    def to_monai(self) -> Any:
        """Copy to a MetaTensor of MONAI, as its ``LoadImage(ensure_channel_first=True)`` gives.

        Returns
        -------
        monai.data.MetaTensor, shape (1, x, y, z)
            Of the same type, with an affine to RAS mm.

        Raises
        ------
        InputError
            If MONAI is not installed.
        """
        from hilum.interop import tensors

        return tensors.to_meta_tensor(self.array, self.geometry)

    @classmethod
    def from_torchio(cls, image: Any) -> Self:
        """Copy an image of TorchIO.

        Parameters
        ----------
        image : torchio.ScalarImage or torchio.LabelMap, shape (1, x, y, z)
            With one channel; for a mask whole numbers from 0 to 255.

        Returns
        -------
        Volume or Mask
            With the image's type of voxels (a mask: uint8).

        Raises
        ------
        InputError
            If it is no such image, or TorchIO is not installed.

        Examples
        --------
        >>> import hilum
        >>> import torchio
        >>> volume = hilum.read("scan").ct
        >>> hilum.Volume.from_torchio(volume.to_torchio()).geometry.isclose(volume.geometry)
        True
        """
        from hilum.interop import tensors

        return cls._of(*tensors.from_torchio(image))

    def to_torchio(self) -> Any:
        """Copy to an image of TorchIO.

        Returns
        -------
        torchio.ScalarImage or, of a mask, torchio.LabelMap, shape (1, x, y, z)
            Of the same type, with an affine to RAS mm.

        Raises
        ------
        InputError
            If TorchIO is not installed.
        """
        from hilum.interop import tensors

        return tensors.to_torchio(self.array, self.geometry, labels=self._is_labels)
