from __future__ import annotations

import bz2
import gzip

import nrrd
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from itk_oracle import itk_image, itk_read

import hilum
from hilum.errors import FormatError, GeometryError, HilumError, InputError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.volumes.nrrd import read_nrrd, write_nrrd
from hilum.testing import assert_same_geometry, volumes
from hilum.volume import Mask, Volume

GRID = Geometry((3, 4, 5), (2.5, 0.5, 0.75), (-10.0, 20.0, 30.0))
VOXELS = np.arange(60, dtype="<i2").reshape(GRID.shape)
BLOCK = VOXELS.tobytes()
FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "5 4 3",
    "space directions": "(0.75,0,0) (0,0.5,0) (0,0,2.5)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-10,20,30)",
}


def read_scan(path):
    return read_nrrd(path).to_scan(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # hundreds of files: no waiting for the disk
        yield tmp_path_factory.mktemp("nrrd")


def header(**changes):
    fields = {**FIELDS, **{key.replace("_", " "): value for key, value in changes.items()}}
    lines = [f"{key}: {value}\n" for key, value in fields.items() if value is not None]
    return ("NRRD0004\n# a comment\n" + "".join(lines)).encode()


def make(folder, data=BLOCK, **changes):
    (folder / "scan.nrrd").write_bytes(header(**changes) + b"\n" + data)
    return folder / "scan.nrrd"


@given(volumes())
@settings(max_examples=50)
def test_what_is_written_is_read(folder, volume):
    write_nrrd(volume, folder / "a.nrrd")
    scan = read_scan(folder / "a.nrrd")
    assert np.array_equal(scan.ct.array, volume.array)
    assert_same_geometry(scan.ct.geometry, volume.geometry, tolerance=1e-9)
    assert scan.notes == ()


@given(volumes(oblique=False))
@settings(max_examples=30)
def test_a_grid_along_the_axes_is_kept_bit_for_bit(folder, volume):
    write_nrrd(volume, folder / "b.nrrd")
    assert read_scan(folder / "b.nrrd").ct.geometry == volume.geometry


@given(volumes())
@settings(max_examples=50)
def test_simpleitk_and_pynrrd_read_what_is_written(folder, volume):
    write_nrrd(volume, folder / "c.nrrd")
    got = itk_read(folder / "c.nrrd")
    assert np.array_equal(got.array, volume.array)
    assert_same_geometry(got.geometry, volume.geometry, tolerance=1e-6)
    array, fields = nrrd.read(str(folder / "c.nrrd"), index_order="C")
    assert np.array_equal(array, volume.array)
    assert np.allclose(fields["space directions"], volume.geometry.affine[:3, 2::-1].T)


@given(volumes(), st.booleans(), st.sampled_from(["d.nrrd", "d.nhdr"]))
@settings(max_examples=50)
def test_files_of_simpleitk_are_read(folder, volume, packed, name):
    SimpleITK.WriteImage(itk_image(volume), str(folder / name), packed)
    scan = read_scan(folder / name)
    assert np.array_equal(scan.ct.array, volume.array)
    assert_same_geometry(scan.ct.geometry, volume.geometry, tolerance=1e-6)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", "?"])
def test_every_type_is_kept(folder, dtype):
    volume = Volume(VOXELS.astype(dtype), GRID)
    write_nrrd(volume, folder / "e.nrrd")
    got = read_nrrd(folder / "e.nrrd").to_volume().array
    assert np.array_equal(got, volume.array)
    assert got.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (1, 1, 1)),
        ("LPS", (1, 1, 1)),
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
        ("LAS", (1, -1, 1)),
    ],
)
def test_spaces_are_converted(folder, space, signs):
    geometry = read_scan(make(folder, space=space)).ct.geometry
    assert geometry.origin == tuple(np.multiply((-10, 20, 30), signs))
    assert np.array_equal(np.diag(geometry.direction[::-1]), signs)
    assert geometry.spacing == GRID.spacing


@pytest.mark.parametrize(
    ("changes", "data", "codes"),
    [
        ({"encoding": "gzip"}, gzip.compress(BLOCK, mtime=0), ()),
        ({"encoding": "gz"}, gzip.compress(BLOCK, mtime=0), ()),
        ({"encoding": "bzip2"}, bz2.compress(BLOCK), ()),
        ({"endian": "big"}, VOXELS.astype(">i2").tobytes(), ()),
        ({"byte_skip": "3"}, b"abc" + BLOCK, ()),
        ({"byte_skip": "-1"}, b"abc" * 9 + BLOCK, ()),
        ({"encoding": "gzip", "byte_skip": "3"}, gzip.compress(b"abc" + BLOCK, mtime=0), ()),
        ({"kinds": None}, BLOCK, ()),
        ({"kinds": "space space space"}, BLOCK, ()),
        ({"space_units": '"mm" "mm" "mm"'}, BLOCK, ()),
        ({"type": "float"}, VOXELS.astype("<f4").tobytes(), ()),
        ({}, BLOCK + b"x", ("trailing-bytes",)),
    ],
)
def test_spellings_of_the_same_volume(folder, changes, data, codes):
    scan = read_scan(make(folder, data, **changes))
    assert np.array_equal(scan.ct.array, VOXELS)
    assert scan.ct.geometry == GRID
    assert tuple(note.code for note in scan.notes) == codes


def test_no_origin_is_zero_with_a_note(folder):
    scan = read_scan(make(folder, space_origin=None))
    assert scan.ct.geometry.origin == (0, 0, 0)
    assert [note.code for note in scan.notes] == ["no-origin"]


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_detached_data(folder, ending):
    (folder / "f.raw").write_bytes(BLOCK)
    (folder / "f.nhdr").write_bytes(header(data_file="f.raw") + ending)
    assert np.array_equal(read_scan(folder / "f.nhdr").ct.array, VOXELS)


@pytest.mark.parametrize("subdim", ["", " 2", " 3"])
@pytest.mark.parametrize("packed", [False, True])
def test_lists_and_patterns_of_data_files_are_one_volume(folder, subdim, packed):
    pack = gzip.compress if packed else bytes
    for k in range(3):
        (folder / f"p{k:02d}.raw").write_bytes(pack(VOXELS[k].tobytes()))
    names = "\n".join(f"p{k:02d}.raw" for k in range(3))
    for text in (f"LIST{subdim}\n{names}", f"p%02d.raw 0 2 1{subdim}"):
        (folder / "l.nhdr").write_bytes(header(data_file=text, encoding="gzip" if packed else "raw"))
        scan = read_scan(folder / "l.nhdr")
        assert np.array_equal(scan.ct.array, VOXELS)
        assert scan.ct.geometry == GRID
    (folder / "p01.raw").write_bytes(pack(VOXELS[1].tobytes())[:-2])
    with pytest.raises(FormatError, match=r"end after|packed data end"):
        read_scan(folder / "l.nhdr")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("LIST", "names 0 data files for 3"),
        ("LIST\na\nb", "names 2 data files for 3"),
        ("LIST 3\na\nb", "names 2 data files for 1"),
        ("LIST 7\na\nb\nc", "names 3 data files"),
        ("LIST 0\na\nb\nc", "names 3 data files"),
        ("LIST\n../a\nb\nc", "not inside"),
    ],
)
def test_lists_that_are_not_three_parts_inside_the_folder_are_refused(folder, text, what):
    (folder / "n.nhdr").write_bytes(header(data_file=text))
    with pytest.raises(FormatError, match=what):
        read_scan(folder / "n.nhdr")


def test_a_pattern_counts_down_and_a_file_may_hold_a_row(folder):
    for k in range(3):
        (folder / f"d{k}.raw").write_bytes(VOXELS[k].tobytes())
    (folder / "d.nhdr").write_bytes(header(data_file="d%d.raw 2 0 -1"))
    assert np.array_equal(read_scan(folder / "d.nhdr").ct.array, VOXELS[::-1])
    rows = VOXELS.reshape(12, 5)
    for k in range(12):
        (folder / f"r{k}.raw").write_bytes(rows[k].tobytes())
    (folder / "d.nhdr").write_bytes(header(data_file="r%d.raw 0 11 1 1"))
    assert np.array_equal(read_scan(folder / "d.nhdr").ct.array, VOXELS)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["list", "time", "vector", "scalar", "none"])
def test_an_axis_of_one_entry_is_left_out(folder, axis, kind):
    def insert(text, word):
        return " ".join([*text.split()[:axis], word, *text.split()[axis:]])

    changes = {name: insert(FIELDS[name.replace("_", " ")], word) for name, word in (
        ("sizes", "1"), ("space_directions", "none"), ("kinds", kind))}  # fmt: skip
    scan = read_scan(make(folder, dimension="4", **changes))
    assert np.array_equal(scan.ct.array, VOXELS)
    assert scan.ct.geometry == GRID


@pytest.mark.parametrize(
    ("units", "scales"),
    [('"cm" "cm" "cm"', (10, 10, 10)), ('"m" "m" "m"', (1000,) * 3), ('"um" "micrometers" "um"', (0.001,) * 3),
     ('"mm" "mm" "cm"', (1, 1, 10)), ('"Centimeters" "mm" ""', (10, 1, 1))],
)  # fmt: skip
def test_units_are_converted_to_millimetres_with_a_note(folder, units, scales):
    scan = read_scan(make(folder, space_units=units))
    assert np.allclose(scan.ct.spacing, np.array(GRID.spacing) * scales[::-1])
    assert np.allclose(scan.ct.geometry.origin, np.array(GRID.origin) * scales)
    assert [note.code for note in scan.notes] == ["units"]


BAD = [
    ("no space", {"space": None}, GeometryError, "orientation unknown"),
    ("other space", {"space": "scanner-xyz"}, GeometryError, "orientation unknown"),
    ("spacings only", {"space_directions": None, "spacings": "1 1 1"}, GeometryError, "orientation unknown"),
    ("no sizes", {"sizes": None}, FormatError, "sizes is missing"),
    ("no type", {"type": None}, FormatError, "type is missing"),
    ("no dimension", {"dimension": None}, FormatError, "dimension is missing"),
    ("no encoding", {"encoding": None}, FormatError, "encoding is missing"),
    ("no endian", {"endian": None}, FormatError, "endian"),
    ("block", {"type": "block"}, UnsupportedError, "holds block"),
    ("text", {"encoding": "ascii"}, UnsupportedError, "as ascii"),
    ("hex", {"encoding": "hex"}, UnsupportedError, "as hex"),
    ("sizes negative", {"sizes": "5 -4 3"}, FormatError, "sizes is"),
    ("sizes zero", {"sizes": "5 0 3"}, FormatError, "sizes is"),
    ("sizes text", {"sizes": "5 four 3"}, FormatError, "header"),
    ("sizes beyond", {"sizes": "5 4 1e40"}, FormatError, "header"),
    ("sizes huge", {"sizes": "2000000 2000000 2000000"}, UnsupportedError, "GiB"),
    ("dimension differs", {"dimension": "4"}, FormatError, "dimension 4"),
    ("two dims", {"dimension": "2", "sizes": "5 12", "kinds": "domain domain"}, UnsupportedError, "3-D"),
    ("vectors", {"kinds": "vector domain domain"}, UnsupportedError, "3-D"),
    ("colors", {"kinds": "RGB-color domain domain"}, UnsupportedError, "3-D"),
    ("time", {"kinds": "domain domain time"}, UnsupportedError, "3-D"),
    ("none", {"space_directions": "none (0,1,0) (0,0,1)"}, GeometryError, "steps"),
    ("zero", {"space_directions": "(0,0,0) (0,1,0) (0,0,1)"}, GeometryError, "steps"),
    ("nan", {"space_directions": "(nan,0,0) (0,1,0) (0,0,1)"}, GeometryError, "steps"),
    ("sheared", {"space_directions": "(1,0,0) (1,1,0) (0,0,1)"}, GeometryError, "sheared"),
    ("two vectors", {"space_directions": "(1,0,0) (0,1,0)"}, FormatError, "three vectors"),
    ("no vectors", {"space_directions": "1 0 0"}, FormatError, "header"),
    ("origin nan", {"space_origin": "(nan,0,0)"}, GeometryError, "origin"),
    ("origin short", {"space_origin": "(0,0)"}, FormatError, "three vectors"),
    ("no unit", {"space_units": '"px" "px" "px"'}, UnsupportedError, "unknown unit"),
    ("two units", {"space_units": '"mm" "mm"'}, FormatError, "2 units"),
    ("line skip", {"line_skip": "1"}, UnsupportedError, "line skip"),
    ("byte skip", {"byte_skip": "-2"}, FormatError, "byte skip"),
    ("byte skip huge", {"byte_skip": "99999999999"}, FormatError, "byte skip"),
    ("byte skip text", {"byte_skip": "x"}, FormatError, "header"),
    ("truncated", {"sizes": "5 4 4"}, FormatError, "end after 120 of 160"),
    ("not packed", {"encoding": "gzip"}, FormatError, "damaged"),
    ("not packed 2", {"encoding": "bzip2"}, FormatError, "damaged"),
    ("absolute", {"data_file": "/etc/hostname"}, FormatError, "not inside"),
    ("parent", {"data_file": "../x.raw"}, FormatError, "not inside"),
    ("missing", {"data_file": "x.raw"}, MissingInputError, "does not exist"),
    ("pattern", {"data_file": "x%d.raw 1 2 1"}, FormatError, "names 2"),
    ("missing of a pattern", {"data_file": "x%d.raw 1 3 1"}, MissingInputError, "does not exist"),
    (
        "list of three",
        {"sizes": "3 5 4 1", "dimension": "4", "kinds": "list domain domain domain"},
        UnsupportedError,
        "3-D",
    ),
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
        (b"", "not a NRRD"),
        (b"NRRD1004\n" + header()[9:], "not a NRRD"),
        (b"NRRD0009\n" + header()[9:], "header"),
        (header() + b"type: short\n\n" + BLOCK, "header"),
        (header() + b"no field\n\n" + BLOCK, "header"),
        (header() + b"content: " + b"x" * 70000, "does not end"),
    ],
    ids=["empty", "later", "version", "twice", "free text", "long"],
)
def test_what_is_no_header_is_refused(folder, text, what):
    (folder / "g.nrrd").write_bytes(text)
    with pytest.raises(FormatError, match=what):
        read_scan(folder / "g.nrrd")


def test_a_bomb_is_refused(folder):
    with pytest.raises(FormatError, match="end after"):
        read_scan(make(folder, gzip.compress(bytes(2**22)), sizes="900 900 900", encoding="gzip"))
    with pytest.raises(FormatError, match="no scan packs so well"):
        read_scan(make(folder, bz2.compress(bytes(2**22)), sizes="900 900 900", encoding="bzip2"))


@given(st.data())
@settings(max_examples=60)
def test_no_truncation_goes_unnoticed(folder, data):
    write_nrrd(Volume(VOXELS, GRID), folder / "h.nrrd")
    whole = (folder / "h.nrrd").read_bytes()
    (folder / "h.nrrd").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InputError):
        read_scan(folder / "h.nrrd")


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=150)
def test_any_header_is_read_or_refused_but_never_crashes(folder, changes):
    whole = bytearray(header() + b"\n" + BLOCK)
    for offset, value in changes:
        whole[offset % len(whole)] = value
    (folder / "i.nrrd").write_bytes(bytes(whole))
    try:
        got = read_scan(folder / "i.nrrd")
    except HilumError as error:
        assert len(str(error)) <= 300  # noqa: PT017 - reading is allowed to succeed
    else:
        assert got.ct.array.dtype == np.int16


@pytest.mark.parametrize(("name", "dtype"), [("a.nhdr", "i2"), ("a.nrrd", "c8")])
def test_what_the_format_cannot_hold_is_not_written(tmp_path, name, dtype):
    with pytest.raises(UnsupportedError):
        hilum.write(Volume(VOXELS.astype(dtype), GRID), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.real
def test_real_files_are_read_as_simpleitk_does_or_refused(real_data):
    paths = [*(real_data / "oddities" / "panimg" / "nrrd").glob("*.n*"), *(real_data / "cip-ct64").glob("*.nrrd")]
    refused = []
    for path in sorted(paths):
        try:
            got = read_nrrd(path).to_volume()
        except FormatError:
            refused.append(path.stem)
            continue
        want = itk_read(path)
        assert np.array_equal(got.array, want.array)
        assert_same_geometry(got.geometry, want.geometry)
    assert refused == ["image10x11x12_unsupported_version"]
    assert len(paths) == 8


def test_a_mask_keeps_the_names_of_its_labels_as_3d_slicer_has_them(folder):
    path = folder / "lungs.nrrd"
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3
    names = {1: "right lung", 2: "left\nlung: #2"}
    hilum.write(Mask.from_array(labels, spacing=(2.0, 1.0, 1.0)), folder / "bare.nrrd")
    hilum.write(Mask(labels, Geometry(labels.shape, (2.0, 1.0, 1.0)), names), path, series_uid="1.2.3")
    mask = hilum.read_mask(path)
    assert dict(mask.names) == {1: "right lung", 2: "left lung: #2"}
    assert mask.volumes_ml() == {"right lung": 0.016, "left lung: #2": 0.016}
    voxels, header = nrrd.read(str(path))
    assert np.array_equal(voxels.T, labels)
    assert (header["Segment0_Name"], header["Segment0_LabelValue"]) == ("right lung", "1")
    assert SimpleITK.ReadImage(str(path)).GetMetaData("Segment1_ID") == "Segment_2"
    assert not hilum.read_mask(folder / "bare.nrrd").names
    assert hilum.read(path).series_uid == "1.2.3"
