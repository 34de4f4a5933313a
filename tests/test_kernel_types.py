"""Every type and order of voxels that files bring: the kernels give what they give for a plain array.

The hook of `conftest.py` also checks that a wheel has machine code for each of them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import hilum
from hilum.phantom.chest import make_phantom

TYPES = ["i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<f4", "<f8", ">i2", ">u2", ">f4"]

RESAMPLED = {"uint8", "int16", "float32"}

OBLIQUE = ((0.0, 0.0, 1.0), (-0.6, 0.8, 0.0), (0.8, 0.6, 0.0))


@cache
def phantom():
    return make_phantom(seed=1, shape=(30, 64, 64), spacing=(10.0, 6.0, 6.0)).scan


def laid_out(array: np.ndarray, how: str) -> np.ndarray:
    """The same values in another order in memory."""
    if how == "unaligned":
        raw = np.zeros(array.nbytes + 1, np.uint8)
        view = raw[1:].view(array.dtype).reshape(array.shape)
        view[...] = array
        return view
    views = {
        "C": array,
        "F": np.asfortranarray(array),
        "steps": np.repeat(array, 2, axis=2)[:, :, ::2],
        "flipped": array[::-1, ::-1].copy()[::-1, ::-1],
        "turned": array.transpose(2, 1, 0).copy().transpose(2, 1, 0),
    }
    return views[how]


def values(dtype: str) -> np.ndarray:
    """The phantom's voxels, brought into the range of a type."""
    hu = phantom().ct.array
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.iinfo(np.int16)
    return (hu if limits.min < -2000 else np.clip(hu // 16 + 64, max(limits.min, -100), 127)).astype(dtype)


def everything(volume: hilum.Volume) -> list[np.ndarray]:
    """What the operations on gray values make of a volume."""
    geometry = volume.geometry
    outside = None if volume.dtype.name == "int16" else 0.0
    oblique = hilum.Geometry((9, 9, 9), (20.0, 20.0, 20.0), geometry.origin, OBLIQUE)
    made = [hilum.window(volume, "lung"), hilum.normalize(volume, lower=-1000.0, upper=400.0), hilum.reorient(volume)]
    if volume.dtype.name not in RESAMPLED:
        return [part.array for part in made]
    made += [hilum.resample(volume, spacing=(7.0, 6.0, 5.0), order=order) for order in (0, 1, 3)]
    made += [hilum.resample(volume, spacing=(15.0, 14.0, 13.0), order=order) for order in (1, 3)]  # coarser: smoothed
    made += [hilum.resample(volume, like=oblique, order=order, outside=outside) for order in (0, 1, 3)]
    return [part.array for part in made]


def masked(array: np.ndarray) -> list[np.ndarray]:
    """What the operations on labels make of an array."""
    mask = hilum.Mask(array, phantom().ct.geometry)
    made = [hilum.resample(mask, spacing=(7.0, 6.0, 5.0)), hilum.dilate(mask, radius_mm=12.0), hilum.reorient(mask)]
    return [part.array for part in made]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("how", ["C", "F", "steps", "flipped", "turned", "unaligned"])
def test_gray_values_of_any_type_and_order(dtype, how):
    array, geometry = values(dtype), phantom().ct.geometry
    plain = everything(hilum.Volume(array.astype(array.dtype.newbyteorder("=")), geometry))
    for ours, theirs in zip(everything(hilum.Volume(laid_out(array, how), geometry)), plain, strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("how", ["C", "F", "steps", "flipped", "turned", "unaligned"])
def test_labels_in_any_order(how):
    lungs = hilum.segment_lungs(phantom().ct).array
    for ours, theirs in zip(masked(laid_out(lungs, how)), masked(lungs.copy()), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("method", ["hilum", "tutorial3d", "tutorial2d"])
@pytest.mark.parametrize("dtype", ["<i2", "<i4", "<f4", "<f8", ">i2"])
@pytest.mark.parametrize("how", ["C", "F", "flipped"])
def test_lungs_of_any_type_and_order(method, dtype, how):
    ct = hilum.Volume(laid_out(values(dtype), how), phantom().ct.geometry)
    ours = hilum.segment_lungs(ct, method=method).array
    assert np.array_equal(ours, hilum.segment_lungs(phantom().ct, method=method).array)
