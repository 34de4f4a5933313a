"""Exports of a run in which a patient has two scans, and some scans have no nodule: folds by patient, no scan lost."""

from __future__ import annotations

import csv
import json
import pickle

import numpy as np
import pytest
import SimpleITK

import hilum
from hilum.cli import main
from hilum.errors import FormatError, InputError, MissingInputError, OutputError
from hilum.export.boxes import write_boxes_csv, write_coco3d, write_monai
from hilum.export.monai_masks import write_monai_masks
from hilum.export.nndetection import write_nndetection
from hilum.export.nnunet import write_nnunet
from hilum.phantom.files import write_dicom_series
from hilum.train.folds import make_folds

pytestmark = pytest.mark.usefixtures("no_workers")

GRID = hilum.Geometry((10, 24, 24), (5.0, 2.0, 2.0), (-20.0, 5.0, -100.0))
PATIENTS = "aabbcddeefgh"  # four of eight have two scans
NEGATIVE = {1, 4, 5, 6, 9, 11}


def uid(k):
    return f"1.2.826.0.1.3680043.8.498.{k}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Twelve small scans with a label map each, empty where a scan has no nodule; three folds."""
    root = tmp_path_factory.mktemp("patients")
    rows, patients = ["seriesuid,coordX,coordY,coordZ,diameter_mm"], ["seriesuid,patient_id"]
    (root / "lesion").mkdir()
    for k, patient in enumerate(PATIENTS):
        write_dicom_series(
            hilum.Volume(np.full(GRID.shape, -900 + k, np.int16), GRID), root / "CT" / f"s{k:02d}", series_uid=uid(k)
        )
        rows.append(f"{uid(k)},,,," if k in NEGATIVE else f"{uid(k)},2.0,30.0,{-80.0 + k},9.0")
        patients.append(f"{uid(k)},{patient}")
        array = np.zeros(GRID.shape, np.uint8)
        array[3:6, 8:15, 8:15] = k not in NEGATIVE
        hilum.write(hilum.Mask(array, GRID), root / "lesion" / f"s{k:02d}.nii.gz")
    (root / "a.csv").write_text("\n".join(rows) + "\n")
    (root / "p.csv").write_text("\n".join(patients) + "\n")
    (root / "r.toml").write_text('name = "tiny"\n[lungs]\nmethod = "none"\n[resample]\ngrid = "native"\n')
    words = [*("--annotations", root / "a.csv", "--labels", f"lesion={root / 'lesion'}", "--recipe", root / "r.toml")]
    assert main([str(word) for word in ("run", root / "CT", *words, "--out", root / "OUT")]) == 0
    seeded = ["--folds", "3", "--seed", "5", "--patients", root / "p.csv"]
    assert main([str(word) for word in ("folds", root / "OUT", *seeded)]) == 0
    return root / "OUT"


def truth(run):
    """Of each scan, by its id: the true patient, and whether it has no nodule."""
    number = {scan.scan_id: int(scan.uid.rpartition(".")[2]) for scan in hilum.open_run(run)}
    return {name: PATIENTS[k] for name, k in number.items()}, {name for name, k in number.items() if k in NEGATIVE}


def check(run, fold_of):
    """A fold for every scan, as `Run.folds` says it; a patient's scans in one; scans without nodules in each."""
    patients, negative = truth(run)
    assert fold_of == {name: fold for fold, names in hilum.open_run(run).folds().items() for name in names}
    assert len(fold_of) == len(PATIENTS)
    assert len({(patients[name], fold) for name, fold in fold_of.items()}) == len(set(PATIENTS))
    assert {fold_of[name] for name in negative} == {"0", "1", "2"}


def named(entries):
    return [entry["image"].split("/")[1] for entry in entries]


@pytest.mark.parametrize("labels", ["nodules", "lesion"])
def test_nnunets_splits_are_the_folds(run, tmp_path, labels):
    made = write_nnunet(run, tmp_path, labels=labels)
    splits = json.loads((made.folder / "splits_final.json").read_text())
    check(run, {name: str(fold) for fold, split in enumerate(splits) for name in split["val"]})
    patients, negative = truth(run)
    for split in splits:
        assert not {patients[name] for name in split["train"]} & {patients[name] for name in split["val"]}
        assert sorted([*split["train"], *split["val"]]) == sorted(patients)
    for name in patients:
        label = hilum.read_mask(made.folder / "labelsTr" / f"{name}.nii.gz")
        assert (name in negative) != label.array.any()


def instances_of(task):
    """What nnDetection checks before it trains, by SimpleITK: the instances of each case, as its mask has them."""
    raw, found = task / "raw_splitted", {}
    for path in sorted((raw / "imagesTr").iterdir()):
        case = path.name.removesuffix("_0000.nii.gz")
        image, label = SimpleITK.ReadImage(str(path)), SimpleITK.ReadImage(str(raw / "labelsTr" / f"{case}.nii.gz"))
        for side in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
            assert np.allclose(getattr(image, side)(), getattr(label, side)(), atol=1e-4)
        told = json.loads((raw / "labelsTr" / f"{case}.json").read_text())["instances"]
        drawn = np.unique(SimpleITK.GetArrayFromImage(label))
        assert list(map(int, told)) == list(range(1, len(told) + 1)) == drawn[drawn > 0].tolist()
        assert set(told.values()) <= {0}
        found[case] = len(told)
    return found


def test_nndetection_gets_instances_and_the_folds(run, tmp_path, capsys):
    assert main(["export", "nndetection", str(run), "--out", str(tmp_path)]) == 0
    assert "Task501_Hilum: 6 nodules of 12 cases, 3 folds" in capsys.readouterr().out
    task = tmp_path / "Task501_Hilum"
    patients, negative = truth(run)
    assert instances_of(task) == {name: int(name not in negative) for name in patients}
    splits = pickle.loads((task / "preprocessed" / "splits_final.pkl").read_bytes())  # noqa: S301 - just written
    check(run, {name: str(fold) for fold, split in enumerate(splits) for name in split["val"]})
    for split in splits:
        assert not {patients[name] for name in split["train"]} & {patients[name] for name in split["val"]}
        assert sorted([*split["train"], *split["val"]]) == sorted(patients)
    told = json.loads((task / "dataset.json").read_text())
    classes = {"labels": {"0": "nodule"}, "modalities": {"0": "CT"}}
    assert {"task": task.name, "dim": 3, "annotation_style": "seg", **classes}.items() <= told.items()
    with pytest.raises(OutputError, match="give --overwrite"):
        write_nndetection(run, tmp_path)
    (task / "dataset.json").write_text("{}")
    with pytest.raises(OutputError, match="was not written by hilum"):
        write_nndetection(run, tmp_path, overwrite=True)
    with pytest.raises(InputError, match="Task0_Hilum is not a valid name"):
        write_nndetection(run, tmp_path, number=0)


def test_nodules_that_are_not_drawn_leave_no_gap_between_instances(run, tmp_path):
    series = run.parent / "CT" / "s00"
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm", f"{uid(0)},2,30,900,8"]  # outside
    rows += [f"{uid(0)},{x},30,-80,{size}" for x, size in ((-8, 8), (-8, 6), (15, 8))]  # the first covers the second
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    words = ["run", series, "--annotations", tmp_path / "a.csv", "--recipe", run.parent / "r.toml"]
    assert main([*map(str, words), "--format", "npy", "--out", str(tmp_path / "OUT")]) == 0
    stored = hilum.open_run(tmp_path / "OUT")[0].nodule_mask.array
    made = write_nndetection(tmp_path / "OUT", tmp_path / "det")
    first, second = np.unique(stored[stored > 0]).tolist()
    assert first in {2, 3}
    assert second == 4
    assert (made.nodules, made.folds, list(instances_of(made.folder).values())) == (2, 0, [2])
    assert [(skip.code, skip.nodule) for skip in made.skipped] == [("outside", 1), ("not-drawn", 5 - first)]
    label = hilum.read_mask(next((made.folder / "raw_splitted" / "labelsTr").glob("*.nii.gz"))).array
    assert np.array_equal(label, (stored == first) + 2 * (stored == second))
    bare = [*map(str, words[:2]), "--recipe", str(run.parent / "r.toml"), "--out", str(tmp_path / "BARE")]
    assert main(bare) == 0
    with pytest.raises(MissingInputError, match=r"no scan is annotated.*--annotations"):
        write_nndetection(tmp_path / "BARE", tmp_path / "other")
    (tmp_path / "unit.toml").write_text((run.parent / "r.toml").read_text() + '[intensity]\noutput = "unit"\n')
    words[-1] = tmp_path / "unit.toml"
    assert main([*map(str, words), "--out", str(tmp_path / "UNIT")]) == 0
    with pytest.raises(FormatError, match="unit range, but nnDetection expects HU"):
        write_nndetection(tmp_path / "UNIT", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("labels", ["", "lesion"])
def test_monais_lists_hold_whole_folds_out(run, tmp_path, labels):
    words = ["export", "monai", str(run), "--out", str(tmp_path / "list.json")]
    words += ["--labels", labels] if labels else []
    assert main([*words, "--validation", "2", "--testing", "0"]) == 0
    told = json.loads((tmp_path / "list.json").read_text())
    check(run, {name: fold for part, fold in (("training", "1"), ("validation", "2"), ("testing", "0"))
                for name in named(told[part])})  # fmt: skip
    for part, fold in (("training", 1), ("validation", 2), ("testing", 0)):
        assert {entry["fold"] for entry in told[part]} == {fold}
    if not labels:
        _, negative = truth(run)
        for entry in (one for part in told.values() for one in part):
            wanted = 0 if named([entry])[0] in negative else 1
            assert (len(entry["box"]), len(entry["label"])) == (wanted, wanted)


def test_the_first_fold_that_is_free_is_for_validation(run, tmp_path):
    wanted = {"": "0", "0": "1", "1": "0"}
    for testing, validation in wanted.items():
        write_monai(run, tmp_path / "list.json", testing=testing, overwrite=True)
        told = json.loads((tmp_path / "list.json").read_text())
        assert {entry["fold"] for entry in told["validation"]} == {int(validation)}
        assert bool(told["testing"]) == bool(testing)


@pytest.mark.parametrize("write", [write_monai, write_monai_masks])
def test_folds_that_cannot_be_held_out_are_refused(run, tmp_path, write):
    more = {"labels": "lesion"} if write is write_monai_masks else {}
    for chosen, text in (
        ({"testing": "7"}, "no scan is in the fold '7' .folds: 0, 1, 2.; choose one of them"),
        ({"validation": "1", "testing": "1"}, "the fold '1' cannot be for validation and for testing; choose two"),
    ):
        with pytest.raises(InputError, match=text):
            write(run, tmp_path / "list.json", **chosen, **more)
    assert not (tmp_path / "list.json").exists()


@pytest.mark.parametrize("labels", ["nodules", "lesion"])
def test_boxes_have_the_folds_of_their_patients(run, tmp_path, labels):
    write_coco3d(run, tmp_path / "c.json", labels=labels)
    told = json.loads((tmp_path / "c.json").read_text())
    fold_of = {image["scan"]: image["patient_fold"] for image in told["images"]}
    check(run, fold_of)
    _, negative = truth(run)
    names = {image["id"]: image["scan"] for image in told["images"]}
    assert {names[one["image_id"]] for one in told["annotations"]} == fold_of.keys() - negative
    write_boxes_csv(run, tmp_path / "b.csv", labels=labels)
    with (tmp_path / "b.csv").open(newline="") as file:
        rows = {row["scan"]: row["patient_fold"] for row in csv.DictReader(file)}
    assert rows == {name: fold for name, fold in fold_of.items() if name not in negative}


def test_the_same_seed_gives_the_same_files_and_another_does_not(run, tmp_path):
    def export(number):
        (out := tmp_path / str(number)).mkdir()
        made = write_nnunet(run, out / "raw", labels="nodules").folder
        write_monai(run, out / "m.json", testing="2")
        write_coco3d(run, out / "c.json")
        files = [made / "splits_final.json", write_nndetection(run, out).folder / "preprocessed" / "splits_final.pkl"]
        return [path.read_bytes() for path in (*files, out / "m.json", out / "c.json")]

    before, kept = export(1), (run / "folds.json").read_bytes()
    table = run.parent / "p.csv"
    try:
        make_folds(run, count=3, seed=5, patients=table, overwrite=True)
        assert export(2) == before
        make_folds(run, count=3, seed=6, patients=table, overwrite=True)
        assert all(one != other for one, other in zip(export(3), before, strict=True))
    finally:
        (run / "folds.json").write_bytes(kept)


def test_scans_without_a_fold_are_in_no_list_that_holds_folds_out(run, tmp_path, monkeypatch):
    first = min(truth(run)[0])
    real = hilum.RunScan.patient_fold.fget
    monkeypatch.setattr(hilum.RunScan, "patient_fold", property(lambda s: "" if s.scan_id == first else real(s)))
    made = write_monai(run, tmp_path / "list.json")
    told = json.loads((tmp_path / "list.json").read_text())
    assert first not in named(entry for part in told.values() for entry in part)
    assert made.scans == len(PATIENTS) - 1
    assert [(skip.scan, skip.code) for skip in made.skipped] == [(first, "no-fold")]
    monkeypatch.setattr(hilum.RunScan, "patient_fold", property(lambda _: "0"))  # all in one: nothing to hold out
    made = write_monai(run, tmp_path / "list.json", overwrite=True)
    told = json.loads((tmp_path / "list.json").read_text())
    assert (len(told["training"]), told["validation"], told["testing"]) == (len(PATIENTS), [], [])
    assert [skip.code for skip in made.skipped] == ["no-folds"]
