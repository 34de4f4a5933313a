"""Tensors of torch, and of MONAI and TorchIO, which give them a channel in front, axes x, y, z and a RAS affine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import UnsupportedError
from hilum.geometry import Geometry
from hilum.interop.asking import COMMON, check_axes, check_channels, check_kind, check_numbers, library, native

_TYPES = COMMON | {"float16", "bool"}


def to_tensor(array: NDArray[Any]) -> Any:
    """Copy an array to a tensor of the same axes."""
    with library("torch"):
        import torch

    return torch.from_numpy(np.array(native(array, library="torch", types=_TYPES), order="C"))  # torch writes to it


def to_meta_tensor(array: NDArray[Any], geometry: Geometry) -> Any:
    """Make a MetaTensor as MONAI's ``LoadImage(ensure_channel_first=True)`` does."""
    with library("monai"):
        from monai.data import MetaTensor

    meta = {"space": "RAS", "original_channel_dim": 0, "spatial_shape": np.array(geometry.shape[::-1])}
    affine = geometry.affine_ras.copy()
    return MetaTensor(to_tensor(array.T[None]), affine=affine, meta={**meta, "original_affine": affine.copy()})


def from_meta_tensor(tensor: Any) -> tuple[NDArray[Any], Geometry]:
    """Read the array and the geometry of a MetaTensor."""
    with library("monai"):
        from monai.data import MetaTensor

    check_kind(tensor, MetaTensor, name="a MetaTensor of MONAI")
    if tensor.pending_operations:
        do = "apply them: monai.transforms.lazy.functional.apply_pending"
        raise UnsupportedError("transforms of the tensor are pending", do=do)
    if str(tensor.meta.get("space", "RAS")) != "RAS":
        raise UnsupportedError(f"the affine of the tensor is {tensor.meta['space']}, expected RAS", do="convert it")
    return _from_channels(tensor.as_tensor(), tensor.affine)


def to_torchio(array: NDArray[Any], geometry: Geometry, *, labels: bool) -> Any:
    """Make a LabelMap or a ScalarImage."""
    with library("torchio"):
        import torchio

    kind = torchio.LabelMap if labels else torchio.ScalarImage
    return kind(tensor=to_tensor(array.T[None]), affine=geometry.affine_ras.copy())


def from_torchio(image: Any) -> tuple[NDArray[Any], Geometry]:
    """Read the array and the geometry of an image."""
    with library("torchio"):
        import torchio

    check_kind(image, torchio.Image, name="an image of TorchIO")
    return _from_channels(image.data, image.affine)


def _from_channels(tensor: Any, affine: Any) -> tuple[NDArray[Any], Geometry]:
    """An array (z, y, x) from a tensor (channel, x, y, z)."""
    if tensor.ndim == 4:
        check_channels(len(tensor), do="give one channel: image[:1]")
        tensor = tensor[0]
    check_axes(tensor.ndim, do="give one item of the batch")
    array = np.array(tensor.detach().cpu().numpy())  # a copy: the tensor stays writable
    check_numbers(array)
    return array.T, Geometry.from_affine_ras(np.asarray(affine, np.float64), array.shape)
