"""A reader's way through the viewer's page, by Playwright: from the first picture to a saved review."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import viewer_walks
from viewer_walks import differ, is_blank

import hilum
from hilum import cli
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_luna16

pytestmark = viewer_walks.MARKS


def walk(path, pictures):
    """What the page showed: facts, and pictures by name."""
    return viewer_walks.walk("walk", path, pictures)


def test_an_empty_picture_is_blank():
    empty = np.zeros((200, 200, 3), np.float32)
    assert is_blank(empty)
    empty[90:92] = np.random.default_rng(0).random((2, 200, 3))
    assert is_blank(empty)
    assert not is_blank(np.random.default_rng(0).random((200, 200, 3)))
    assert differ(empty, empty) == 0


def judge(pictures):
    assert not [name for name in ("axial", "coronal", "sagittal", "render") if is_blank(pictures[name])]
    assert differ(pictures["lung"], pictures["mediastinum"]) > 0.1
    assert differ(pictures["lung"], pictures["axial"]) == 0
    assert differ(pictures["masked"], pictures["bare"]) > 0.05
    assert differ(pictures["masked"], pictures["lung"]) == 0


def judge_nodule(seen, run):
    """The crosshair stands on the first nodule of the first scan, and reads the voxel that is stored there."""
    (folder, *_) = sorted((run / "scans").iterdir())
    (nodule, *_) = json.loads((folder / "scan.json").read_text())["nodules"]
    voxel = tuple(int(n) for n in seen["voxel"].split(","))
    assert voxel == tuple(round(v) for v in nodule["voxel"])
    return float(re.search(r"(-?\d+) HU", seen["reading"])[1]), float(hilum.read(folder / "ct.nii.gz").ct.array[voxel])


def judge_review(seen, run):
    assert seen["reversed"] == seen["names"][::-1]
    assert (seen["accepted"], seen["comment"]) == ("true", "looks right")
    with (run / "review.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["scan_id"], row["verdict"], row["comment"]) for row in rows] == [
        (seen["names"][0], "accept", "looks right")
    ]


def test_a_run_of_phantoms(tmp_path):
    phantoms = [make_phantom(seed=seed, shape=(60, 128, 128), spacing=(5.0, 3.0, 3.0)) for seed in (3, 4)]
    root = write_luna16(phantoms, tmp_path / "luna", flipped=())
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 2.5\n[nodules]\nmask = true\n")
    out = tmp_path / "out"
    assert cli.main(["run", str(root), "--out", str(out), "--recipe", str(tmp_path / "r.toml")]) == 0
    seen, pictures = walk(out, tmp_path / "pictures")
    judge(pictures)
    assert seen["nodules"] == 5
    assert len(seen["names"]) == 2
    judge_review(seen, out)
    read, stored = judge_nodule(seen, out)
    assert read == round(stored)


@pytest.mark.real
def test_a_real_scan_as_dicom_and_as_a_finished_output(real_data, tmp_path):
    series, out = real_data / "lidc-idri-0314" / "image", tmp_path / "out"
    seen, pictures = walk(series, tmp_path / "dicom")
    judge(pictures)
    assert seen["nodules"] == 0
    words = ["run", str(series), "--out", str(out), "--recipe", "luna16"]
    assert cli.main([*words, "--annotations", str(real_data / "luna16" / "annotations.csv")]) == 0
    seen, pictures = walk(out, tmp_path / "run")
    judge(pictures)
    assert seen["nodules"] == 1
    judge_review(seen, out)
    read, stored = judge_nodule(seen, out)
    assert read == round(stored) > -300
