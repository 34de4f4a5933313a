from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import FormatError, GeometryError
from hilum.io.names import series_name
from hilum.io.volumes.hu import convert_to_hu
from hilum.io.volumes.volume_file import geometry_from_steps
from hilum.testing import assert_same_geometry, geometries

HERE = Path("scan.nii")
EDGES = [-3024, -1025, -1024, -1023, 0, 3071, 32766, 32767, 32768, 63536]
PADDING = 63536  # -2000 read unsigned, in DICOM and here


def line(values, dtype):
    return np.array(values, dtype).reshape(-1, 1, 1)


def exact(value):
    """Python's own rounding, half to even, on one number at a time."""
    return -1024 if np.isnan(value) or float(value) == PADDING else min(32767, max(-1024, round(float(value))))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i2", ">f4"])
def test_every_type_saturates_as_exact_arithmetic_does(dtype):
    kind = np.dtype(dtype)
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    values = line([v for v in EDGES if limits.min <= v <= limits.max] + [limits.min, limits.max], dtype)
    hu, notes = convert_to_hu(values.copy(), where=HERE)
    assert hu.dtype == np.dtype(np.int16)
    assert hu.ravel().tolist() == [exact(v) for v in values.ravel()]
    wide = values.astype(np.float64)
    assert {n.code for n in notes} == {
        code
        for code, found in (
            ("padding-to-air", (wide < -1024) | (wide == PADDING)),
            ("saturated", (wide > 32767) & (wide != PADDING)),
        )
        if found.any()
    }


@given(
    st.lists(st.floats(-5000, 40000), min_size=1, max_size=30),
    st.sampled_from([1.0, 0.5, 2.0, 0.25]),
    st.sampled_from([0.0, -1024.0, 0.5]),
)
@settings(max_examples=100)
def test_scaling_is_rounded_once(values, slope, intercept):
    array = line([round(v * 4) / 4 for v in values], "f8")
    hu, _ = convert_to_hu(array, slope=slope, intercept=intercept, where=HERE)
    assert hu.ravel().tolist() == [exact(v * slope + intercept) for v in array.ravel().tolist()]


def test_halves_go_to_the_even_neighbor():
    assert convert_to_hu(line([0.5, 1.5, 2.5, -0.5, -1.5], "f4"), where=HERE)[0].ravel().tolist() == [0, 2, 2, 0, -2]


def test_notes_count_voxels_over_all_slabs(monkeypatch):
    monkeypatch.setattr("hilum.io.volumes.hu._SLAB_VOXELS", 2)
    hu, notes = convert_to_hu(line([np.nan, -2000, 40000, 1, -3000, np.nan, np.nan], "f4"), where=HERE)
    assert hu.ravel().tolist() == [-1024, -1024, 32767, 1, -1024, -1024, -1024]
    assert [(n.code, n.text.split()[0]) for n in notes] == [
        ("padding-to-air", "2"),
        ("saturated", "1"),
        ("nan-to-air", "3"),
    ]


@pytest.mark.parametrize(("value", "slope"), [(np.inf, 1.0), (-np.inf, 1.0), (1e308, 100.0)])
def test_infinity_is_refused(value, slope):
    with pytest.raises(FormatError, match="infinite"):
        convert_to_hu(line([0, value], "f8"), slope=slope, where=HERE)


@pytest.mark.parametrize("dtype", ["c8", "U1", "?"])
def test_what_is_no_number_is_refused(dtype):
    with pytest.raises(FormatError, match="not Hounsfield units"):
        convert_to_hu(line([0, 1], dtype), where=HERE)


def test_fresh_int16_is_used_in_place_and_what_is_not_ours_is_left_alone():
    fresh = line([-2000, 5], "i2")
    assert np.shares_memory(convert_to_hu(fresh, where=HERE)[0], fresh)
    kept = line([-2000, 5], "i2")
    kept.flags.writeable = False
    assert convert_to_hu(kept, where=HERE)[0].ravel().tolist() == [-1024, 5]
    assert kept.ravel().tolist() == [-2000, 5]


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("1.2.840.113.mhd", "1.2.840.113"),
        ("ct.nii.gz", "ct"),
        ("a b/../c\n\x1b[2J.nrrd", "no-uid-3ef074f4b900dbc2"),
        ("x" * 300 + ".mha", "no-uid-0d4e2ca9e9cbced7"),
        ("SMITH_JOHN.nii.gz", "no-uid-0bc131f79f1c387b"),
        ("17.5.1933.mhd", "no-uid-7305e01724dfe4f9"),
        ("LIDC-IDRI-0001.nii.gz", "LIDC-IDRI-0001"),
        ("scan", "scan"),
    ],
)
def test_series_are_named_after_their_file(name, series):
    assert series_name(Path(name)) == series


@given(geometries())
def test_steps_give_the_grid_back(geometry):
    steps = geometry.affine[:3, :3].T
    got = geometry_from_steps(geometry.shape, steps=steps, origin=geometry.origin, where=HERE)
    assert_same_geometry(got, geometry, tolerance=1e-9)


@pytest.mark.parametrize("steps", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.ones((3, 3)), np.diag([1, 1, np.inf])])
def test_impossible_steps_are_refused_in_the_name_of_the_file(steps):
    with pytest.raises(GeometryError, match=r"scan\.nii: "):
        geometry_from_steps((1, 1, 1), steps=steps, origin=(0, 0, 0), where=HERE)
