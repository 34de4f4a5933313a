"""The small copies of a scan that the viewer draws in 3-D, beside those of scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import hilum
from hilum.ops.rendering import AIR_HU, LONGEST, body_cells, lung_cells
from hilum.phantom.chest import make_phantom

SPACING = (2.5, 1.4, 1.4)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=1, shape=(120, 240, 240), spacing=SPACING)


def means(array, factors):
    """Means of whole cells, rounded down."""
    whole = array[tuple(slice(n // f * f) for n, f in zip(array.shape, factors, strict=True))].astype(np.int64)
    shape = [part for n, f in zip(whole.shape, factors, strict=True) for part in (n // f, f)]
    return np.floor_divide(whole.reshape(shape).sum((1, 3, 5)), int(np.prod(factors)))


def test_bones_are_those_of_the_patient_alone(phantom):
    ct = phantom.scan.ct
    small = body_cells(ct)
    assert small.array.dtype == np.int16
    assert LONGEST / 1.5 < max(small.shape) < LONGEST * 1.5
    wanted = means(ct.array, (1, 1, 1))
    kept = small.array != AIR_HU
    np.testing.assert_array_equal(small.array[kept], wanted[kept])
    patient, _ = ndimage.label(ct.array > -300)
    sizes = np.bincount(patient.ravel())[1:]
    body = patient == sizes.argmax() + 1
    bone = (ct.array > 200) & body
    assert kept[ndimage.binary_erosion(bone)].all()
    table = np.isin(patient, 1 + np.flatnonzero(sizes > 10_000)) & ~body
    assert table.sum() > 50_000
    assert not kept[table & ~ndimage.binary_dilation(body, iterations=3)].any()


def test_vessels_lie_in_the_lungs_away_from_their_wall(phantom):
    ct = phantom.scan.ct
    fine = hilum.Volume.from_array(np.repeat(ct.array, 4, 0)[:, ::2, ::2].copy(), spacing=(0.625, 2.8, 2.8))
    lungs = hilum.Mask(np.repeat(phantom.lungs.array, 4, 0)[:, ::2, ::2].copy(), fine.geometry)
    small = lung_cells(fine, lungs, margin_mm=6.0)
    assert small.shape == (240, 120, 120)
    (origin,) = small.geometry.index_to_world([(0, 0, 0)]).tolist()
    np.testing.assert_allclose(origin[2] - fine.geometry.origin[2], 0.3125)  # the middle of two voxels
    inside = lungs.array[1::2] > 0
    grid = np.indices((9, 5, 5)).transpose(1, 2, 3, 0) - (4, 2, 2)
    ball = ((grid * small.spacing) ** 2).sum(-1) <= 36 + 1e-6
    kept = ndimage.binary_erosion(inside, ball, border_value=1)
    np.testing.assert_array_equal(small.array, np.where(kept, means(fine.array, (2, 1, 1)), AIR_HU))
    assert 0.1 < kept.sum() / inside.sum() < 0.9
    wider = lung_cells(fine, lungs, margin_mm=9.0)
    assert (wider.array != AIR_HU).sum() < kept.sum()


def test_without_lungs_everything_is_air(phantom):
    empty = hilum.Mask(np.zeros_like(phantom.lungs.array), phantom.lungs.geometry)
    assert (lung_cells(phantom.scan.ct, empty, margin_mm=3.0).array == AIR_HU).all()
