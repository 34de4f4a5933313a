"""Label maps in the programs that the exports are for: nnU-Net's, MONAI's and TorchIO's own reading of them.

``python3 dev.py frameworks`` runs these tests where the programs are installed. Elsewhere they skip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from labeled_run import LABELS, hold_to, make_labeled_run
from small_runs import finished_scans

from hilum.cli import main

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("no_workers")]


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    if not any(map(find_spec, ("nnunetv2", "monai", "torchio"))):
        pytest.skip("none of nnunetv2, monai and torchio is installed")
    return make_labeled_run(tmp_path_factory.mktemp("labeled"))


def measured(array, affine):
    """Volume, ml, and centroid (x, y, z), LPS mm, of the labels of an array (x, y, z) with an affine to RAS."""
    affine, array = np.asarray(affine, np.float64), np.asarray(array)
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    found = {}
    for value in np.unique(array[array > 0]).tolist():
        index = np.argwhere(array == value)
        middle = (affine @ (*index.mean(axis=0), 1))[:3] * (-1, -1, 1)
        found[int(value)] = (len(index) * voxel_ml, middle)
    return found


def test_nnunet_reads_every_label_in_place(labeled, tmp_path):
    pytest.importorskip("nnunetv2")
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    _, run, truths = labeled
    folders = {name: str(tmp_path / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for path in folders.values():
        Path(path).mkdir()
    assert main(["export", "nnunet", str(run), "--labels", "lobes,tumor", "--out", folders["nnUNet_raw"]]) == 0
    program = Path(sys.executable).with_name("nnUNetv2_extract_fingerprint")
    words = [str(program), "-d", "501", "--verify_dataset_integrity", "-np", "1"]
    done = subprocess.run(words, env={**os.environ, **folders}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "verify_dataset_integrity Done" in done.stdout
    folder = Path(folders["nnUNet_raw"]) / "Dataset501_Hilum"
    for _, record in finished_scans(run):
        array, about = SimpleITKIO().read_seg(str(folder / "labelsTr" / f"{record.scan_id}.nii.gz"))
        stuff = about["sitk_stuff"]
        affine = np.eye(4)  # from (x, y, z) to LPS
        affine[:3, :3] = np.array(stuff["direction"]).reshape(3, 3) * stuff["spacing"]
        affine[:3, 3] = stuff["origin"]
        told = truths[record.series_uid]
        wanted = {1: told["lobes"][1], 2: told["lobes"][2], 3: told["tumor"][1]}
        hold_to(measured(array[0].T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine), wanted)


@pytest.mark.parametrize("name", sorted(LABELS))
def test_monai_reads_every_label_in_place(labeled, tmp_path, name):
    pytest.importorskip("monai")
    from monai.data import load_decathlon_datalist
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd

    _, run, truths = labeled
    assert main(["export", "monai", str(run), "--labels", name, "--out", str(tmp_path / "list.json")]) == 0
    items = load_decathlon_datalist(str(tmp_path / "list.json"), True, "training", str(run))
    assert len(items) == len(truths)
    keys = ["image", "label"]
    steps = Compose([LoadImaged(keys), EnsureChannelFirstd(keys), Orientationd(keys, axcodes="RAS")])
    for item in items:
        found = steps(dict(item))
        assert np.allclose(found["image"].affine, found["label"].affine)
        record = json.loads(Path(item["image"]).with_name("scan.json").read_text())
        label = found["label"]
        hold_to(measured(label[0], label.affine), truths[record["series_uid"]][name])
        with pytest.raises(AssertionError):  # a label that is mirrored would be noticed
            hold_to(measured(np.asarray(label[0])[::-1], label.affine), truths[record["series_uid"]][name])


def test_torchio_reads_every_label_in_place(labeled):
    torchio = pytest.importorskip("torchio")
    _, run, truths = labeled
    for path, record in finished_scans(run):
        maps = {name.replace("-", "_"): torchio.LabelMap(path / "labels" / f"{name}.nii.gz") for name in LABELS}
        subject = torchio.Subject(ct=torchio.ScalarImage(path / "ct.nii.gz"), **maps)
        subject.check_consistent_space()
        for name, wanted in truths[record.series_uid].items():
            image = subject[name.replace("-", "_")]
            hold_to(measured(image.numpy()[0], image.affine), wanted)


def test_torchs_loader_gives_label_maps(labeled):
    data_of = pytest.importorskip("torch.utils.data")
    from hilum.train.augment import Augment
    from hilum.train.dataset import PatchDataset

    _, run, _ = labeled
    options = {"size": 24, "rule": "labels", "labels": "tumor", "length": 6, "jitter_mm": 4.0}
    data = PatchDataset(run, **options, augment=Augment(flip="zyx", scale=(0.9, 1.1)), window=(-1000, 400))
    loader = data_of.DataLoader(data, batch_size=3, num_workers=2)
    for number, batch in enumerate(loader):
        for k in range(3):
            item = data[3 * number + k]
            assert np.array_equal(batch["mask"][k].numpy(), item["mask"])
            assert item["mask"].max() == batch["label"][k] == data.label_values["tumor"]
