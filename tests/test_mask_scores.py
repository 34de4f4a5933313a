"""The score of segmentations: by hand, by numpy, over folders and runs; what does not fit is refused."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from public_face import write_face_folder

import hilum
from hilum import cli
from hilum.errors import AnnotationError, GeometryError, InputError, InputTypeError, MissingInputError
from hilum.outputs.folds import FoldsRecord, ScanFold, write_folds

GRID = hilum.Geometry((6, 20, 24), (2.5, 0.7, 0.9), (3.0, -4.0, 5.0))


def boxes(*spans, grid=GRID, names=None):
    """A mask with the labels 1, 2, ... in boxes: (z0, z1, y0, y1, x0, x1)."""
    array = np.zeros(grid.shape, np.uint8)
    for value, (a, b, c, d, e, f) in enumerate(spans, 1):
        array[a:b, c:d, e:f] = value
    return hilum.Mask(array, grid, names or {})


ONE, SHIFTED = (1, 4, 4, 12, 4, 14), (1, 4, 4, 12, 6, 16)
EMPTY = (0, 0, 0, 0, 0, 0)


def folder(path, **masks):
    path.mkdir()
    for name, mask in masks.items():
        hilum.write(mask, path / f"{name}.nii.gz")
    return path


def test_a_case_by_hand():
    score = hilum.score(boxes(SHIFTED), boxes(ONE), tolerance_mm=1.8)
    (case,) = score.cases
    voxel = 2.5 * 0.7 * 0.9 / 1000
    assert (case.case, case.label, case.value) == ("mask", "1", 1)
    assert case.dice == pytest.approx(8 / 10)  # moved by two of ten voxels
    assert case.surface_dice == 1.0  # by 1.8 mm
    assert case.hd95_mm == pytest.approx(1.8)
    assert case.truth_ml == case.prediction_ml == pytest.approx(3 * 8 * 10 * voxel)
    assert hilum.score(boxes(SHIFTED), boxes(ONE), tolerance_mm=1.7).cases[0].surface_dice < 1
    means = score.labels[0].means
    assert means["dice"] == pytest.approx((0.8, math.nan, math.nan), nan_ok=True)  # one patient: no interval
    assert means["volume_difference_ml"][0] == 0


def test_labels_that_are_empty_on_one_side_or_both():
    truth, none = boxes(ONE), boxes(EMPTY)
    score = hilum.score({"a": truth, "b": none, "c": truth, "d": none}, {"a": truth, "b": truth, "c": none, "d": none})
    by_case = {row.case: row for row in score.cases}
    assert set(by_case) == {"a", "b", "c"}  # nobody has a label in d
    for name in "bc":
        assert (by_case[name].dice, by_case[name].surface_dice) == (0, 0)
        assert by_case[name].hd95_mm == by_case[name].assd_mm == math.inf
    (label,) = score.labels
    assert (score.pairs, label.cases, label.missed, label.extra) == (4, 3, 1, 1)
    assert label.means["dice"][0] == pytest.approx(1 / 3)
    assert label.means["hd95_mm"][0] == 0  # of the case that has both
    lonely = hilum.score(none, truth).labels[0].means
    assert all(map(math.isnan, lonely["assd_mm"]))
    assert hilum.score(none, none).labels == ()


def test_labels_count_by_value_or_all_as_one():
    truth = boxes(ONE, (1, 4, 4, 12, 16, 20), names={1: "right", 2: "left"})
    swapped = hilum.Mask(np.array([0, 2, 1], np.uint8)[truth.array], GRID)
    score = hilum.score(swapped, truth)
    assert [(row.label, row.value, row.dice) for row in score.cases] == [("right", 1, 0), ("left", 2, 0)]
    (merged,) = hilum.score(swapped, truth, merge=True).cases
    assert (merged.label, merged.dice) == ("any label", 1)
    with pytest.raises(AnnotationError, match=r"label 1 is called 'left' and 'right'.*--merge"):
        hilum.score(hilum.Mask(swapped.array, GRID, {1: "left"}), truth)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), min_size=2, max_size=8), st.integers(0, 99))
def test_intervals_are_those_of_a_loop_over_patients(cases, seed):
    grid = hilum.Geometry((1, 4, 25), (1.0, 1.0, 1.0))
    truth = hilum.Mask(np.ones(grid.shape, np.uint8), grid)
    names = [f"case{k}" for k in range(len(cases))]
    patients = [f"p{who}" for who, _ in cases]
    predicted = {}
    for name, (_, share) in zip(names, cases, strict=True):
        flat = np.zeros(100, np.uint8)
        flat[: 1 + round(99 * share)] = 1
        predicted[name] = hilum.Mask(flat.reshape(grid.shape), grid)
    dice = np.array([2 * m.array.sum() / (m.array.sum() + 100) for m in predicted.values()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hilum.train.mask_scores.read_patients", lambda _: dict(zip(names, patients, strict=True)))
        score = hilum.score(predicted, dict.fromkeys(names, truth), patients="table.csv", bootstrap=200, seed=seed)
    units = sorted(set(patients))
    generator, draws = np.random.default_rng(seed), []
    for _ in range(200):
        chosen = [units[k] for k in generator.integers(len(units), size=len(units))]
        draws.append(np.mean([dice[k] for one in chosen for k, who in enumerate(patients) if who == one]))
    draws.sort()
    assert score.patients == len(units)
    bounds = (draws[5], draws[195]) if len(units) > 1 else (math.nan, math.nan)
    assert score.labels[0].means["dice"] == pytest.approx((dice.mean(), *bounds), nan_ok=True)
    again = hilum.score(predicted, dict.fromkeys(names, truth), bootstrap=0).labels[0].means["dice"]
    assert again[0] == pytest.approx(dice.mean())
    assert math.isnan(again[1])


def test_folders_are_paired_by_name(tmp_path, capsys):
    truth = folder(tmp_path / "labelsTs", case1=boxes(ONE), case2=boxes(ONE))
    ours = folder(tmp_path / "out", case1=boxes(SHIFTED), case2_pred=boxes(ONE), case3=boxes(ONE))
    table = tmp_path / "scores.csv"
    assert cli.main(["score", str(ours), str(truth), "--tolerance-mm", "1", "--out", str(table)]) == 0
    told = capsys.readouterr()
    assert "label 1: 2 of 2 cases" in told.out
    assert "  Dice                   0.9000  [0.8000, 1.0000]" in told.out
    assert "1000 bootstrap samples of 2 patients, seed 0" in told.out
    assert "masks-paired: 2 cases by their names" in told.err
    assert "1 of 3 predictions have no true mask: case3" in told.err
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["case"], float(row["dice"])) for row in rows] == [("case1", 0.8), ("case2", 1.0)]
    assert cli.main(["score", str(ours), str(truth), "--out", str(table)]) == 1
    assert cli.main(["score", str(ours), str(truth), "--out", str(table), "--overwrite"]) == 0
    assert cli.main(["score", str(ours), str(truth), "--out", "x.txt"]) == 1
    capsys.readouterr()
    assert cli.main(["score", str(ours), str(truth), "--json", "--out", str(tmp_path / "s.json")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "s.json").read_text())
    assert record["labels"][0]["means"]["dice"] == [0.9, 0.8, 1.0]


def test_numbers_that_are_not_finite_are_null(tmp_path, capsys):
    truth, ours = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    hilum.write(boxes(ONE), truth)
    hilum.write(boxes(EMPTY), ours)
    assert cli.main(["score", str(ours), str(truth), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"][0]["hd95_mm"] is None
    assert cli.main(["score", str(ours), str(truth)]) == 0
    assert "label 1: 1 of 1 cases, 1 missed\n" in capsys.readouterr().out


def test_folders_of_cases_are_paired_by_folder(tmp_path):
    for root, span in (("truth", ONE), ("ours", SHIFTED)):
        (tmp_path / root).mkdir()
        for case in ("p1", "p2"):
            folder(tmp_path / root / case, tumor=boxes(span))
    score = hilum.score(tmp_path / "ours", tmp_path / "truth")
    assert [row.case for row in score.cases] == ["p1", "p2"]


def test_what_does_not_pair_is_refused(tmp_path):
    truth = folder(tmp_path / "truth", case1=boxes(ONE), case2=boxes(ONE))
    one = folder(tmp_path / "one", case1=boxes(ONE))
    with pytest.raises(AnnotationError, match=r"1 of 2 true masks have no prediction: case2; .*--allow-missing"):
        hilum.score(one, truth)
    score = hilum.score(one, truth, allow_missing=True)
    assert (score.pairs, [note.code for note in score.notes]) == (1, ["masks-paired", "truth-without-prediction"])
    two = folder(tmp_path / "two", case1_a=boxes(ONE), case1_b=boxes(ONE), case2=boxes(ONE))
    with pytest.raises(AnnotationError, match="2 masks belong to the case case1: case1_a, case1_b"):
        hilum.score(two, truth)
    hilum.write(boxes(ONE), one / "case1.nrrd")
    with pytest.raises(AnnotationError, match="two label maps"):
        hilum.score(one, truth)
    other = folder(tmp_path / "other", x=boxes(ONE))
    with pytest.raises(AnnotationError, match="no label map of"):
        hilum.score(other, truth)
    with pytest.raises(AnnotationError, match="none of the 1 predictions"):
        hilum.score({"a": boxes(ONE)}, {"b": boxes(ONE)})
    with pytest.raises(InputError, match="are the same"):
        hilum.score(truth, truth)
    with pytest.raises(MissingInputError, match="holds no mask"):
        hilum.score(folder(tmp_path / "empty"), truth)
    with pytest.raises(MissingInputError, match="no such file"):
        hilum.score(tmp_path / "nowhere", truth)


def test_wrong_arguments_are_refused(tmp_path):
    one = boxes(ONE)
    with pytest.raises(InputTypeError, match="cannot be compared"):
        hilum.score(one, tmp_path)
    with pytest.raises(InputTypeError, match="is no mask"):
        hilum.score({"a": one.array}, {"a": one})
    with pytest.raises(InputTypeError, match="is no path"):
        hilum.score(one.array, one.array)
    for wrong in ({"tolerance_mm": -1}, {"tolerance_mm": math.nan}, {"grid": "near"}, {"bootstrap": -1}, {"seed": -1}):
        with pytest.raises(InputError, match=next(iter(wrong)).split("_")[0].replace("bootstrap", "samples")):
            hilum.score(one, one, **wrong)
    (tmp_path / "p.csv").write_text("seriesuid,patient_id\nother,1\n")
    with pytest.raises(AnnotationError, match="no row has the name of a case"):
        hilum.score(one, one, patients=tmp_path / "p.csv")


def test_another_grid_is_refused_or_placed_as_stated():
    turned = GRID.direction[0], tuple(np.negative(GRID.direction[1])), tuple(np.negative(GRID.direction[2]))
    far = GRID.index_to_world((0, GRID.shape[1] - 1, GRID.shape[2] - 1))
    flipped = hilum.Mask(boxes(ONE).array[:, ::-1, ::-1], hilum.Geometry(GRID.shape, GRID.spacing, tuple(far), turned))
    truth = boxes(ONE)
    with pytest.raises(GeometryError, match=r"mask: prediction and truth lie on different grids.*--grid world"):
        hilum.score(flipped, truth)
    assert hilum.score(flipped, truth, grid="world").cases[0].dice == 1
    assert hilum.score(flipped, truth, grid="voxels").cases[0].dice < 0.5  # it says that its voxels are the truth's
    wider = hilum.Geometry((6, 20, 30), GRID.spacing, GRID.origin)
    array = np.zeros(wider.shape, np.uint8)
    array[1:4, 4:12, 4:28] = 1
    with pytest.raises(GeometryError, match="different grids"):
        hilum.score(hilum.Mask(array, wider), truth, grid="voxels")
    score = hilum.score(hilum.Mask(array, wider), truth, grid="world")
    assert [note.code for note in score.notes] == ["prediction-outside"]
    assert "0.151 ml of label 1 lie outside" in score.notes[0].text
    nearly = hilum.Geometry(GRID.shape, GRID.spacing, tuple(np.add(GRID.origin, 1e-4)))
    assert hilum.score(hilum.Mask(truth.array, nearly), truth).cases[0].dice == 1


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("scored")
    write_face_folder(home)
    return home


def test_runs_are_scored_against_files_and_runs(run_folder, tmp_path):
    run = hilum.open_run(run_folder / "OUT")
    (scan,) = run
    truth = folder(tmp_path / "truth", **{scan.scan_id: scan.lungs})
    score = hilum.score(run, truth)
    assert [(row.case, row.label, row.dice) for row in score.cases] == [
        (scan.scan_id, name, 1.0) for name in ("right lung", "left lung")
    ]
    write_folds(run.folder, FoldsRecord(version="1", folds=2, seed=0, stratify="none",
                                        scans={scan.scan_id: ScanFold(fold=0, patient="patient-0001")}))  # fmt: skip
    try:
        assert hilum.score(truth, run).cases[0].patient == "patient-0001"
        nodules = folder(tmp_path / "nodules", **{scan.scan_id: scan.nodule_mask})
        (merged,) = hilum.score(nodules, run, labels="nodules", merge=True).cases
        assert merged.dice == 1
    finally:
        (run.folder / "folds.json").unlink()
    with pytest.raises(MissingInputError, match="no scan of the run has lobes"):
        hilum.score(run, truth, labels="lobes")


def test_the_score_does_not_depend_on_the_threads():
    assert hilum.score(boxes(SHIFTED), boxes(ONE), workers=1) == hilum.score(boxes(SHIFTED), boxes(ONE), workers=3)
