"""Dice, surface distances and nodule coverage against SciPy, scikit-image, SimpleITK and MONAI."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import measure

from hilum._kernels.distance import squared_distance
from hilum.errors import GeometryError, InputError
from hilum.geometry import Geometry
from hilum.ops.quality.agreement import Agreement, compare_masks, nodule_coverage
from hilum.ops.quality.surface_elements import element_areas, surface_codes
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


CODES = 1 << np.arange(8).reshape(2, 2, 2)[::-1, ::-1, ::-1]
"""The number of each of eight voxels around a corner, as DeepMind's surface-distance encodes them."""


@cache
def areas_of_marching_cubes(spacing):
    """The areas of all codes by scikit-image's classic marching cubes; of an ambiguous code the smaller surface."""
    areas = np.zeros(256)
    for code in range(1, 255):
        corners = (CODES & code > 0).astype(float)
        corners, faces, _, _ = measure.marching_cubes(corners, 0.5, spacing=spacing, method="lorensen")
        areas[code] = measure.mesh_surface_area(corners, faces)
    return np.minimum(areas, areas[::-1])


def edt(surface, spacing):
    return ndimage.distance_transform_edt(~surface, sampling=spacing)


def maurer(surface, spacing):
    image = SimpleITK.GetImageFromArray(surface.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    far = SimpleITK.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.abs(SimpleITK.GetArrayFromImage(far))


def surface_distances(one, other, spacing, distance):
    """Distances and areas of the elements of both surfaces, by the definition of DeepMind's surface-distance."""
    codes = [ndimage.correlate(np.pad(a, 1).astype(int), CODES, mode="constant", origin=-1) for a in (one, other)]
    surfaces = [(code > 0) & (code < 255) for code in codes]
    far = [distance(surface, spacing) for surface in surfaces]
    areas = element_areas(spacing)  # those of marching cubes, see below
    parts = [(far[1 - k][surfaces[k]], areas[codes[k][surfaces[k]]]) for k in (0, 1)]
    return [(d[np.argsort(d)], a[np.argsort(d)]) for d, a in parts]


def expected_of(one, other, spacing, tolerance, distance=edt):
    """Surface Dice, 95 % Hausdorff distance and mean distance as the functions of surface-distance compute them."""
    parts = surface_distances(one, other, spacing, distance)
    total = sum(areas.sum() for _, areas in parts)
    near = sum(areas[distances <= tolerance + 1e-9].sum() for distances, areas in parts)
    mean = sum((distances * areas).sum() for distances, areas in parts) / total
    ends = [  # just below and above 95 %, where a step of the distances may lie
        max(d[min(np.searchsorted(np.cumsum(a) / a.sum(), share), len(d) - 1)] for d, a in parts)
        for share in (0.95 - 1e-9, 0.95 + 1e-9)
    ]
    return near / total, ends, mean


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.7, 0.9)])
def test_areas_are_those_of_marching_cubes(spacing):
    assert element_areas(spacing) == pytest.approx(areas_of_marching_cubes(spacing), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_areas_and_surface_dice_are_those_of_monai():
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    spacing, (one, other) = (2.5, 0.7, 0.9), balls((2.5, 0.7, 0.9))
    table, _ = metrics.utils.get_code_to_measure_table(spacing)
    assert element_areas(spacing) == pytest.approx(np.asarray(table), rel=1e-5)
    tensors = [torch.as_tensor(np.stack([a == 0, a > 0])[None]) for a in (one, other)]
    theirs = metrics.compute_surface_dice(*tensors, [1.0], spacing=spacing, use_subvoxels=True)
    ours = compare_masks(*masks((one, other), spacing), tolerance_mm=1.0)
    assert ours.surface_dice == pytest.approx(float(theirs), abs=1e-5)


def balls(spacing):
    """Two balls of 12 and 11 mm around points 2.5 mm apart."""
    z, y, x = (s * np.arange(n) for s, n in zip(spacing, (16, 50, 44), strict=True))
    far = [np.sqrt((z[:, None, None] - 18 - d) ** 2 + (y[:, None] - 17) ** 2 + (x - 17) ** 2) for d in (0, 2.5)]
    return (far[0] < 12).astype(np.uint8), (far[1] < 11).astype(np.uint8)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (2.0, 0.5, 0.5), (0.5, 0.5, 2.0)])
def test_a_ball_has_the_area_of_a_sphere_on_thick_slices_too(spacing):
    axes = [s * (np.arange(round(30 / s)) - round(30 / s) / 2 + 0.5) for s in spacing]
    codes = surface_codes(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")) < 12**2)
    # Steps between voxels add up to a fifth to a smooth surface; its number of voxels changes threefold.
    assert 1.05 < element_areas(spacing)[codes].sum() / (4 * math.pi * 12**2) < 1.2


@st.composite
def grids(draw):
    spacing = tuple(draw(st.floats(0.5, 3.0)) for _ in range(3))
    rotation = np.linalg.qr(np.random.default_rng(draw(st.integers(0, 999))).normal(size=(3, 3)))[0]
    return spacing, tuple(tuple(row) for row in rotation)


@settings(max_examples=30)
@given(grids(), st.tuples(*[st.integers(0, 3)] * 3), st.integers(0, 2**32 - 1))
def test_a_moved_mask_is_as_far_as_it_was_moved_on_any_grid(grid, steps, seed):
    spacing, direction = grid
    blob = np.random.default_rng(seed).random((3, 4, 5)) < 0.7
    blob[1, 1, 1] = True
    arrays = []
    for at in ((4, 4, 4), np.add(4, steps)):
        array = np.zeros((14, 15, 16), np.uint8)
        array[tuple(slice(a, a + n) for a, n in zip(at, blob.shape, strict=True))] = blob
        arrays.append(array)
    place = Geometry(arrays[0].shape, spacing, (5.0, -7.0, 11.0), direction)
    one, other = (Mask(array, place) for array in arrays)
    moved = math.hypot(*(s * k for s, k in zip(spacing, steps, strict=True)))
    got = compare_masks(one, other, tolerance_mm=moved)
    assert got.surface_dice == 1  # every element has its copy at that distance
    assert got.assd_mm <= got.hd95_mm + 1e-9 <= moved + 2e-9
    assert compare_masks(other, one, tolerance_mm=moved) == got
    itself = compare_masks(one, one)
    assert (itself.dice, itself.surface_dice, itself.hd95_mm, itself.assd_mm) == (1, 1, 0, 0)
    flat = compare_masks(*masks(arrays, spacing), tolerance_mm=moved)
    assert flat == got  # distances do not depend on where the grid lies


def test_a_face_that_moved_by_known_millimeters():
    one, other = np.zeros((2, 8, 40, 40), np.uint8)
    one[1:5, 5:35, 5:35], other[1:6, 5:35, 5:35] = 1, 1
    got = compare_masks(*masks((one, other), (2.5, 0.5, 0.5)), tolerance_mm=2.4)
    # One face of 15 x 15 mm moved by 2.5 mm; the others, 15 x 10 or 15 x 12.5 mm, did not, but for the new part.
    assert got.hd95_mm == 2.5
    face, sides = 15 * 15, 4 * 15 * (10 + 12.5)
    assert got.surface_dice == pytest.approx(1 - 2 * face / (4 * face + sides), abs=0.05)
    assert compare_masks(*masks((one, other), (2.5, 0.5, 0.5)), tolerance_mm=2.5).surface_dice == 1


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
        assert got == (Agreement(1, 1, 0, 0) if both else Agreement(0, 0, math.inf, math.inf))
        return
    near, ends, mean = expected_of(one, other, spacing, tolerance)
    assert got.dice == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))
    assert got.surface_dice == pytest.approx(near)
    assert got.assd_mm == pytest.approx(mean)
    assert ends[0] - 1e-9 <= got.hd95_mm <= ends[1] + 1e-9
    assert compare_masks(*masks(arrays[::-1], spacing), tolerance_mm=tolerance) == got


def test_agreement_is_that_of_simpleitk():
    spacing, arrays = (2.5, 0.7, 0.9), balls((2.5, 0.7, 0.9))
    images = [SimpleITK.GetImageFromArray(array) for array in arrays]
    for image in images:
        image.SetSpacing(spacing[::-1])
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    got = compare_masks(*masks(arrays, spacing))
    assert got.dice == pytest.approx(overlap.GetDiceCoefficient())
    near, ends, mean = expected_of(*(a > 0 for a in arrays), spacing, 2.0, maurer)
    assert got.surface_dice == pytest.approx(near)
    assert got.assd_mm == pytest.approx(mean, rel=1e-5)
    assert ends[0] - 1e-5 <= got.hd95_mm <= ends[1] + 1e-5
    assert 0 < got.surface_dice < 1


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
