"""Label maps in what a run is carried on by: stores and exports, checked with other readers."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from labeled_run import LABELS, hold_to, make_labeled_run, truth
from small_runs import faults, finished_scans
from test_exports import read_back
from training_inputs import OBLIQUE, make_run

import hilum
from hilum import RunScan, batch
from hilum.cli import main
from hilum.errors import InputError, MissingInputError
from hilum.export.boxes import write_boxes_csv, write_coco3d
from hilum.export.monai_masks import write_monai_masks
from hilum.export.nnunet import write_nnunet
from hilum.export.seg import write_segmentations
from hilum.export.seg_codes import named_segment
from hilum.outputs.finished import read_stored

pytestmark = pytest.mark.usefixtures("no_workers")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    return make_labeled_run(tmp_path_factory.mktemp("labeled"))


def by_itk(path):
    """Volume and centroid of each label, by SimpleITK alone."""
    image = SimpleITK.ReadImage(str(path))
    stats = SimpleITK.LabelShapeStatisticsImageFilter()
    stats.Execute(image)
    return {n: (stats.GetPhysicalSize(n) / 1000, stats.GetCentroid(n)) for n in stats.GetLabels()}


def test_a_run_keeps_every_label_in_place(labeled):
    _, run, truths = labeled
    for path, record in finished_scans(run):
        assert set(record.label_maps) == set(LABELS)
        for name, wanted in truths[record.series_uid].items():
            hold_to(by_itk(path / "labels" / f"{name}.nii.gz"), wanted)
            volumes = {record.label_maps[name].values[k]: v for k, v in record.label_maps[name].volumes_ml.items()}
            assert volumes == pytest.approx({value: volume for value, (volume, _) in wanted.items()}, rel=0.01)


@pytest.mark.parametrize("file_format", ["npy", "zarr", "b2nd"])
def test_every_store_carries_label_maps_both_ways(labeled, tmp_path, file_format):
    _, run, truths = labeled
    for source, target, name in (
        (run, tmp_path / "there", file_format),
        (tmp_path / "there", tmp_path / "back", "nifti"),
    ):
        list(batch.convert_run(source, target, file_format=name))
        assert faults(target) == []
        for (path, record), (old, before) in zip(finished_scans(target), finished_scans(run), strict=True):
            assert record.label_maps == before.label_maps
            assert record.parts == before.parts
            scan = RunScan(path).scan()
            for one, wanted in truths[record.series_uid].items():
                assert np.array_equal(scan.label_maps[one].mask.array, read_stored(old, before, f"labels/{one}").array)
                assert dict(scan.label_maps[one].values) == before.label_maps[one].values
                hold_to(truth(scan.label_maps[one].mask), wanted)
    kept = sorted(p.relative_to(run) for p in run.glob("scans/*/labels/*"))
    assert all((tmp_path / "back" / p).read_bytes() == (run / p).read_bytes() for p in kept)
    damaged = next((tmp_path / "there").glob("scans/*/labels/tumor.*"))
    shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()
    assert {fault.code for fault in faults(tmp_path / "there")} == {"missing"}


def test_nnunet_gets_label_maps_by_name(labeled, tmp_path, capsys):
    _, run, truths = labeled
    assert main(["export", "nnunet", str(run), "--out", str(tmp_path), "--labels", "lobes,tumor"]) == 0
    assert "overlap" not in capsys.readouterr().err
    folder = tmp_path / "Dataset501_Hilum"
    about = json.loads((folder / "dataset.json").read_text())
    assert about["labels"] == {"background": 0, "lobes_1": 1, "lobes_2": 2, "tumor": 3}
    for _, record in finished_scans(run):
        told = truths[record.series_uid]
        wanted = {1: told["lobes"][1], 2: told["lobes"][2], 3: told["tumor"][1]}
        hold_to(by_itk(folder / "labelsTr" / f"{record.scan_id}.nii.gz"), wanted)


def test_nnunets_last_label_wins_and_the_overlap_is_counted(labeled, tmp_path, capsys):
    _, run, _ = labeled
    first = write_nnunet(run, tmp_path, labels="labels/lobes, lungs")
    last = write_nnunet(run, tmp_path, number=2, labels="lungs, lobes")
    assert list(first.classes) == ["background", "lobes_1", "lobes_2", "lung_right", "lung_left"]
    assert list(last.classes) == ["background", "lung_right", "lung_left", "lobes_1", "lobes_2"]
    overlap = 0
    for path, record in finished_scans(run):
        lungs, lobes = (read_stored(path, record, part).array for part in ("lungs", "labels/lobes"))
        names = (f"labelsTr/{record.scan_id}.nii.gz" for _ in range(2))
        one, two = (
            np.asarray(nibabel.load(made.folder / n).dataobj).T for made, n in zip((first, last), names, strict=True)
        )
        assert np.array_equal(one, np.where(lungs > 0, lungs + 2, lobes))
        assert np.array_equal(two, np.where(lobes > 0, lobes + 2, lungs))
        overlap += int(((lungs > 0) & (lobes > 0)).sum())
    assert (first.overlap, last.overlap) == (0, overlap)
    assert overlap > 0
    assert main(["export", "nnunet", str(run), "--out", str(tmp_path), "--number", "3", "--labels", "lungs,lobes"]) == 0
    assert f"overlap: {overlap} voxels" in capsys.readouterr().err
    with pytest.raises(InputError, match="name something twice"):
        write_nnunet(run, tmp_path, number=4, labels="lungs,both")
    with pytest.raises(InputError, match="name nothing"):
        write_nnunet(run, tmp_path, number=4, labels=" , ")
    with pytest.raises(MissingInputError, match="no scan has labels of lungz: it has no label map lungz"):
        write_nnunet(run, tmp_path, number=4, labels="lungz")


def test_monai_gets_masks(labeled, tmp_path):
    _, run, truths = labeled
    assert main(["export", "monai", str(run), "--labels", "lobes", "--out", str(tmp_path / "list.json")]) == 0
    told = json.loads((tmp_path / "list.json").read_text())
    assert told["labels"] == {"0": "background", "1": "1", "2": "2"}
    assert (len(told["training"]), told["validation"]) == (3, [])
    records = {record.scan_id: record for _, record in finished_scans(run)}
    for entry in told["training"]:
        record = records[entry["image"].split("/")[1]]
        assert entry["label"] == f"scans/{record.scan_id}/labels/lobes.nii.gz"
        hold_to(by_itk(run / entry["label"]), truths[record.series_uid]["lobes"])
    assert write_monai_masks(run, tmp_path / "lungs.json", labels="lungs").scans == 3
    assert json.loads((tmp_path / "lungs.json").read_text())["training"][0]["label"].endswith("lungs.nii.gz")
    with pytest.raises(MissingInputError, match="no scan has a label map 'lobe'"):
        write_monai_masks(run, tmp_path / "no.json", labels="lobe")
    assert not (tmp_path / "no.json").exists()


def test_boxes_are_around_the_parts_of_a_label(labeled, tmp_path):
    _, run, truths = labeled
    assert main(["export", "csv", str(run), "--labels", "lobes", "--out", str(tmp_path / "boxes.csv")]) == 0
    assert main(["export", "coco3d", str(run), "--labels", "lobes", "--out", str(tmp_path / "boxes.json")]) == 0
    with (tmp_path / "boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = json.loads((tmp_path / "boxes.json").read_text())
    assert told["categories"] == [{"id": 1, "name": "1"}, {"id": 2, "name": "2"}]
    assert len(rows) == len(told["annotations"]) == 6
    for row, one in zip(rows, told["annotations"], strict=True):
        value = int(row["label"])
        assert one["category_id"] == value
        volume, middle = truths[row["series_uid"]]["lobes"][value]
        assert float(row["diameter_mm"]) == pytest.approx((6 * volume * 1000 / np.pi) ** (1 / 3), rel=0.01)
        assert np.allclose([float(row[f"center_world_{axis}"]) for axis in "xyz"], middle, atol=1.1)
        image = nibabel.load(run / "scans" / row["scan"] / "labels" / "lobes.nii.gz")
        index = np.argwhere(np.asarray(image.dataobj) == value)
        low, high = (np.array([float(row[f"voxel_{end}_{axis}"]) for axis in "xyz"]) for end in ("low", "high"))
        assert np.allclose((low, high), (index.min(axis=0) - 0.5, index.max(axis=0) + 0.5))
        assert np.allclose(one["bbox"], [*(low + 0.5), *(high - low)])
        corners = index[:, None] + np.array(np.meshgrid(*[[-0.5, 0.5]] * 3)).reshape(3, 8).T
        world = (corners @ image.affine[:3, :3].T + image.affine[:3, 3]).reshape(-1, 3) * (-1, -1, 1)
        for end, edge in (("low", world.min(axis=0)), ("high", world.max(axis=0))):
            assert np.allclose([float(row[f"world_{end}_{axis}"]) for axis in "xyz"], edge, atol=1e-3)


def test_parts_that_touch_at_a_corner_are_one(tmp_path):
    run = make_run(tmp_path / "run", direction=OBLIQUE, lobes={"ct-a": {"upper": 2, "lower": 5}})
    rows = {}
    for out in ("lobes", "none"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hilum.export.boxes.checked_run", lambda _: hilum.train.runs.list_run(run))
            write_boxes_csv(run, tmp_path / f"{out}.csv", labels=out)
            write_coco3d(run, tmp_path / f"{out}.json", labels=out)
        with (tmp_path / f"{out}.csv").open(newline="") as file:
            rows[out] = [(row["label"], row["nodule"]) for row in csv.DictReader(file)]
    assert rows == {"lobes": [("upper", "1"), ("lower", "2")], "none": []}


@pytest.fixture(scope="module")
def segmented(labeled, tmp_path_factory):
    pytest.importorskip("highdicom")
    dicom, run, _ = labeled
    out = tmp_path_factory.mktemp("seg") / "SEG"
    made = write_segmentations(run, out, sources=[dicom])
    assert (made.scans, made.files) == (3, 3 * (1 + len(LABELS)))
    return out


def test_a_segmentation_holds_every_label_in_place(labeled, segmented):
    _, run, truths = labeled
    for _, record in finished_scans(run):
        voxel_ml = np.prod(record.source_geometry.spacing) / 1000
        for name, wanted in truths[record.series_uid].items():
            file = segmented / record.scan_id / "labels" / f"{name}.dcm"
            points = {}
            for number, places in read_back(file):
                points.setdefault(number, []).append(places)
            found = {n: np.concatenate(places) for n, places in points.items()}
            found = {n: (len(places) * voxel_ml, places.mean(axis=0)) for n, places in found.items()}
            few = max(record.source_geometry.spacing) / 6  # some labels have only ten voxels of the series
            hold_to(found, wanted, voxel_ml=voxel_ml, mm=few)
            labels = [item.SegmentLabel for item in pydicom.dcmread(file, stop_before_pixels=True).SegmentSequence]
            assert labels == {"lobes": ["lobes 1", "lobes 2"], "tumor": ["tumor"], "small-one": ["small-one"]}[name]


def test_dciodvfy_finds_no_error_in_label_maps(segmented):
    if (program := shutil.which("dciodvfy")) is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    files = sorted(segmented.rglob("labels/*.dcm"))
    assert len(files) == 9
    for path in files:
        told = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
        assert "Segmentation" in told.stderr + told.stdout
        assert "Error" not in told.stderr + told.stdout, told.stderr


@pytest.mark.parametrize(
    ("label", "kind", "side"),
    [
        ("tumor", "NeoplasmPrimary", ""),
        ("GTV-1", "NeoplasmPrimary", ""),
        ("tumor 2", "NeoplasmPrimary", ""),
        ("tumor bed", "Tissue", ""),
        ("Lung L", "Lung", "Left"),
        ("Right upper lobe", "UpperLobeOfLung", "Right"),
        ("lung_right_left", "Lung", ""),
        ("heart", "Heart", ""),
        ("heartburn", "Tissue", ""),
        ("upper", "Tissue", ""),
        ("3", "Tissue", ""),
    ],
)
def test_the_code_of_a_segment_follows_from_its_name(label, kind, side):
    segment = named_segment(label, 0)
    assert (segment.property, segment.side, segment.label) == (kind, side, label)
    codes = pytest.importorskip("pydicom.sr.codedict").codes
    assert getattr(codes.SCT, kind)
    assert getattr(codes.CID7150, segment.category)
