"""SimpleITK and nibabel see the same voxel at the same point of the world, and give back the same bits."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

import hilum
from hilum.errors import GeometryError, InputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.testing import assert_same_geometry, geometries, masks, volumes
from hilum.volume import Mask, Volume

GRID = Geometry((2, 3, 4), (2.0, 1.0, 0.5), (5.0, 6.0, 7.0))
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
LPS = np.array([-1.0, -1.0, 1.0])


@st.composite
def typed(draw):
    """Volumes of every type that the libraries hold, with the extremes of the type."""
    geometry = draw(geometries(max_size=6))
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    noise = np.random.default_rng(draw(st.integers(0, 99))).integers(
        0, 256, (geometry.shape[0] * 8, *geometry.shape[1:])
    )
    array = noise.astype(np.uint8).tobytes()[: int(np.prod(geometry.shape)) * dtype.itemsize]
    voxels = np.frombuffer(array, dtype).reshape(geometry.shape)
    return Volume(np.nan_to_num(voxels) if dtype.kind == "f" else voxels, geometry)


def points(volume):
    """An index (z, y, x) and its world point for the corners and one voxel between."""
    far = np.array(volume.shape) - 1
    for index in ((0, 0, 0), far, far // 2, (far[0], 0, 0), (0, far[1], 0), (0, 0, far[2])):
        yield tuple(int(k) for k in index), volume.geometry.index_to_world(index)


def bits(array):
    return np.ascontiguousarray(array).tobytes()


@given(typed() | masks(max_size=6))
def test_simpleitk_sees_each_voxel_at_its_place_and_gives_it_back(volume):
    image = volume.to_sitk()
    for index, world in points(volume):
        assert np.abs(np.subtract(image.TransformIndexToPhysicalPoint(index[::-1]), world)).max() < 1e-4
        assert image[index[::-1]] == volume.array[index]
    back = type(volume).from_sitk(image)
    assert (back.dtype, bits(back.array)) == (volume.dtype, bits(volume.array))
    assert back.geometry == volume.geometry  # to the last bit
    image[0, 0, 0] = 77  # theirs, not ours
    assert bits(back.array) == bits(volume.array)


@given(typed() | masks(max_size=6))
def test_nibabel_sees_each_voxel_at_its_place_and_gives_it_back(volume):
    image = volume.to_nibabel()
    for index, world in points(volume):
        assert np.abs((image.affine @ (*index[::-1], 1))[:3] * LPS - world).max() < 1e-4
        assert np.asarray(image.dataobj)[index[::-1]] == volume.array[index]
    back = type(volume).from_nibabel(image)
    assert (back.dtype, bits(back.array)) == (volume.dtype, bits(volume.array))
    assert_same_geometry(back.geometry, volume.geometry, tolerance=1e-9)
    assert np.shares_memory(image.dataobj, volume.array)


@given(volumes(max_size=6))
def test_a_moved_image_is_told_from_its_volume(volume):
    """A slice off, mirrored, or axes swapped: what the tests above would have to see."""
    image = volume.to_sitk()
    image.SetOrigin(np.add(image.GetOrigin(), np.multiply(volume.direction[0], volume.spacing[0])).tolist())
    assert not Volume.from_sitk(image).geometry.isclose(volume.geometry)
    mirrored = nibabel.Nifti1Image(volume.array.T, volume.affine_ras @ np.diag([-1, 1, 1, 1]))
    assert not Volume.from_nibabel(mirrored).geometry.isclose(volume.geometry)


@given(volumes(max_size=6))
def test_simpleitk_and_nibabel_agree_through_files(volume):
    """An image that SimpleITK writes and nibabel reads, both taken to hilum, lies where it lay."""
    image = nibabel.Nifti1Image.from_bytes(volume.to_nibabel().to_bytes())
    assert np.abs(image.affine - volume.affine_ras).max() < 1e-3  # stored in single precision
    assert_same_geometry(Volume.from_nibabel(image).geometry, volume.geometry, tolerance=1e-2)
    assert bits(Volume.from_nibabel(image).array) == bits(volume.array)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    quaternion = image.header.get_qform()
    assert np.abs(quaternion - volume.affine_ras).max() < 1e-2


def test_a_file_of_either_library_is_read_as_hilum_reads_it(tmp_path):
    ct = Volume(np.random.default_rng(0).integers(-1024, 900, GRID.shape, np.int16), GRID)
    SimpleITK.WriteImage(ct.to_sitk(), str(tmp_path / "ct.nii.gz"))
    nibabel.save(ct.to_nibabel(), tmp_path / "nib.nii")
    for name in ("ct.nii.gz", "nib.nii"):
        path = tmp_path / name
        own = hilum.read(path).ct
        theirs = Volume.from_nibabel(nibabel.load(path)), Volume.from_sitk(SimpleITK.ReadImage(str(path)))
        for got in (*theirs, own):
            assert np.array_equal(got.array, ct.array)
            assert_same_geometry(got.geometry, ct.geometry, tolerance=1e-5)
        assert np.asarray(theirs[0].array).flags.writeable is False


def test_an_image_of_nibabel_stays_its_owners():
    array = np.zeros((4, 3, 2), np.int16)
    image = nibabel.Nifti1Image(array, np.eye(4))
    volume = Volume.from_nibabel(image)
    array[0, 0, 0] = 5
    assert not volume.array.any()


def test_scaled_and_flat_axes_of_nibabel_are_read():
    image = nibabel.Nifti1Image(np.ones((4, 3, 2, 1), np.int16), np.eye(4))
    assert Volume.from_nibabel(image).shape == (2, 3, 4)
    image.header.set_slope_inter(2.0, -1000.0)
    scaled = nibabel.Nifti1Image.from_bytes(nibabel.Nifti1Image(image.dataobj, np.eye(4), image.header).to_bytes())
    assert np.array_equal(Volume.from_nibabel(scaled).array, scaled.get_fdata()[..., 0].T)
    meters = nibabel.Nifti1Image(np.ones((4, 3, 2), np.int16), np.diag([0.001, 0.002, 0.003, 1]))
    meters.header.set_xyzt_units("meter")
    assert Volume.from_nibabel(meters).spacing == pytest.approx((3.0, 2.0, 1.0))


def test_labels_of_any_type_become_a_mask():
    floats = nibabel.Nifti1Image(np.full((4, 3, 2), 3.0), np.eye(4))
    assert Mask.from_nibabel(floats).array.dtype == np.uint8
    assert Mask.from_sitk(SimpleITK.Image([4, 3, 2], SimpleITK.sitkInt32)).shape == (2, 3, 4)
    for value in (0.5, 300.0, -1.0):
        image = nibabel.Nifti1Image(np.full((4, 3, 2), value), np.eye(4))
        with pytest.raises(InputError, match=r"whole numbers from 0 to 255.*hilum\.Volume"):
            Mask.from_nibabel(image)


FLAT, CUBE = (4, 3), (4, 3, 2)
COLOR = np.zeros((4, 3, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
SHEARED = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def of_sitk(size):
    return SimpleITK.Image(size, SimpleITK.sitkInt16)


def of_nibabel(array, affine=np.eye(4)):  # noqa: B008 - it stays as it is
    return nibabel.Nifti1Image(array, affine)


@pytest.mark.parametrize(
    ("take", "image", "error", "word"),
    [
        (
            Volume.from_sitk,
            SimpleITK.Image([4, 3], SimpleITK.sitkInt16),
            UnsupportedError,
            "2 axes, expected one volume",
        ),
        (Volume.from_sitk, of_sitk((4, 3, 2, 2)), UnsupportedError, r"4 axes.*0\]"),
        (
            Volume.from_sitk,
            SimpleITK.Image(CUBE, SimpleITK.sitkVectorUInt8, 3),
            UnsupportedError,
            "3 values a voxel",
        ),
        (Volume.from_sitk, of_nibabel(COLOR), InputError, r"hilum\.Volume\.from_nibabel takes it"),
        (Volume.from_sitk, 3, InputError, r"expected a SimpleITK\.Image, not int.*from_array"),
        (Volume.from_sitk, GRID, InputError, "not Geometry"),
        (Volume.from_nibabel, "ct.nii", InputError, r"not str.*hilum\.read\(path\)"),
        (Volume.from_nibabel, Path("ct.nii"), InputError, r"hilum\.read\(path\)"),
        (Volume.from_nibabel, np.zeros(CUBE), InputError, r"not ndarray.*from_array\(array"),
        (Volume.from_nibabel, of_sitk(CUBE), InputError, "from_sitk takes it"),
        (Volume.from_nibabel, of_nibabel(COLOR), UnsupportedError, "colors"),
        (
            Volume.from_nibabel,
            nibabel.Nifti1Image(np.zeros((4, 3, 2, 2)), np.eye(4)),
            UnsupportedError,
            "4 axes.*slicer",
        ),
        (Volume.from_nibabel, nibabel.Nifti1Image(np.zeros(FLAT), np.eye(4)), UnsupportedError, "2 axes"),
        (Volume.from_nibabel, nibabel.Nifti1Image(np.zeros(CUBE), None), UnsupportedError, "no affine"),
        (Volume.from_nibabel, nibabel.Nifti1Image(np.zeros(CUBE), SHEARED), GeometryError, "sheared"),
        (
            Volume.from_nibabel,
            nibabel.Nifti1Image(np.zeros(CUBE, np.complex64), np.eye(4)),
            InputError,
            "complex64",
        ),
        (Volume.from_sitk, SimpleITK.Image(CUBE, SimpleITK.sitkComplexFloat32), UnsupportedError, "complex64"),
    ],
)
def test_what_is_no_volume_is_refused_with_what_to_do(take, image, error, word):
    with pytest.raises(error, match=word):
        take(image)


@pytest.mark.parametrize("name", ["to_sitk", "to_nibabel"])
@pytest.mark.parametrize("dtype", ["float16", "bool"])
def test_a_type_that_a_library_does_not_hold_is_refused(name, dtype):
    with pytest.raises(UnsupportedError, match=rf"holds no voxels of {dtype}.*astype"):
        getattr(Volume(np.zeros(GRID.shape, dtype), GRID), name)()


def test_another_byte_order_is_turned():
    swapped = Volume(np.arange(24, dtype=">i2").reshape(GRID.shape), GRID)
    assert np.array_equal(SimpleITK.GetArrayFromImage(swapped.to_sitk()), swapped.array)
    assert np.array_equal(Volume.from_nibabel(swapped.to_nibabel()).array, swapped.array)


@pytest.mark.parametrize(
    ("library", "names"),
    [
        ("SimpleITK", ["to_sitk", "from_sitk"]),
        ("nibabel", ["to_nibabel", "from_nibabel"]),
        ("itk", ["to_itk", "from_itk"]),
        ("torch", ["to_torch"]),
        ("monai", ["to_monai", "from_monai"]),
        ("torchio", ["to_torchio", "from_torchio"]),
    ],
)
def test_a_missing_library_is_named_with_its_command(library, names, monkeypatch):
    for module in (library, *[name for name in sys.modules if name.startswith(f"{library}.")]):
        monkeypatch.setitem(sys.modules, module, None)
    volume = Volume(np.zeros(GRID.shape, np.int16), GRID)
    for name in names:
        call = getattr(volume, name)
        with pytest.raises(InputError, match=f"needs {library}, which is not installed; pip install {library}"):
            call(None) if name.startswith("from") else call()
