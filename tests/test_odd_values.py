"""Headers that are not written as the standard says: read where only one thing can be meant, else refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian
from test_dicom import CT, GRID, SECRETS, codes, noise, save, slice_of, write

from hilum.errors import HilumError
from hilum.io.dicom.fields import number_field
from hilum.io.dicom.reader import index_dicom, read_dicom

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value")  # pydicom warns of what these tests write

MR = "1.2.840.10008.5.1.4.1.1.4"
GE = "1.2.840.113619.5.2"
JPEG = "1.2.840.10008.1.2.4.70"
TAGS = {
    "PixelSpacing": (0x0028, 0x0030),
    "ImagePositionPatient": (0x0020, 0x0032),
    "ImageOrientationPatient": (0x0020, 0x0037),
    "RescaleIntercept": (0x0028, 0x1052),
    "RescaleSlope": (0x0028, 0x1053),
    "SliceThickness": (0x0018, 0x0050),
}


def texts(**attributes):
    """A change of `write` that writes text, or what a function makes of the true text, as it is."""

    def change(ds, _k):
        for name, text in attributes.items():
            true = "\\".join(map(str, np.atleast_1d(ds[name].value)))
            del ds[name]
            ds.add_new(TAGS[name], "LO", text(true) if callable(text) else text)

    return change


def with_comma(true):
    return true.replace(".", ",")


def refusal_of(folder):
    with pytest.raises(HilumError) as caught:
        read_dicom(folder)
    return caught.value


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("intercept", "-1024,0", -1024.0),
        ("intercept", "-1024,125", -1024.125),  # thousands are never 4 digits
        ("intercept", "-0,024", -0.024),
        ("intercept", "-1,02", -1.02),
        ("slope", "1,000", 1.0),  # a slope of 1000 is impossible
        ("slope", "1,0e0", 1.0),
        ("pixel_spacing", "0,703125\\0,703125", (0.703125, 0.703125)),
        ("pixel_spacing", "4,000\\4,000", (4.0, 4.0)),  # mm; 4000 are impossible
        ("pixel_spacing", "0.7\\0,75", (0.7, 0.75)),
        ("position", "-1,250\\-3,5\\2", (-1.25, -3.5, 2.0)),  # the second tells what the comma of the first means
        ("position", "-161,449\\0\\0", (-161.449, 0.0, 0.0)),
        ("orientation", "1,0\\0\\0\\0\\1,000\\0", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
    ],
)
def test_a_decimal_comma_that_can_mean_nothing_else_is_read(field, text, value):
    found, odd = number_field(field, text.encode())
    assert found == value
    assert [o.problem for o in odd] == ["decimal-comma"]


@pytest.mark.parametrize(
    ("field", "text", "shown"),
    [
        ("intercept", "-1,024", "'-1,024', expected a number"),  # -1024 with a separator of thousands, or -1.024
        ("intercept", "-1.024,0", "'-1.024,0', expected a number"),
        ("intercept", "1\\2", "'1\\2', expected a number"),
        ("position", "1,250\\0\\0", "'1,250\\0\\0', expected 3 numbers"),
        ("position", "4,999\\0\\0", "'4,999\\0\\0', expected 3 numbers"),
        ("pixel_spacing", "4,4", "'4,4', expected 2 numbers"),  # one number, or two
        ("pixel_spacing", "0.7", "'0.7', expected 2 numbers"),
        ("pixel_spacing", "0.7\\0.7\\0.7", "'0.7\\0.7\\0.7', expected 2 numbers"),
        ("pixel_spacing", "0.7\\", "'0.7\\', expected 2 numbers"),
        ("pixel_spacing", "0.7mm\\0.7mm", "'0.7mm\\0.7mm', expected 2 numbers"),
        ("pixel_spacing", "DOE^JANE", "text, expected 2 numbers"),
        ("pixel_spacing", "7" * 50, f"'{'7' * 30}…', expected 2 numbers"),
    ],
)
def test_anything_else_is_malformed_and_shown_only_if_it_is_no_text(field, text, shown):
    value, odd = number_field(field, text.encode())
    assert value == () or np.isnan(value)
    assert [(o.problem, o.text) for o in odd] == [("malformed-value", shown)]


@pytest.mark.parametrize("text", ["0.7\\0.7", "7e-1\\7.0E-1", "", " ", "\0"])
def test_plain_numbers_and_blanks_are_not_odd(text):
    assert number_field("pixel_spacing", text.encode())[1] == ()
    assert number_field("intercept", b"-1024 ") == (-1024.0, ())
    assert number_field("intercept", b"") == (None, ())


def test_a_position_beyond_5000_mm_is_no_separator_of_thousands():
    assert number_field("position", b"5,001\\0\\0")[0] == (5.001, 0.0, 0.0)


def test_a_series_with_decimal_commas_is_the_same_volume_and_says_so(tmp_path):
    true = read_dicom(write(tmp_path / "true"))
    change = texts(
        PixelSpacing=with_comma, RescaleIntercept="-1024,0", ImagePositionPatient=with_comma, SliceThickness="9,0"
    )
    scan = read_dicom(write(tmp_path / "comma", change=change))
    np.testing.assert_array_equal(scan.ct.array, true.ct.array)
    assert scan.ct.geometry == true.ct.geometry
    assert codes(scan) == ["decimal-comma"] * 4
    told = " ".join(note.text for note in scan.notes)
    assert "PixelSpacing of 7 files: '0,75\\0,8' is read as 0.75, 0.8" in told
    assert "RescaleIntercept of 7 files: '-1024,0' is read as -1024" in told


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PixelSpacing", "0.8", "PixelSpacing is malformed in 7 of 7 slices: '0.8', expected 2 numbers"),
        ("PixelSpacing", "abc\\def", "PixelSpacing is malformed in 7 of 7 slices: text, expected 2 numbers"),
        ("RescaleIntercept", "-1,024", "RescaleIntercept is malformed in 7 of 7 slices: '-1,024', expected a number"),
        ("RescaleSlope", "one", "RescaleSlope is malformed in 7 of 7 slices: text"),
        ("ImagePositionPatient", "0\\0", "ImagePositionPatient is malformed in 7 of 7 slices: '0\\0', expected 3"),
        (
            "ImageOrientationPatient",
            "1\\0",
            "ImageOrientationPatient is malformed in 7 of 7 slices: '1\\0', expected 6",
        ),
    ],
)
def test_a_malformed_attribute_is_refused_as_malformed(tmp_path, name, text, words):
    refusal = refusal_of(write(tmp_path, change=texts(**{name: text})))
    assert refusal.code == "malformed-value"
    assert words in str(refusal)
    assert not any(secret in str(refusal) for secret in SECRETS)


def test_an_absent_attribute_is_still_absent_and_a_malformed_thickness_only_noted(tmp_path):
    def without(ds, _k):
        del ds.PixelSpacing

    assert refusal_of(write(tmp_path / "absent", change=without)).code == "no-pixel-spacing"
    scan = read_dicom(write(tmp_path / "thick", change=texts(SliceThickness="thick")))
    assert [str(n) for n in scan.notes] == [
        "malformed-value: SliceThickness of 7 files: text, expected a number; not used"
    ]


@pytest.mark.parametrize(
    ("modality", "sop_class", "more", "text"),
    [
        (None, CT, {}, "absent, read as CT: the SOP class is a CT"),
        ("", f"{CT}.1", {}, "absent, read as CT: the SOP class is a CT"),
        ("ct", CT, {}, "'ct' is read as CT"),
        ("Ct", None, {}, "'Ct' is read as CT"),
        (None, None, {"RescaleType": "HU"}, "absent, read as CT: the header has a CT's rescale or kernel"),
        (None, "1.2.840.10008.5.1.4.1.1.7", {"ConvolutionKernel": "B70f"}, "absent, read as CT: the header has"),
    ],
)
def test_a_modality_that_is_absent_or_in_lower_case_is_read(tmp_path, modality, sop_class, more, text):
    def change(ds, _k):
        for name, value in {"Modality": modality, "SOPClassUID": sop_class, **more}.items():
            if value is None and name in ds:
                del ds[name]
            elif value is not None:
                setattr(ds, name, value)

    def without_meta(ds, k):
        change(ds, k)
        stored = np.full(GRID.shape[1:], 1000, "<u2")
        ds.PixelData = stored.tobytes()
        ds["PixelData"].VR = "OW"
        pydicom.dcmwrite(tmp_path / f"{k}.dcm", ds, enforce_file_format=False)
        return False

    write(tmp_path, change=change if sop_class else without_meta)
    scan = read_dicom(tmp_path)
    assert scan.ct.shape == GRID.shape
    assert codes(scan) == ["odd-modality"]
    assert text in scan.notes[0].text


@pytest.mark.parametrize(
    ("modality", "sop_class", "more", "words"),
    [
        (None, MR, {"RescaleType": "HU"}, "modality unknown"),
        (None, None, {}, "modality unknown"),  # nothing says CT
        ("mr", MR, {}, "modality MR"),
        ("mr", CT, {}, "modality MR"),
        ("ctx", CT, {}, "modality unknown"),
    ],
)
def test_no_other_modality_becomes_a_ct(tmp_path, modality, sop_class, more, words):
    def change(ds, k):
        for name, value in {"Modality": modality, "SOPClassUID": sop_class or "", **more}.items():
            setattr(ds, name, value or "")
        ds.PixelData = np.full(GRID.shape[1:], 1000, "<u2").tobytes()
        ds["PixelData"].VR = "OW"
        pydicom.dcmwrite(tmp_path / f"{k}.dcm", ds, enforce_file_format=False)
        return False

    refusal = refusal_of(write(tmp_path, change=change))
    assert refusal.code == "not-ct"
    assert words in str(refusal)


def retag(folder, old, new):
    """Name another transfer syntax in the file meta information; the lengths may differ."""
    for path in folder.iterdir():
        data = path.read_bytes()
        old_value, new_value = (uid.encode() + bytes(len(uid) % 2) for uid in (old, new))
        before = b"\x02\0\x10\0UI" + len(old_value).to_bytes(2, "little") + old_value
        assert data.count(before) == 1
        path.write_bytes(data.replace(before, b"\x02\0\x10\0UI" + len(new_value).to_bytes(2, "little") + new_value))
    return folder


@pytest.mark.parametrize("kind", ["<u2", "<i2"])
def test_ges_private_syntax_has_big_endian_pixels(tmp_path, kind):
    intercept = -1024 if kind == "<u2" else 0
    true = read_dicom(write(tmp_path / "true", kind=kind, intercept=intercept, bits=(16, 16, 15)))
    hu = noise()
    for k in range(GRID.shape[0]):
        stored = (hu[k] - intercept).astype(kind)
        ds = slice_of(GRID, k, stored, intercept=intercept, bits=(16, 16, 15))
        save(ds, stored.byteswap(), tmp_path / "ge" / f"{k}.dcm", ImplicitVRLittleEndian)
    scan = read_dicom(retag(tmp_path / "ge", ImplicitVRLittleEndian, GE))
    np.testing.assert_array_equal(scan.ct.array, true.ct.array)
    assert codes(scan) == ["odd-syntax"]
    assert f"{GE} (GE private)" in scan.notes[0].text


@pytest.mark.parametrize("syntax", [JPEG, "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"])
def test_uncompressed_pixels_under_the_name_of_a_compression_are_read(tmp_path, syntax):
    true = read_dicom(write(tmp_path / "true"))
    scan = read_dicom(retag(write(tmp_path / "lying"), "1.2.840.10008.1.2.1", syntax))
    np.testing.assert_array_equal(scan.ct.array, true.ct.array)
    assert codes(scan) == ["odd-syntax"]
    assert "but the pixel data are not compressed" in scan.notes[0].text


@pytest.mark.parametrize(
    ("syntax", "size", "words"),
    [
        (JPEG, 238, "1.2.840.10008.1.2.4.70 (JPEG) is compressed or unknown"),  # two bytes less than 12 x 10 pixels
        (JPEG, 242, "one block of 242 bytes, not 240"),
        ("1.3.46.670589.33.1.4.1", 240, "1.3.46.670589.33.1.4.1 is compressed or unknown"),
        ("DOE.JANE", 240, "text that is no UID is compressed or unknown"),
    ],
)
def test_pixels_of_an_unknown_or_unproven_layout_are_refused_by_the_name_of_the_syntax(tmp_path, syntax, size, words):
    for k in range(GRID.shape[0]):
        stored = np.full(GRID.shape[1:], 1000, "<u2")
        ds = slice_of(GRID, k, stored)
        save(ds, np.full(size // 2, 1000, "<u2"), tmp_path / f"{k}.dcm")
    refusal = refusal_of(retag(tmp_path, "1.2.840.10008.1.2.1", syntax))
    assert refusal.code == "bad-syntax"
    assert words in str(refusal)


def test_compressed_pixels_under_the_name_of_an_uncompressed_syntax_are_refused_by_name(tmp_path):
    write(tmp_path, syntax=pydicom.uid.RLELossless)
    refusal = refusal_of(retag(tmp_path, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1"))
    assert refusal.code == "bad-syntax"
    assert "Explicit VR Little Endian) is not compressed, but the pixel data are" in str(refusal)


def rescale_type(text):
    def change(ds, _k):
        ds.RescaleType = text

    return change


@pytest.mark.parametrize("text", ["mg/ml", "MGML", "%", "PCT", "pct", "Iodine", "OD", "Z_EFF", "SUV"])
def test_values_in_another_unit_are_refused_with_the_unit(tmp_path, text):
    refusal = refusal_of(write(tmp_path, change=rescale_type(text)))
    assert refusal.code == "not-hounsfield"
    assert f"RescaleType is {text.upper()}: the values are not Hounsfield units" in str(refusal)


@pytest.mark.parametrize(("text", "shown"), [("US", "US"), ("HU_MOD", "HU_MOD"), ("DOE^JANE", "an unknown text")])
def test_an_unspecified_unit_is_noted(tmp_path, text, shown):
    scan = read_dicom(write(tmp_path, change=rescale_type(text)))
    assert codes(scan) == ["unspecified-unit"]
    assert f"RescaleType is {shown}, not HU, in 7 slices" in scan.notes[0].text
    np.testing.assert_array_equal(scan.ct.array, noise())


@pytest.mark.parametrize("text", ["HU", "hu", "", "Hounsfield", " HU "])
def test_hounsfield_units_are_not_noted(tmp_path, text):
    assert codes(read_dicom(write(tmp_path, change=rescale_type(text)))) == []


def test_the_plain_reader_and_pydicom_find_the_same(tmp_path):
    from hilum.io.dicom.by_pydicom import headers_by_pydicom
    from hilum.io.dicom.fields import header_from
    from hilum.io.dicom.headers import read_plain_header

    write(tmp_path, change=texts(PixelSpacing="0,75\\0,8", RescaleIntercept="-1,024"))
    path = min(tmp_path.iterdir())
    plain = read_plain_header(path.read_bytes(), path.stat().st_size)
    assert plain is not None
    with path.open("rb") as file:
        (slow,) = headers_by_pydicom(file, path.name, 0, path.stat().st_size)
    assert header_from(path.name, *plain) == slow
    assert replace(slow, odd=()) != slow
    assert [o.problem for o in slow.odd] == ["decimal-comma", "malformed-value"]
    assert index_dicom(tmp_path)[0].refusal is not None
