"""A DICOM series to Hounsfield units, (z, y, x) from the feet to the head: hilum and the readers of today.

Each peer reads as its documentation shows, file by file where it has no series, sorted by position, into one array.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hilum

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Slice = tuple[float, "NDArray[Any]", float, float]  # position along z, stored values, slope, intercept


def ways(series: Path) -> dict[str, Callable[[], NDArray[np.int16]]]:
    """The ways whose module is installed."""
    files = sorted(map(str, series.glob("*.dcm")))
    by_file = {"dicomsdl": by_dicomsdl, "fastdicom": by_fastdicom, "pydicom": by_pydicom}
    found: dict[str, Callable[[], NDArray[np.int16]]] = {"hilum": lambda: hilum.read(series).ct.array}
    for name, read in by_file.items():
        if find_spec(name):
            found[name] = partial(stacked, read, files)
    if find_spec("SimpleITK"):
        found["SimpleITK"] = partial(by_simpleitk, series)
    return found


def stacked(read: Callable[[str], Slice], files: list[str]) -> NDArray[np.int16]:
    """One array in HU; whole numbers stay whole, which is faster."""
    ordered = sorted(map(read, files), key=lambda one: one[0])
    volume = np.empty((len(ordered), *ordered[0][1].shape), np.int16)
    for place, (_, stored, slope, intercept) in zip(volume, ordered, strict=True):
        if slope == 1 and intercept == int(intercept):
            np.add(stored, np.int16(intercept), out=place, casting="unsafe")
        else:
            place[:] = np.rint(stored * slope + intercept)
    return volume


def by_dicomsdl(path: str) -> Slice:
    import dicomsdl

    one = dicomsdl.open(path)
    position, slope, intercept = one.ImagePositionPatient, one.RescaleSlope, one.RescaleIntercept
    return position[2], one.pixelData(storedvalue=True), slope, intercept


def by_fastdicom(path: str) -> Slice:
    import fastdicom

    one = fastdicom.dcmread(path)
    return float(one.ImagePositionPatient[2]), one.pixel_array, float(one.RescaleSlope), float(one.RescaleIntercept)


def by_pydicom(path: str) -> Slice:
    import pydicom

    one = pydicom.dcmread(path)
    return float(one.ImagePositionPatient[2]), one.pixel_array, float(one.RescaleSlope), float(one.RescaleIntercept)


def by_simpleitk(series: Path) -> NDArray[np.int16]:
    import SimpleITK as sitk  # noqa: N813 - as everybody calls it

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    array: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    return array.astype(np.int16, copy=False)
