from __future__ import annotations

import gzip
import os
import zlib

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from itk_oracle import itk_image, itk_read

import hilum
from hilum.errors import FormatError, GeometryError, HilumError, InputError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.volumes.metaimage import read_metaimage, write_metaimage
from hilum.testing import assert_same_geometry, volumes
from hilum.volume import Volume

UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.102133688497886810253331438797"
GRID = Geometry((3, 4, 5), (2.5, 0.7, 0.8), (-10.0, 20.0, 30.0))
VOXELS = np.arange(60, dtype="<i2").reshape(GRID.shape)
BLOCK = VOXELS.tobytes()
KEYS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-10 20 30",
    "ElementSpacing": "0.8 0.7 2.5",
    "DimSize": "5 4 3",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "scan.raw",
}


def read_scan(path):
    return read_metaimage(path).to_scan(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # hundreds of files: no waiting for the disk
        yield tmp_path_factory.mktemp("metaimage")


def header(**changes):
    keys = {**KEYS, **changes}
    last = keys.pop("ElementDataFile")
    lines = [f"{key} = {value}\n" for key, value in keys.items() if value is not None]
    return ("".join(lines) + (f"ElementDataFile = {last}\n" if last is not None else "")).encode()


def make(folder, data=BLOCK, **changes):
    (folder / "scan.raw").write_bytes(data)
    (folder / "scan.mhd").write_bytes(header(**changes))
    return folder / "scan.mhd"


@given(volumes(), st.sampled_from(["a.mha", "a.mhd"]))
@settings(max_examples=60)
def test_what_is_written_is_read_bit_for_bit(folder, volume, name):
    write_metaimage(volume, folder / name)
    scan = read_scan(folder / name)
    assert np.array_equal(scan.ct.array, volume.array)
    assert scan.ct.geometry == volume.geometry
    assert scan.notes == ()


@given(volumes(), st.sampled_from(["b.mha", "b.mhd"]))
@settings(max_examples=60)
def test_simpleitk_reads_what_is_written(folder, volume, name):
    write_metaimage(volume, folder / name)
    got = itk_read(folder / name)
    assert np.array_equal(got.array, volume.array)
    assert_same_geometry(got.geometry, volume.geometry, tolerance=1e-6)


@given(volumes(), st.sampled_from(["c.mha", "c.mhd"]), st.booleans())
@settings(max_examples=60)
def test_files_of_simpleitk_are_read(folder, volume, name, packed):
    SimpleITK.WriteImage(itk_image(volume), str(folder / name), packed)
    scan = read_scan(folder / name)
    assert np.array_equal(scan.ct.array, volume.array)
    assert_same_geometry(scan.ct.geometry, volume.geometry, tolerance=1e-6)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", "?"])
@pytest.mark.parametrize("name", ["d.mha", "d.mhd"])
def test_every_type_is_kept(folder, dtype, name):
    volume = Volume(VOXELS.astype(dtype), GRID)
    write_metaimage(volume, folder / name)
    got = read_metaimage(folder / name).to_volume().array
    assert np.array_equal(got, volume.array)
    assert got.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))
    assert np.array_equal(itk_read(folder / name).array, volume.array)


@pytest.mark.parametrize(("element", "code"), [("MET_LONG", "<i4"), ("MET_ULONG", "<u4"), ("MET_LONG_LONG", "<i8")])
def test_long_has_the_four_bytes_of_metaio(folder, element, code):
    path = make(folder, VOXELS.astype(code).tobytes(), ElementType=element)
    assert np.array_equal(read_metaimage(path).to_volume().array, VOXELS)
    assert np.array_equal(itk_read(path).array, VOXELS)


def test_the_file_names_the_series(folder):
    write_metaimage(Volume(VOXELS, GRID), folder / f"{UID}.mhd")
    assert read_scan(folder / f"{UID}.mhd").series_uid == UID
    write_metaimage(Volume(VOXELS, GRID), folder / "a b;c.mha")
    assert read_scan(folder / "a b;c.mha").series_uid.startswith("no-uid-")


def test_rows_of_the_matrix_are_the_axes(folder):
    path = make(folder, TransformMatrix="0 1 0 0 0 -1 -1 0 0")
    assert read_scan(path).ct.geometry.direction == ((-1, 0, 0), (0, 0, -1), (0, 1, 0))


GOOD = [
    ("crlf", header().replace(b"\n", b"\r\n"), BLOCK, ()),
    ("no end of line", header()[:-1], BLOCK, ()),
    ("byte order mark", b"\xef\xbb\xbf" + header(), BLOCK, ()),
    ("colons", header().replace(b" = ", b": "), BLOCK, ()),
    (
        "old keys",
        header(TransformMatrix=None, Offset=None, Rotation=KEYS["TransformMatrix"], Position="-10 20 30"),
        BLOCK,
        (),
    ),
    ("same under two keys", header(Position="-10 20 30.0"), BLOCK, ()),
    ("orientation", header(TransformMatrix=None, Orientation=KEYS["TransformMatrix"]), BLOCK, ()),
    ("origin", header(Offset=None, Origin="-10 20 30"), BLOCK, ()),
    ("free text", b"a free line\n\nComment = x = y: z \xff\n" + header(), BLOCK, ()),
    ("size only", header(ElementSpacing=None, ElementSize="0.8 0.7 2.5"), BLOCK, ("element-size",)),
    ("size differs", header(ElementSize="9 9 9"), BLOCK, ()),
    ("binary by default", header(BinaryData=None), BLOCK, ()),
    ("one channel", header(ElementNumberOfChannels="1"), BLOCK, ()),
    ("neutral scale", header(ElementToIntensityFunctionSlope="1", ElementToIntensityFunctionOffset="0"), BLOCK, ()),
    ("big endian", header(BinaryDataByteOrderMSB="True"), VOXELS.astype(">i2").tobytes(), ()),
    (
        "big endian, other key",
        header(BinaryDataByteOrderMSB=None, ElementByteOrderMSB="T"),
        VOXELS.astype(">i2").tobytes(),
        (),
    ),
    ("skip", header(HeaderSize="7"), b"\1" * 7 + BLOCK, ()),
    ("skip all", header(HeaderSize="-1"), b"\1" * 99 + BLOCK, ()),
    ("trailing", header(), BLOCK + b"\1\2", ("trailing-bytes",)),
    ("zlib", header(CompressedData="True"), zlib.compress(BLOCK), ()),
    (
        "zlib sized",
        header(CompressedData="True", CompressedDataSize=len(zlib.compress(BLOCK))),
        zlib.compress(BLOCK) + b"x",
        (),
    ),
    ("gzip", header(CompressedData="True"), gzip.compress(BLOCK, mtime=0), ()),
    ("no direction", header(TransformMatrix=None), BLOCK, ("no-direction",)),
    (
        "four dimensions",
        header(
            NDims="4",
            DimSize="5 4 3 1",
            Offset="-10 20 30 7",
            ElementSpacing="0.8 0.7 2.5 1",
            TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
        ),
        BLOCK,
        (),
    ),
]


@pytest.mark.parametrize(("text", "data", "codes"), [g[1:] for g in GOOD], ids=[g[0] for g in GOOD])
def test_spellings_of_the_same_volume(folder, text, data, codes):
    path = make(folder, data)
    path.write_bytes(text)
    scan = read_scan(path)
    assert np.array_equal(scan.ct.array, VOXELS)
    assert scan.ct.geometry == GRID
    assert tuple(note.code for note in scan.notes) == codes


def test_no_origin_is_zero_with_a_note(folder):
    scan = read_scan(make(folder, Offset=None))
    assert scan.ct.geometry.origin == (0, 0, 0)
    assert [note.code for note in scan.notes] == ["no-origin"]


@pytest.mark.parametrize("first", ["LIST", "LIST 2", "slice%02d.raw 7 11 2", "slice%d.raw 0 2"])
@pytest.mark.parametrize("skip", ["0", "-1", "4"])
def test_lists_and_patterns_of_slice_files(folder, first, skip):
    names = {"slice%02d.raw 7 11 2": ["slice07.raw", "slice09.raw", "slice11.raw"]}.get(
        first, ["slice0.raw", "slice1.raw", "slice2.raw"]
    )
    for name, plane in zip(names, VOXELS, strict=True):
        (folder / name).write_bytes((b"" if skip == "0" else b"abcd") + plane.tobytes())
    text = header(ElementDataFile=first, HeaderSize=skip)
    (folder / "list.mhd").write_bytes(text + ("\n".join(names).encode() if "LIST" in first else b""))
    assert np.array_equal(read_scan(folder / "list.mhd").ct.array, VOXELS)


def test_data_may_lie_in_a_folder_below_and_have_spaces_in_their_name(folder):
    (folder / "below it").mkdir()
    (folder / "below it" / "the data.raw").write_bytes(BLOCK)
    path = make(folder, ElementDataFile="below it/the data.raw")
    assert np.array_equal(read_scan(path).ct.array, VOXELS)


BAD = [
    ("no dimsize", {"DimSize": None}, FormatError, "DimSize is missing"),
    ("no spacing", {"ElementSpacing": None}, FormatError, "ElementSpacing is missing"),
    ("no type", {"ElementType": None}, FormatError, "ElementType is missing"),
    ("no data file", {"ElementDataFile": None}, FormatError, "no ElementDataFile"),
    ("empty data file", {"ElementDataFile": ""}, FormatError, "ElementDataFile is empty"),
    ("two dims", {"NDims": "2", "DimSize": "5 12", "Offset": "0 0", "ElementSpacing": "1 1"}, UnsupportedError, "3-D"),
    ("volumes", {"NDims": "4", "DimSize": "5 4 3 2"}, UnsupportedError, "3-D"),
    ("ndims", {"NDims": "100"}, FormatError, "NDims = 100"),
    ("ndims text", {"NDims": "three"}, FormatError, "whole numbers"),
    ("negative", {"DimSize": "-5 -4 3"}, FormatError, "below 1"),
    ("zero", {"DimSize": "5 0 3"}, FormatError, "below 1"),
    ("fraction", {"DimSize": "5.5 4 3"}, FormatError, "whole numbers"),
    ("digits", {"DimSize": "9" * 5000}, FormatError, "whole numbers"),
    ("huge", {"DimSize": "2000000 2000000 2000000"}, UnsupportedError, "GiB"),
    ("overflow", {"DimSize": "4294967296 4294967296 2"}, UnsupportedError, "GiB"),
    ("too large for the file", {"DimSize": "5 4 4"}, FormatError, "end after 120 of 160"),
    ("spacing zero", {"ElementSpacing": "1 0 1"}, GeometryError, "spacing"),
    ("spacing negative", {"ElementSpacing": "1 -1 1"}, GeometryError, "spacing"),
    ("spacing nan", {"ElementSpacing": "nan 1 1"}, GeometryError, "finite"),
    ("spacing short", {"ElementSpacing": "1 1"}, FormatError, "expected 3 numbers"),
    ("spacing text", {"ElementSpacing": "1 1 mm"}, FormatError, "expected 3 numbers"),
    ("spacing grouped", {"ElementSpacing": "1 1 1_0"}, FormatError, "expected 3 numbers"),
    ("spacing comma", {"ElementSpacing": "0,8 0,7 2,5"}, FormatError, "expected 3 numbers"),
    ("offset inf", {"Offset": "inf 0 0"}, GeometryError, "origin"),
    ("offset huge", {"Offset": "0 0 3e38"}, GeometryError, "impossible for a patient"),
    ("spacing huge", {"ElementSpacing": "1 1 1e6"}, GeometryError, "impossible for a patient"),
    ("matrix zero", {"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, GeometryError, "unit vectors"),
    ("matrix sheared", {"TransformMatrix": "1 0 0 0.6 0.8 0 0 0 1"}, GeometryError, "sheared"),
    ("matrix nan", {"TransformMatrix": "1 0 0 0 nan 0 0 0 1"}, GeometryError, "finite"),
    ("two matrices", {"Rotation": "-1 0 0 0 1 0 0 0 1"}, FormatError, "not equal to TransformMatrix"),
    ("two places", {"Position": "1 2 3"}, FormatError, "not equal to Offset"),
    ("two orders", {"ElementByteOrderMSB": "True"}, FormatError, "not equal to BinaryData"),
    ("order", {"BinaryDataByteOrderMSB": "maybe"}, FormatError, "True or False"),
    ("colors", {"ElementNumberOfChannels": "3"}, UnsupportedError, "color"),
    ("text", {"BinaryData": "False"}, UnsupportedError, "as text"),
    ("scaled", {"ElementToIntensityFunctionSlope": "2"}, UnsupportedError, "scales"),
    ("type", {"ElementType": "MET_BOGUS"}, UnsupportedError, "MET_BOGUS"),
    ("skip", {"HeaderSize": "-2"}, FormatError, "HeaderSize"),
    ("skip past the end", {"HeaderSize": "1000"}, FormatError, "end after"),
    ("skip huge", {"HeaderSize": "9" * 18}, FormatError, "HeaderSize"),
    ("packed skip", {"HeaderSize": "-1", "CompressedData": "True"}, FormatError, "HeaderSize"),
    ("not packed", {"CompressedData": "True"}, FormatError, "damaged"),
    ("packed size", {"CompressedData": "True", "CompressedDataSize": "-4"}, UnsupportedError, "compressed"),
    ("absolute", {"ElementDataFile": "/etc/hostname"}, FormatError, "not inside"),
    ("drive", {"ElementDataFile": "C:\\scan.raw"}, FormatError, "not inside"),
    ("parent", {"ElementDataFile": "../scan.raw"}, FormatError, "not inside"),
    ("parent further down", {"ElementDataFile": "a/../../scan.raw"}, FormatError, "not inside"),
    ("parent, other slash", {"ElementDataFile": "..\\scan.raw"}, FormatError, "not inside"),
    ("null", {"ElementDataFile": "scan.raw\0x"}, FormatError, "not inside"),
    ("long name", {"ElementDataFile": "x" * 5000}, InputError, "cannot be"),
    ("missing", {"ElementDataFile": "other.raw"}, MissingInputError, "does not exist"),
    ("folder", {"ElementDataFile": "."}, InputError, "not a regular file"),
    ("list of volumes", {"ElementDataFile": "LIST 3"}, UnsupportedError, "not slices"),
    ("list empty", {"ElementDataFile": "LIST"}, FormatError, "0 files for 3"),
    ("pattern short", {"ElementDataFile": "s%d.raw 1 2"}, FormatError, "2 files for 3"),
    ("pattern endless", {"ElementDataFile": "s%d.raw 1 999999999"}, FormatError, "4 files for 3"),
    ("pattern hostile", {"ElementDataFile": "%n%s.raw 1 3"}, MissingInputError, "does not exist"),
]


@pytest.mark.parametrize(("changes", "error", "text"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_headers_are_refused_in_one_line(folder, changes, error, text):
    with pytest.raises(error, match=text) as caught:
        read_scan(make(folder, **changes))
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "no ElementDataFile"),
        (np.random.default_rng(1).bytes(5000), "not a MetaImage"),
        (b"Comment = " + b"x" * 70000 + b"\n" + header(), "first 65536 bytes"),
        (header()[:-1].ljust(70000, b"x"), "first 65536 bytes"),
        (b"\xff\xfe" + header(), "not a MetaImage"),
        (header().decode().encode("utf-16"), "not a MetaImage"),
        (b"DimSize = 5 4 2\n" + header(), "there twice"),
    ],
    ids=["empty", "noise", "long", "long last line", "garbled key", "utf-16", "contradiction"],
)
def test_what_is_no_header_is_refused(folder, text, what):
    path = make(folder)
    path.write_bytes(text)
    with pytest.raises(FormatError, match=what):
        read_scan(path)


def test_links_may_not_lead_out_of_the_folder(folder, tmp_path):
    (tmp_path / "secret.raw").write_bytes(BLOCK)
    (folder / "out.raw").symlink_to(tmp_path / "secret.raw")
    with pytest.raises(FormatError, match="leads out"):
        read_scan(make(folder, ElementDataFile="out.raw"))
    (folder / "stay.raw").symlink_to("scan.raw")
    assert np.array_equal(read_scan(make(folder, ElementDataFile="stay.raw")).ct.array, VOXELS)
    (folder / "loop.raw").symlink_to("loop.raw")
    with pytest.raises(InputError):
        read_scan(make(folder, ElementDataFile="loop.raw"))


def test_a_list_may_not_name_files_elsewhere(folder, tmp_path):
    (folder / "l.mhd").write_bytes(header(ElementDataFile="LIST") + b"scan.raw\n../x.raw\n/etc/hostname\n")
    with pytest.raises(FormatError, match="not inside"):
        read_scan(folder / "l.mhd")
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe.raw")
    with pytest.raises(InputError, match="not a regular file"):
        read_scan(make(folder, ElementDataFile="pipe.raw"))


def test_a_bomb_is_refused(folder):
    packed = zlib.compress(bytes(2**24), 9)
    path = make(folder, packed, DimSize="900 900 900", CompressedData="True")
    with pytest.raises(FormatError, match="end after"):
        read_scan(path)
    path = make(folder, packed, DimSize="8 8 8", CompressedData="True")  # unpacks to more than it declares
    with pytest.raises(FormatError, match="twice"):
        read_scan(path)


@given(st.data(), st.booleans())
@settings(max_examples=60)
def test_no_truncation_goes_unnoticed(folder, data, packed):
    SimpleITK.WriteImage(itk_image(Volume(VOXELS, GRID)), str(folder / "t.mha"), packed)
    whole = (folder / "t.mha").read_bytes()
    (folder / "t.mha").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InputError):
        read_scan(folder / "t.mha")


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=150)
def test_any_header_is_read_or_refused_but_never_crashes(folder, changes):
    whole = bytearray(header(ElementDataFile="LOCAL") + BLOCK)
    for offset, value in changes:
        whole[offset % len(whole)] = value
    (folder / "r.mha").write_bytes(bytes(whole))
    try:
        got = read_scan(folder / "r.mha")
    except HilumError as error:
        assert len(str(error)) <= 300  # noqa: PT017 - reading is allowed to succeed
    else:
        assert got.ct.array.dtype == np.int16


def test_the_header_appears_after_its_data(tmp_path, monkeypatch):
    order = []
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda a, b: (order.append(b.name), replace(a, b))[1])
    write_metaimage(Volume(VOXELS, GRID), tmp_path / "w.mhd")
    assert order == ["w.raw", "w.mhd"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.mhd", "w.raw"]


@pytest.mark.parametrize(("name", "dtype"), [("a.raw", "i2"), ("a.mha", "c8"), ("a%d.mhd", "i2"), ("a\n.mhd", "i2")])
def test_what_the_format_cannot_hold_is_not_written(tmp_path, name, dtype):
    with pytest.raises(HilumError):
        hilum.write(Volume(VOXELS.astype(dtype), GRID), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.real
def test_real_files_are_read_as_simpleitk_does_or_refused(real_data):
    read, refused = set(), set()
    for path in sorted((real_data / "oddities" / "panimg").rglob("*.mh[da]")):
        try:
            got = read_metaimage(path).to_volume()
        except HilumError as error:
            assert len(str(error)) <= 300  # noqa: PT017 - most are read
            refused.add(path.stem)
            continue
        want = itk_read(path)
        assert np.array_equal(got.array, want.array)
        assert_same_geometry(got.geometry, want.geometry)
        read.add(path.stem)
    assert read == {
        "image10x10x10",
        "image10x10x10-extra-stuff",
        "image5x6x7",
        "image5x6x7-no-spacing-with-123-size",
        "image5x6x7-with-123-spacing",
    }
    assert {"invalid_utf8", "referring_to_system_file", "image10x11x12x13", "image128x256x3RGB"} < refused


@pytest.mark.real
def test_real_luna_headers(real_data):
    paths = sorted((real_data / "luna16" / "mhd-headers").glob("*.mhd"))
    assert len(paths) == 3
    for path in paths:
        with pytest.raises(
            MissingInputError, match="does not exist"
        ):  # the header is understood, its data are not there
            read_scan(path)
