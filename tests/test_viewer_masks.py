"""Masks that a user shows over finished scans: a folder of predictions over a run, a file over one of its scans."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from test_viewer_labels import GRID, answers, box, scan_of, stored

import hilum
from hilum import cli
from hilum.errors import HilumError
from hilum.viewer import app
from hilum.viewer.sources import open_source

UID = "1.2.826.0.1.99.7"


@pytest.fixture
def run(tmp_path):
    tumor = {"tumor": (box(1, y=(12, 16)), {"tumor": 1})}
    return stored(tmp_path / "run", one=replace(scan_of(**tumor), series_uid=UID), two=scan_of())


def written(path, array=None, grid=GRID):
    path.parent.mkdir(exist_ok=True)
    hilum.write(hilum.Mask(box() if array is None else array, grid), path)
    return path


def voxels_of(source, number, label):
    """The label map of a scan as the page gets it, on the whole grid."""
    (answer,) = answers(source, f"/api/scans/{number}/label-{label}.nii")
    image = nibabel.Nifti1Image.from_bytes(answer.content)
    corner = GRID.world_to_index(image.affine[:3, 3] * [-1, -1, 1])
    array = np.zeros(GRID.shape, np.uint8)
    part = np.asarray(image.dataobj).T
    start = np.rint(corner).astype(int)
    array[tuple(slice(at, at + n) for at, n in zip(start, part.shape, strict=True))] = part
    return array


def maps_of(source, number=0):
    (answer,) = answers(source, f"/api/scans/{number}")
    assert answer.status_code == 200, answer.text
    return answer.json()["label_maps"]


@pytest.mark.parametrize("name", ["one.nii.gz", "one_seg.nii.gz", f"{UID}.nrrd", f"{UID}.mha"])
def test_predictions_belong_to_the_scans_of_their_names(run, tmp_path, name):
    folder = written(tmp_path / "predicted" / name).parent
    source = open_source(run, labels=[f"model={folder}"])
    assert [one["name"] for one in maps_of(source)] == ["model", "tumor"]
    assert maps_of(source, 1) == []
    assert (voxels_of(source, 0, 0) == box()).all()
    assert [item.row["label_maps"] for item in source.items] == [["tumor", "model"], []]
    colors = [label["color"] for one in maps_of(source) for label in one["labels"]]
    assert len(set(colors)) == 2


def test_two_folders_and_a_file_are_shown_together(run, tmp_path):
    written(tmp_path / "a" / "one.nii.gz")
    written(tmp_path / "b" / "one.nii.gz", box(2))
    written(tmp_path / "two_extra.nii.gz", box(3))
    source = open_source(run, labels=[str(tmp_path / name) for name in ("a", "b", "two_extra.nii.gz")])
    assert [one["name"] for one in maps_of(source)] == ["a", "b", "tumor"]
    assert [one["name"] for one in maps_of(source, 1)] == ["extra"]


def test_a_mask_on_another_grid_is_placed_by_world_coordinates(run, tmp_path):
    part = hilum.Mask(box(), GRID).crop((8, 6, 2), (24, 30, 20))
    grid = part.geometry
    far = tuple(grid.index_to_world((0, grid.shape[1] - 1, 0)).tolist())
    z, y, x = grid.direction
    flipped = replace(grid, origin=far, direction=(z, tuple(-one for one in y), x))
    path = written(tmp_path / "p" / "one.nii.gz", np.ascontiguousarray(part.array[:, ::-1]), flipped)
    assert (voxels_of(open_source(run, labels=[str(path.parent)]), 0, 0) == box()).all()
    assert (voxels_of(open_source(run / "scans/one", labels=[str(path)]), 0, 0) == box()).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("other", "no label map of .*; name them as the scans"),  # a long path shortens what is between
        ("none", "there is no such folder"),
        ("empty", "holds no label map"),
        ("run.toml", "is no label map that hilum reads"),
    ],
)
def test_masks_that_fit_no_scan_of_a_run_are_refused(run, tmp_path, given, said):
    written(tmp_path / "other" / "three.nii.gz")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run.toml").touch()
    with pytest.raises(HilumError, match=said):
        open_source(run, labels=[str(tmp_path / given)])


def test_a_mask_that_does_not_lie_on_its_scan_is_refused(run, tmp_path):
    far = written(tmp_path / "far" / "one.nii.gz", grid=replace(GRID, origin=(500.0, 0.0, 0.0)))
    bad, good = answers(open_source(run, labels=[str(far.parent)]), "/api/scans/0", "/api/scans/1")
    assert (bad.status_code, good.status_code) == (422, 200)
    assert "shares no voxel with the scan" in bad.json()["error"]
    assert str(tmp_path) not in bad.text
    with pytest.raises(HilumError, match="shares no voxel with the scan"):
        open_source(run / "scans/one", labels=[str(far)])


def test_a_mask_called_as_a_label_map_of_the_scan_is_refused(run, tmp_path):
    path = written(tmp_path / "tumor.nii.gz")
    with pytest.raises(HilumError, match="has a label map called 'tumor' already; give it a name: --mask NAME=PATH"):
        open_source(run / "scans/one", labels=[str(path)])
    source = open_source(run / "scans/one", labels=[f"mine={path}"])
    assert [one["name"] for one in maps_of(source)] == ["mine", "tumor"]


def test_one_scan_of_a_run_is_shown_with_any_mask(run, tmp_path):
    path = written(tmp_path / "prediction.nii.gz")
    source = open_source(run / "scans/one", labels=[str(path), f"other={path}"])
    assert (source.name, source.run, [item.name for item in source.items]) == ("one", run, ["one"])
    assert [one["name"] for one in maps_of(source)] == ["other", "prediction", "tumor"]
    session, facts = answers(source, "/api/session", "/api/scans/0")
    assert (session.json()["kind"], len(session.json()["scans"])) == ("run", 1)
    assert facts.json()["doubt"] == "the ledger has no checksum for this scan"


def test_a_scan_that_was_copied_out_of_its_run_is_shown_and_doubted(run, tmp_path):
    copy = shutil.copytree(run / "scans/one", tmp_path / "one")
    path = written(tmp_path / "prediction.nii.gz")
    source = open_source(copy, labels=[str(path)])
    assert source.run is None
    (facts,) = answers(source, "/api/scans/0")
    assert facts.json()["doubt"] == "the ledger does not list this scan"
    assert [one["name"] for one in facts.json()["label_maps"]] == ["prediction", "tumor"]
    record = json.loads((copy / "scan.json").read_text())
    (copy / "scan.json").write_text(json.dumps(record | {"unit": "unit_range"}))
    (facts,) = answers(open_source(copy), "/api/scans/0")
    assert facts.json()["volumes"]["ct"]["unit"] == "unit_range"  # its recipe is not here: nothing is guessed
    (copy / "scan.json").write_text("{}")
    (answer,) = answers(open_source(copy), "/api/scans/0")
    assert answer.status_code == 422


def test_the_command_refuses_a_mask_of_no_scan(run, tmp_path, capsys):
    if not (app.PAGE / "index.html").is_file():
        pytest.skip("the page is not built (python3 dev.py page; needs node)")
    folder = written(tmp_path / "other" / "three.nii.gz").parent
    assert cli.main(["view", str(run), "--mask", str(folder), "--no-browser"]) != 0
    assert "name them as the scans" in capsys.readouterr().err
