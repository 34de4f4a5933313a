"""Exports, checked with other readers: nibabel, SimpleITK, pydicom, highdicom, dciodvfy."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from small_runs import finished_scans

import hilum
from hilum import batch, recipes
from hilum.cli import main
from hilum.errors import FormatError, GeometryError, InputError, MissingInputError, OutputError
from hilum.export.boxes import write_boxes_csv, write_coco3d, write_monai
from hilum.export.nnunet import write_nnunet
from hilum.export.seg import write_segmentations
from hilum.ops.regrid import regrid_mask
from hilum.outputs.store import read_stored
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series, write_luna16

pytestmark = pytest.mark.usefixtures("no_workers")


def phantom(seed):
    return make_phantom(seed=seed, shape=(48, 64, 64), spacing=(6.25, 6.0, 6.0))


def recipe(folder, *changes):
    text = recipes.recipe_toml(recipes.recipe("luna16")).replace("spacing_mm = 1.0", "spacing_mm = 3.5")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "coarse.toml"
    path.write_text(text)
    return path


def table(phantoms, path):
    rows = [(p.scan.series_uid, *n.center, n.diameter_mm) for p in phantoms for n in p.scan.nodules]
    lines = ["seriesuid,coordX,coordY,coordZ,diameter_mm", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Make runs of two DICOM series, one without a nodule; as LUNA16 they have folds."""
    folder = tmp_path_factory.mktemp("exports")
    both = [phantom(seed) for seed in (1, 2)]
    for number, one in enumerate(both):
        write_dicom_series(one, folder / "dicom" / f"s{number}")
    write_luna16(both, folder / "LUNA")
    notes = table(both[:1], folder / "annotations.csv")
    notes.write_text(notes.read_text() + f"{both[1].scan.series_uid},,,,\n")  # looked at, nothing found
    coarse = recipe(folder)
    assert (
        main(
            [
                "run",
                str(folder / "dicom"),
                "--annotations",
                str(notes),
                "--recipe",
                str(coarse),
                "--out",
                str(folder / "RUN"),
            ]
        )
        == 0
    )
    assert (
        main(["run", str(folder / "LUNA"), "--recipe", str(coarse), "--format", "npy", "--out", str(folder / "NPY")])
        == 0
    )
    return folder


def scans_of(run):
    return {record.scan_id: (path, record) for path, record in finished_scans(run)}


@pytest.mark.parametrize("name", ["RUN", "NPY"])
@pytest.mark.parametrize("labels", ["both", "lungs", "nodules"])
def test_nnunet_has_the_geometry_and_the_classes_of_the_run(work, tmp_path, name, labels):
    made = write_nnunet(work / name, tmp_path / "raw", labels=labels)
    about = json.loads((made.folder / "dataset.json").read_text())
    assert list(about["labels"].values()) == list(range(len(about["labels"])))
    assert (about["channel_names"], about["file_ending"]) == ({"0": "CT"}, ".nii.gz")
    assert about["numTraining"] == made.cases == 2
    for case, (path, record) in scans_of(work / name).items():
        image = SimpleITK.ReadImage(str(made.folder / "imagesTr" / f"{case}_0000.nii.gz"))
        label = SimpleITK.ReadImage(str(made.folder / "labelsTr" / f"{case}.nii.gz"))
        for one in (image, label):
            assert one.GetOrigin() == pytest.approx(record.geometry.origin, abs=1e-3)
            assert one.GetSpacing() == pytest.approx(record.geometry.spacing[::-1], abs=1e-5)
        lungs, nodules = (read_stored(path, record, part).array for part in ("lungs", "nodules"))
        wanted = np.zeros_like(lungs) if labels == "nodules" else lungs.copy()
        if labels != "lungs":
            wanted[nodules > 0] = about["labels"]["nodule"]
        assert np.array_equal(SimpleITK.GetArrayFromImage(label), wanted)
        assert np.array_equal(SimpleITK.GetArrayFromImage(image), read_stored(path, record, "ct").array)


def test_nnunet_splits_have_every_case_once_and_keep_patients_together(work, tmp_path):
    made = write_nnunet(work / "NPY", tmp_path)
    splits = json.loads((made.folder / "splits_final.json").read_text())
    folds = {name: record.labels["patient_fold"] for name, (_, record) in scans_of(work / "NPY").items()}
    assert len(splits) == len(set(folds.values())) == 2
    assert sorted(case for split in splits for case in split["val"]) == sorted(folds)
    for split in splits:
        assert set(split["train"]) | set(split["val"]) == set(folds)
        assert not {folds[n] for n in split["train"]} & {folds[n] for n in split["val"]}
    assert not (write_nnunet(work / "RUN", tmp_path, number=2).folder / "splits_final.json").exists()


def test_nnunet_replaces_only_hilums_own_export(work, tmp_path):
    made = write_nnunet(work / "RUN", tmp_path)
    with pytest.raises(OutputError, match="--overwrite"):
        write_nnunet(work / "RUN", tmp_path)
    write_nnunet(work / "RUN", tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="the same number"):
        write_nnunet(work / "RUN", tmp_path, name="Other", overwrite=True)
    (made.folder / "dataset.json").write_text("{}")
    with pytest.raises(OutputError, match="not written by hilum"):
        write_nnunet(work / "RUN", tmp_path, overwrite=True)
    for bad in ({"name": "a/b"}, {"number": 0}, {"number": 1000}, {"name": ""}):
        with pytest.raises(InputError, match="is not a valid name"):
            write_nnunet(work / "RUN", tmp_path, **bad)
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset501_Hilum"]


def test_nnunet_refuses_the_unit_range_and_scans_without_annotations(work, tmp_path):
    coarse = recipe(tmp_path, ('output = "hu"', 'output = "unit"'))
    one = str(work / "dicom" / "s0")
    assert main(["run", one, "--recipe", str(coarse), "--out", str(tmp_path / "unit")]) == 0
    with pytest.raises(FormatError, match=r"unit range.*intensity.output"):
        write_nnunet(tmp_path / "unit", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    assert main(["run", one, "--recipe", str(recipe(tmp_path)), "--out", str(tmp_path / "bare")]) == 0
    with pytest.raises(MissingInputError, match="run without annotations"):
        write_nnunet(tmp_path / "bare", tmp_path / "raw")
    assert write_nnunet(tmp_path / "bare", tmp_path / "raw", labels="lungs").cases == 1


def test_boxes_are_at_the_nodules(work, tmp_path):
    write_boxes_csv(work / "RUN", tmp_path / "boxes.csv")
    write_coco3d(work / "RUN", tmp_path / "coco.json")
    with (tmp_path / "boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = json.loads((tmp_path / "coco.json").read_text())
    assert len(rows) == len(told["annotations"]) == 5
    assert [one["id"] for one in told["annotations"]] == [1, 2, 3, 4, 5]
    assert len(told["images"]) == 2  # the scan without a nodule is an image without an annotation
    places = {image["id"]: image for image in told["images"]}
    for row, one in zip(rows, told["annotations"], strict=True):
        path, _ = scans_of(work / "RUN")[row["scan"]]
        image, mask = (nibabel.load(path / f"{name}.nii.gz") for name in ("ct", "nodules"))
        center = np.array([float(row[f"center_voxel_{axis}"]) for axis in "xyz"])
        world = np.array([float(row[f"center_world_{axis}"]) for axis in "xyz"])
        assert np.allclose((image.affine @ [*center, 1])[:3] * (-1, -1, 1), world, atol=0.01)
        low, high = (np.array([float(row[f"voxel_{end}_{axis}"]) for axis in "xyz"]) for end in ("low", "high"))
        inside = np.argwhere(np.asarray(mask.dataobj) == int(row["nodule"]))
        assert (inside >= low - 1).all()
        assert (inside <= high + 1).all()
        assert np.allclose((high - low) * image.header.get_zooms(), float(row["diameter_mm"]), atol=1e-3)
        assert np.allclose(one["bbox"], [*(low + 0.5), *(high - low)], atol=1e-5)
        assert places[one["image_id"]]["scan"] == row["scan"]
        assert not np.allclose((image.affine @ [*center, 1])[:3], world, atol=1.0)  # RAS taken for LPS is seen


def test_monai_reads_images_and_boxes_of_the_world(work, tmp_path):
    made = write_monai(work / "RUN", tmp_path / "list.json")
    told = json.loads((tmp_path / "list.json").read_text())
    assert (made.scans, made.nodules, told["validation"]) == (2, 5, [])
    for entry in told["training"]:
        record = scans_of(work / "RUN")[Path(entry["image"]).parent.name][1]
        assert (work / "RUN" / entry["image"]).is_file()
        assert entry["label"] == [0] * len(record.nodules)
        assert [box[:3] for box in entry["box"]] == [list(n.world) for n in record.nodules]
        assert [box[3:] for box in entry["box"]] == [[n.diameter_mm] * 3 for n in record.nodules]
    with pytest.raises(FormatError, match=r"NPY: .* NIfTI.*'hilum store DIR --format nifti'"):
        write_monai(work / "NPY", tmp_path / "other.json")
    list(batch.convert_run(work / "NPY", tmp_path / "again", file_format="nifti"))  # what it says to do
    assert write_monai(tmp_path / "again", tmp_path / "again.json").scans == 2
    with pytest.raises(InputError, match="no scan is in the fold"):
        write_monai(work / "RUN", tmp_path / "other.json", validation="7")
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize("what", ["flipped byte", "lost file", "half a run", "no run"])
def test_an_incomplete_run_is_refused_and_nothing_is_written(work, tmp_path, capsys, what):
    run = tmp_path / "run"
    if what != "no run":
        shutil.copytree(work / "RUN", run)
    first = sorted(run.glob("scans/*/lungs.nii.gz"))
    if what == "flipped byte":
        raw = bytearray(first[0].read_bytes())
        raw[len(raw) // 2] ^= 1
        first[0].write_bytes(raw)
    elif what == "lost file":
        first[0].unlink()
    elif what == "half a run":
        (run / "SHA256SUMS").unlink()
    for words in (
        ["nnunet", "--out", "raw"],
        ["nndetection", "--out", "det"],
        ["monai", "--out", "m.json"],
        ["coco3d", "--out", "c.json"],
        ["csv", "--out", "b.csv"],
        ["seg", "--out", "segs", "--source", str(work / "dicom")],
    ):
        out = [str(tmp_path / word) if word == words[2] else word for word in words]
        capsys.readouterr()
        assert main(["export", out[0], str(run), *out[1:]]) == 1
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        assert not (tmp_path / words[2]).exists()


def read_back(path):
    """Read a segmentation by its headers alone: frames by position and orientation."""
    made = pydicom.dcmread(path)
    frames = made.pixel_array.reshape(-1, made.Rows, made.Columns)
    shared = made.SharedFunctionalGroupsSequence[0]
    row, column = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    spacing = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    for frame, group in zip(frames, made.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        told = group if "SegmentIdentificationSequence" in group else shared  # shared where there is one segment
        number = int(told.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        y, x = np.argwhere(frame).T
        yield number, place + x[:, None] * spacing[1] * row + y[:, None] * spacing[0] * column


def test_a_segmentation_read_by_affine_is_the_mask_of_the_run(work, tmp_path):
    pytest.importorskip("highdicom")
    made = write_segmentations(work / "RUN", tmp_path / "seg", sources=[work / "dicom"])
    assert (made.scans, made.files) == (2, 3)
    for case, (path, record) in scans_of(work / "RUN").items():
        grid = SimpleITK.ReadImage(str(path / "ct.nii.gz"))
        for name in ("lungs", "nodules"):
            file = tmp_path / "seg" / case / f"{name}.dcm"
            if not file.exists():
                assert name == "nodules"
                assert not record.nodules
                continue
            mask = read_stored(path, record, name)
            wanted = resample_with_simpleitk(mask, record)
            counted = dict.fromkeys(range(1, int(mask.array.max()) + 1), 0)
            for number, points in read_back(file):
                labels = {int(mask.array[grid.TransformPhysicalPointToIndex(p)[::-1]]) for p in points[::7].tolist()}
                assert labels == {number}
                counted[number] += len(points)
            assert counted == {n: int((wanted == n).sum()) for n in counted}
    told = pydicom.dcmread(next((tmp_path / "seg").rglob("lungs.dcm")))
    kinds = [item.SegmentedPropertyTypeCodeSequence[0] for item in told.SegmentSequence]
    assert [kind.CodeValue for kind in kinds] == ["39607008"] * 2
    sides = [kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning for kind in kinds]
    assert sides == ["Right", "Left"]


def resample_with_simpleitk(mask, record):
    image = SimpleITK.GetImageFromArray(mask.array)
    image.SetOrigin(record.geometry.origin)
    image.SetSpacing(record.geometry.spacing[::-1])
    image.SetDirection(np.array(record.geometry.direction)[::-1].T.ravel().tolist())
    grid = record.source_geometry
    return SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(
            image,
            grid.shape[::-1],
            SimpleITK.Transform(),
            SimpleITK.sitkNearestNeighbor,
            grid.origin,
            grid.spacing[::-1],
            np.array(grid.direction)[::-1].T.ravel().tolist(),
        )
    )


def test_dciodvfy_finds_no_error(work, tmp_path):
    pytest.importorskip("highdicom")
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    write_segmentations(work / "RUN", tmp_path, sources=[work / "dicom"])
    for path in tmp_path.rglob("*.dcm"):
        told = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
        assert "Segmentation" in told.stderr + told.stdout
        assert "Error" not in told.stderr + told.stdout
    broken = pydicom.dcmread(path)
    del broken.SegmentSequence
    broken.save_as(tmp_path / "broken.dcm")
    told = subprocess.run([program, str(tmp_path / "broken.dcm")], capture_output=True, text=True, check=False)
    assert "Error" in told.stderr + told.stdout


def test_a_missing_or_changed_series_is_refused(work, tmp_path):
    pytest.importorskip("highdicom")
    with pytest.raises(MissingInputError, match="its series is not in"):
        write_segmentations(work / "RUN", tmp_path / "seg", sources=[work / "dicom" / "s0"])
    shutil.copytree(work / "dicom", tmp_path / "moved")
    for path in (tmp_path / "moved" / "s0").iterdir():
        header = pydicom.dcmread(path)
        header.ImagePositionPatient = [float(v) + 7 for v in header.ImagePositionPatient]
        header.save_as(path)
    with pytest.raises(GeometryError, match="has changed since the run"):
        write_segmentations(work / "RUN", tmp_path / "seg", sources=[tmp_path / "moved"])
    assert not (tmp_path / "seg").exists()
    write_segmentations(work / "RUN", tmp_path / "seg", sources=[work / "dicom"])
    with pytest.raises(OutputError, match="exists already"):
        write_segmentations(work / "RUN", tmp_path / "seg", sources=[work / "dicom"])


def test_a_missing_extra_is_named(work, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"pip install 'hilum\[seg\]'"):
        write_segmentations(work / "RUN", tmp_path / "seg", sources=[work / "dicom"])


def test_a_mask_on_another_grid_equals_simpleitks():
    rng = np.random.default_rng(3)
    grid = hilum.Geometry((14, 17, 19), (2.1, 1.3, 0.9), (-8.0, 5.0, -11.0))
    mask = hilum.Mask(rng.integers(0, 5, grid.shape).astype(np.uint8), grid)
    sine, cosine = np.sin(0.37), np.cos(0.37)
    turned = ((0.0, -sine, cosine), (0.0, cosine, sine), (-1.0, 0.0, 0.0))
    for direction in (grid.direction, turned):
        other = hilum.Geometry((20, 15, 18), (1.17, 1.41, 1.03), (-5.3, 6.2, -9.7), direction)
        wanted = resample_with_simpleitk(mask, Grids(grid, other))
        assert np.array_equal(regrid_mask(mask, other).array, wanted)
        assert wanted.any()
    moved = hilum.Geometry(grid.shape, grid.spacing, (-6.9, 5.0, -11.0))
    assert not np.array_equal(regrid_mask(mask, moved).array, mask.array)


class Grids:
    def __init__(self, geometry, source_geometry):
        self.geometry, self.source_geometry = geometry, source_geometry


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_export_made_twice_has_the_same_bytes(work, tmp_path):
    for number in (1, 2):
        out = tmp_path / str(number)
        out.mkdir()
        write_nnunet(work / "RUN", out)
        write_segmentations(work / "RUN", out / "seg", sources=[work / "dicom"])
        write_monai(work / "RUN", out / "monai.json")
        write_boxes_csv(work / "RUN", out / "boxes.csv")
        write_coco3d(work / "RUN", out / "coco.json")
    once, twice = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert {name.rpartition(".")[2] for name in once} >= {"gz", "json", "dcm", "csv"}
    assert [name for name in once if once[name] != twice.get(name)] == []


IN_ANOTHER_YEAR = """
import datetime, sys, time
from pathlib import Path

run, source, out, days, kept = sys.argv[1:]
clock = time.time
time.time = lambda: clock() + float(days) * 86400

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

datetime.datetime = Shifted
from hilum.export import seg
if not kept:
    seg._make_reproducible = lambda *_, **__: None
seg.write_segmentations(run, Path(out), sources=[Path(source)])
"""


def test_a_segmentation_made_by_another_process_at_another_time_has_the_same_bytes(work, tmp_path):
    highdicom = pytest.importorskip("highdicom")

    def write(name, *, days, kept="kept", **environment):
        words = [sys.executable, "-c", IN_ANOTHER_YEAR, work / "RUN", work / "dicom", tmp_path / name, days, kept]
        subprocess.run(list(map(str, words)), env={**os.environ, **environment}, check=True)
        return contents(tmp_path / name)

    once = write("once", days=0, TZ="UTC", PYTHONHASHSEED="1")
    again = write("again", days=400.3, TZ="Asia/Tokyo", PYTHONHASHSEED="2")
    assert len(once) == 3
    assert once == again
    assert all(once[name] != data for name, data in write("random", days=400.3, kept="").items())
    uids = set()
    for path in (tmp_path / "once").rglob("*.dcm"):
        made = highdicom.seg.segread(path)
        assert made.pixel_array.shape[0] == made.NumberOfFrames == len(made.PerFrameFunctionalGroupsSequence)
        assert {frame.any() for frame in made.pixel_array} == {True}
        uids |= {made.SOPInstanceUID, made.SeriesInstanceUID}
    assert len(uids) == 2 * len(once)


def test_a_segmentation_has_a_date_even_where_its_series_has_none(work, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(work / "dicom", bare)
    for path in bare.rglob("*.dcm"):
        header = pydicom.dcmread(path)
        for word in ("ContentDate", "ContentTime", "AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime"):
            if word in header:
                del header[word]
        header.StudyDate = header.StudyTime = ""
        header.save_as(path)
    write_segmentations(work / "RUN", tmp_path / "seg", sources=[bare])
    made = pydicom.dcmread(next((tmp_path / "seg").rglob("lungs.dcm")), stop_before_pixels=True)
    assert (made.ContentDate, made.ContentTime) == ("19000101", "000000")
    assert not [e.keyword for e in made.iterall() if e.keyword in {"InstanceCreationDate", "ContributionDateTime"}]
