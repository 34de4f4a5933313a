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

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the programs are theirs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    if not any(map(find_spec, ("nnunetv2", "monai"))):
        pytest.skip("neither nnunetv2 nor monai is installed")
    folder = tmp_path_factory.mktemp("frameworks")
    small = [make_phantom(seed=seed, shape=(48, 64, 64), spacing=(6.25, 6.0, 6.0)) for seed in (1, 2)]
    write_luna16(small, folder / "LUNA")
    recipe = folder / "coarse.toml"
    shown = subprocess.run(
        [sys.executable, "-m", "hilum.cli", "recipe", "show", "luna16"], capture_output=True, text=True, check=True
    )
    recipe.write_text(shown.stdout.replace("spacing_mm = 1.0", "spacing_mm = 3.5"))
    assert main(["run", str(folder / "LUNA"), "--recipe", str(recipe), "--out", str(folder / "OUT")]) == 0
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
    assert len(told["spacings"]) == 2
    assert np.allclose(told["spacings"], 3.5)
    label = next((Path(folders["nnUNet_raw"]) / "Dataset501_Hilum" / "labelsTr").iterdir())
    hilum.write(hilum.Mask(np.full((4, 4, 4), 9, np.uint8), hilum.Geometry((4, 4, 4), (1.0, 1.0, 1.0))), label)
    assert not verdict()


def test_monai_places_every_box_at_its_nodule(run, tmp_path):
    pytest.importorskip("monai")
    import torch
    from monai.apps.detection.transforms.dictionary import AffineBoxToImageCoordinated, ConvertBoxToStandardModed
    from monai.data import load_decathlon_datalist
    from monai.transforms import Compose, EnsureChannelFirstd, EnsureTyped, LoadImaged, Orientationd

    assert main(["export", "monai", str(run), "--out", str(tmp_path / "list.json")]) == 0

    def farthest(*, lps):
        most = 0.0
        for key in ("training", "validation"):
            for item in load_decathlon_datalist(str(tmp_path / "list.json"), True, key, str(run)):
                steps = [
                    LoadImaged(keys=["image"], image_only=False, meta_key_postfix="meta_dict"),
                    EnsureChannelFirstd(keys=["image"]),
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
                for middle, nodule in zip((box[:, :3] + box[:, 3:]) / 2, record["nodules"], strict=True):
                    world = (np.asarray(found["image"].affine) @ [*middle, 1])[:3] * (-1, -1, 1)
                    most = max(most, float(np.linalg.norm(world - nodule["world"])))
        return most

    assert farthest(lps=True) < 0.01
    assert farthest(lps=False) > 1.0


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
