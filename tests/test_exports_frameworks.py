"""Exports in the programs that they are for: an optional job for an environment with them.

``python3 dev.py frameworks`` makes an environment that has them, and runs these tests. Elsewhere they skip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_runs import finished_scans
from training_inputs import NODULES, OBLIQUE, make_run

import hilum
from hilum.cli import main
from hilum.phantom import make_phantom
from hilum.phantom.files import write_luna16
from hilum.phantom.options import PhantomOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the programs are theirs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Make a run of three scans of three folds, one without a nodule."""
    if not any(map(find_spec, ("nnunetv2", "monai", "torchio"))):
        pytest.skip("none of nnunetv2, monai and torchio is installed")
    folder = tmp_path_factory.mktemp("frameworks")
    clear = {3: PhantomOptions(nodules=())}
    small = [
        make_phantom(seed=seed, shape=(48, 64, 64), spacing=(6.25, 6.0, 6.0), options=clear.get(seed))
        for seed in (1, 2, 3)
    ]
    write_luna16(small, folder / "LUNA")
    recipe = folder / "coarse.toml"
    shown = subprocess.run(
        [sys.executable, "-m", "hilum.cli", "recipe", "show", "luna16"], capture_output=True, text=True, check=True
    )
    recipe.write_text(shown.stdout.replace("spacing_mm = 1.0", "spacing_mm = 3.5"))
    assert main(["run", str(folder / "LUNA"), "--recipe", str(recipe), "--out", str(folder / "OUT")]) == 0
    assert sorted(bool(scan.nodules) for scan in hilum.open_run(folder / "OUT")) == [False, True, True]
    return folder / "OUT"


def test_nnunet_accepts_the_export(run, tmp_path):
    pytest.importorskip("nnunetv2")
    folders = {name: str(tmp_path / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for path in folders.values():
        Path(path).mkdir()
    assert main(["export", "nnunet", str(run), "--out", folders["nnUNet_raw"]]) == 0
    program = Path(sys.executable).with_name("nnUNetv2_extract_fingerprint")
    words = [str(program), "-d", "501", "--verify_dataset_integrity", "-np", "1"]

    def verdict():
        done = subprocess.run(words, env={**os.environ, **folders}, capture_output=True, text=True, check=False)
        return done.returncode == 0 and "verify_dataset_integrity Done" in done.stdout

    assert verdict()
    told = json.loads(next(Path(folders["nnUNet_preprocessed"]).rglob("dataset_fingerprint.json")).read_text())
    assert len(told["spacings"]) == 3
    assert np.allclose(told["spacings"], 3.5)
    label = next((Path(folders["nnUNet_raw"]) / "Dataset501_Hilum" / "labelsTr").iterdir())
    hilum.write(hilum.Mask(np.full((4, 4, 4), 9, np.uint8), hilum.Geometry((4, 4, 4), (1.0, 1.0, 1.0))), label)
    assert not verdict()


def test_monai_places_every_box_at_its_nodule(run, tmp_path):
    pytest.importorskip("monai")
    import torch
    from monai.apps.detection.transforms.dictionary import AffineBoxToImageCoordinated, ConvertBoxToStandardModed
    from monai.data import load_decathlon_datalist
    from monai.transforms import Compose, EnsureChannelFirstd, EnsureTyped, Lambdad, LoadImaged, Orientationd

    assert main(["export", "monai", str(run), "--out", str(tmp_path / "list.json")]) == 0

    def farthest(*, lps):
        most, shapes = 0.0, []
        for key in ("training", "validation"):
            for item in load_decathlon_datalist(str(tmp_path / "list.json"), True, key, str(run)):
                steps = [
                    LoadImaged(keys=["image"], image_only=False, meta_key_postfix="meta_dict"),
                    EnsureChannelFirstd(keys=["image"]),
                    Lambdad(keys=["box"], func=lambda box: np.reshape(box, (-1, 6))),
                    EnsureTyped(keys=["image", "box"], dtype=torch.float32),
                    Orientationd(keys=["image"], axcodes="RAS"),
                    ConvertBoxToStandardModed(box_keys=["box"], mode="cccwhd"),
                    AffineBoxToImageCoordinated(
                        box_keys=["box"],
                        box_ref_image_keys="image",
                        image_meta_key_postfix="meta_dict",
                        affine_lps_to_ras=lps,
                    ),
                ]
                found = Compose(steps)(dict(item))
                record = json.loads(Path(item["image"]).with_name("scan.json").read_text())
                box = np.asarray(found["box"])
                shapes.append(box.shape)
                for middle, nodule in zip((box[:, :3] + box[:, 3:]) / 2, record["nodules"], strict=True):
                    world = (np.asarray(found["image"].affine) @ [*middle, 1])[:3] * (-1, -1, 1)
                    most = max(most, float(np.linalg.norm(world - nodule["world"])))
        assert (0, 6) in shapes
        assert len(shapes) == 3
        return most

    assert farthest(lps=True) < 0.01
    assert farthest(lps=False) > 1.0


def test_monais_chain_of_detection_takes_a_scan_without_nodules(run, tmp_path):
    """Every step of its LUNA16 tutorial's chain for training, each random one made sure to happen."""
    pytest.importorskip("monai")
    import torch
    from monai.apps.detection.transforms import dictionary as detection
    from monai.data import load_decathlon_datalist
    from monai.transforms import (
        Compose,
        DeleteItemsd,
        EnsureChannelFirstd,
        EnsureTyped,
        Lambdad,
        LoadImaged,
        Orientationd,
        RandRotated,
        ScaleIntensityRanged,
    )

    assert main(["export", "monai", str(run), "--out", str(tmp_path / "list.json")]) == 0
    boxes = {"image_keys": ["image"], "box_keys": ["box"], "box_ref_image_keys": ["image"], "prob": 1.0}
    keys, size = {"box_keys": ["box"], "label_keys": ["label"]}, (40, 40, 32)
    shaped = Lambdad(keys=["box"], func=lambda box: np.reshape(box, (-1, 6)))
    steps = [
        LoadImaged(keys=["image"], image_only=False, meta_key_postfix="meta_dict"),
        EnsureChannelFirstd(keys=["image"]),
        shaped,
        EnsureTyped(keys=["image", "box"], dtype=torch.float32),
        EnsureTyped(keys=["label"], dtype=torch.long),
        Orientationd(keys=["image"], axcodes="RAS"),
        ScaleIntensityRanged(keys=["image"], a_min=-1024, a_max=300.0, b_min=0.0, b_max=1.0, clip=True),
        detection.ConvertBoxToStandardModed(box_keys=["box"], mode="cccwhd"),
        detection.AffineBoxToImageCoordinated(
            box_keys=["box"], box_ref_image_keys="image", image_meta_key_postfix="meta_dict", affine_lps_to_ras=True
        ),
        detection.RandCropBoxByPosNegLabeld(
            image_keys=["image"], box_keys="box", label_keys="label", spatial_size=size, num_samples=3, pos=1, neg=1
        ),
        detection.RandZoomBoxd(**boxes, min_zoom=0.7, max_zoom=1.4, keep_size=True),
        detection.ClipBoxToImaged(box_keys="box", label_keys=["label"], box_ref_image_keys="image", remove_empty=True),
        *(detection.RandFlipBoxd(**boxes, spatial_axis=axis) for axis in range(3)),
        detection.RandRotateBox90d(**boxes, max_k=3, spatial_axes=(0, 1)),
        detection.BoxToMaskd(
            **keys, box_mask_keys=["mask"], box_ref_image_keys="image", min_fg_label=0, ellipse_mask=True
        ),
        RandRotated(keys=["image", "mask"], mode="nearest", prob=1.0, range_x=0.5, range_y=0.5, range_z=0.5),
        detection.MaskToBoxd(**keys, box_mask_keys=["mask"], min_fg_label=0),
        DeleteItemsd(keys=["mask"]),
    ]
    items = [
        item
        for key in ("training", "validation", "testing")
        for item in load_decathlon_datalist(str(tmp_path / "list.json"), True, key, str(run))
    ]
    assert sorted(bool(item["box"]) for item in items) == [False, True, True]
    kept = {False: 0, True: 0}
    for item in items:
        for patch in Compose(steps).set_random_state(3)(dict(item)):
            assert patch["image"].shape == (1, *size)
            assert patch["box"].shape == (len(patch["label"]), 6)
            kept[bool(item["box"])] += len(patch["label"])
    assert kept[False] == 0 < kept[True]
    clear = next(item for item in items if not item["box"])
    without = Compose([step for step in steps if step is not shaped])
    with pytest.raises((RuntimeError, ValueError), match=r"applying transform|boxes with shape"):
        without(dict(clear))


def test_monais_chain_of_segmentation_takes_a_scan_without_nodules(run):
    pytest.importorskip("monai")
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, RandCropByPosNegLabeld

    keys = ["image", "label"]
    crop = RandCropByPosNegLabeld(keys, label_key="label", spatial_size=(24, 24, 24), pos=1, neg=0, num_samples=3)
    steps = Compose([LoadImaged(keys), EnsureChannelFirstd(keys), crop])
    for scan in hilum.open_run(run):
        item = {"image": str(scan.folder / "ct.nii.gz"), "label": str(scan.folder / "nodules.nii.gz")}
        patches = steps(item)
        assert [patch["image"].shape for patch in patches] == [(1, 24, 24, 24)] * 3
        assert bool(scan.nodules) == any(bool(patch["label"].any()) for patch in patches)


def test_torchio_samples_a_scan_without_nodules(run):
    torchio = pytest.importorskip("torchio")
    parts = {"ct": torchio.ScalarImage, "lungs": torchio.LabelMap, "nodules": torchio.LabelMap}
    turn = torchio.Compose([torchio.RandomAffine(), torchio.RandomFlip(axes=(0, 1, 2))])
    for scan in hilum.open_run(run):
        subject = torchio.Subject(**{name: kind(scan.folder / f"{name}.nii.gz") for name, kind in parts.items()})
        assert int(subject.nodules.data.max()) == len(scan.nodules)
        for sampler in (torchio.UniformSampler(24), torchio.LabelSampler(24, label_name="lungs")):
            assert [patch.ct.shape for patch in sampler(turn(subject), 2)] == [(1, 24, 24, 24)] * 2
        if not scan.nodules:
            with pytest.raises(RuntimeError, match="Empty probability map"):
                next(iter(torchio.LabelSampler(24, label_name="nodules")(subject, 1)))


def test_torchio_has_the_same_position(tmp_path):
    torchio = pytest.importorskip("torchio")
    folder = make_run(tmp_path, file_format="nifti", direction=OBLIQUE)
    path, record = finished_scans(folder)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject = torchio.Subject(
            ct=torchio.ScalarImage(path / "ct.nii.gz"), nodules=torchio.LabelMap(path / "nodules.nii.gz")
        )
    for nodule, told in zip(NODULES, record.nodules, strict=True):
        world = (np.asarray(subject.ct.affine) @ [*told.voxel[::-1], 1])[:3] * (-1, -1, 1)
        assert np.allclose(world, nodule.center, atol=0.01)
    assert subject.ct.shape[1:] == record.geometry.shape[::-1]
