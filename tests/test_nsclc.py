"""NSCLC-Radiomics is recognized by its patients, and its regions are taken by name."""

from __future__ import annotations

import numpy as np
import pytest
from dataset_trees import FAST, places, stored_map, stored_scans, with_ball, write_nsclc

from hilum import cli
from hilum.datasets import nsclc, recognize
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series

pytestmark = pytest.mark.usefixtures("no_workers")


def small(seed, spacing=(5.0, 4.0, 4.0)):
    return make_phantom(seed=seed, shape=(60, 96, 96), spacing=spacing).scan


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_nsclc(tmp_path_factory.mktemp("nsclc") / "data", {"LUNG1-001": small(1), "LUNG1-014": small(2)})


def run(tmp_path, *words):
    (tmp_path / "r.toml").write_text(FAST)
    recipe = ["--recipe", tmp_path / "r.toml", "--out", tmp_path / "out"]
    return cli.main([str(word) for word in ["run", *words, *recipe]])


def test_regions_are_where_they_were(tree, tmp_path, capsys):
    assert run(tmp_path, tree, "--roi", "Lung-*", "--roi", "GTV-1=tumor") == 0
    assert "detected the data set nsclc" in capsys.readouterr().err
    scans = stored_scans(tmp_path / "out")
    assert [(name[:9], record.dataset) for name, (_, record) in sorted(scans.items())] == [
        ("LUNG1-001", "nsclc"), ("LUNG1-014", "nsclc"),
    ]  # fmt: skip
    name = min(scans)
    truth = places(with_ball(small(1))[1])
    lungs = places(small(1).lungs)
    for map_name, (center, volume) in (("lung-right", lungs[1]), ("lung-left", lungs[2]), ("tumor", truth[3])):
        (found,) = places(stored_map(tmp_path / "out", name, map_name)[0]).values()
        assert np.linalg.norm(found[0] - center) < 0.1, map_name
        assert abs(found[1] / volume - 1) < 0.01, map_name


def test_patients_are_cases(tree):
    assert recognize(tree) == recognize(tree / "LUNG1-001") == recognize(tree.parent / "data") == "nsclc"
    listing = nsclc.index(tree)
    assert sorted(ref.case for ref in listing.refs) == ["LUNG1-001", "LUNG1-014"]
    assert len(listing.region_files) == 2
    assert [ref.case for ref in nsclc.index(tree / "LUNG1-014").refs] == ["LUNG1-014"]


def test_other_folders_are_none(tmp_path):
    write_dicom_series(small(1).ct, tmp_path / "LUNG-001" / "ct")
    (tmp_path / "LUNG1-0012").mkdir()
    (tmp_path / "LUNG1-001").touch()
    assert recognize(tmp_path) == "folder"


def test_a_patient_with_a_missing_slice_needs_a_wider_gap(tmp_path):
    tree = write_nsclc(tmp_path / "data", {"LUNG1-014": small(1, spacing=(3.0, 4.0, 4.0))})
    slices = sorted((tree / "LUNG1-014").rglob("0.000000-*/*.dcm"))
    slices[20].unlink()
    assert run(tmp_path, tree, "--roi", "GTV-1") == 1
    assert run(tmp_path, tree, "--roi", "GTV-1", "--max-gap-mm", "6") == 0
    ((_, record),) = stored_scans(tmp_path / "out").values()
    assert "missing-slices" in {note["code"] for note in record.notes}
    assert list(record.label_maps) == ["gtv-1"]


def test_the_real_patient_is_read(real_data, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "LUNG1-002").symlink_to(real_data / "nsclc-LUNG1-002")
    listing = nsclc.index(tmp_path / "data")
    assert recognize(tmp_path / "data") == "nsclc"
    assert [ref.case for ref in listing.refs] == ["LUNG1-002"]
    assert listing.region_files
