from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hilum
from hilum.errors import FormatError, GeometryError, HilumError, InputError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.volumes.npy import read_npy, write_npy
from hilum.testing import masks, volumes
from hilum.volume import Mask, Volume

GRID = Geometry((2, 3, 4), (2.5, 0.7, 0.8), (-10.0, 20.0, 30.0))
VOXELS = np.arange(24, dtype=np.int16).reshape(GRID.shape)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # hundreds of files: no waiting for the disk
        yield tmp_path_factory.mktemp("npy")


def make(folder, array=VOXELS, **changes):
    write_npy(Volume(VOXELS, GRID), folder / "ct.npy")
    np.save(folder / "ct.npy", array)
    record = {**json.loads((folder / "ct.json").read_text()), **changes}
    (folder / "ct.json").write_text(json.dumps(record))
    return folder / "ct.npy"


@given(st.one_of(volumes(), masks()))
@settings(max_examples=50)
def test_what_is_written_is_read_bit_for_bit(folder, volume):
    write_npy(volume, folder / "a.npy")
    got = read_npy(folder / "a.npy").to_volume()
    assert np.array_equal(got.array, volume.array)
    assert got.array.dtype == volume.array.dtype
    assert got.geometry == volume.geometry
    assert type(got) is type(volume)
    assert np.array_equal(np.load(folder / "a.npy", mmap_mode="r"), volume.array)


def test_a_stranger_finds_the_geometry_in_the_json(folder):
    write_npy(Volume(VOXELS, GRID), folder / "b.npy")
    assert json.loads((folder / "b.json").read_text()) == {
        "kind": "volume",
        "shape": [2, 3, 4],
        "spacing": [2.5, 0.7, 0.8],
        "origin": [-10.0, 20.0, 30.0],
        "direction": [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
        "series_uid": "",
    }
    write_npy(Volume(VOXELS, GRID), folder / "b.npy", series_uid="1.2.840.1")
    assert json.loads((folder / "b.json").read_text())["series_uid"] == "1.2.840.1"


@pytest.mark.parametrize("array", [np.asfortranarray(VOXELS), VOXELS.astype(">i2"), VOXELS.astype("f4"), VOXELS > 3])
def test_other_orders_and_types_are_read(folder, array):
    assert np.array_equal(read_npy(make(folder, array)).array, array)


def test_a_newer_version_of_the_format_is_read(folder):
    path = make(folder)
    with path.open("wb") as out:
        np.lib.format.write_array(out, VOXELS, version=(2, 0))
    assert np.array_equal(read_npy(path).array, VOXELS)


@pytest.mark.parametrize(
    ("array", "changes", "error", "text"),
    [
        (VOXELS[:1], {}, FormatError, "shape"),
        (VOXELS.ravel(), {}, FormatError, "shape"),
        (VOXELS[:0], {}, FormatError, "shape"),
        (VOXELS.astype(complex), {}, UnsupportedError, "complex"),
        (VOXELS.astype("U3"), {}, UnsupportedError, "expected numbers"),
        (VOXELS.astype("M8[s]"), {}, UnsupportedError, "expected numbers"),
        (VOXELS, {"kind": "mask"}, FormatError, "it is a mask"),
        (VOXELS, {"kind": "image"}, FormatError, "not a geometry"),
        (VOXELS, {"spacing": [1, 0, 1]}, GeometryError, "spacing"),
        (VOXELS, {"spacing": [1, 1]}, FormatError, "not a geometry"),
        (VOXELS, {"origin": ["a", 0, 0]}, FormatError, "not a geometry"),
        (VOXELS, {"direction": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]}, GeometryError, "direction"),
    ],
)
def test_what_does_not_fit_is_refused(folder, array, changes, error, text):
    with pytest.raises(error, match=text):
        read_npy(make(folder, array, **changes))


def test_pickled_objects_are_refused_unopened(folder):
    path = make(folder)
    np.save(path, np.array([[[{"a": 1}]]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        read_npy(path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"kind": "volume"}', b" " * 70000])
def test_a_damaged_json_is_refused(folder, text):
    path = make(folder)
    (folder / "ct.json").write_bytes(text)
    with pytest.raises(FormatError):
        read_npy(path)


def test_a_declared_size_beyond_the_file_is_refused_unallocated(folder):
    path = make(folder, shape=[2000000, 2000000, 2000000])
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"shape": (2000000,) * 3, "fortran_order": False, "descr": "<i2"})
    path.write_bytes(out.getvalue())
    with pytest.raises(UnsupportedError, match="GiB"):
        read_npy(path)


@given(st.data())
@settings(max_examples=40)
def test_no_truncation_goes_unnoticed(folder, data):
    path = make(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(FormatError):
        read_npy(path)


@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=100)
def test_any_header_is_read_or_refused_but_never_crashes(folder, changes):
    path = make(folder)
    whole = bytearray(path.read_bytes())
    for offset, value in changes:
        whole[offset] = value
    path.write_bytes(bytes(whole))
    try:
        got = read_npy(path)
    except HilumError as error:
        assert len(str(error)) <= 300  # noqa: PT017 - reading is allowed to succeed
    else:
        assert got.array.shape == GRID.shape


def test_a_missing_json_is_named(folder):
    path = make(folder)
    (folder / "ct.json").unlink()
    with pytest.raises(MissingInputError, match="geometry of the array is missing"):
        read_npy(path)


def test_the_name_must_end_in_npy(folder):
    with pytest.raises(UnsupportedError):
        hilum.write(Mask(VOXELS > 0, GRID), folder / "a.npz")
