"""Gaps mended and positions stated, from files to the scan, the batch and the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest

import hilum
from hilum import batch, cli
from hilum.errors import FormatError, InputError, SeriesError
from hilum.io.dicom.reader import index_dicom
from hilum.ops.planes import fill_planes
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipe_sections import Read
from hilum.recipes import parse_recipe
from hilum.testing import assert_same_geometry

LIMIT = Read().max_gap_mm


@pytest.fixture(scope="module")
def volume():
    return make_phantom(seed=6, shape=(24, 40, 36), spacing=(2.5, 8.0, 9.0)).scan.ct


@pytest.fixture
def series(volume, tmp_path):
    return write_dicom_series(volume, tmp_path / "series")


def files(folder):
    """Paths of a series, feet to head."""
    return sorted(folder.iterdir(), key=lambda p: pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2])


def edit(folder, change):
    for k, path in enumerate(files(folder)):
        ds = pydicom.dcmread(path)
        change(ds, k)
        ds.save_as(path)


def remove(folder, *places):
    paths = files(folder)
    for k in places:
        paths[k].unlink()
    return [paths[k].name for k in places]


def notes(scan):
    return {note.code: note.text for note in scan.notes}


def by_numpy(array, gone):
    """The oracle: every line of voxels along z through `numpy.interp`."""
    kept = np.setdiff1d(np.arange(len(array)), gone)
    flat = array.reshape(len(array), -1)
    lines = [np.interp(np.arange(len(array)), kept, flat[kept, j]) for j in range(flat.shape[1])]
    return np.stack(lines, axis=1).reshape(array.shape)


@pytest.mark.parametrize(
    ("gone", "limit"), [([9], None), ([9], 5.0), ([4, 15], None), ([9, 10, 11], 10.0), ([1, 22], 5.0)]
)
def test_missing_slices_are_interpolated_linearly_on_the_true_grid(series, volume, gone, limit):
    before = hilum.read(series)
    remove(series, *gone)
    scan = hilum.read(series) if limit is None else hilum.read(series, max_gap_mm=limit)
    assert_same_geometry(scan.ct.geometry, volume.geometry)
    kept = np.setdiff1d(np.arange(24), gone)
    np.testing.assert_array_equal(scan.ct.array[kept], before.ct.array[kept])
    assert np.abs(scan.ct.array - by_numpy(before.ct.array, gone)).max() <= 0.5 + 1e-9
    told = notes(scan)["missing-slices"]
    assert f"missing slices: {len(gone)} interpolated" in told
    for k in gone:
        assert f"{volume.geometry.index_to_world((k, 0, 0))[2]:.2f}" in told


@pytest.mark.parametrize(("gone", "limit"), [([9], 0), ([9], 4.9), ([9, 10], None), ([9, 10, 11], 9.9)])
def test_a_wider_gap_is_refused_and_the_limit_named(series, gone, limit):
    remove(series, *gone)
    with pytest.raises(SeriesError, match="missing slices") as refusal:
        hilum.read(series, max_gap_mm=limit)
    assert refusal.value.code == "missing-slices"
    assert f"gaps up to {LIMIT if limit is None else limit:g} mm are bridged" in str(refusal.value)


def test_slices_absent_at_the_ends_are_not_made_up(series, volume):
    remove(series, 0, 22, 23)
    scan = hilum.read(series, max_gap_mm=50.0)
    assert scan.ct.shape[0] == 21
    assert "missing-slices" not in notes(scan)
    assert scan.ct.geometry.origin[2] == pytest.approx(volume.geometry.index_to_world((1, 0, 0))[2])


def test_gaps_are_filled_exactly_and_rounded_once():
    volume = np.zeros((6, 1, 3), np.int16)
    volume[0], volume[4], volume[5] = [[-32768, 0, 1]], [[32767, 10, 2]], [[7, 7, 7]]
    fill_planes(volume, (0, 4, 5))
    assert volume[1:4, 0].tolist() == [[-16384, 2, 1], [0, 5, 2], [16383, 8, 2]]  # 2.5, 7.5: halves to even
    assert volume[5, 0].tolist() == [7, 7, 7]


@pytest.mark.parametrize("limit", [-1.0, float("nan"), float("inf")])
def test_an_impossible_limit_is_an_input_error(series, limit):
    with pytest.raises(InputError, match="max_gap_mm"):
        hilum.read(series, max_gap_mm=limit)


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def cut_header(path):
    path.write_bytes(path.read_bytes()[:400])


def lose_pixels(path):
    ds = pydicom.dcmread(path)
    del ds.PixelData
    ds.save_as(path)


def spoil_compressed(path):
    ds = pydicom.dcmread(path)
    ds.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    ds.save_as(path)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("hurt", [cut, cut_header, lose_pixels, spoil_compressed])
def test_a_damaged_slice_is_a_gap_and_the_note_names_its_file(series, hurt):
    whole = hilum.read(series).ct.array
    victims = [files(series)[k] for k in (7, 12)]
    for victim in victims:
        hurt(victim)
    scan = hilum.read(series)
    assert np.abs(scan.ct.array - by_numpy(whole, [7, 12])).max() <= 0.5 + 1e-9
    assert all(victim.name in notes(scan)["missing-slices"] for victim in victims)
    with pytest.raises(InputError) as refusal:
        hilum.read(series, max_gap_mm=0)
    assert any(victim.name in str(refusal.value) for victim in victims)


@pytest.mark.parametrize("hurt", [cut, spoil_compressed])
@pytest.mark.parametrize("place", [0, 23])
def test_a_damaged_slice_at_an_end_is_refused(series, hurt, place):
    victim = files(series)[place]
    hurt(victim)
    with pytest.raises(FormatError) as refusal:
        hilum.read(series, max_gap_mm=50.0)
    assert victim.name in str(refusal.value)


def test_a_duplicate_after_a_gap_is_compared_with_its_own_place(series):
    copy = files(series)[15].read_bytes()
    remove(series, 4)
    (series / "copy.dcm").write_bytes(copy)
    assert {"missing-slices", "duplicate-slices"} <= set(notes(hilum.read(series)))


def test_info_says_what_read_does(series):
    remove(series, 9)
    (stack,) = index_dicom(series)
    assert [(f.code, f.action) for f in stack.findings] == [("missing-slices", "mended")]
    assert index_dicom(series, max_gap_mm=0)[0].refusal.code == "missing-slices"


def test_a_run_follows_the_limit_of_its_recipe(series, tmp_path):
    remove(series, 9)
    rows = {}
    for limit in (5.0, 4.0):
        text = f'[read]\nmax_gap_mm = {limit}\n[resample]\ngrid = "native"\n[lungs]\nmethod = "none"\n'
        refs, _ = batch.index([series])
        (rows[limit],) = batch.run(refs, parse_recipe(text), tmp_path / str(limit))
    assert rows[5.0].status == "repaired"
    assert any("missing-slices" in note and "interpolated" in note for note in rows[5.0].notes)
    assert (rows[4.0].status, rows[4.0].code) == ("refused", "missing-slices")


def test_one_default_for_python_and_recipes():
    assert parse_recipe("").read.max_gap_mm == LIMIT


# ---------------------------------------------------------------- positions with the stated spacing


def unplace(folder, *, orientation=True, numbers=None):
    def change(ds, k):
        del ds.ImagePositionPatient
        ds.InstanceNumber = k + 1 if numbers is None else numbers(k)
        if not orientation:
            del ds.ImageOrientationPatient

    edit(folder, change)


@pytest.mark.parametrize("orientation", [True, False])
def test_slices_without_positions_are_read_with_a_stated_spacing_alone(series, volume, orientation):
    whole = hilum.read(series).ct.array
    unplace(series, orientation=orientation)
    with pytest.raises(SeriesError, match="slice_spacing_mm") as refusal:
        hilum.read(series)
    assert refusal.value.code == "no-position"
    assert "--slice-spacing-mm" in str(refusal.value)
    scan = hilum.read(series, slice_spacing_mm=2.5)
    np.testing.assert_array_equal(scan.ct.array, whole)
    assert_same_geometry(scan.ct.geometry, replace(volume.geometry, origin=(0.0, 0.0, 0.0)))
    told = notes(scan)["assumed-positions"]
    assert "with the stated spacing" in told
    assert "arbitrary" in told
    assert ("axial slices assumed" in told) == (not orientation)


def test_numbers_that_count_from_head_to_feet_take_a_negative_spacing(series):
    whole = hilum.read(series).ct.array
    unplace(series, numbers=lambda k: 30 - k)
    np.testing.assert_array_equal(hilum.read(series, slice_spacing_mm=-2.5).ct.array, whole)
    np.testing.assert_array_equal(hilum.read(series, slice_spacing_mm=2.5).ct.array, whole[::-1])


@pytest.mark.parametrize("numbers", [lambda k: k // 2, lambda k: k + (k > 9), lambda k: "" if k == 3 else k])
def test_numbers_that_give_no_order_are_refused(series, numbers):
    unplace(series, numbers=numbers)
    with pytest.raises(SeriesError, match="InstanceNumber") as refusal:
        hilum.read(series, slice_spacing_mm=2.5)
    assert refusal.value.code == "no-order"


def test_a_stated_spacing_never_overrules_a_position(series, volume, tmp_path):
    with pytest.raises(InputError, match="have positions"):
        hilum.read(series, slice_spacing_mm=2.5)
    del_one = lambda ds, k: delattr(ds, "ImagePositionPatient") if k == 5 else None  # noqa: E731 - a word is enough
    edit(series, del_one)
    with pytest.raises(SeriesError) as refusal:
        hilum.read(series, slice_spacing_mm=2.5)
    assert refusal.value.code == "no-position"
    hilum.write(volume, tmp_path / "a.nii")
    with pytest.raises(InputError, match="DICOM series only"):
        hilum.read(tmp_path / "a.nii", slice_spacing_mm=2.5)


@pytest.mark.parametrize("spacing", [0.0, float("nan"), float("inf"), 1000.0])
def test_an_impossible_spacing_is_an_input_error(series, spacing):
    with pytest.raises(InputError, match="slice_spacing_mm"):
        hilum.read(series, slice_spacing_mm=spacing)


def test_convert_takes_the_stated_spacing(series, tmp_path, capsys):
    unplace(series)
    assert cli.main(["convert", str(series), str(tmp_path / "a.nii")]) == 1
    assert "--slice-spacing-mm" in capsys.readouterr().err
    for words, step in ((["--slice-spacing-mm", "2.5"], 2.5), (["--slice-spacing-mm=-3"], 3.0)):
        assert cli.main(["convert", str(series), str(tmp_path / "a.nii"), *words]) == 0
        assert "assumed-positions" in capsys.readouterr().err
        assert hilum.read(tmp_path / "a.nii").ct.geometry.spacing[0] == step


# ---------------------------------------------------------------- other classes of series, from files


def test_what_contradicts_the_positions_does_not_count(series, volume):
    def lie(ds, k):
        ds.SliceThickness, ds.SpacingBetweenSlices, ds.SliceLocation = "5", "9.5", str(100 - 7 * k)
        ds.InstanceNumber, ds.PatientPosition = (k * 7) % 24, "FFS"

    whole = hilum.read(series).ct.array
    edit(series, lie)
    scan = hilum.read(series)
    np.testing.assert_array_equal(scan.ct.array, whole)
    assert_same_geometry(scan.ct.geometry, volume.geometry)


@pytest.mark.parametrize("position", ["FFS", "HFP", "FFP"])
@pytest.mark.parametrize("turn", [np.diag([1.0, 1.0, 1.0]), np.diag([-1.0, -1.0, 1.0])])
def test_feet_first_and_prone_are_already_in_the_axes(volume, tmp_path, position, turn):
    grid = replace(volume.geometry, direction=((0.0, 0.0, 1.0), *(tuple(turn[a, a] * np.eye(3)[a]) for a in (1, 0))))
    folder = write_dicom_series(hilum.Volume(volume.array, grid), tmp_path / "turned")
    edit(folder, lambda ds, _: setattr(ds, "PatientPosition", position))
    scan = hilum.read(folder)
    assert_same_geometry(scan.ct.geometry, grid)
    np.testing.assert_array_equal(scan.ct.array, volume.array)


@pytest.mark.parametrize("field", ["AcquisitionNumber", "ContentTime"])
def test_two_acquisitions_of_one_series_are_not_mixed(series, field):
    whole = hilum.read(series).ct.array
    for path in files(series):
        ds = pydicom.dcmread(path)
        setattr(ds, field, {"AcquisitionNumber": "1", "ContentTime": "101500"}[field])
        ds.save_as(path)
        setattr(ds, field, {"AcquisitionNumber": "2", "ContentTime": "102000.5"}[field])
        ds.SOPInstanceUID += ".2"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.PixelData = (ds.pixel_array + 3).tobytes()
        ds.save_as(series / f"again-{path.name}")
    scan = hilum.read(series)
    assert set(notes(scan)) - {"padding-to-air"} == {"split-series"}
    np.testing.assert_array_equal(scan.ct.array, whole)


def test_a_ledger_names_a_mended_gap(series, tmp_path, capsys):
    remove(series, 9)
    (tmp_path / "r.toml").write_text('[resample]\ngrid = "native"\n[lungs]\nmethod = "none"\n')
    assert cli.main(["run", str(series), "--out", str(tmp_path / "o"), "--recipe", str(tmp_path / "r.toml")]) == 0
    assert "interpolated" in capsys.readouterr().err
    row = json.loads((tmp_path / "o" / "ledger.jsonl").read_text())
    assert row["status"] == "repaired"
    (done,) = (tmp_path / "o" / "scans").iterdir()
    assert "missing-slices" in (done / "scan.json").read_text()
    assert "max_gap_mm = 5.0" in (tmp_path / "o" / "recipe.toml").read_text()
