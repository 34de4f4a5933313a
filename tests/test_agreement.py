"""Dice, surface distances and nodule coverage against SciPy and SimpleITK."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hilum._kernels.distance import squared_distance
from hilum.errors import GeometryError, InputError
from hilum.geometry import Geometry
from hilum.ops.quality.agreement import compare_masks, nodule_coverage
from hilum.volume import Mask


@st.composite
def pairs(draw):
    shape = tuple(draw(st.integers(1, n)) for n in (7, 12, 14))
    spacing = tuple(draw(st.sampled_from([0.6, 1.0, 2.5, 8.0])) for _ in range(3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.02, 0.3, 0.9]))
    return tuple((random.random(shape) < share).astype(np.uint8) for _ in range(2)), spacing


def masks(arrays, spacing):
    return tuple(Mask(array, Geometry(array.shape, spacing)) for array in arrays)


def surface_distances(one, other, spacing):
    surfaces = [a & ~ndimage.binary_erosion(a, border_value=0) for a in (one, other)]
    far = [ndimage.distance_transform_edt(~s, sampling=spacing) for s in surfaces]
    return far[1][surfaces[0]], far[0][surfaces[1]]


@settings(max_examples=60)
@given(pairs())
def test_distances_are_scipys(case):
    (chosen, _), spacing = case
    got = squared_distance(chosen > 0, spacing)
    if not chosen.any():
        assert np.isinf(got).all()
        return
    want = ndimage.distance_transform_edt(chosen == 0, sampling=spacing)
    assert np.allclose(np.sqrt(got), want, rtol=1e-12, atol=1e-9)
    assert np.array_equal(got, squared_distance(chosen > 0, spacing, workers=3))


@settings(max_examples=60)
@given(pairs(), st.sampled_from([0.0, 1.0, 2.0, 5.0]))
def test_agreement_is_that_of_scipy(case, tolerance):
    arrays, spacing = case
    got = compare_masks(*masks(arrays, spacing), tolerance_mm=tolerance)
    one, other = (a > 0 for a in arrays)
    if not (one.any() and other.any()):
        both = not (one.any() or other.any())
        assert (got.dice, got.nsd, got.hd95_mm) == ((1, 1, 0) if both else (0, 0, math.inf))
        return
    there, back = surface_distances(one, other, spacing)
    assert got.dice == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))
    every = np.concatenate([there, back])
    assert got.nsd == pytest.approx((every <= tolerance + 1e-9).mean())
    assert got.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert compare_masks(*masks(arrays[::-1], spacing), tolerance_mm=tolerance) == got


def test_agreement_is_that_of_simpleitk():
    z, y, x = np.ogrid[:20, :40, :44]
    one = ((z - 9) ** 2 * 6 + (y - 18) ** 2 + (x - 20) ** 2 < 230).astype(np.uint8)
    other = ((z - 10) ** 2 * 6 + (y - 20) ** 2 + (x - 24) ** 2 < 200).astype(np.uint8)
    spacing = (2.5, 1.0, 1.0)
    images = [SimpleITK.GetImageFromArray(array) for array in (one, other)]
    for image in images:
        image.SetSpacing(spacing[::-1])
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    got = compare_masks(*masks((one, other), spacing))
    assert got.dice == pytest.approx(overlap.GetDiceCoefficient())
    surfaces = [SimpleITK.LabelContour(image, fullyConnected=False) for image in images]
    far = [SimpleITK.SignedMaurerDistanceMap(s, squaredDistance=False, useImageSpacing=True) for s in surfaces]
    arrays = [np.abs(SimpleITK.GetArrayFromImage(f)) for f in far]
    bounds = [SimpleITK.GetArrayFromImage(s) > 0 for s in surfaces]
    there, back = arrays[1][bounds[0]], arrays[0][bounds[1]]
    assert got.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-5)
    assert got.nsd == pytest.approx((np.concatenate([there, back]) <= 2.0 + 1e-5).mean())
    assert 0 < got.nsd < 1


def test_one_label_is_compared_by_itself():
    array = np.zeros((4, 8, 8), np.uint8)
    array[1:3, 2:6, 1:3], array[1:3, 2:6, 5:7] = 1, 2
    swapped = np.array([0, 2, 1], np.uint8)[array]
    one, other = masks((array, swapped), (1.0, 1.0, 1.0))
    assert compare_masks(one, other).dice == 1
    assert compare_masks(one, other, label=1).dice == 0
    assert compare_masks(one, one, label=2) == compare_masks(one, one)
    assert compare_masks(one, other, label=1).hd95_mm == pytest.approx(4.0)


def test_coverage_counts_the_voxels_of_each_nodule():
    nodules = np.zeros((3, 6, 6), np.uint8)
    nodules[1, 1, 1:5], nodules[2, 4, 0:2] = 1, 3
    lungs = np.zeros_like(nodules)
    lungs[:, :, 2:] = 2
    got = nodule_coverage(*masks((lungs, nodules), (1.0, 1.0, 1.0)))
    assert got[0] == 0.75
    assert math.isnan(got[1])
    assert got[2] == 0
    assert nodule_coverage(*masks((lungs, np.zeros_like(lungs)), (1.0, 1.0, 1.0))) == ()


def test_what_cannot_be_compared_is_refused():
    array = np.ones((2, 2, 2), np.uint8)
    (one,), (other,) = masks((array,), (1.0, 1.0, 1.0)), masks((array,), (2.0, 1.0, 1.0))
    for call in (compare_masks, nodule_coverage):
        with pytest.raises(GeometryError, match="different grids"):
            call(one, other)
    for tolerance in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="tolerance_mm"):
            compare_masks(one, one, tolerance_mm=tolerance)
