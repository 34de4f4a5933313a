"""A volume cannot be changed, pickled into something else, or cropped out of place."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import AnnotationError, GeometryError
from hilum.geometry import Geometry
from hilum.scan import Nodule, Note, Reading, Scan
from hilum.testing import masks, volumes
from hilum.volume import Mask, Volume

GRID = Geometry((2, 3, 4), (2.0, 1.0, 0.5))


def travelled(thing):
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - pickled a moment ago


@given(volumes(max_size=5))
def test_nothing_of_a_volume_can_be_changed(volume):
    for copy in (volume, travelled(volume)):
        with pytest.raises(ValueError, match="read-only"):
            copy.array[0, 0, 0] = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            copy.geometry = GRID


@given(volumes(max_size=5) | masks(max_size=5))
def test_pickling_keeps_type_voxels_and_place(volume):
    copy = travelled(volume)
    assert type(copy) is type(volume)
    assert copy.geometry == volume.geometry
    np.testing.assert_array_equal(copy.array, volume.array)
    assert copy.array.dtype == volume.array.dtype


@given(st.data(), volumes(max_size=6) | masks(max_size=6))
def test_a_crop_keeps_every_voxel_in_its_place(data, volume):
    start = [data.draw(st.integers(0, n - 1)) for n in volume.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, volume.shape, strict=True)]
    part = volume.crop(start, stop)
    assert type(part) is type(volume)
    assert np.shares_memory(part.array, volume.array)
    index = np.array(part.shape) - 1
    same = volume.geometry.index_to_world(index + start)
    np.testing.assert_allclose(part.geometry.index_to_world(index), same, atol=1e-9)
    assert part.array[tuple(index)] == volume.array[tuple(index + start)]


@pytest.mark.parametrize(
    ("start", "stop"),
    [((-1, 0, 0), (1, 1, 1)), ((0, 0, 0), (3, 3, 4)), ((0, 2, 0), (2, 2, 4)), ((1, 0, 0), (0, 3, 4))],
)
def test_a_crop_beyond_the_volume_is_refused(start, stop):
    with pytest.raises(GeometryError, match="not inside"):
        Volume(np.zeros(GRID.shape, np.int16), GRID).crop(start, stop)


def test_an_array_that_does_not_fit_is_refused():
    for shape in ((2, 3), (4, 3, 2), (2, 3, 4, 1)):
        with pytest.raises(GeometryError, match="shape"):
            Volume(np.zeros(shape, np.int16), GRID)


def test_a_mask_holds_labels():
    assert Mask(np.ones(GRID.shape, bool), GRID).array.dtype == np.uint8
    for dtype in (np.int16, np.float32, np.int8):
        with pytest.raises(GeometryError, match="uint8"):
            Mask(np.zeros(GRID.shape, dtype), GRID)


def test_a_mask_knows_its_volume():
    array = np.zeros(GRID.shape, np.uint8)
    array[0, 0, :3], array[1, 0, 0] = 1, 2
    mask = Mask(array, GRID)
    assert (mask.volume_ml(), mask.volume_ml(1), mask.volume_ml(2), mask.volume_ml(3)) == (0.004, 0.003, 0.001, 0)


def test_a_scan_travels_whole():
    contour = np.array([[1.0, 2.0, 3.0]])
    reading = Reading(2, GRID, (contour,), scores={"malignancy": 4.0})
    nodule = Nodule((1.0, 2.0, 3.0), 5.0, (reading,), {"malignancy": 4.0})
    scan = Scan("1.2.3", Volume(np.zeros(GRID.shape, np.int16), GRID), nodules=(nodule,), notes=(Note("code", "text"),))
    copy = travelled(scan)
    assert (copy.series_uid, copy.notes, str(copy.notes[0])) == ("1.2.3", scan.notes, "code: text")
    assert (copy.nodules[0].center, copy.nodules[0].diameter_mm) == ((1.0, 2.0, 3.0), 5.0)
    assert dict(copy.nodules[0].scores) == {"malignancy": 4.0}
    np.testing.assert_array_equal(copy.nodules[0].readings[0].contours[0], contour)
    assert (copy.nodules[0].readings[0].reader, copy.nodules[0].readings[0].grid) == (2, GRID)


@pytest.mark.parametrize("diameter", [0.0, -1.0, float("nan"), float("inf")])
def test_a_nodule_without_a_size_is_refused(diameter):
    with pytest.raises(AnnotationError, match="diameter"):
        Nodule((0.0, 0.0, 0.0), diameter)


def test_a_nodule_without_a_place_is_refused():
    with pytest.raises(AnnotationError, match="center"):
        Nodule((0.0, float("nan"), 0.0), 4.0)
