from __future__ import annotations

import gzip
import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from itk_oracle import itk_image, itk_read

import hilum
from hilum.errors import FormatError, GeometryError, HilumError, InputError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.volumes.nifti import read_nifti, write_nifti
from hilum.testing import assert_same_geometry, masks, volumes
from hilum.volume import Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_scan(path):
    return read_nifti(path).to_scan(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # hundreds of files: no waiting for the disk
        yield tmp_path_factory.mktemp("nifti")


def small(dtype=np.int16):
    grid = Geometry((4, 5, 6), (2.5, 0.7, 0.8), (-10.0, 20.0, 30.0))
    return Volume((np.arange(120).reshape(grid.shape) % 100).astype(dtype), grid)


def nib_affine(geometry):
    """The affine nibabel should see: RAS millimetres, columns x, y, z."""
    return (LPS @ geometry.affine)[:, [2, 1, 0, 3]]


def patched(path, offset, data):
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(data)] = data
    path.write_bytes(bytes(raw))
    return path


@given(volumes())
@settings(max_examples=60)
def test_what_is_written_is_read_and_written_again_with_the_same_bytes(folder, volume):
    path = folder / "a.nii.gz"
    write_nifti(volume, path)
    got = read_scan(path)
    assert np.array_equal(got.ct.array, volume.array)
    assert got.ct.array.dtype == np.int16
    assert_same_geometry(got.ct.geometry, volume.geometry)
    write_nifti(got.ct, folder / "b.nii.gz")
    assert (folder / "b.nii.gz").read_bytes() == path.read_bytes()


@given(volumes())
@settings(max_examples=60)
def test_nibabel_and_simpleitk_agree_on_voxels_and_place(folder, volume):
    path = folder / "c.nii"
    write_nifti(volume, path)
    image = nib.load(path)
    assert np.array_equal(np.asanyarray(image.dataobj).T, volume.array)
    assert np.allclose(image.affine, nib_affine(volume.geometry), rtol=1e-6, atol=1e-4)
    assert np.allclose(image.header.get_qform(), image.affine, atol=2e-3)
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    other = itk_read(path)
    assert np.array_equal(other.array, volume.array)
    assert_same_geometry(other.geometry, volume.geometry, tolerance=2e-3)


def test_the_comparison_with_the_oracle_can_fail(folder):
    path = folder / "d.nii"
    write_nifti(small(), path)
    moved = Geometry((4, 5, 6), (2.5, 0.7, 0.8), (-10.0, 20.5, 30.0))
    with pytest.raises(AssertionError):
        assert_same_geometry(itk_read(path).geometry, moved)


@given(volumes(), st.sampled_from(["e.nii", "e.nii.gz"]))
@settings(max_examples=40)
def test_files_of_simpleitk_are_read(folder, volume, name):
    SimpleITK.WriteImage(itk_image(volume), str(folder / name))
    got = read_scan(folder / name)
    assert np.array_equal(got.ct.array, volume.array)
    assert_same_geometry(got.ct.geometry, volume.geometry, tolerance=2e-3)
    assert got.notes == ()


@given(volumes(), st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]), st.sampled_from("<>"))
@settings(max_examples=40)
def test_files_of_nibabel_are_read_of_either_version_and_byte_order(folder, volume, kind, order):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    header.set_xyzt_units("mm")
    nib.save(kind(volume.array.T, nib_affine(volume.geometry), header), folder / "f.nii")
    got = read_scan(folder / "f.nii")
    assert np.array_equal(got.ct.array, volume.array)
    assert got.ct.array.dtype.isnative
    assert_same_geometry(got.ct.geometry, volume.geometry)


@given(masks(labels=255))
@settings(max_examples=20)
def test_masks_keep_their_labels(folder, mask):
    write_nifti(mask, folder / "m.nii.gz")
    got = read_nifti(folder / "m.nii.gz").to_volume()
    assert got.array.dtype == np.dtype(np.uint8)
    assert np.array_equal(got.array, mask.array)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4", "?"])
def test_every_type_is_kept(folder, dtype):
    volume = small(dtype)
    write_nifti(volume, folder / "t.nii.gz")
    got = read_nifti(folder / "t.nii.gz").to_volume().array
    assert np.array_equal(got, volume.array)
    assert got.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))
    assert np.array_equal(np.asanyarray(nib.load(folder / "t.nii.gz").dataobj).T, volume.array)


def test_a_view_is_written_as_it_looks(folder):
    volume = Volume(small().array[:, ::2, ::-1], Geometry((4, 3, 6), (1, 1, 1)))
    write_nifti(volume, folder / "v.nii")
    assert np.array_equal(read_scan(folder / "v.nii").ct.array, volume.array)


@pytest.mark.parametrize("name", ["UP.NII", "UP.NII.GZ"])
def test_suffixes_in_upper_case_are_the_same(folder, name):
    write_nifti(small(), folder / name)
    assert np.array_equal(read_scan(folder / name).ct.array, small().array)
    assert read_scan(folder / name).series_uid.startswith("no-uid-")
    assert ((folder / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith("GZ")


def test_the_gzip_stream_holds_no_time_and_no_name(folder):
    write_nifti(small(), folder / "g.nii.gz")
    assert (folder / "g.nii.gz").read_bytes()[3:8] == bytes(5)  # RFC 1952: flags, then the time


def test_scaling_is_applied_and_rounded_once_half_to_even(folder):
    path = folder / "s.nii"
    write_nifti(Volume(np.arange(8, dtype=np.int16).reshape(2, 2, 2), Geometry((2, 2, 2), (1, 1, 1))), path)
    patched(path, 112, struct.pack("<2f", 0.5, -1000.0))
    assert read_scan(path).ct.array.ravel().tolist() == [-1000, -1000, -999, -998, -998, -998, -997, -996]
    assert read_nifti(path).to_volume().array.ravel()[1] == -999.5


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_a_slope_that_is_none_means_no_scaling(folder, slope):
    write_nifti(small(), folder / "z.nii")
    patched(folder / "z.nii", 112, struct.pack("<2f", slope, -500.0))
    assert np.array_equal(read_scan(folder / "z.nii").ct.array, small().array)


@pytest.mark.parametrize(("unit", "scale"), [(1, 1000.0), (3, 0.001), (0, 1.0)])
def test_units_of_length_are_converted_with_a_note(folder, unit, scale):
    write_nifti(small(), folder / "u.nii")
    patched(folder / "u.nii", 123, bytes([unit]))
    scan = read_scan(folder / "u.nii")
    assert np.allclose(scan.ct.spacing, np.array(small().spacing) * scale, rtol=1e-6)
    assert [n.code for n in scan.notes] == ([] if scale == 1 else ["units"])


def test_sform_wins_over_a_qform_that_disagrees_and_says_so(folder):
    image = nib.Nifti1Image(small().array.T, nib_affine(small().geometry))
    image.set_sform(nib_affine(small().geometry), 1)
    image.set_qform(np.diag([1.0, 1.0, 1.0, 1.0]), 1)
    nib.save(image, folder / "q.nii")
    scan = read_scan(folder / "q.nii")
    assert_same_geometry(scan.ct.geometry, small().geometry)
    assert [n.code for n in scan.notes] == ["forms-differ"]


def test_a_qform_alone_is_enough(folder):
    write_nifti(small(), folder / "o.nii")
    patched(folder / "o.nii", 254, struct.pack("<h", 0))
    assert_same_geometry(read_scan(folder / "o.nii").ct.geometry, small().geometry)


def test_one_volume_of_a_4d_file_is_a_volume(folder):
    nib.save(nib.Nifti1Image(small().array.T[..., None], nib_affine(small().geometry)), folder / "4.nii.gz")
    assert np.array_equal(read_scan(folder / "4.nii.gz").ct.array, small().array)


def test_extensions_are_skipped(folder):
    image = nib.Nifti1Image(small().array.T, nib_affine(small().geometry))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    nib.save(image, folder / "x.nii")
    assert np.array_equal(read_scan(folder / "x.nii").ct.array, small().array)


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_long_stretches_of_zeros_stay_in_their_places(folder, suffix):
    """Unpacked pieces of zeros are not written: what follows them must not move, whatever they begin and end with."""
    for seed in range(4):
        source = np.random.default_rng(seed)
        voxels = np.zeros((40, 100, 130), np.uint8)  # eight pieces of 64 KiB
        for _ in range(3):
            first = int(source.integers(voxels.size))
            voxels.reshape(-1)[first : first + int(source.integers(1, 9000))] = source.integers(1, 255)
        hilum.write(hilum.Mask(voxels, Geometry(voxels.shape, (1.0, 1.0, 1.0))), path := folder / f"zeros.{suffix}")
        assert np.array_equal(hilum.read(path).ct.array, voxels)


def test_several_gzip_members_and_a_wrong_suffix_are_read(folder):
    write_nifti(small(), folder / "p.nii")
    raw = (folder / "p.nii").read_bytes()
    path = folder / "packed.nii"
    path.write_bytes(gzip.compress(raw[:400]) + bytes(5) + gzip.compress(raw[400:]) + bytes(9))
    assert np.array_equal(read_scan(path).ct.array, small().array)


def test_bytes_that_follow_leave_a_note(folder):
    write_nifti(small(), folder / "l.nii")
    (folder / "l.nii").write_bytes((folder / "l.nii").read_bytes() + bytes(10))
    assert [n.code for n in read_scan(folder / "l.nii").notes] == ["trailing-bytes"]


BAD = [
    ("sizeof_hdr", 0, b"\1\2\3\4", FormatError, "not a NIfTI"),
    ("magic", 344, b"abc\0", FormatError, "not a NIfTI"),
    ("pair", 344, b"ni1\0", UnsupportedError, "pair"),
    ("rgb", 70, struct.pack("<h", 128), UnsupportedError, "data type 128"),
    ("complex", 70, struct.pack("<h", 32), UnsupportedError, "data type 32"),
    ("float128", 70, struct.pack("<h", 1536), UnsupportedError, "data type 1536"),
    ("unknown type", 70, struct.pack("<h", 9999), UnsupportedError, "data type 9999"),
    ("no dims", 40, struct.pack("<h", 0), FormatError, "dim is"),
    ("nine dims", 40, struct.pack("<h", 9), FormatError, "dim is"),
    ("negative size", 42, struct.pack("<h", -6), FormatError, "dim is"),
    ("zero size", 46, struct.pack("<h", 0), FormatError, "dim is"),
    ("two dims", 40, struct.pack("<h", 2), UnsupportedError, "expected one 3-D"),
    ("many volumes", 40, struct.pack("<5h", 4, 6, 5, 2, 2), UnsupportedError, "expected one 3-D"),
    ("huge", 40, struct.pack("<4h", 3, 32767, 32767, 32767), UnsupportedError, "GiB"),
    ("longer than the file", 42, struct.pack("<h", 600), FormatError, "end after"),
    ("offset low", 108, struct.pack("<f", 100.0), FormatError, "vox_offset"),
    ("offset negative", 108, struct.pack("<f", -352.0), FormatError, "vox_offset"),
    ("offset nan", 108, struct.pack("<f", np.nan), FormatError, "vox_offset"),
    ("offset huge", 108, struct.pack("<f", 1e30), FormatError, "vox_offset"),
    ("offset past the end", 108, struct.pack("<f", 9000.0), FormatError, "end after"),
    ("intercept nan", 116, struct.pack("<f", np.nan), FormatError, "header"),
    ("no form", 252, struct.pack("<hh", 0, 0), GeometryError, "orientation unknown"),
    ("nan affine", 280, struct.pack("<f", np.nan), GeometryError, "steps"),
    ("nan origin", 292, struct.pack("<f", np.nan), GeometryError, "origin"),
    ("huge origin", 292, struct.pack("<f", 3e38), GeometryError, "impossible for a patient"),
    ("huge steps", 280, struct.pack("<f", 3e38), GeometryError, "impossible for a patient"),
    ("zero affine", 280, bytes(48), GeometryError, "steps"),
    ("sheared", 284, struct.pack("<f", 0.4), GeometryError, "sheared"),
    ("unit", 123, b"\7", FormatError, "unit"),
]


@pytest.mark.parametrize(("offset", "data", "error", "text"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
@pytest.mark.parametrize("name", ["bad.nii", "bad.nii.gz"])
def test_bad_headers_are_refused_in_one_line(folder, name, offset, data, error, text):
    path = folder / name
    write_nifti(small(), folder / "bad.nii")
    patched(folder / "bad.nii", offset, data)
    if name.endswith("gz"):
        path.write_bytes(gzip.compress((folder / "bad.nii").read_bytes()))
    if text == "end after" and name.endswith("gz"):
        text = "data e|packed data end"
    with pytest.raises(error, match=text) as caught:
        read_scan(path)
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@given(st.data(), st.sampled_from(["n.nii", "n.nii.gz"]))
@settings(max_examples=80)
def test_no_truncation_goes_unnoticed(folder, data, name):
    write_nifti(small(), folder / name)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(FormatError):
        read_scan(folder / name)


@given(st.data())
@settings(max_examples=80)
def test_no_damage_of_a_gzip_stream_goes_unnoticed(folder, data):
    write_nifti(small(), folder / "w.nii.gz")
    whole = bytearray((folder / "w.nii.gz").read_bytes())
    whole[data.draw(st.integers(10, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "w.nii.gz").write_bytes(bytes(whole))
    with pytest.raises(HilumError):
        read_scan(folder / "w.nii.gz")


@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=200)
def test_any_header_is_read_or_refused_but_never_crashes(folder, changes):
    write_nifti(small(), folder / "r.nii")
    whole = bytearray((folder / "r.nii").read_bytes())
    for offset, value in changes:
        whole[offset] = value
    (folder / "r.nii").write_bytes(bytes(whole))
    try:
        got = read_scan(folder / "r.nii")
    except HilumError as error:
        assert len(str(error)) <= 300  # noqa: PT017 - reading is allowed to succeed
    else:
        assert got.ct.array.dtype == np.int16


def test_a_bomb_is_refused_before_it_unpacks(folder):
    write_nifti(small(), folder / "h.nii")
    patched(folder / "h.nii", 42, struct.pack("<3h", 1200, 1200, 1200))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress((folder / "h.nii").read_bytes()[:352]) + packer.compress(bytes(2**24)) + packer.flush()
    (folder / "bomb.nii.gz").write_bytes(packed)
    with pytest.raises(FormatError, match="end after"):
        read_scan(folder / "bomb.nii.gz")
    (folder / "bomb.nii.gz").write_bytes(packed + bytes(4 * 2**20))  # a padded one can declare more, and is too odd
    with pytest.raises(FormatError, match="no scan packs so well"):
        read_scan(folder / "bomb.nii.gz")


def test_more_than_twice_the_voxels_declared_is_a_wrong_header(folder):
    volume = Volume(np.zeros((16, 64, 64), np.int16), Geometry((16, 64, 64), (1, 1, 1)))
    write_nifti(volume, folder / "k.nii")
    patched(folder / "k.nii", 46, struct.pack("<h", 4))
    with pytest.raises(FormatError, match="twice"):
        read_scan(folder / "k.nii")


def test_missing_files_and_folders_are_refused(folder):
    with pytest.raises(MissingInputError, match="does not exist"):
        read_scan(folder / "nowhere.nii")
    with pytest.raises(InputError, match="not a regular file"):
        read_scan(folder)


@pytest.mark.parametrize(
    ("volume", "name"),
    [
        (small(), "a.img"),
        (small(np.complex64), "a.nii"),
        (Volume(np.zeros((1, 1, 40000), np.uint8), Geometry((1, 1, 40000), (1, 1, 1))), "a.nii"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(folder, volume, name):
    with pytest.raises(UnsupportedError):
        hilum.write(volume, folder / "sub" / name)


@pytest.mark.real
@pytest.mark.parametrize("name", ["image10x11x12.nii", "image10x11x12.nii.gz"])
def test_real_files_agree_with_simpleitk(real_data, name):
    path = real_data / "oddities" / "panimg" / "nifti" / name
    got, want = read_nifti(path).to_volume(), itk_read(path)
    assert np.array_equal(got.array, want.array)
    assert_same_geometry(got.geometry, want.geometry)
