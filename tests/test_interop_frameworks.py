"""ITK, torch, MONAI and TorchIO see the same voxel at the same point of the world, and give back the same bits.

Each test runs where its library is installed; `python3 dev.py frameworks` has them all.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hilum
from hilum.errors import InputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.testing import assert_same_geometry, masks, volumes
from hilum.volume import Mask, Volume

GRID = Geometry((2, 3, 4), (2.0, 1.0, 0.5), (5.0, 6.0, 7.0))
TYPES = ["uint8", "int16", "int32", "float32", "float64"]  # that all of them hold
LPS = np.array([-1.0, -1.0, 1.0])

pytestmark = pytest.mark.filterwarnings("default")  # those of torch and what is built on it are not ours


def images():
    return st.builds(lambda volume, kind: Volume(volume.array.astype(kind), volume.geometry),
                     volumes(max_size=6), st.sampled_from(TYPES)) | masks(max_size=6)  # fmt: skip


def points(volume):
    far = np.array(volume.shape) - 1
    for index in ((0, 0, 0), far, far // 2, (far[0], 0, 0), (0, far[1], 0), (0, 0, far[2])):
        yield tuple(int(k) for k in index), volume.geometry.index_to_world(index)


def hold(volume, array, affine):
    """Voxels (x, y, z) and an affine to RAS, as NIfTI's libraries have them, against a volume."""
    affine = np.asarray(affine, np.float64)
    for index, world in points(volume):
        assert np.abs((affine @ (*index[::-1], 1))[:3] * LPS - world).max() < 1e-4
        assert array[index[::-1]] == volume.array[index]
    assert str(array.dtype).removeprefix("torch.") == str(volume.dtype)


def same_bits(back, volume, *, tolerance=1e-9):
    assert type(back) is type(volume)
    assert back.dtype == volume.dtype
    assert np.ascontiguousarray(back.array).tobytes() == np.ascontiguousarray(volume.array).tobytes()
    assert_same_geometry(back.geometry, volume.geometry, tolerance=tolerance)


@given(images())
def test_itk_sees_each_voxel_at_its_place_and_gives_it_back(volume):
    itk = pytest.importorskip("itk")
    image = volume.to_itk()
    for index, world in points(volume):
        assert np.abs(np.subtract(list(image.TransformIndexToPhysicalPoint(index[::-1])), world)).max() < 1e-4
        assert image.GetPixel(index[::-1]) == volume.array[index]
    back = type(volume).from_itk(image)
    same_bits(back, volume)
    assert back.geometry == volume.geometry  # to the last bit
    image.FillBuffer(7)
    assert np.array_equal(back.array, volume.array)
    assert np.array_equal(itk.array_from_image(image), np.full(volume.shape, 7))


@given(images())
def test_monai_sees_each_voxel_at_its_place_and_gives_it_back(volume):
    pytest.importorskip("monai")
    tensor = volume.to_monai()
    assert tensor.shape == (1, *volume.shape[::-1])
    hold(volume, tensor.as_tensor()[0], tensor.affine)
    same_bits(type(volume).from_monai(tensor), volume)
    tensor[:] = 7
    assert not np.all(volume.array == 7) or volume.array.size < 3


@given(images())
def test_torchio_sees_each_voxel_at_its_place_and_gives_it_back(volume):
    torchio = pytest.importorskip("torchio")
    image = volume.to_torchio()
    assert type(image) is (torchio.LabelMap if isinstance(volume, Mask) else torchio.ScalarImage)
    hold(volume, image.data[0], image.affine)
    same_bits(type(volume).from_torchio(image), volume)


@given(images())
def test_torch_has_the_voxels_and_writes_to_its_own(volume):
    torch = pytest.importorskip("torch")
    tensor = volume.to_torch()
    assert np.array_equal(tensor.numpy(), volume.array)
    tensor += 1
    assert torch.all(tensor == volume.to_torch() + 1)
    back = type(volume).from_array(volume.to_torch(), spacing=volume.spacing, origin=volume.origin,
                                   direction=volume.direction)  # fmt: skip
    same_bits(back, volume)


def oblique():
    turned = ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (-1.0, 0.0, 0.0))
    grid = Geometry((4, 5, 6), (2.0, 1.0, 0.75), (5.0, -6.0, 7.0), turned)
    return Volume(np.random.default_rng(0).integers(-1024, 900, grid.shape, np.int16), grid)


def test_monai_loads_a_file_as_we_convert_its_volume(tmp_path):
    transforms = pytest.importorskip("monai.transforms")
    volume = oblique()
    hilum.write(volume, tmp_path / "ct.nii.gz")
    loaded = transforms.LoadImage(ensure_channel_first=True, dtype=None)(tmp_path / "ct.nii.gz")
    ours = volume.to_monai()
    assert np.array_equal(ours.numpy(), loaded.numpy())
    assert np.allclose(ours.affine, loaded.affine, atol=1e-5)
    assert ours.meta["original_channel_dim"] == 0
    same_bits(Volume.from_monai(loaded), volume, tolerance=1e-5)
    turned = transforms.Orientation("LPS")(ours)  # MONAI's own, with its affine
    back = hilum.resample(Volume.from_monai(turned), like=volume, order="nearest")
    assert np.array_equal(back.array, volume.array)
    spaced = transforms.Spacing((1.0, 1.0, 1.0))(ours.float())
    assert Volume.from_monai(spaced).spacing == pytest.approx((1.0, 1.0, 1.0))


def test_torchio_loads_a_file_as_we_convert_its_volume(tmp_path):
    torchio = pytest.importorskip("torchio")
    volume = oblique()
    hilum.write(volume, tmp_path / "ct.nii.gz")
    loaded = torchio.ScalarImage(tmp_path / "ct.nii.gz")
    ours = volume.to_torchio()
    assert np.array_equal(ours.data.numpy(), loaded.data.numpy())
    assert np.allclose(ours.affine, loaded.affine, atol=1e-5)
    same_bits(Volume.from_torchio(loaded), volume, tolerance=1e-5)


def test_a_moved_tensor_is_told_from_its_volume():
    pytest.importorskip("monai")
    volume = oblique()
    tensor = volume.to_monai()
    tensor.affine = tensor.affine.numpy() @ np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert not Volume.from_monai(tensor).geometry.isclose(volume.geometry)


def test_what_monai_and_torchio_hold_besides_volumes_is_refused():
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.data")
    torchio = pytest.importorskip("torchio")
    for tensor, word in (
        (monai.MetaTensor(torch.zeros(3, 4, 3, 2)), "3 values a voxel"),
        (monai.MetaTensor(torch.zeros(2, 1, 4, 3, 2)), "5 axes"),
        (monai.MetaTensor(torch.zeros(4, 3)), "2 axes"),
        (monai.MetaTensor(torch.zeros(1, 4, 3, 2), meta={"space": "LPS"}), "LPS, expected RAS"),
    ):
        with pytest.raises(UnsupportedError, match=word):
            Volume.from_monai(tensor)
    with pytest.raises(InputError, match=r"MetaTensor of MONAI, not Tensor.*from_array"):
        Volume.from_monai(torch.zeros(1, 4, 3, 2))
    with pytest.raises(InputError, match="from_torchio takes it"):
        Volume.from_monai(torchio.ScalarImage(tensor=torch.zeros(1, 4, 3, 2)))
    with pytest.raises(InputError, match="from_monai takes it"):
        Volume.from_torchio(monai.MetaTensor(torch.zeros(1, 4, 3, 2)))
    with pytest.raises(UnsupportedError, match="2 values a voxel"):
        Volume.from_torchio(torchio.ScalarImage(tensor=torch.zeros(2, 4, 3, 2)))


def test_what_itk_holds_besides_volumes_is_refused():
    itk = pytest.importorskip("itk")
    with pytest.raises(UnsupportedError, match="2 axes"):
        Volume.from_itk(itk.image_from_array(np.zeros((3, 4), np.int16)))
    with pytest.raises(UnsupportedError, match="3 values a voxel"):
        Volume.from_itk(itk.image_from_array(np.zeros((2, 3, 4, 3), np.uint8), is_vector=True))
    with pytest.raises(InputError, match=r"an itk\.Image, not int"):
        Volume.from_itk(3)
    for dtype in ("int8", "int64", "float16"):
        with pytest.raises(UnsupportedError, match=rf"ITK holds no voxels of {dtype}"):
            Volume(np.zeros(GRID.shape, dtype), GRID).to_itk()
