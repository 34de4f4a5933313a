"""What a header of a volume file says against itself: forms, units, defaults; and padding against noise."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

import hilum
from hilum.errors import GeometryError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.volumes.hu import convert_to_hu
from hilum.io.volumes.metaimage import read_metaimage
from hilum.ops.quality.plausibility import note_implausible_size
from hilum.volume import Volume

SHAPE, SPACING = (5, 6, 7), (2.5, 0.75, 0.5)  # z, y, x
HU = np.random.default_rng(3).integers(-1000, 1000, SHAPE).astype(np.int16)
AFFINE = np.array([[-0.5, 0, 0, 12], [0, -0.75, 0, -30], [0, 0, 2.5, 40], [0, 0, 0, 1.0]])


def nifti(path, *, sform=AFFINE, qform=AFFINE, pixdim=SPACING[::-1], unit="mm"):
    image = nib.Nifti1Image(HU.T, None)
    image.set_sform(AFFINE if sform is None else sform, 0 if sform is None else 1)
    image.set_qform(AFFINE if qform is None else qform, 0 if qform is None else 1)
    image.header["pixdim"][1:4] = pixdim
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def codes(scan):
    return [note.code for note in scan.notes if note.code not in {"implausible-size", "not-hu"}]


@pytest.mark.parametrize("factor", [4 / 3, 0.5, 1.02, 0.98])
def test_the_qform_is_used_where_the_sform_contradicts_pixdim(tmp_path, factor):
    scan = hilum.read(nifti(tmp_path / "a.nii", sform=AFFINE @ np.diag([1, 1, factor, 1])))
    assert scan.ct.spacing == SPACING
    assert scan.ct.geometry.origin == (-12, 30, 40)
    (note,) = (note for note in scan.notes if note.code == "forms-differ")
    assert f"0.5 x 0.75 x {2.5 * factor:g} mm" in note.text
    assert "0.5 x 0.75 x 2.5 mm" in note.text


@pytest.mark.parametrize("factor", [4 / 3, 1.02])
def test_without_a_qform_a_contradiction_is_refused_with_both_spacings(tmp_path, factor):
    path = nifti(tmp_path / "a.nii", sform=AFFINE @ np.diag([1, 1, factor, 1]), qform=None)
    with pytest.raises(GeometryError, match=rf"{2.5 * factor:g} mm, pixdim of 0\.5 x 0\.75 x 2\.5 mm") as caught:
        hilum.read(path)
    assert caught.value.code == "forms-contradict"


@pytest.mark.parametrize("factor", [1.009, 0.992, 1.0])
def test_rounded_spacings_are_one_spacing(tmp_path, factor):
    scan = hilum.read(nifti(tmp_path / "a.nii", sform=AFFINE @ np.diag([1, 1, factor, 1]), qform=None))
    assert np.allclose(scan.ct.spacing, np.array(SPACING) * (factor, 1, 1), rtol=1e-6)
    assert codes(scan) == []


@pytest.mark.parametrize("pixdim", [(0, 0, 0), (np.nan, 1, 1), (0.5, 0.75, 0), (np.inf, 1, 1)])
def test_a_pixdim_that_is_no_spacing_contradicts_nothing(tmp_path, pixdim):
    scan = hilum.read(nifti(tmp_path / "a.nii", qform=None, pixdim=pixdim))
    assert scan.ct.spacing == SPACING
    assert codes(scan) == []


@pytest.mark.parametrize("qform", [None, np.diag([1.0, 1, 1, 1])])
def test_a_pixdim_of_one_is_the_default_of_writers(tmp_path, qform):
    scan = hilum.read(nifti(tmp_path / "a.nii", qform=qform, pixdim=(1, 1, 1)))
    assert scan.ct.spacing == SPACING
    assert codes(scan) == ["forms-differ"]


def test_a_pixdim_of_one_is_believed_where_one_axis_agrees(tmp_path):
    path = nifti(tmp_path / "a.nii", sform=np.diag([1, 1, 2.5, 1.0]), qform=np.eye(4), pixdim=(1, 1, 1))
    assert hilum.read(path).ct.spacing == (1, 1, 1)
    with pytest.raises(GeometryError, match=r"1 x 1 x 2\.5 mm, pixdim of 1 x 1 x 1 mm"):
        hilum.read(nifti(tmp_path / "b.nii", sform=np.diag([1, 1, 2.5, 1.0]), qform=None, pixdim=(1, 1, 1)))


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])
@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("micron", 0.001)])
def test_an_identity_sform_takes_the_spacing_of_pixdim(tmp_path, signs, unit, scale):
    path = nifti(tmp_path / "a.nii", sform=np.diag([*signs, 1.0]), qform=None, unit=unit,
                 pixdim=np.array(SPACING[::-1]) / scale)  # fmt: skip
    scan = hilum.read(path)
    assert np.allclose(scan.ct.spacing, SPACING)
    assert np.diag(scan.ct.geometry.direction[::-1]).tolist() == [-signs[0], -signs[1], signs[2]]
    assert codes(scan) == ([] if scale == 1 else ["units"]) + ["identity-form"]


def test_a_grid_of_one_millimetre_with_a_position_is_no_identity(tmp_path):
    sform = np.eye(4)
    sform[:3, 3] = (-100, -80, 20)
    with pytest.raises(GeometryError, match=r"1 x 1 x 1 mm, pixdim of 0\.5 x 0\.75 x 2\.5 mm"):
        hilum.read(nifti(tmp_path / "a.nii", sform=sform, qform=None))
    assert hilum.read(nifti(tmp_path / "b.nii", sform=sform, qform=None, pixdim=(1, 1, 1))).ct.spacing == (1, 1, 1)


@pytest.mark.parametrize(
    ("shape", "spacing", "origin", "asked"),
    [
        ((60, 512, 512), (1, 1, 1), (0, 0, 0), True),
        ((512, 512, 60), (1, 1, 1), (0, 0, 0), True),
        ((60, 511, 512), (1, 1, 1), (0, 0, 0), False),
        ((60, 512, 512), (1, 1, 1), (0, 0, 5), False),
        ((60, 512, 512), (2, 1, 1), (0, 0, 0), False),
        ((300, 400, 400), (1, 1, 1), (0, 0, 0), False),
    ],
)
def test_the_defaults_of_writers_on_the_matrix_of_a_scanner_are_questioned(shape, spacing, origin, asked):
    notes = note_implausible_size(Geometry(shape, spacing, origin))
    assert [note.text.endswith("is the spacing right?") for note in notes] == ([True] if asked else [])


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("cm", 10), ("mm", 1), ("um", 0.001), ("m", 1000), ("CM", 10), ("?", 1), ("Millimeters", 1), ("in", None),
     ("px", None)],
)  # fmt: skip
def test_distance_units_of_a_metaimage(tmp_path, unit, scale):
    path = tmp_path / "a.mhd"
    hilum.write(Volume(HU, Geometry(SHAPE, SPACING, (1.0, 2.0, 3.0))), path)
    path.write_text(path.read_text().replace("NDims", f"DistanceUnits = {unit}\nNDims"))
    if scale is None:
        with pytest.raises(UnsupportedError, match="unknown unit"):
            hilum.read(path)
        return
    read = read_metaimage(path)
    assert np.allclose(read.header.geometry.spacing, np.array(SPACING) * scale)
    assert np.allclose(read.header.geometry.origin, np.array([1, 2, 3]) * scale)
    assert [note.code for note in read.header.notes] == ([] if scale == 1 else ["units"])


NOISE = np.clip(np.random.default_rng(5).normal(-1000, 60, (4, 40, 40)).round(), -1400, 3000).astype(np.int16)
NOISE[:, 10:30, 10:30] += 1040


@pytest.mark.parametrize("suffix", [".nii.gz", ".mhd", ".nrrd", ".npy", ".mha"])
def test_noise_below_air_is_kept(tmp_path, suffix):
    assert (NOISE < -1024).mean() > 0.2
    hilum.write(Volume(NOISE, Geometry(NOISE.shape, (1.0, 1.0, 1.0))), tmp_path / f"n{suffix}")
    scan = hilum.read(tmp_path / f"n{suffix}")
    assert np.array_equal(scan.ct.array, NOISE)
    assert codes(scan) == []


@pytest.mark.parametrize("word", [-2000, -3024, -2048, -1025, -10000, -32768])
@pytest.mark.parametrize("kind", ["i2", "f4", "i4"])
def test_padding_is_a_value_of_its_own_and_becomes_air(word, kind):
    rows, columns = np.ogrid[:40, :40]
    outside = np.broadcast_to((rows - 19.5) ** 2 + (columns - 19.5) ** 2 > 400, NOISE.shape)
    stored = np.where(outside, word, np.where(word == NOISE, word + 1, NOISE)).astype(kind)
    hu, notes = convert_to_hu(stored.copy(), where="a.nii")
    assert np.array_equal(hu, np.where(outside, -1024, stored))
    assert [note.code for note in notes] == ["padding-to-air"]
    for axes in ((1, 0, 2), (2, 1, 0)):  # planes that are not the scanner's
        assert np.array_equal(convert_to_hu(stored.transpose(axes).copy(), where="a.nii")[0], hu.transpose(axes))


def test_a_value_that_three_corners_share_is_noise():
    stored = NOISE.copy()
    stored[:, [0, 0, -1], [0, -1, 0]] = -1300
    stored[:, -1, -1] = -1000
    hu, notes = convert_to_hu(stored.copy(), where="a.nii")
    assert np.array_equal(hu, stored)
    assert notes == ()


def test_unknown_low_values_stay_and_are_noted():
    stored = NOISE.copy()
    stored[0, 20, 20] = -1600
    hu, (note,) = convert_to_hu(stored.copy(), where="a.nii")
    assert hu[0, 20, 20] == -1600
    assert note.code == "low-hu"


def test_fractions_near_zero_are_no_scan(tmp_path):
    unit = ((NOISE + 1400) / 4400).astype(np.float32)
    for slope, stored in ((1.0, unit), (1.0, unit * 6 - 3), (1e-4, (unit * 10000).astype(np.int16))):
        with pytest.raises(UnsupportedError, match="fractions within 32 of 0"):
            convert_to_hu(stored, slope=slope, where=tmp_path)
    labels = (NOISE > 0).astype(np.float32)
    assert np.array_equal(convert_to_hu(labels, where=tmp_path)[0], labels)  # a mask can be looked at


def test_the_forms_of_a_file_of_hilum_agree(tmp_path):
    hilum.write(Volume(HU, Geometry(SHAPE, (2.5, 0.703125, 0.703125), (-170.5, -160.25, 33.0))), tmp_path / "a.nii")
    raw = (tmp_path / "a.nii").read_bytes()
    assert struct.unpack_from("<hh", raw, 252) == (1, 1)
    assert codes(hilum.read(tmp_path / "a.nii")) == []


@pytest.mark.real
@pytest.mark.parametrize("name", ["lidc-idri-partial", "nsclc-LUNG1-002", "cip-ct64/ct-64Dicom"])
@pytest.mark.parametrize("suffix", [".nii", ".mhd", ".nrrd"])
def test_a_scan_has_the_same_values_in_every_format(real_data, tmp_path, name, suffix):
    scan = hilum.read(real_data / name)
    slices = {}
    for path in filter(Path.is_file, (real_data / name).rglob("*")):
        with contextlib.suppress(pydicom.errors.InvalidDicomError):
            dataset = pydicom.dcmread(path)
            slices[dataset.get("SOPInstanceUID")] = dataset
    stack = [slices[uid] for uid in scan.slice_uids]
    stored = [s.pixel_array * np.float64(s.RescaleSlope) + np.float64(s.RescaleIntercept) for s in stack]
    hilum.write(Volume(np.array(stored).astype(np.int16), scan.ct.geometry), tmp_path / f"ct{suffix}")
    assert np.array_equal(hilum.read(tmp_path / f"ct{suffix}").ct.array, scan.ct.array)
