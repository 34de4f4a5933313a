"""hilum's files and data sets in torch, MONAI and TorchIO: the same patches, a nodule at the same place in the world.

Each test runs where its library is installed; none of them is needed by hilum, or by its other tests.
"""

from __future__ import annotations

import numpy as np
import pytest
from training_inputs import OBLIQUE, make_run

from hilum import RunScan
from hilum.train.augment import Augment
from hilum.train.dataset import PatchDataset

ALL = Augment(flip="zyx", turn90=True, rotate_degrees=20, scale=(0.8, 1.2))
RAS = np.diag([-1.0, -1.0, 1.0])

pytestmark = pytest.mark.filterwarnings("default")  # those of torch and what is built on it are not ours


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("npy") / "run", direction=OBLIQUE, spacing=(2.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("nifti") / "run", file_format="nifti", direction=OBLIQUE)


def hold_to_the_scan(folder, ct, mask, affine):
    """Arrays (x, y, z) and an affine to RAS, as a library of NIfTI has them, against the scan and its nodules."""
    scan = RunScan(folder).scan()
    assert np.array_equal(np.asarray(ct).T, scan.ct.array)
    assert np.array_equal(np.asarray(mask).T, scan.nodule_mask.array)
    affine = np.asarray(affine, np.float64)
    for label, nodule in enumerate(scan.nodules, 1):
        voxel = scan.ct.geometry.world_to_index(nodule.center)
        world = RAS @ (affine @ (*voxel[::-1], 1))[:3]
        assert np.abs(world - nodule.center).max() < 0.01
        moved = RAS @ (affine @ (*(voxel + np.array([0.1, 0, 0]))[::-1], 1))[:3]  # a tenth of a slice is told
        assert np.abs(moved - nodule.center).max() > 0.01
        marked = np.argwhere(np.asarray(mask) == label)
        if len(marked):
            middle = RAS @ (affine @ (*marked.mean(axis=0), 1))[:3]
            assert np.linalg.norm(middle - nodule.center) < nodule.diameter_mm / 2


@pytest.mark.parametrize("name", ["ct-a", "ct-d"])
def test_monai_sees_a_nodule_at_its_place(packed, name):
    transforms = pytest.importorskip("monai.transforms")
    folder = packed / "scans" / name
    paths = {"image": str(folder / "ct.nii.gz"), "label": str(folder / "nodules.nii.gz")}
    item = transforms.LoadImaged(keys=["image", "label"])(paths)
    hold_to_the_scan(folder, item["image"], item["label"], item["image"].affine)
    assert np.allclose(item["image"].affine, item["label"].affine)


@pytest.mark.parametrize("name", ["ct-a", "ct-d"])
def test_torchio_sees_a_nodule_at_its_place(packed, name):
    torchio = pytest.importorskip("torchio")
    folder = packed / "scans" / name
    subject = torchio.Subject(
        ct=torchio.ScalarImage(folder / "ct.nii.gz"), nodules=torchio.LabelMap(folder / "nodules.nii.gz")
    )
    hold_to_the_scan(folder, subject.ct.numpy()[0], subject.nodules.numpy()[0], subject.ct.affine)
    assert np.allclose(subject.ct.affine, subject.nodules.affine)


@pytest.mark.parametrize("augment", [None, ALL], ids=["plain", "augmented"])
def test_torchs_loader_gives_the_same_patches_with_any_number_of_workers(run, augment):
    data_of = pytest.importorskip("torch.utils.data")
    data = PatchDataset(run, size=16, length=12, jitter_mm=2.0, window=(-1000, 400), augment=augment)
    for epoch in (0, 1):
        data.set_epoch(epoch)
        for workers in (0, 1, 2):
            loader = data_of.DataLoader(data, batch_size=4, num_workers=workers)
            for number, batch in enumerate(loader):
                for k in range(4):
                    item = data[4 * number + k]
                    for name in ("image", "mask", "boxes", "boxes_world", "box_nodules", "affine", "start"):
                        assert np.array_equal(batch[name][k].numpy(), item[name]), name
                    assert batch["scan"][k] == item["scan"]


def test_monais_boxes_are_ours(run):
    """Corner form in the order of the image's axes, which MONAI calls xyzxyz, whatever the axes are."""
    box_utils = pytest.importorskip("monai.data.box_utils")
    data = PatchDataset(run, size=20, length=12, jitter_mm=2.0, augment=ALL)
    for item in data:
        boxes = item["boxes"][item["box_nodules"] > 0]
        middles = box_utils.box_centers(box_utils.convert_box_to_standard_mode(boxes, mode="xyzxyz"))
        for middle, sphere in zip(middles, item["boxes_world"], strict=False):
            assert np.abs((item["affine"] @ (*middle, 1))[:3] - sphere[:3]).max() < 1e-4


def test_a_patch_of_ours_is_a_meta_tensor_in_its_place(run):
    """Its affine, with the world turned to RAS."""
    data = pytest.importorskip("monai.data")
    item = PatchDataset(run, size=16, jitter_mm=2.0, augment=ALL)[0]
    image = data.MetaTensor(item["image"][None], affine=np.diag([-1.0, -1.0, 1.0, 1.0]) @ item["affine"])
    middle = np.asarray(image.affine) @ (7.5, 7.5, 7.5, 1)
    assert np.abs(RAS @ middle[:3] - item["center_world"]).max() < 0.01
