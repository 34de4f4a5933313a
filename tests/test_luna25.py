"""LUNA25 is read with its nodules as points, their malignancy, and the participants of the NLST."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from dataset_trees import FAST, stored_scans, write_csv, write_luna25

import hilum
from hilum import cli
from hilum.datasets import luna25, recognize
from hilum.errors import MissingInputError
from hilum.phantom.chest import make_phantom

pytestmark = pytest.mark.usefixtures("no_workers")

UIDS = [f"1.3.6.1.4.1.14519.5.2.1.7009.9004.{k}" for k in range(1, 4)]
TABLE = "LUNA25_Public_Training_Development_Data.csv"


def tiny(seed):
    return make_phantom(seed=seed, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0)).scan


@pytest.fixture
def tree(tmp_path):
    cases = {uid: (tiny(k), labels) for k, (uid, labels) in enumerate(zip(UIDS, ([0, 1], [0], []), strict=True))}
    return write_luna25(tmp_path / "LUNA25", cases)


def test_nodules_are_points_with_malignancy(tree, tmp_path, capsys):
    assert recognize(tree) == recognize(tree / "luna25_images") == "luna25"
    (tmp_path / "r.toml").write_text(FAST + "[resample]\nspacing_mm = 6.0\n")
    words = ["run", tree, "--out", tmp_path / "out", "--recipe", tmp_path / "r.toml"]
    assert cli.main([str(word) for word in words]) == 0
    assert "detected the data set luna25" in capsys.readouterr().err
    scans = {record.series_uid: (folder, record) for folder, record in stored_scans(tmp_path / "out").values()}
    assert [scans[uid][1].labels.get("cancer") for uid in UIDS] == [1, 0, None]
    marks = luna25.load(luna25.index(tree).refs[0]).locations["marks"]
    assert marks[:, 3].tolist() == [0, 1]
    assert np.abs(marks[:, :3] - [nodule.center for nodule in tiny(0).nodules[:2]]).max() < 1e-3
    assert not scans[UIDS[0]][1].nodules


def test_a_diameter_makes_them_nodules(tree, tmp_path):
    (tmp_path / "r.toml").write_text('[lungs]\nmethod = "none"\n[resample]\nspacing_mm = 6.0\n')
    words = ["run", tree, "--annotations", tree / TABLE, "--diameter-mm", "20", "--out", tmp_path / "out"]
    assert cli.main([str(word) for word in [*words, "--recipe", tmp_path / "r.toml"]]) == 0
    records = {record.series_uid: record for _, record in stored_scans(tmp_path / "out").values()}
    assert cli.main(["folds", str(tmp_path / "out"), "--folds", "2"]) == 0
    folds = json.loads((tmp_path / "out" / "folds.json").read_text())["scans"]
    assert {"NLST-100001", "NLST-100002"} < {fold["patient"] for fold in folds.values()}
    assert [nodule.diameter_mm for nodule in records[UIDS[0]].nodules] == [20, 20]
    assert records[UIDS[0]].labels == {"cancer": 1}


def test_scans_know_their_patients(tree):
    listing = luna25.index(tree)
    assert [ref.case for ref in listing.refs] == ["NLST-100001", "NLST-100002", ""]
    assert {note.code for note in listing.notes} == {"read-table", "scans-without-rows"}


def test_a_wrong_label_refuses_its_scan(tree):
    path = tree / TABLE
    path.write_text(path.read_text().replace(",0,61", ",malignant,61", 1))
    refs = luna25.index(tree).refs
    assert [ref.known.refusal is not None for ref in refs] == [True, False, False]
    assert refs[0].known.labels == {}


def test_what_does_not_belong_is_told(tree):
    shutil.copy(tree / "luna25_images" / f"{UIDS[0]}.mha", tree / "luna25_images" / "mine.mha")
    (tree / "more").mkdir()
    shutil.copy(tree / "luna25_images" / f"{UIDS[0]}.mha", tree / "more")
    listing = luna25.index(tree)
    assert len(listing.refs) == 3
    assert sorted(refusal.what for refusal in listing.refused) == [
        "is not named by its series UID, which the table refers to", "this series is there already, in another folder",
    ]  # fmt: skip
    (tree / TABLE).unlink()
    assert [note.code for note in luna25.index(tree).notes] == ["no-annotations"]


def test_other_folders_are_none(tree, tmp_path):
    other = tmp_path / "other" / "scans"
    other.mkdir(parents=True)
    hilum.write(tiny(1).ct, other / f"{UIDS[0]}.mha")
    assert recognize(other) == "folder"
    write_csv(other / "annotations.csv", ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"))
    assert recognize(other) == "folder"
    shutil.copy(tree / TABLE, other.parent)
    assert recognize(other) == "luna25"
    for root in (tmp_path / "none", tree / "luna25_nodule_blocks"):
        with pytest.raises(MissingInputError):
            luna25.index(root)
