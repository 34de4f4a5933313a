"""The tutorial's eight steps on slices, against scikit-image."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hilum.errors import InputError
from hilum.ops.lungs.tutorial2d import OUTSIDE, Steps2D, lungs_by_slice, steps2d


def eight_steps(stored):
    """The steps with scikit-image on stored values (HU + 1024), without the 8th: every stage up to the mask."""
    from skimage import measure, morphology, segmentation
    from skimage.filters import roberts

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image renames its binary operations
        air = stored < 604
        cleared = segmentation.clear_border(air)
        labeled = measure.label(cleared)
        areas = np.bincount(labeled.ravel())[1:]
        largest = cleared.copy()
        if areas.size > 2:
            largest = np.isin(labeled, np.flatnonzero(areas >= np.sort(areas)[-2]) + 1)
        eroded = morphology.binary_erosion(largest, morphology.disk(2))
        closed = morphology.binary_closing(eroded, morphology.disk(10))
        filled = ndimage.binary_fill_holes(roberts(closed.astype(float)))
    return air, cleared, labeled, largest, eroded, closed, filled


def assert_same_steps(hu):
    got = steps2d(hu)
    want = eight_steps(hu.astype(np.int32) + 1024)
    for name, stage, expected in zip(Steps2D._fields, got, want, strict=False):
        assert np.array_equal(stage, expected), name
    assert np.array_equal(got.masked, np.where(want[-1], hu, OUTSIDE))
    assert got.masked.dtype == hu.dtype


@st.composite
def slices(draw):
    """Fields of blobs around -420 HU, on slices thin and wide."""
    shape = (draw(st.integers(2, 90)), draw(st.integers(2, 140)))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).normal(size=shape)
    blurred = ndimage.gaussian_filter(noise, draw(st.sampled_from([0.0, 1.0, 3.0, 6.0])))
    spread = blurred.std() or 1.0
    return (blurred / spread * 400 - 420 + draw(st.integers(-400, 400))).astype(np.int16)


def disks(shape, parts):
    """A slice of tissue with round holes of air: (y, x, radius)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    hu = np.full(shape, 40, np.int16)
    for cy, cx, r in parts:
        hu[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = -850
    return hu


@settings(max_examples=40)
@given(slices())
def test_every_step_is_scikit_images(hu):
    assert_same_steps(hu)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [(40, 40, 20)],
        [(40, 30, 20), (40, 90, 18)],
        [(40, 30, 20), (40, 90, 18), (70, 60, 5)],
        [(40, 30, 15), (40, 70, 9), (40, 105, 9), (70, 60, 4)],  # two of the second size: both stay
        [(40, 30, 9), (40, 70, 9), (40, 105, 9)],
        [(40, 4, 12), (40, 60, 14)],  # one touches the border
        [(40, 60, 14), (40, 60, 6)],
    ],
)
def test_slices_with_known_areas(parts):
    assert_same_steps(disks((85, 128), parts))


def test_two_largest_stay_and_the_third_goes():
    steps = steps2d(disks((85, 128), [(40, 30, 20), (40, 90, 18), (70, 60, 5)]))
    assert steps.labeled.max() == 3
    assert steps.largest[40, 30]
    assert steps.largest[40, 90]
    assert steps.labeled[70, 60] > 0
    assert not steps.largest[70, 60]


def test_a_nodule_on_the_wall_is_kept_by_the_closing_and_a_border_pixel_of_420_is_no_air():
    hu = disks((90, 90), [(45, 45, 30)])
    hu[43:47, 69:80] = 40
    steps = steps2d(hu)
    assert not steps.eroded[44, 70]
    assert steps.filled[44, 70]
    assert not steps2d(np.full((9, 9), -420, np.int16)).air.any()
    assert steps2d(np.full((9, 9), -421, np.int16)).air.all()


@settings(max_examples=15)
@given(slices(), slices(), st.sampled_from([1, 3]))
def test_planes_of_a_volume_are_taken_one_by_one(first, second, workers):
    shape = tuple(min(a, b) for a, b in zip(first.shape, second.shape, strict=True))
    volume = np.stack([part[: shape[0], : shape[1]] for part in (first, second)])
    got = lungs_by_slice(volume, workers=workers)
    assert np.array_equal(got, np.stack([steps2d(plane).filled for plane in volume]))


@pytest.mark.parametrize("shape", [(2, 3, 4), (7,), (0, 5)])
def test_what_is_no_slice_is_refused(shape):
    with pytest.raises(InputError, match="slice"):
        steps2d(np.zeros(shape, np.int16))


@pytest.mark.real
def test_real_slices(real_data):
    from hilum.io.scan_files import read

    hu = read(real_data / "lidc-idri-0314" / "image").ct.array[::12]
    want = np.stack([eight_steps(plane.astype(np.int32) + 1024)[-1] for plane in hu])
    got = lungs_by_slice(hu)
    assert np.array_equal(got, want)
    assert np.count_nonzero(got) > 100_000
