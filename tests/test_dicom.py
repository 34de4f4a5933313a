"""DICOM series read into Hounsfield units, held against SimpleITK, highdicom and pydicom."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

import hilum
from hilum.errors import (
    FormatError,
    GeometryError,
    HilumError,
    InputError,
    MissingInputError,
    SeriesError,
    UnsupportedError,
)
from hilum.geometry import Geometry
from hilum.io.dicom import by_pydicom, headers
from hilum.io.dicom.fields import header_from
from hilum.io.dicom.headers import HEAD, read_headers, read_plain_header
from hilum.io.dicom.hu import frame_to_hu
from hilum.io.dicom.reader import index_dicom, read_dicom
from hilum.io.dicom.records import SliceHeader
from hilum.io.dicom.voxels import stored_frames
from hilum.io.folders import list_folder
from hilum.testing import assert_same_geometry

CT = "1.2.840.10008.5.1.4.1.1.2"
UID = "1.2.826.0.1.3680043.10.9999.7"
GRID = Geometry((7, 12, 10), (2.5, 0.75, 0.8), (-4.0, -5.0, 80.0))
SECRETS = ("ZZDOE^JANE", "MRN123", "19610203")


def noise(shape=GRID.shape, low=-1000, high=2000, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape)


def slice_of(grid, k, stored, *, slope=1, intercept=-1024, bits=(16, 12, 11), uid=f"{UID}.1"):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CT, f"{uid}.{k + 1}", uid
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = f"{UID}.90", f"{UID}.91"
    ds.ImageType, ds.Modality = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = SECRETS
    ds.PatientSex, ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "", "", "", "", ""
    ds.ReferringPhysicianName, ds.Manufacturer, ds.SliceThickness, ds.SeriesNumber = "", "", "9", "1"
    ds.KVP, ds.PatientPosition, ds.PositionReferenceIndicator = "", "HFS", ""
    ds.InstanceNumber, ds.AcquisitionNumber = k + 1, 1
    ds.ImagePositionPatient = [f"{v:.6f}" for v in grid.index_to_world((k, 0, 0))]
    ds.ImageOrientationPatient = [f"{v:.10f}"[:16] for v in (*grid.direction[2], *grid.direction[1])]
    ds.PixelSpacing = [str(grid.spacing[1]), str(grid.spacing[2])]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.RescaleIntercept, ds.RescaleSlope = f"{intercept:g}", f"{slope:g}"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def save(ds, stored, path, syntax=ExplicitVRLittleEndian):
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == JPEGLSLossless:
        jpeg_ls = pytest.importorskip("jpeg_ls")
        ds.PixelData = encapsulate([bytes(jpeg_ls.encode_array(np.ascontiguousarray(stored)))])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        ds.PixelData = data + bytes(len(data) % 2)
        ds["PixelData"].VR = "OW"
        if syntax == RLELossless:
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short UIDs, empty dates
        ds.save_as(path, enforce_file_format=True)
    return path


def write(folder, hu=None, grid=GRID, *, slope=1, intercept=-1024, kind="<u2", change=None, syntax=None, **more):
    """Write a series; `change(ds, k)` may edit each data set, and return False to leave the slice out."""
    hu = noise() if hu is None else hu
    for k in range(grid.shape[0]):
        s, b = (v[k] if isinstance(v, list) else v for v in (slope, intercept))
        stored = np.rint((hu[k] - b) / s).astype(kind)
        ds = slice_of(grid, k, stored, slope=s, intercept=b, **more)
        if change is None or change(ds, k) is not False:
            save(ds, stored, folder / f"i{(k * 5) % 23:03d}.dcm", syntax or ExplicitVRLittleEndian)
    return folder


@pytest.mark.parametrize("word", [-2000, -3024, -32768, -1800])
@pytest.mark.parametrize("intercept", [-1024, 0])
@pytest.mark.parametrize("corners", [True, False])
def test_noise_and_padding_are_those_of_the_same_scan_in_a_volume_file(tmp_path, word, intercept, corners):
    hu = np.random.default_rng(9).normal(-1000, 70, GRID.shape).round().clip(-1400, 3000).astype(np.int32)
    hu[:, 2:-2, 2:-2] += np.where(hu[:, 2:-2, 2:-2] > -1000, 1030, 0)
    edge = slice(0, 1) if corners else slice(1, 2)
    hu[:, edge] = hu[:, :, edge] = word + intercept
    if corners:
        hu[:, -1:] = hu[:, :, -1:] = word + intercept
    write(tmp_path / "dicom", hu, kind="<i2", intercept=intercept, bits=(16, 16, 15))
    hilum.write(hilum.Volume(hu, GRID), tmp_path / "ct.nii.gz")
    dicom, file = hilum.read(tmp_path / "dicom").ct, hilum.read(tmp_path / "ct.nii.gz").ct
    assert np.array_equal(dicom.array, file.array)
    assert (file.array < -1024).any()


def codes(scan):
    return [note.code for note in scan.notes]


def raises(kind, code, folder, **options):
    with pytest.raises(kind) as caught:
        read_dicom(folder, **options)
    assert caught.value.code == code
    assert len(str(caught.value)) <= 300
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return str(caught.value)


# ---------------------------------------------------------------- values and geometry


def test_a_series_is_read_with_its_place(tmp_path):
    scan = read_dicom(write(tmp_path))
    assert scan.ct.array.dtype == np.int16
    np.testing.assert_array_equal(scan.ct.array, noise())
    assert_same_geometry(scan.ct.geometry, GRID)
    assert scan.series_uid == f"{UID}.1"
    assert not scan.notes


@pytest.mark.parametrize(
    "direction",
    [
        ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
        ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
        ((0, 0, -1), (0, 1, 0), (-1, 0, 0)),
        ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
        ((0, -0.6, 0.8), (0, 0.8, 0.6), (1, 0, 0)),
    ],
)
def test_values_and_geometry_are_those_of_simpleitk_and_highdicom(tmp_path, direction):
    import highdicom
    import SimpleITK as sitk  # noqa: N813 - its usual name

    grid = replace(GRID, direction=direction)
    scan = read_dicom(write(tmp_path, grid=grid))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    theirs = sitk.GetArrayFromImage(image)
    axes = np.array(image.GetDirection()).reshape(3, 3).T
    their_grid = Geometry(theirs.shape, image.GetSpacing()[::-1], image.GetOrigin(), axes[::-1])
    assert_same_geometry(scan.ct.geometry, their_grid)
    np.testing.assert_array_equal(scan.ct.array, theirs)

    volume = highdicom.get_volume_from_series([pydicom.dcmread(p) for p in sorted(tmp_path.iterdir())])
    flip = volume.direction[:, 0] @ np.array(direction[0]) < 0  # highdicom may count slices the other way
    array, affine = (volume.array[::-1], None) if flip else (volume.array, volume.affine)
    np.testing.assert_array_equal(scan.ct.array, array)
    if affine is not None:
        np.testing.assert_allclose(affine, scan.ct.geometry.affine, atol=1e-5)


@pytest.mark.parametrize(
    ("slope", "intercept", "kind", "bits"),
    [
        (1, -1024, "<u2", (16, 12, 11)),
        (1, 0, "<i2", (16, 16, 15)),
        (1, -1000, "<i2", (16, 13, 12)),
        (2, -1000, "<u2", (16, 16, 15)),
        (2.5, -1024, "<u2", (16, 12, 11)),
        (0.4885, -1023.6, "<u2", (16, 16, 15)),
        (1, -1024, "<u4", (32, 32, 31)),
        (1, 0, "<i4", (32, 32, 31)),
        (16, -1024, "u1", (8, 8, 7)),
        ([1, 2, 0.5, 1, 1, 3, 1], [-1024, -1000, -1200, 0, -1024, -1024, -2.5], "<i2", (16, 16, 15)),
    ],
)
def test_hounsfield_units_are_stored_value_times_slope_plus_intercept(tmp_path, slope, intercept, kind, bits):
    scan = read_dicom(write(tmp_path, slope=slope, intercept=intercept, kind=kind, bits=bits))
    files = sorted((pydicom.dcmread(p) for p in tmp_path.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    want = [d.pixel_array.astype(float) * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in files]
    np.testing.assert_array_equal(scan.ct.array, np.rint(want))
    assert np.abs(scan.ct.array - noise()).max() <= max(np.max(slope) / 2, 0.5)


@pytest.mark.parametrize(
    ("syntax", "kind", "bits"),
    [
        (syntax, kind, bits)
        for syntax in (
            ImplicitVRLittleEndian,
            ExplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
            RLELossless,
            JPEGLSLossless,
        )
        for kind, bits in (("<u2", (16, 12, 11)), ("<i2", (16, 16, 15)))
        if not (syntax == JPEGLSLossless and kind == "<i2")  # the encoder here takes unsigned values only
    ],
)
def test_every_lossless_syntax_gives_the_same_values(tmp_path, syntax, kind, bits):
    intercept = -1024 if kind == "<u2" else 0
    scan = read_dicom(write(tmp_path, syntax=syntax, kind=kind, bits=bits, intercept=intercept))
    np.testing.assert_array_equal(scan.ct.array, noise())
    assert_same_geometry(scan.ct.geometry, GRID)


def test_bits_above_the_stored_ones_mean_nothing(tmp_path):
    dirt = np.random.default_rng(1).integers(0, 16, GRID.shape) << 12
    write(tmp_path / "clean")
    for k in range(GRID.shape[0]):
        stored = (noise()[k] + 1024 | dirt[k]).astype("<u2")
        save(slice_of(GRID, k, stored), stored, tmp_path / "dirty" / f"{k}")
    np.testing.assert_array_equal(read_dicom(tmp_path / "dirty").ct.array, read_dicom(tmp_path / "clean").ct.array)


@given(st.integers(1, 16), st.data())
def test_significant_bits_match_arithmetic_on_each_word(stored_bits, data):
    high = data.draw(st.integers(stored_bits - 1, 15))
    signed = data.draw(st.booleans())
    words = np.array(data.draw(st.lists(st.integers(0, 65535), min_size=4, max_size=4)), np.uint16).reshape(2, 2)
    header = replace(
        SliceHeader("x"),
        slope=1.0,
        intercept=0.0,
        bits_stored=stored_bits,
        high_bit=high,
        signed=signed,
        rows=2,
        columns=2,
    )
    want = [(int(w) >> (high + 1 - stored_bits)) & ((1 << stored_bits) - 1) for w in words.ravel()]
    want = [w - (1 << stored_bits) if signed and w >> (stored_bits - 1) else w for w in want]
    out = np.empty((2, 2), np.int16)
    done = frame_to_hu(words.view(np.int16) if signed else words, header, out)
    if not done.padding:
        np.testing.assert_array_equal(out.ravel(), np.clip(want, -32768, 32767))
        assert done.clipped == sum(w > 32767 for w in want)


def test_values_beyond_int16_are_clipped_never_wrapped(tmp_path):
    hu = noise()
    hu[3, 5, 5] = 45000
    scan = read_dicom(write(tmp_path, hu, slope=4, bits=(16, 16, 15)))
    assert scan.ct.array[3, 5, 5] == 32767
    assert "clipped-hu" in codes(scan)
    assert np.count_nonzero(scan.ct.array != hu) < 0.8 * hu.size


# ---------------------------------------------------------------- padding


def circle():
    y, x = np.mgrid[: GRID.shape[1], : GRID.shape[2]]
    return ((y - 5.5) / 6) ** 2 + ((x - 4.5) / 5) ** 2 > 1


def padded(folder, fill, *, signed=True, intercept=-1024, declare=None, bits=(16, 16, 15), limit=None):
    """Write a series with stored value `fill` outside a circle."""
    for k in range(GRID.shape[0]):
        stored = np.where(circle(), fill, noise()[k] - intercept).astype("<i2" if signed else "<u2")
        ds = slice_of(GRID, k, stored, intercept=intercept, bits=bits)
        for tag, value in ((0x00280120, declare), (0x00280121, limit)):
            if value is not None:
                ds.add_new(tag, "SS" if value < 0 else "US", value)
        save(ds, stored, folder / f"{k:03d}")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"fill": -2000, "declare": -2000},
        {"fill": -2000},
        {"fill": -2000, "declare": 63536},  # as in LIDC-IDRI: unsigned text for a signed value
        {"fill": -3024, "intercept": 0},
        {"fill": -2000, "intercept": 0, "declare": -2000},
        {"fill": -2048, "intercept": 0},  # not a known value, but what all corners hold
        {"fill": -32768, "declare": -32768},
        {"fill": 63536, "signed": False},
        {"fill": 63536, "signed": False, "declare": 63536, "bits": (16, 12, 11)},
        {"fill": 63536, "signed": False, "bits": (16, 12, 11)},
        {"fill": -1500, "declare": -2000, "limit": -1200},
        {"fill": 0, "intercept": 0, "declare": 0},  # water, but for the corners
    ],
)
def test_padding_becomes_air_and_is_noted(tmp_path, options):
    scan = read_dicom(padded(tmp_path, **options))
    assert codes(scan) == ["padding-to-air"]
    assert f"{np.count_nonzero(circle()) * GRID.shape[0]} voxels" in scan.notes[0].text
    want = np.where(circle(), -1024, noise())
    if options["fill"] == 0:  # inside the inscribed circle the same value is tissue
        assert (scan.ct.array[:, 0, 0] == -1024).all()
    else:
        np.testing.assert_array_equal(scan.ct.array, want)


def test_values_that_tissue_can_have_are_no_padding(tmp_path):
    hu = noise()
    hu[:, 4:8, 4:8] = 0

    def declare(ds, _):
        ds.add_new(0x00280120, "SS", 0)

    scan = read_dicom(write(tmp_path, hu, intercept=0, kind="<i2", bits=(16, 16, 15), change=declare))
    np.testing.assert_array_equal(scan.ct.array, hu)
    assert not scan.notes


def test_noise_below_air_stays(tmp_path):
    hu = noise(low=-1300)
    scan = read_dicom(write(tmp_path, hu, intercept=0, kind="<i2", bits=(16, 16, 15)))
    np.testing.assert_array_equal(scan.ct.array, hu)


def test_unexplained_low_values_are_kept_and_noted(tmp_path):
    hu = noise()
    hu[2, 3, 3] = -1700
    scan = read_dicom(write(tmp_path, hu, intercept=0, kind="<i2", bits=(16, 16, 15)))
    assert scan.ct.array[2, 3, 3] == -1700
    assert codes(scan) == ["low-hu"]


# ---------------------------------------------------------------- folders


def test_folders_are_searched_and_what_is_beside_the_slices_is_noted(tmp_path):
    write(tmp_path / "a" / "b")
    moved = min((tmp_path / "a" / "b").iterdir())
    shutil.move(moved, tmp_path / "name.without.sense")
    (tmp_path / "notes\x1b[2J.txt").write_text("hello " * 50)
    (tmp_path / "zero.dcm").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"x")
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + os.urandom(500))
    scan = read_dicom(tmp_path)
    assert scan.ct.shape == GRID.shape
    assert codes(scan) == ["ignored-files", "ignored-damaged-file"]
    assert "2 files" in scan.notes[0].text
    assert "\x1b" not in scan.notes[0].text


def test_linked_folders_are_followed_once_and_not_around(tmp_path):
    write(tmp_path / "in")
    write(tmp_path / "out", noise(seed=4), grid=replace(GRID, shape=(3, 12, 10)), uid=f"{UID}.2")
    (tmp_path / "in" / "loop").symlink_to(".")
    (tmp_path / "in" / "away").symlink_to("../out")
    (tmp_path / "in" / "gone.dcm").symlink_to("nowhere")
    (tmp_path / "in" / "self.dcm").symlink_to("self.dcm")
    os.mkfifo(tmp_path / "in" / "pipe.dcm")
    found = list_folder(tmp_path / "in")
    assert len(found.files) == GRID.shape[0] + 3
    assert (found.repeated, found.dangling) == (["loop"], ["gone.dcm", "self.dcm"])
    scan = read_dicom(tmp_path / "in")
    assert codes(scan) == ["ignored-links", "dangling-links", "chose-series"]
    assert "2 files could not be read" in scan.notes[1].text
    assert scan.series_uid == f"{UID}.1"
    assert read_dicom(tmp_path / "in", series=f"{UID}.2").ct.shape[0] == 3


def test_a_dicom_directory_is_not_followed(tmp_path):
    write(tmp_path)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = "1.2.840.10008.1.3.10", "1.2"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ".." is no valid file ID
        item.ReferencedFileID = ["..", "..", "etc", "passwd"]
        ds.DirectoryRecordSequence = Sequence([item])
        ds.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert not read_dicom(tmp_path).notes


def test_several_series_the_largest_is_taken_and_any_can_be_asked_for(tmp_path):
    write(tmp_path / "a")
    small = replace(GRID, shape=(3, 12, 10))
    write(tmp_path / "b", noise(seed=4), grid=small, uid=f"{UID}.2")
    scan = read_dicom(tmp_path)
    assert scan.ct.shape == GRID.shape
    assert codes(scan) == ["chose-series"]
    other = read_dicom(tmp_path, series=f"{UID}.2")
    assert other.ct.shape == small.shape
    assert other.series_uid == f"{UID}.2"
    assert not other.notes
    assert "2 CT series" in raises(SeriesError, "no-such-series", tmp_path, series=UID)
    assert [(s.series_uid, len(s.slices)) for s in index_dicom(tmp_path)] == [(f"{UID}.1", 7), (f"{UID}.2", 3)]


def test_files_without_preamble_or_meta_header_are_read(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", syntax=ImplicitVRLittleEndian)
    for path in sorted((tmp_path / "a").iterdir()):
        path.write_bytes(path.read_bytes()[128:])
    for path in sorted((tmp_path / "b").iterdir()):
        data = path.read_bytes()
        path.write_bytes(data[144 + struct.unpack("<I", data[140:144])[0] :])
    for folder in "ab":
        scan = read_dicom(tmp_path / folder)
        np.testing.assert_array_equal(scan.ct.array, noise())
        assert not scan.notes


def test_a_series_without_uid_gets_a_stable_name_that_is_not_the_folders(tmp_path):
    def nameless(ds, _):
        ds.SeriesInstanceUID = ""

    first = read_dicom(write(tmp_path / "DOE JOHN", change=nameless)).series_uid
    assert first == read_dicom(write(tmp_path / "other", change=nameless)).series_uid
    assert first.startswith("no-uid-")


@pytest.mark.parametrize(("length", "kept"), [(64, True), (65, False), (1000, False)])
def test_a_text_too_long_for_a_uid_is_none(tmp_path, length, kept):
    def long(ds, _):
        ds.SeriesInstanceUID = "1." + "2" * (length - 2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(tmp_path, change=long)
    uid = read_dicom(tmp_path).series_uid
    assert (uid == "1." + "2" * (length - 2)) == kept
    assert uid.startswith("no-uid-") != kept


def test_a_hostile_uid_is_one_printable_line(tmp_path):
    def hostile(ds, _):
        ds.SeriesInstanceUID = "../../evil\x1b[2J"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(tmp_path, change=hostile)
    scan = read_dicom(tmp_path)
    assert scan.series_uid == "../../evil?[2J"
    assert read_dicom(tmp_path, series="../../evil\x1b[2J").ct.shape == GRID.shape


# ---------------------------------------------------------------- copies


def test_the_same_slice_twice_is_dropped(tmp_path):
    write(tmp_path)
    one = sorted(tmp_path.iterdir())[2]
    shutil.copy(one, tmp_path / "copy.dcm")
    scan = read_dicom(tmp_path)
    assert codes(scan) == ["duplicate-slices"]
    np.testing.assert_array_equal(scan.ct.array, noise())


def test_other_pixels_at_the_same_place_are_refused(tmp_path):
    write(tmp_path)
    ds = pydicom.dcmread(sorted(tmp_path.iterdir())[2])
    ds.SOPInstanceUID = f"{UID}.77"
    stored = ds.pixel_array.copy()
    stored[3, 3] ^= 1
    save(ds, stored, tmp_path / "copy.dcm")
    assert "conflicting" in raises(SeriesError, "conflicting-duplicates", tmp_path)


# ---------------------------------------------------------------- refusals


def gone(*ks):
    return lambda _, k: k not in ks


def setting(name, value, only=None):
    def change(ds, k):
        if only in (None, k):
            setattr(ds, name, value)

    return change


def without(name):
    return lambda ds, _: delattr(ds, name)


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        (gone(3), SeriesError, "missing-slices"),
        (gone(*range(1, 7)), SeriesError, "single-slice"),
        (setting("Modality", "MR"), UnsupportedError, "not-ct"),
        (setting("RescaleSlope", "0"), SeriesError, "bad-rescale"),
        (without("RescaleSlope"), SeriesError, "no-rescale"),
        (without("RescaleIntercept"), SeriesError, "no-rescale"),
        (without("ImagePositionPatient"), SeriesError, "no-position"),
        (without("PixelSpacing"), SeriesError, "no-pixel-spacing"),
        (setting("Rows", 65535), FormatError, "truncated"),
        (setting("NumberOfFrames", "2147483647"), FormatError, "truncated"),
        (setting("Rows", 0), SeriesError, "bad-matrix"),
        (setting("ImageOrientationPatient", ["0"] * 6), GeometryError, "bad-geometry"),
        (setting("PixelSpacing", ["0", "0"]), GeometryError, "bad-geometry"),
        (setting("ImagePositionPatient", ["0", "0", "1e308"], 3), GeometryError, "bad-geometry"),
        (setting("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), SeriesError, "no-ct-slices"),
    ],
)
def test_a_series_that_cannot_be_trusted_is_refused_in_one_line(tmp_path, change, kind, code):
    raises(kind, code, write(tmp_path, change=change), max_gap_mm=0)


@pytest.mark.parametrize(
    ("keep", "kind", "code"),
    [(-100, FormatError, "truncated"), (-250, FormatError, "no-pixels"), (400, SeriesError, "missing-slices")],
)
def test_a_slice_cut_off_is_never_dropped_in_silence(tmp_path, keep, kind, code):
    write(tmp_path)
    victim = tmp_path / "i015.dcm"  # in the middle
    victim.write_bytes(victim.read_bytes()[:keep])
    assert victim.name in raises(kind, code, tmp_path, max_gap_mm=0)
    scan = read_dicom(tmp_path)
    assert scan.ct.shape == GRID.shape
    (told,) = (note.text for note in scan.notes if note.code == "missing-slices")
    assert victim.name in told


def test_a_slice_cut_off_at_the_end_of_the_stack_is_noted(tmp_path):
    write(tmp_path)
    victim = tmp_path / "i007.dcm"  # the last slice
    victim.write_bytes(victim.read_bytes()[:400])
    scan = read_dicom(tmp_path)
    assert scan.ct.shape[0] == GRID.shape[0] - 1
    assert codes(scan) == ["ignored-damaged-file"]
    assert victim.name in scan.notes[0].text


def test_pixels_that_vanish_between_header_and_read_are_an_error(tmp_path):
    write(tmp_path)
    path = min(tmp_path.iterdir())
    header = read_headers(tmp_path, path.name)[0]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FormatError, match="235 of 240 bytes"):
        list(stored_frames(tmp_path, [header], np.empty((12, 10), np.int16)))
    path.unlink()
    with pytest.raises(FormatError, match="no longer"):
        list(stored_frames(tmp_path, [header], np.empty((12, 10), np.int16)))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_damaged_compressed_pixels_are_an_error(tmp_path, syntax):
    write(tmp_path, syntax=syntax)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-90])
    raises(FormatError, "damaged", tmp_path)


def test_pixels_of_another_size_than_the_header_says_are_an_error(tmp_path):
    write(tmp_path, syntax=RLELossless)
    for path in tmp_path.iterdir():
        ds = pydicom.dcmread(path)
        ds.Rows = 24
        ds.save_as(path)
    raises(FormatError, "damaged", tmp_path)


def test_what_is_no_folder_of_dicom_is_refused(tmp_path):
    raises(MissingInputError, "missing", tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    raises(MissingInputError, "no-files", tmp_path / "empty")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.dcm").write_text("no DICOM " * 99)
    raises(SeriesError, "no-dicom", tmp_path / "text")
    raises(FormatError, "no-dicom", tmp_path / "text" / "a.dcm")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.writestr("a", b"b")
    raises(UnsupportedError, "unsupported", tmp_path / "study.zip")
    os.mkfifo(tmp_path / "pipe")
    raises(UnsupportedError, "unsupported", tmp_path / "pipe")


def test_one_slice_by_itself_points_to_its_folder(tmp_path):
    write(tmp_path)
    assert "give the folder" in raises(SeriesError, "single-slice", min(tmp_path.iterdir()))


def test_thousands_of_nested_sequences_do_no_harm(tmp_path):
    write(tmp_path)
    raw = b""
    for _ in range(3000):
        raw = struct.pack("<HHI", 0xFFFE, 0xE000, len(raw)) + raw
        raw = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, len(raw)) + raw
    endless = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    start = min(tmp_path.iterdir()).read_bytes()
    meta = start[: 144 + struct.unpack("<I", start[140:144])[0]]
    (tmp_path / "deep.dcm").write_bytes(meta + raw)
    (tmp_path / "deeper.dcm").write_bytes(meta + endless * 3000)
    assert codes(read_dicom(tmp_path)) == ["ignored-damaged-file"]


@given(st.data())
def test_a_header_with_flipped_bytes_is_read_or_refused_never_more(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "flipped"
    if not folder.exists():
        write(folder)
    paths = sorted(folder.iterdir())
    whole = paths[2].read_bytes()
    hurt = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        hurt[data.draw(st.integers(128, len(hurt) - 1))] = data.draw(st.integers(0, 255))
    paths[2].write_bytes(hurt)
    try:
        outcome = str(read_dicom(folder).notes)
    except HilumError as error:
        outcome = str(error)
    finally:
        paths[2].write_bytes(whole)
    assert len(outcome) <= 600
    assert not any(secret in outcome for secret in SECRETS)


# ---------------------------------------------------------------- enhanced multi-frame


def enhanced(path, order, *, hu=None, per_frame_rescale=False):
    hu = noise() if hu is None else hu
    slopes = [1 + (k % 2) for k in range(len(hu))] if per_frame_rescale else [1] * len(hu)
    stored = np.array([(hu[k] + 1024) // slopes[k] for k in range(len(hu))]).astype("<u2")
    ds = slice_of(GRID, 0, stored[0])
    for name in ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"]:
        delattr(ds, name)
    ds.SOPClassUID, ds.NumberOfFrames = CT + ".1", len(hu)

    def rescale(slope):
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = str(slope), "-1024", "HU"
        return Sequence([item])

    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [str(v) for v in GRID.spacing[1:]]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    shared.PixelValueTransformationSequence = rescale(1)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [f"{v:.5f}" for v in GRID.index_to_world((k, 0, 0))]
        frame.PlanePositionSequence = Sequence([place])
        if per_frame_rescale:
            frame.PixelValueTransformationSequence = rescale(slopes[k])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return save(ds, stored[order], path)


def test_an_enhanced_multi_frame_ct_is_read_in_any_order_of_frames(tmp_path):
    scan = read_dicom(enhanced(tmp_path / "one.dcm", [4, 0, 6, 2, 1, 5, 3]))
    np.testing.assert_array_equal(scan.ct.array, noise())
    assert_same_geometry(scan.ct.geometry, GRID)
    assert not scan.notes


def test_rescale_may_change_from_frame_to_frame(tmp_path):
    hu = noise() // 2 * 2
    scan = read_dicom(enhanced(tmp_path / "one.dcm", list(range(7)), hu=hu, per_frame_rescale=True))
    np.testing.assert_array_equal(scan.ct.array, hu)


def test_compressed_frames_are_decoded_each_to_its_place(tmp_path):
    order = [4, 0, 6, 2, 1, 5, 3]
    ds = pydicom.dcmread(enhanced(tmp_path / "one.dcm", order))
    ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    ds.save_as(tmp_path / "one.dcm")
    np.testing.assert_array_equal(read_dicom(tmp_path).ct.array, noise())


def test_a_cine_of_many_frames_at_one_place_is_refused(tmp_path):
    write(tmp_path)
    for path in tmp_path.iterdir():
        ds = pydicom.dcmread(path)
        ds.NumberOfFrames, ds.PixelData = 2, ds.PixelData * 2
        ds.save_as(path)
    raises(UnsupportedError, "unplaced-frames", tmp_path)


def test_frames_without_a_position_of_each_are_refused(tmp_path):
    ds = pydicom.dcmread(enhanced(tmp_path / "one.dcm", list(range(7))))
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:-1]
    ds.save_as(tmp_path / "one.dcm")
    raises(UnsupportedError, "unplaced-frames", tmp_path)


# ---------------------------------------------------------------- the quick way equals pydicom's


def both_ways(root, name):
    with (root / name).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        plain_header = read_plain_header(file.read(HEAD), size)
        slow = by_pydicom.headers_by_pydicom(file, name, 0, size)
    quick = None if plain_header is None else [header_from(name, *plain_header)]
    return quick, slow


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("undefined", [False, True])
def test_the_quick_walk_reads_what_pydicom_reads(tmp_path, syntax, undefined):
    def nested(ds, _):
        inner, outer = Dataset(), Dataset()
        inner.PixelSpacing, inner.CodeValue = ["9", "9"], "x"
        outer.PurposeOfReferenceCodeSequence = Sequence([inner, inner])
        outer.RescaleSlope = "77"
        ds.ReferencedImageSequence = Sequence([outer, Dataset()])
        for item in (ds["ReferencedImageSequence"], outer["PurposeOfReferenceCodeSequence"]):
            item.is_undefined_length = undefined
        outer.is_undefined_length_sequence_item = undefined
        ds.add_new(0x00280120, "US", 4095)

    write(tmp_path, change=nested, syntax=syntax)
    for path in tmp_path.iterdir():
        quick, slow = both_ways(tmp_path, path.name)
        assert quick is not None
        assert quick == slow
        assert quick[0].slope == 1


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_the_quick_walk_leaves_other_syntaxes_to_pydicom(tmp_path, syntax):
    write(tmp_path, syntax=syntax)
    quick, slow = both_ways(tmp_path, min(p.name for p in tmp_path.iterdir()))
    assert quick is None
    assert slow[0].rows == 12


@given(st.binary(max_size=400), st.integers(0, 300))
def test_the_quick_walk_survives_any_bytes(junk, cut):
    meta = bytes(128) + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", 18) + b"1.2.840.10008.1.2\0"
    head = meta + junk
    plain_header = read_plain_header(head[: len(meta) + cut], len(head))
    assert plain_header is None or plain_header[2].present <= len(junk)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_known_layout_reads_what_a_walk_reads(tmp_path, data):
    if not any(tmp_path.iterdir()):
        write(tmp_path, syntax=ExplicitVRLittleEndian)
    whole = min(tmp_path.iterdir()).read_bytes()
    head = whole[:HEAD]
    headers._layouts.clear()
    first = read_plain_header(head, len(whole))
    assert headers._layouts
    assert read_plain_header(head, len(whole)) == first
    pixels = first[2].offset
    changed = bytearray(head)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(128, pixels - 1))] = data.draw(st.integers(0, 255))
    quick = read_plain_header(bytes(changed), len(whole))
    headers._layouts.clear()
    assert read_plain_header(bytes(changed), len(whole)) == quick


def test_the_layouts_kept_are_few():
    meta = bytes(128) + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", 18) + b"1.2.840.10008.1.2\0"
    for size in range(3 * headers._MOST_LAYOUTS):
        head = meta + struct.pack("<HHL", 0x7FE0, 0x10, size) + bytes(size)
        assert read_plain_header(head, len(head))[2].length == size
        assert 0 < len(headers._layouts) <= headers._MOST_LAYOUTS


def read_by_pydicom(monkeypatch, folder):
    """Read headers and pixels through pydicom alone."""
    plain = by_pydicom.fields.header_from
    monkeypatch.setattr(headers, "read_plain_header", lambda *_: None)
    monkeypatch.setattr(by_pydicom.fields, "header_from", lambda *a: replace(plain(*a), pixel_offset=-1))
    return read_dicom(folder)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(
    ("kind", "bits", "intercept"),
    [
        ("<u2", (16, 12, 11), -1024),
        ("<i2", (16, 16, 15), 0),
        ("<i2", (16, 12, 11), 0),
        ("<u4", (32, 32, 31), -1024),
        ("u1", (8, 8, 7), 0),
    ],
)
def test_reading_through_pydicom_gives_the_same_bytes(tmp_path, monkeypatch, syntax, kind, bits, intercept):
    hu = noise(low=0, high=120) if kind == "u1" else noise()
    write(tmp_path, hu, syntax=syntax, kind=kind, bits=bits, intercept=intercept)
    quick = read_dicom(tmp_path)
    slow = read_by_pydicom(monkeypatch, tmp_path)
    assert quick.ct.array.tobytes() == slow.ct.array.tobytes()
    assert quick.ct.geometry == slow.ct.geometry


def test_a_plain_series_is_read_without_importing_pydicom(tmp_path):
    program = (
        "import sys, pathlib; from hilum.io.dicom.reader import read_dicom; "
        "print(read_dicom(pathlib.Path(sys.argv[1])).ct.shape, [m for m in ('pydicom', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, write(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{GRID.shape} []"


# ---------------------------------------------------------------- real scans


@pytest.mark.real
@pytest.mark.parametrize(
    "folder",
    [
        "lidc-idri-0314/image",
        "lidc-idri-partial/small/LIDC-IDRI-0001",
        "lidc-idri-partial/small/LIDC-IDRI-0002",
        "cip-ct64/ct-64Dicom",
    ],
)
def test_real_scans_equal_simpleitk(real_data, folder):
    import SimpleITK as sitk  # noqa: N813 - its usual name

    scan = read_dicom(real_data / folder)
    deepest = next(Path(r) for r, _, names in os.walk(real_data / folder) if any(n.endswith(".dcm") for n in names))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(deepest)))
    image = reader.Execute()
    theirs = sitk.GetArrayFromImage(image)
    direction = np.array(image.GetDirection()).reshape(3, 3).T
    grid = Geometry(theirs.shape, image.GetSpacing()[::-1], image.GetOrigin(), direction[::-1])
    assert_same_geometry(scan.ct.geometry, grid)
    np.testing.assert_array_equal(scan.ct.array, np.where(theirs < -1500, -1024, theirs))


@pytest.mark.real
def test_a_multi_frame_file_equals_its_single_slices(real_data, tmp_path):
    folder = real_data / "oddities" / "panimg" / "dicom_enhanced"
    for k in range(1, 8):
        (tmp_path / f"{k}.dcm").symlink_to(folder / f"slice{k}.dcm")
    slices, frames = read_dicom(tmp_path), read_dicom(folder / "volume.dcm")
    assert slices.ct.geometry == frames.ct.geometry
    np.testing.assert_array_equal(slices.ct.array, frames.ct.array)
    assert codes(read_dicom(folder)) == ["ignored-files", "duplicate-slices", "location-tag-disagrees"]


@pytest.mark.real
def test_lidc_padding_reads_as_air(real_data):
    scan = read_dicom(real_data / "lidc-idri-partial" / "small" / "LIDC-IDRI-0001")
    assert scan.ct.array[:, 0, 0].tolist() == [-1024] * 16
    assert codes(scan) == ["padding-to-air"]


@pytest.mark.real
def test_two_kernels_of_one_patient_are_two_series(real_data):
    stacks = index_dicom(real_data / "lung-pet-ct-dx-A0002")
    assert [len(s.slices) for s in stacks] == [30, 30]
    scans = [read_dicom(real_data / "lung-pet-ct-dx-A0002", series=s.series_uid) for s in stacks]
    assert scans[0].ct.geometry == scans[1].ct.geometry
    assert not np.array_equal(scans[0].ct.array, scans[1].ct.array)


@pytest.mark.real
def test_real_transfer_syntaxes_agree_or_are_refused(real_data):
    root = real_data / "oddities" / "transfer-syntaxes"
    out, seen = {}, {}
    for path in sorted(root.glob("CTImage*")):
        (header,) = read_headers(root, path.name)
        out[path.name] = np.empty((512, 512), np.int16)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for stored in stored_frames(root, [header], np.empty((512, 512), np.int16)):
                    done = frame_to_hu(stored, header, out[path.name])
            seen[header.transfer_syntax] = (np.abs(out[path.name] - 1.0 * out["CTImage.dcm"]).max(), done.padding)
        except InputError as error:
            seen[header.transfer_syntax] = type(error)
    lossless = ["", ".1", ".1.99", ".2", ".4.57", ".4.70", ".4.80", ".4.90", ".5"]
    assert {seen["1.2.840.10008.1.2" + s] for s in lossless} == {(0.0, 55772)}
    assert {seen["1.2.840.10008.1.2.4." + s] for s in ("51", "53", "55")} == {UnsupportedError}
    for syntax, off in (("50", 64), ("81", 1), ("91", 5)):
        assert seen["1.2.840.10008.1.2.4." + syntax] == (off, 55772)


@pytest.mark.real
@pytest.mark.parametrize(
    "folder", ["lidc-idri-partial/small/LIDC-IDRI-0001", "lung-pet-ct-dx-A0002", "cip-ct64/ct-64Dicom"]
)
def test_real_scans_through_pydicom_give_the_same_bytes(real_data, monkeypatch, folder):
    quick = read_dicom(real_data / folder)
    slow = read_by_pydicom(monkeypatch, real_data / folder)
    assert quick.ct.array.tobytes() == slow.ct.array.tobytes()
    assert quick.ct.geometry == slow.ct.geometry
    assert quick.notes == slow.notes


@pytest.mark.real
def test_the_quick_walk_reads_real_headers_as_pydicom_does(real_data):
    names = [n for n in list_folder(real_data).files if n.endswith(".dcm")]
    quick = 0
    for name in names[:: max(len(names) // 120, 1)]:
        plain_header, slow = both_ways(real_data, name)
        assert plain_header in (None, slow)
        quick += plain_header is not None
    assert quick > 100
