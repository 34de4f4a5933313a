"""A volume in memory to 1 mm: hilum and the resamplers of today, each at its own order and with its own threads."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

import hilum

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def ways(volume: hilum.Volume, nifti: Path) -> dict[str, dict[str, Callable[[], NDArray[Any]]]]:
    """By order of the spline, the ways whose module is installed; the volume is in memory for each."""
    makers = {
        "cubic": {"hilum": of_hilum, "SimpleITK": of_simpleitk, "scipy": of_scipy},
        "linear": {
            "hilum": of_hilum, "medrs": of_medrs, "SimpleITK": of_simpleitk, "torchio": of_torchio, "monai": of_monai,
        },
    }  # fmt: skip
    return {
        order: {name: make(volume, nifti, order) for name, make in of_order.items() if find_spec(name)}
        for order, of_order in makers.items()
    }


def of_hilum(volume: hilum.Volume, _nifti: Path, order: Any) -> Callable[[], NDArray[Any]]:
    return lambda: hilum.resample(volume, 1.0, order=order, antialias="off").array


def of_simpleitk(volume: hilum.Volume, _nifti: Path, order: str) -> Callable[[], NDArray[Any]]:
    import SimpleITK as sitk  # noqa: N813 - as everybody calls it

    image = volume.to_sitk()
    how = {"cubic": sitk.sitkBSpline, "linear": sitk.sitkLinear}[order]
    size = [round(n * s) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    plain = sitk.Transform()

    def work() -> NDArray[Any]:
        origin, direction = image.GetOrigin(), image.GetDirection()
        made = sitk.Resample(image, size, plain, how, origin, [1.0] * 3, direction, -1024.0)
        array: NDArray[Any] = sitk.GetArrayViewFromImage(made)
        return array

    return work


def of_scipy(volume: hilum.Volume, _nifti: Path, order: str) -> Callable[[], NDArray[Any]]:
    from scipy import ndimage

    spline = {"cubic": 3, "linear": 1}[order]
    return lambda: ndimage.zoom(volume.array, volume.spacing, order=spline, mode="nearest")


def of_medrs(_volume: hilum.Volume, nifti: Path, _order: str) -> Callable[[], NDArray[Any]]:
    import medrs

    image = medrs.load(str(nifti)).materialize()
    return lambda: np.asarray(image.resample([1.0] * 3).to_numpy())


def of_torchio(_volume: hilum.Volume, nifti: Path, _order: str) -> Callable[[], NDArray[Any]]:
    import torchio

    image = torchio.ScalarImage(nifti)
    image.load()
    return lambda: np.asarray(torchio.Resample(1.0)(image).data)


def of_monai(_volume: hilum.Volume, nifti: Path, _order: str) -> Callable[[], NDArray[Any]]:
    from monai.transforms import LoadImage, Spacing

    image = LoadImage(image_only=True, ensure_channel_first=True)(str(nifti))
    return lambda: np.asarray(Spacing(pixdim=(1.0, 1.0, 1.0), mode="bilinear")(image))
