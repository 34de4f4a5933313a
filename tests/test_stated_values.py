"""Values that are not Hounsfield units as the file has them: mended where it is proven, or by what the user states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_dicom import GRID, codes, noise, write

import hilum
from hilum.cli import main
from hilum.errors import HilumError, InputError
from hilum.geometry import Geometry
from hilum.io.dicom.reader import read_dicom
from hilum.io.dicom.records import SliceHeader
from hilum.io.dicom.values import lacks_air
from hilum.io.inspect import inspect
from hilum.ops.quality.plausibility import note_implausible_values
from hilum.phantom.chest import make_phantom
from hilum.volume import Volume


@pytest.fixture(scope="module")
def chest():
    """A small chest, and its whole numbers of HU."""
    ct = make_phantom(seed=3, shape=(20, 64, 64), spacing=(14.0, 6.0, 6.0)).scan.ct
    return replace(ct, array=np.clip(ct.array, -1024, 3000))


def refusal_of(call, *args, **options):
    with pytest.raises(HilumError) as caught:
        call(*args, **options)
    return caught.value


# The sign of the pixels.


def unsigned(ds, _k):
    ds.PixelRepresentation = 0


@pytest.mark.parametrize("bits", [(16, 16, 15), (16, 12, 11)])
def test_negative_values_under_the_tag_of_unsigned_ones_are_read_as_signed(chest, tmp_path, bits):
    hu = np.clip(chest.array, -1024, 2000)
    scan = read_dicom(
        write(tmp_path, hu, chest.geometry, intercept=0, kind="<i2", bits=bits, change=unsigned),
    )
    np.testing.assert_array_equal(scan.ct.array, hu)
    assert codes(scan)[-1] == "signed-pixels"


def test_noise_below_an_intercept_under_the_tag_of_unsigned_pixels_is_no_bone(chest, tmp_path):
    hu = chest.array - 40  # air from -1064 to -1040: stored as -40 to -16
    hu[:, 0, ::2] -= 3  # noise, no padding: the corners differ
    scan = read_dicom(write(tmp_path, hu, chest.geometry, kind="<i2", bits=(16, 16, 15), change=unsigned))
    np.testing.assert_array_equal(scan.ct.array, hu)
    assert "signed-pixels" in codes(scan)


def test_one_value_of_saturated_metal_does_not_become_air(chest, tmp_path):
    hu = chest.array.astype(np.int32)
    hu[10:12, 30:33, 30:33] = 65535 - 1024
    scan = read_dicom(write(tmp_path, hu, chest.geometry, bits=(16, 16, 15)))
    assert scan.ct.array[10, 31, 31] == 32767
    assert "clipped-hu" in codes(scan)
    assert "signed-pixels" not in codes(scan)


@pytest.mark.parametrize(("values", "mended"), [((65534, 65535), False), ((65533, 65534, 65535), True)])
def test_three_values_beyond_int16_that_would_be_air_are_negative_ones(chest, tmp_path, values, mended):
    hu = chest.array.astype(np.int32)
    hu[5, 20, 20 : 20 + len(values)] = np.array(values) - 1024
    scan = read_dicom(write(tmp_path, hu, chest.geometry, bits=(16, 16, 15)))
    assert ("signed-pixels" in codes(scan)) == mended
    assert (scan.ct.array[5, 20, 20] == 32767) != mended


@pytest.mark.parametrize(("intercept", "lacks"), [(-899.0, True), (-900.0, False), (-1024.0, False)])
def test_where_unsigned_pixels_can_hold_air(intercept, lacks):
    header = SliceHeader("a", slope=1.0, intercept=intercept)
    assert lacks_air([header]) == lacks
    assert not lacks_air([replace(header, signed=True)])


def test_metal_of_several_values_beyond_int16_does_not_become_air(chest, tmp_path):
    hu = chest.array.astype(np.int32)
    hu[10:12, 30:33, 30:33] = np.arange(40000, 40018).reshape(2, 3, 3)
    scan = read_dicom(write(tmp_path, hu, chest.geometry, bits=(16, 16, 15)))
    assert scan.ct.array[10, 31, 31] == 32767
    assert "signed-pixels" not in codes(scan)


def signed(ds, _k):
    ds.PixelRepresentation = 1


def test_unsigned_values_under_the_tag_of_signed_ones_are_read_as_unsigned(chest, tmp_path):
    hu = chest.array.copy()
    hu[5, 20:23, 20:23] = 2500  # stored as 3524 of 4095
    scan = read_dicom(write(tmp_path, hu, chest.geometry, change=signed))
    np.testing.assert_array_equal(scan.ct.array, hu)
    assert "signed-pixels" in codes(scan)


def test_signed_values_far_below_air_stay_signed(chest, tmp_path):
    hu = chest.array.copy()
    hu[5, 20:23, 20:23] = -1700
    scan = read_dicom(write(tmp_path, hu, chest.geometry, intercept=0, kind="<i2"))
    np.testing.assert_array_equal(scan.ct.array, hu)
    assert "signed-pixels" not in codes(scan)
    assert "low-hu" in codes(scan)


def test_unsigned_pixels_of_raw_values_stay_and_the_missing_intercept_is_named(chest, tmp_path):
    raw = chest.array + np.int16(1024)
    scan = hilum.read(write(tmp_path, raw, chest.geometry, intercept=0))
    np.testing.assert_array_equal(scan.ct.array, raw)
    (note,) = [n for n in scan.notes if n.code == "not-hu"]
    assert "--hu-offset=-1024" in note.text


# Bits beyond the stored ones.


def test_values_of_more_bits_than_stored_are_counted(chest, tmp_path):
    stored = (chest.array + 1024).astype("<u2")
    stored[5, 20:23, 20:23] = 5000  # 13 bits

    def change(ds, _k):
        ds.BitsStored, ds.HighBit = 12, 11

    scan = read_dicom(write(tmp_path, stored.astype(int) - 1024, chest.geometry, change=change))
    (note,) = [n for n in scan.notes if n.code == "beyond-bits"]
    assert note.text.startswith("9 voxels have values of more than the 12 bits")
    assert scan.ct.array[5, 21, 21] == 5000 - 4096 - 1024


def test_an_overlay_in_the_bits_beyond_is_no_value(chest, tmp_path):
    stored = (chest.array + 1024).astype(int)
    stored[5, 20:23, 20:23] |= 1 << 12

    def overlay(ds, _k):
        ds.add_new((0x6000, 0x0102), "US", 12)

    scan = read_dicom(write(tmp_path / "overlay", stored - 1024, chest.geometry, change=overlay))
    assert "beyond-bits" not in codes(scan)
    assert scan.ct.array[5, 21, 21] == (stored[5, 21, 21] & 4095) - 1024
    assert "beyond-bits" in codes(read_dicom(write(tmp_path / "none", stored - 1024, chest.geometry)))


def test_a_sign_that_is_not_extended_is_no_value_beyond(chest, tmp_path):
    hu = np.clip(chest.array, -1024, 2000)
    hu[5, 20:23, 20:23] = 2000

    def signed(ds, _k):
        ds.PixelRepresentation = 1

    plain = write(tmp_path, (hu & 4095).astype(int), chest.geometry, intercept=0, change=signed)
    scan = read_dicom(plain)
    np.testing.assert_array_equal(scan.ct.array, hu)
    assert "beyond-bits" not in codes(scan)


# What the user states.


def test_a_stated_rescale_replaces_that_of_the_file_before_padding_and_clipping(chest, tmp_path):
    def broken(ds, _k):
        ds.RescaleSlope, ds.RescaleType = "1", "mg/ml"
        del ds.RescaleIntercept
        ds.PixelPaddingValue = 0

    true = np.clip(chest.array, -1000, 3000)
    true[:, :3, :3] = -1024  # stored as 0, which is padding
    write(tmp_path, true, chest.geometry, change=broken)
    assert refusal_of(read_dicom, tmp_path).code == "no-rescale"
    scan = hilum.read(tmp_path, rescale=(1.0, -1024.0))
    np.testing.assert_array_equal(scan.ct.array, true)
    assert "slope 1 and intercept -1024 are used as stated" in "".join(n.text for n in scan.notes)


def test_a_stated_offset_is_added_before_values_are_clipped(tmp_path):
    hu = noise() + 40000  # beyond int16 until the offset is added
    write(tmp_path, hu - 1024, intercept=-1024, bits=(16, 16, 15))
    np.testing.assert_array_equal(hilum.read(tmp_path, hu_offset=-38976).ct.array, noise())
    assert "-38976 HU are added as stated" in str(hilum.read(tmp_path, hu_offset=-38976).notes)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.nrrd", "a.npy"])
def test_volume_files_take_the_same_options(chest, tmp_path, name):
    hilum.write(Volume(chest.array + np.int16(1024), chest.geometry), tmp_path / name)
    for options in ({"hu_offset": -1024}, {"rescale": (1, -1024)}, {"rescale": (1.0, 0.0), "hu_offset": -1024.0}):
        scan = hilum.read(tmp_path / name, **options)
        np.testing.assert_array_equal(scan.ct.array, chest.array)
        assert "stated-rescale" in codes(scan)
        assert "not-hu" not in codes(scan)
    assert "stated-rescale" not in codes(hilum.read(tmp_path / name, hu_offset=0.0))


@pytest.mark.parametrize(
    "options",
    [
        {"rescale": (0.0, 1.0)},
        {"rescale": (float("nan"), 1.0)},
        {"rescale": (1.0, float("inf"))},
        {"rescale": (1.0,)},
        {"hu_offset": float("nan")},
        {"hu_offset": 1.1e6},
    ],
)
def test_impossible_statements_are_refused(tmp_path, options):
    write(tmp_path)
    with pytest.raises(InputError) as caught:
        hilum.read(tmp_path, **options)
    assert caught.value.code == "option"


def test_the_commands_take_them(chest, tmp_path, capsys):
    series = write(tmp_path / "series", chest.array + np.int16(1024), chest.geometry, intercept=0)
    out = tmp_path / "a.nii"
    for number, words in enumerate((["--hu-offset=-1024"], ["--hu-offset", "-1024"], ["--rescale", "1,-1024"])):
        assert main(["convert", str(series), str(out.with_name(f"{number}.nii")), *words]) == 0
        np.testing.assert_array_equal(hilum.read(out.with_name(f"{number}.nii")).ct.array, chest.array)
        assert main(["info", str(series), *words]) == 0
        assert "not-hu" not in capsys.readouterr().out
    assert main(["info", str(series)]) == 0
    assert "--hu-offset=-1024" in capsys.readouterr().out
    for words in (["--rescale", "1"], ["--rescale", "a,b"], ["--rescale", "1,2,3"], ["--hu-offset", "x"]):
        assert main(["convert", str(series), str(out), *words]) == 2
    assert main(["convert", str(series), str(out), "--rescale", "-0,5"]) == 1
    assert not out.exists()


# Where air lies.


@pytest.mark.parametrize(
    ("moved", "cause", "offset"),
    [
        (1024, "rescale had never been applied", -1024),
        (1000, "rescale had never been applied", -1000),
        (2048, "the intercept had the wrong sign", -2048),
        (8192, "an intercept of -8192 had never been applied", -8192),
        (-1024, "rescale had been applied twice", 1024),
    ],
)
def test_the_cause_and_the_offset_that_corrects_it_are_named(chest, moved, cause, offset):
    (note,) = note_implausible_values(Volume(chest.array + np.int16(moved), chest.geometry))
    assert cause in note.text
    assert f"--hu-offset={offset}" in note.text
    assert not note_implausible_values(Volume(chest.array + np.int16(moved + offset), chest.geometry))


# Normalized scans.


@pytest.mark.parametrize(
    ("scale", "shift", "rescale"),
    [(1 / 2000, 0.5, (2000.0, -1000.0)), (1 / 1000, 0.0, (1000.0, 0.0)), (0.0192 / 1000, 0.0192, None)],
)
def test_a_normalized_volume_is_called_so_and_is_no_label_map(chest, tmp_path, scale, shift, rescale):
    unit = (np.clip(chest.array, -1000, 1000) * scale + shift).astype(np.float32)
    hilum.write(Volume(unit, chest.geometry), tmp_path / "a.nii.gz")
    refusal = refusal_of(hilum.read, tmp_path / "a.nii.gz")
    assert refusal.code == "not-hu"
    assert "normalized scan or one of attenuation coefficients" in str(refusal)
    assert "--rescale" in str(refusal)
    assert "label" not in str(refusal)
    (record,) = inspect(tmp_path / "a.nii.gz")
    assert not record.usable
    if rescale:
        again = hilum.read(tmp_path / "a.nii.gz", rescale=rescale)
        assert np.abs(again.ct.array - np.clip(chest.array, -1000, 1000)).max() <= 1
        assert codes(again) == ["stated-rescale"]


def test_fractions_of_hounsfield_units_are_not_normalized(chest, tmp_path):
    hilum.write(Volume(chest.array + np.float32(0.25), chest.geometry), tmp_path / "a.nii.gz")
    assert codes(hilum.read(tmp_path / "a.nii.gz")) == []


# Units.


def test_an_unspecified_unit_needs_values_that_look_like_a_chest(chest, tmp_path):
    def unspecified(ds, _k):
        ds.RescaleType = "US"

    plausible = read_dicom(write(tmp_path / "good", chest.array, chest.geometry, change=unspecified))
    assert codes(plausible)[0] == "unspecified-unit"
    material = np.clip(chest.array + 1000, 0, None) // 10
    refusal = refusal_of(read_dicom, write(tmp_path / "bad", material, chest.geometry, change=unspecified))
    assert refusal.code == "not-hounsfield"
    assert "--rescale" in str(refusal)


def test_refusals_name_the_way_on(tmp_path):
    def without(*names):
        def change(ds, _k):
            for name in names:
                del ds[name]

        return change

    ways = {
        "--rescale": without("RescaleIntercept"),
        "add PixelSpacing": without("PixelSpacing"),
        "add ImageOrientationPatient": without("ImageOrientationPatient"),
        "slice_spacing_mm": without("ImagePositionPatient"),
    }
    for number, (way, change) in enumerate(ways.items()):
        assert way in str(refusal_of(read_dicom, write(tmp_path / str(number), change=change)))
    one = Geometry((1, *GRID.shape[1:]), GRID.spacing)
    assert "get the whole series" in str(refusal_of(read_dicom, write(tmp_path / "one", noise((1, 12, 10)), one)))
