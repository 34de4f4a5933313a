"""Folds of a finished run: no patient in two, as much of each label in each, and no scan made again."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict

import numpy as np
import pydicom
import pytest
from lidc_message import SERIES, message, nodule, roi
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from small_runs import append_row, everything, faults, finished_scans, tree
from training_inputs import make_run

import hilum
from hilum import Geometry, Volume
from hilum.batch.task import finished_row
from hilum.cli import main
from hilum.errors import AnnotationError, FormatError, InputError, MissingInputError, OutputError
from hilum.export.boxes import write_boxes_csv, write_monai
from hilum.export.nnunet import write_nnunet
from hilum.outputs.folds import NAME, read_folds
from hilum.outputs.store import store_scan
from hilum.phantom.files import write_dicom_series
from hilum.train.folds import deal, group_scans, make_folds
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches
from hilum.train.runs import list_run

GRID = Geometry((8, 24, 24), (5.0, 2.0, 2.0), (-20.0, 5.0, -100.0))
CASES = [f"LIDC-IDRI-{k:04d}" for k in (1, 1, 2, 3, 4, 4, 5, 6, 7, 8)]  # two patients have two scans


def stratum(value):
    return ((isinstance(value, str), value),)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_every_fold_has_as_many_patients_of_each_label(count):
    generator = np.random.default_rng(count)
    for size in (count, 17, 100, 101):
        labels = {f"p{k}": stratum(["a", "b", 0, 1, 2.5][int(generator.choice(5, p=[0.6, 0.2, 0.1, 0.07, 0.03]))])
                  for k in range(size)}  # fmt: skip
        fold_of = deal({name: (label, 1) for name, label in labels.items()}, count=count, seed=3)
        assert fold_of.keys() == labels.keys()
        assert set(fold_of.values()) <= set(range(count))
        for label in {None, *labels.values()}:
            sizes = Counter(fold_of[name] for name in labels if label in {None, labels[name]})
            assert max(sizes.values()) - min(sizes[fold] for fold in range(count)) <= 1


def test_patients_with_several_scans_are_spread_too():
    generator = np.random.default_rng(1)
    patients = {f"p{k}": (stratum("yn"[k % 3 == 0]), int(generator.integers(1, 4))) for k in range(200)}
    fold_of = deal(patients, count=5, seed=0)
    scans = Counter()
    for name, (_, number) in patients.items():
        scans[fold_of[name]] += number
    assert max(scans.values()) - min(scans.values()) <= 3  # scans of one patient


def test_the_seed_decides_and_the_order_does_not():
    patients = {f"p{k}": (stratum("yn"[k % 2]), 1) for k in range(40)}
    first = deal(patients, count=5, seed=0)
    assert deal(dict(reversed(patients.items())), count=5, seed=0) == first
    others = [deal(patients, count=5, seed=seed) for seed in range(1, 6)]
    assert all(other != first for other in others)
    together = [sum(other[a] == other["p0"] for a in patients) for other in others]
    assert set(together) == {8}


@pytest.mark.parametrize("seed", range(20))
def test_scans_are_grouped_as_a_graph_is_connected(seed):
    generator = np.random.default_rng(seed)
    keys = {f"s{k:02d}": {f"k{v}" for v in generator.integers(0, 30, generator.integers(0, 3))} for k in range(30)}
    names = [*keys, *sorted({key for known in keys.values() for key in known})]
    edges = [(names.index(name), names.index(key)) for name, known in keys.items() for key in known]
    rows, columns = np.array(edges).T
    _, labels = connected_components(coo_array((np.ones(len(edges)), (rows, columns)), shape=(len(names),) * 2))
    wanted = defaultdict(list)
    for name, label in zip(keys, labels, strict=False):
        wanted[label].append(name)
    assert group_scans(keys) == sorted(wanted.values())


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Ten series of eight patients, as The Cancer Imaging Archive stores them; every second one has a nodule."""
    root = tmp_path_factory.mktemp("folds") / "LIDC"
    for k, case in enumerate(CASES):
        home = root / case / f"study{k}" / "series"
        write_dicom_series(Volume(np.full(GRID.shape, -900 + k, np.int16), GRID), home, series_uid=f"{SERIES}.{k}")
        found = [nodule(roi(-95.0, [(8, 8), (12, 8), (12, 12), (8, 12), (8, 8)]))] if k % 2 else [""]
        (home / "a.xml").write_text(message(*found, series=f"{SERIES}.{k}"))
    return root


@pytest.fixture(scope="module")
def finished(archive):
    recipe = archive.parent / "tiny.toml"
    recipe.write_text('name = "tiny"\n[lungs]\nmethod = "none"\n[resample]\ngrid = "native"\n')
    assert main(["run", str(archive), "--recipe", str(recipe), "--out", str(archive.parent / "RUN")]) == 0
    return archive.parent / "RUN"


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "RUN")


def patient_of(folder):
    """The true patient of each scan, from the cases of the archive."""
    uids = {record.scan_id: record.series_uid for _, record in finished_scans(folder)}
    return {name: CASES[int(uid.rpartition(".")[2])] for name, uid in uids.items()}


def test_the_two_scans_of_a_patient_are_in_one_fold(run, capsys):
    made = make_folds(run, count=4)
    scans, truth = made.record.scans, patient_of(run)
    assert {name: scan.patient for name, scan in scans.items()} == truth
    assert len({(scan.patient, scan.fold) for scan in scans.values()}) == 8
    assert sorted(Counter(fold for fold, _ in {(s.fold, s.patient) for s in scans.values()}).values()) == [2, 2, 2, 2]
    assert (made.record.stratify, made.notes) == ("nodules", [])
    has = {record.scan_id: bool(record.nodules) for _, record in finished_scans(run)}
    for name, scan in scans.items():
        here = {has[other] for other in scans if truth[other] == truth[name]}
        assert scan.stratum == " + ".join({False: "no nodules", True: "nodules"}[one] for one in sorted(here))
    assert read_folds(run) == made.record
    capsys.readouterr()
    assert main(["folds", str(run), "--folds", "4", "--overwrite"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "folds.json: 4 folds of 8 patients, 10 scans; stratified by nodules, seed 0\nfold 0: 2 pat" in shown.out
    assert read_folds(run) == made.record


def test_folds_change_no_scan_and_a_rerun_keeps_them(archive, run):
    before = tree(run)
    make_folds(run)
    after = tree(run)
    assert after.keys() - before.keys() == {NAME}
    assert all(after[name] == data for name, data in before.items())
    assert faults(run) == []
    again = ["run", str(archive), "--recipe", str(archive.parent / "tiny.toml"), "--out", str(run)]
    assert main(again) == 0
    assert tree(run)[NAME] == after[NAME]
    assert tree(run)["scans.csv"] == before["scans.csv"]


def test_the_feed_and_the_exports_use_the_folds(run, tmp_path):
    assert {scan.fold for scan in list_run(run)[0]} == {""}
    made = make_folds(run, count=3, seed=5).record.scans
    for fold_by in ("fold", "patient_fold"):
        scans, _ = list_run(run, fold_by=fold_by)
        assert {one.scan_id: one.fold for one in scans} == {name: str(one.fold) for name, one in made.items()}
    assert {scan.fold for scan in list_run(run, fold_by="cancer")[0]} == {""}
    feed = hilum.PatchDataset(run, size=4, jitter_mm=0, rule="uniform", folds=["1"])
    assert {scan.scan_id for scan in feed.scans} == {name for name, one in made.items() if one.fold == 1}
    splits = json.loads(
        (write_nnunet(run, tmp_path / "raw", labels="nodules").folder / "splits_final.json").read_text()
    )
    assert [set(split["val"]) for split in splits] == [{n for n, s in made.items() if s.fold == k} for k in range(3)]
    assert all(set(split["train"]) | set(split["val"]) == set(made) for split in splits)
    write_monai(run, tmp_path / "m.json", validation="2")
    parts = json.loads((tmp_path / "m.json").read_text())
    names = {part: {one["image"].split("/")[1] for one in parts[part]} for part in ("training", "validation")}
    with_nodules = {record.scan_id for _, record in finished_scans(run)}
    assert names["validation"] == {n for n, s in made.items() if s.fold == 2} & with_nodules
    assert names["training"].isdisjoint(names["validation"])
    write_boxes_csv(run, tmp_path / "b.csv")
    lines = [line.split(",") for line in (tmp_path / "b.csv").read_text().splitlines()]
    column = lines[0].index("patient_fold")
    assert {line[0]: line[column] for line in lines[1:]}.items() <= {n: str(s.fold) for n, s in made.items()}.items()
    write_patches(run, tmp_path / "p", PatchOptions(size=4, jitter_mm=0, negatives=0))
    lines = [line.split(",") for line in (tmp_path / "p" / "index.csv").read_text().splitlines()]
    at = [lines[0].index(name) for name in ("scan", "fold")]
    assert {line[at[0]]: line[at[1]] for line in lines[1:]}.items() <= {n: str(s.fold) for n, s in made.items()}.items()
    assert len(lines) == 6


def test_another_store_of_a_run_has_its_folds(run, tmp_path):
    made = make_folds(run).record
    assert main(["store", str(run), "--format", "npy", "--out", str(tmp_path / "NPY")]) == 0
    assert read_folds(tmp_path / "NPY") == made
    assert faults(tmp_path / "NPY") == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda found: found["scans"].popitem(), "has no fold for 1 of 10 finished scans"),
        (lambda found: found["scans"].clear(), "has no fold for 10 of 10"),
        (lambda found: next(iter(found["scans"].values())).update(fold=4), "out of range"),
        (lambda found: next(iter(found["scans"].values())).update(fold=-1), "out of range"),
        (lambda found: [one.update(patient="a") for one in found["scans"].values()], "a patient is in several folds"),
        (lambda found: found["scans"].update({"../x": {"fold": 0, "patient": "b"}}), "out of range"),
        (lambda found: found.pop("seed"), "seed"),
    ],
)
def test_folds_that_do_not_fit_the_run_are_refused(run, change, text):
    make_folds(run, count=4)
    found = json.loads((run / NAME).read_text())
    change(found)
    (run / NAME).write_text(json.dumps(found))
    with pytest.raises(InputError, match=text) as caught:
        list_run(run)
    assert caught.value.code == "folds"
    assert "hilum folds OUT --overwrite" in str(caught.value)
    make_folds(run, count=4, overwrite=True)
    assert len(list_run(run)[0]) == 10


def test_folds_that_are_no_file_are_refused(run):
    (run / NAME).write_bytes(b"\xff{")
    with pytest.raises(FormatError, match="is not a list of folds"):
        list_run(run)
    (run / NAME).unlink()
    (run / NAME).symlink_to(run / "dataset.json")
    with pytest.raises(InputError):
        list_run(run)


def test_what_makes_no_folds_is_refused(run, tmp_path, capsys):
    for options, text in (
        ({"count": 1}, "folds 1 or seed 0 is out of range"),
        ({"seed": -1}, "out of range"),
        ({"count": 9}, "8 patients are too few for 9 folds"),
        ({"stratify": "cancer"}, "no scan has the label 'cancer'; stratify by one of nodules, none"),
    ):
        with pytest.raises(InputError, match=text):
            make_folds(run, **options)
    with pytest.raises(MissingInputError, match="does not exist"):
        make_folds(tmp_path / "nothing")
    assert not (run / NAME).exists()
    make_folds(run, count=8)
    with pytest.raises(OutputError, match="exists already"):
        make_folds(run)
    assert main(["folds", str(run)]) == 1
    assert "give --overwrite" in capsys.readouterr().err
    next(run.glob("scans/*/scan.json")).write_text("{}")
    with pytest.raises(FormatError, match=r"its scan\.json is missing or has changed"):
        make_folds(run, overwrite=True)


def anonymous(finished, target, *, patients):
    """The same scans in folders without cases; each header has the PatientID of its number."""
    for k, patient in enumerate(patients):
        shutil.copytree(finished.parent / "LIDC" / CASES[k] / f"study{k}", target / f"x{k}")
        for path in (target / f"x{k}").rglob("*.dcm"):
            header = pydicom.dcmread(path)
            header.PatientID = patient
            header.save_as(path)
    return target


@pytest.mark.parametrize("uids", ["keep", "hash"])
def test_the_patient_id_of_the_headers_groups_and_is_not_written(finished, tmp_path, capsys, uids):
    ids = ["QQ-SMITH" if k in {0, 7} else f"QQ-{k}" for k in range(10)]
    source = anonymous(finished, tmp_path / "in", patients=ids)
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"{(finished.parent / 'tiny.toml').read_text()}[output]\nseries_uid = '{uids}'\n")
    out = tmp_path / "OUT"
    assert main(["run", str(source), "--recipe", str(recipe), "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["folds", str(out)]) == 0
    shown = capsys.readouterr()
    assert "unknown-patient: 10 of 10 scans name no patient" in shown.err
    assert "5 folds of 10 patients, 10 scans" in shown.out
    assert main(["folds", str(out), "--source", str(source), "--overwrite"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "5 folds of 9 patients, 10 scans" in shown.out
    scans = read_folds(out).scans
    assert sorted(Counter(scan.patient for scan in scans.values()).values()) == [1] * 8 + [2]
    assert {scan.patient for scan in scans.values()} == {f"patient-{k:04d}" for k in range(1, 10)}
    assert not any(b"QQ-" in part or b"SMITH" in part for part in everything(out))
    assert "QQ-" not in shown.out + shown.err
    same = anonymous(finished, tmp_path / "same", patients=["ANON"] * 10)
    with pytest.raises(InputError, match=r"1 patients are too few.*if PatientID was anonymized, leave --source out"):
        make_folds(out, sources=[same], overwrite=True)
    blank = anonymous(finished, tmp_path / "blank", patients=[""] * 10)
    assert make_folds(out, sources=[blank], overwrite=True).notes[0].text.startswith("10 of 10 scans")
    other = tmp_path / "other"
    write_dicom_series(Volume(np.full(GRID.shape, -700, np.int16), GRID), other, series_uid="1.2.3.4")
    with pytest.raises(InputError, match="holds no series of the run"):
        make_folds(out, sources=[source, other], overwrite=True)


def test_a_table_groups_scans_by_series_or_id(tmp_path):
    make_run(tmp_path)
    table = tmp_path / "patients.csv"
    table.write_text("seriesuid,patient_id\n1.2.3.0,Anna\nct-d,Anna\n1.2.3.2,Bert\n1.2.3.9,Anna\n")
    made = make_folds(tmp_path, count=3, patients=table)
    assert [scan.patient for scan in made.record.scans.values()] == [f"patient-000{k}" for k in (1, 2, 3, 1)]
    assert [str(note)[:29] for note in made.notes] == ["unknown-patient: 1 of 4 scans"]
    assert "Anna" not in (tmp_path / NAME).read_text()
    table.write_text("seriesuid,patient_id\n1.2.3.9,Anna\n")
    with pytest.raises(AnnotationError, match="no row belongs to a scan"):
        make_folds(tmp_path, count=3, patients=table, overwrite=True)


def test_files_of_one_name_are_different_patients_and_one_series_is_not(tmp_path):
    grid = Geometry((2, 3, 4), (1.0, 1.0, 1.0))
    for k, uid in enumerate(("ct", "ct", "1.2.3", "1.2.3", "1.2.4")):
        scan = hilum.Scan(uid, Volume(np.zeros(grid.shape, np.int16), grid))
        names = {"scan_id": f"s{k}", "file_format": "npy", "recipe_name": "x", "recipe_sha256": "0"}
        record = store_scan(scan, tmp_path / "scans", source=grid, fingerprint="0", **names)
        append_row(tmp_path, finished_row(tmp_path / "scans" / f"s{k}", record, stamp=""))
    made = make_folds(tmp_path, count=4)
    assert [scan.patient[-1] for scan in made.record.scans.values()] == ["1", "2", "3", "3", "4"]
    assert made.notes[0].text.startswith("5 of 5 scans name no patient")


def test_a_label_is_spread_and_folds_of_the_data_set_are_told(tmp_path, capsys):
    """As a data set with diagnoses and folds: every fold gets its part of each value, numbers too."""
    grid = Geometry((2, 3, 4), (1.0, 1.0, 1.0))
    for k in range(23):
        labels = {"fold": 0, **({"cancer": int(k % 3 == 0)} if k < 20 else {}), "age": 40 + k}
        scan = hilum.Scan(f"1.2.3.{k}", Volume(np.zeros(grid.shape, np.int16), grid), labels=labels)
        names = {"scan_id": f"s{k:02d}", "file_format": "npy", "recipe_name": "x", "recipe_sha256": "0"}
        record = store_scan(scan, tmp_path / "scans", source=grid, fingerprint="0", **names)
        append_row(tmp_path, finished_row(tmp_path / "scans" / f"s{k:02d}", record, stamp=""))
    assert main(["folds", str(tmp_path), "--seed", "1"]) == 0
    shown = capsys.readouterr()
    assert "folds-replaced: the data set has folds of its own" in shown.err
    assert "stratified by cancer, seed 1" in shown.out
    assert {scan.fold for scan in list_run(tmp_path)[0]} == set("01234")
    scans = read_folds(tmp_path).scans
    for value, number in (("0", 13), ("1", 7), ("no label", 3)):
        sizes = Counter(scan.fold for scan in scans.values() if scan.stratum == value)
        assert sum(sizes.values()) == number
        assert max(sizes.values()) - min(sizes[k] for k in range(5)) <= 1
    by_age = make_folds(tmp_path, stratify="age", overwrite=True).record
    ages = defaultdict(list)
    for name, scan in by_age.scans.items():
        ages[scan.fold].append(40 + int(name[1:]))
    assert max(map(np.mean, ages.values())) - min(map(np.mean, ages.values())) <= 5
    assert make_folds(tmp_path, stratify="none", overwrite=True).record.scans["s00"].stratum == "all"
    assert make_folds(tmp_path, stratify="nodules", overwrite=True).record.scans["s00"].stratum == "not annotated"
