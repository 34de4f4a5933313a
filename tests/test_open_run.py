"""A finished run as a value: what it counts, reads and refuses, and how much it reads for that."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import sys

import msgspec
import numpy as np
import pytest
import SimpleITK
from small_runs import append_row, rewrite_ledger, tree
from training_inputs import make_run, replace_record

import hilum
from hilum import batch
from hilum.export.boxes import write_boxes_csv
from hilum.outputs import finished
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import Row, encode_row, read_ledger
from hilum.phantom.chest import make_phantom
from hilum.report.page import write_report
from hilum.stats import fingerprint
from hilum.train.folds import make_folds
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches
from hilum.train.slices import write_slices
from hilum.verify import verify

IDS = ("ct-a", "ct-b", "ct-c", "ct-d")
LOBES = {"ct-a": {"upper": 2, "lower": 5}, "ct-c": {"upper": 2, "lower": 5}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "OUT", file_format="nifti", lobes=LOBES)


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made, tmp_path / "OUT")


def test_a_run_has_a_length_an_order_and_scans_by_id_and_number(made):
    run = hilum.open_run(str(made))
    assert [scan.scan_id for scan in run] == list(IDS) == list(run.ids)
    assert (len(run), len(list(run))) == (4, 4)
    assert run["ct-b"].scan_id == run[1].scan_id == run[-3].scan_id == "ct-b"
    assert ("ct-b" in run, "ct-e" in run, "ct-z" in run) == (True, False, False)
    assert hilum.open_run(run) is run
    assert run.status == {"done": 4, "repaired": 0, "refused": 1, "failed": 0}
    assert [(row.id, row.reason) for row in run.refused] == [("ct-e", "tilted")]
    assert run.failed == ()
    assert run[np.int64(1)].scan_id == "ct-b"
    assert [] not in run
    with pytest.raises(IndexError):
        run[4]
    with pytest.raises(hilum.InputTypeError, match=r"a slice is no id .* list\(run\)\[:3\] is a list"):
        run[:3]
    assert repr(run) == f"Run({str(made)!r}: 4 finished scans (4 done, 1 refused))"
    assert repr(run[0]) == "RunScan(ct-a: done)"


def test_the_parts_of_a_scan_are_those_that_other_libraries_read(made):
    for scan in hilum.open_run(made):
        image = SimpleITK.ReadImage(str(scan.folder / "ct.nii.gz"))
        assert np.array_equal(scan.ct.array, SimpleITK.GetArrayFromImage(image))
        last = tuple(n - 1 for n in scan.ct.shape)
        point = image.TransformIndexToPhysicalPoint(last[::-1])
        assert np.allclose(scan.ct.geometry.index_to_world(last), point, atol=1e-4)
        told = json.loads((scan.folder / "scan.json").read_text())
        assert [(one.center, one.diameter_mm) for one in scan.nodules] == [
            (tuple(one["world"]), one["diameter_mm"]) for one in told["nodules"]
        ]
        assert scan.figures == told["figures"]
        assert [(note.code, note.text) for note in scan.notes] == [(n["code"], n["text"]) for n in told["notes"]]
        assert type(scan.lungs) is hilum.Mask
        assert (scan.nodule_mask is None) == (scan.scan_id == "ct-c")
        assert list(scan.label_maps) == (["lobes", "none"] if scan.scan_id in LOBES else [])
        assert scan.ct is scan.ct  # read once
        assert scan.ct.geometry == scan.lungs.geometry == scan.geometry  # exact, though NIfTI stores single precision
    lobes = hilum.open_run(made)["ct-a"].label_maps["lobes"]
    assert dict(lobes.values) == LOBES["ct-a"]
    assert sorted(np.unique(lobes.mask.array)) == [0, 2, 5]


def test_a_whole_scan_has_every_part(made):
    scan = hilum.open_run(made)["ct-a"]
    whole = scan.scan()
    assert whole.ct is scan.ct
    assert whole.nodule_mask is scan.nodule_mask
    assert list(whole.label_maps) == ["lobes", "none"]
    assert not scan.scan(label_maps=False).label_maps
    assert (whole.annotated, len(whole.nodules), len(whole.nodule_figures)) == (True, 3, 3)


def test_opening_reads_the_ledger_alone_and_a_loop_keeps_no_volumes(made, monkeypatch):
    read: list[str] = []
    true_read = finished._record_bytes
    monkeypatch.setattr(finished, "_record_bytes", lambda folder: read.append(folder.name) or true_read(folder))
    monkeypatch.setattr(finished, "read_stored", lambda *_: pytest.fail("a volume was read"))
    run = hilum.open_run(made)
    assert (len(run), "ct-a" in run, run.status["refused"]) == (4, True, 1)
    assert run["ct-b"].folder.name == "ct-b"
    assert read == []
    assert run["ct-b"].annotated
    assert read == ["ct-b"]
    run.table()
    assert read == ["ct-b", *IDS]
    assert run["ct-a"] is not run["ct-a"]


def test_a_pickled_scan_reads_its_own_volumes(made):
    scan = hilum.open_run(made)["ct-a"]
    bare = len(pickle.dumps(scan))
    assert scan.ct.array.size > 10_000
    assert scan.lungs is not None
    assert scan.label_maps
    again = pickle.loads(pickle.dumps(scan))  # noqa: S301 - of our own making
    assert len(pickle.dumps(scan)) < bare + 20_000
    assert np.array_equal(again.ct.array, scan.ct.array)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ct-e", "ct-e: has no output (refused): tilted"),
        ("ct-f", "ct-f: the run has no scan of this id; the nearest ids are ct-e, ct-d, ct-c"),
        ("xyz", "xyz: the run has no scan of this id; run.ids has the ids"),
    ],
)
def test_an_unknown_id_is_a_key_error_that_names_the_nearest(made, name, said):
    with pytest.raises(hilum.UnknownScanError) as problem:
        hilum.open_run(made)[name]
    assert str(problem.value) == said
    assert isinstance(problem.value, KeyError)
    assert isinstance(problem.value, hilum.InputError)


def test_what_is_no_run_is_refused(made, tmp_path):
    with pytest.raises(hilum.MissingInputError, match=r"nowhere: does not exist; give the --out folder"):
        hilum.open_run(tmp_path / "nowhere")
    with pytest.raises(hilum.MissingInputError, match=r"no output of a run here; give the --out folder"):
        hilum.open_run(tmp_path)
    for inner in (made / "scans", made / "scans" / "ct-a"):
        with pytest.raises(hilum.MissingInputError, match=rf"no output of a run here; give {made.resolve()}$"):
            hilum.open_run(inner)


def test_a_scan_that_changed_is_refused_and_the_others_can_be_read(out):
    run = hilum.open_run(out)
    path = out / "scans" / "ct-b" / "scan.json"
    path.write_text(path.read_text().replace("1.2.3.1", "1.2.3.9"))
    (out / "scans" / "ct-d" / "ct.nii.gz").unlink()
    with pytest.raises(hilum.FormatError, match=r"ct-b: the ledger lists this scan as finished, but its scan\.json"):
        _ = run["ct-b"].ct
    with pytest.raises(hilum.FormatError, match="ct-b"):
        run.table()
    with pytest.raises(hilum.MissingInputError, match=r"ct\.nii\.gz: is missing"):
        _ = run["ct-d"].lungs
    assert run["ct-a"].ct.shape == (30, 48, 40)


def test_a_volume_on_another_grid_than_its_record_is_refused(out):
    path = out / "scans" / "ct-a" / "scan.json"
    told = json.loads(path.read_text())
    told["geometry"]["origin"][0] += 1.0
    replace_record(out, "ct-a", told)
    os.utime(path, ns=(path.stat().st_mtime_ns + 10**9,) * 2)
    with pytest.raises(hilum.GeometryError, match=r"the geometry of its ct differs from scan\.json"):
        _ = hilum.open_run(out)["ct-a"].ct


@pytest.mark.parametrize("note", [{}, {"code": "cropped"}, {"text": "cropped"}])
def test_a_note_without_a_code_or_a_text_is_no_record(out, note):
    told = json.loads((out / "scans" / "ct-a" / "scan.json").read_text())
    assert read_record(out / "scans" / "ct-a") is not None
    (out / "scans" / "ct-a" / "scan.json").write_text(json.dumps(told | {"notes": [note]}))
    assert read_record(out / "scans" / "ct-a") is None
    with pytest.raises(hilum.FormatError, match=r"its scan\.json is missing or damaged"):
        _ = hilum.RunScan(out / "scans" / "ct-a").notes


@pytest.mark.parametrize("name", ["ledger.jsonl", "scans"])
def test_no_link_is_followed(out, tmp_path, name):
    (out / name).rename(tmp_path / "elsewhere")
    (out / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(hilum.InputError, match="link"):
        hilum.open_run(out)


def test_neither_the_folder_of_a_scan_nor_its_files_may_be_links(out, tmp_path):
    (out / "scans" / "ct-a").rename(tmp_path / "elsewhere")
    (out / "scans" / "ct-a").symlink_to(tmp_path / "elsewhere")
    (out / "scans" / "ct-b" / "ct.nii.gz").rename(tmp_path / "ct.nii.gz")
    (out / "scans" / "ct-b" / "ct.nii.gz").symlink_to(tmp_path / "ct.nii.gz")
    for name in ("ct-a", "ct-b"):
        with pytest.raises(hilum.InputError, match="missing"):
            _ = hilum.open_run(out)[name].ct


def test_an_id_that_leads_out_is_no_scan(out):
    good = read_ledger(out)["ct-a"]
    with (out / "ledger.jsonl").open("ab") as file:
        file.write(encode_row(msgspec.structs.replace(good, id="../scans/ct-a")))
    assert hilum.open_run(out).ids == IDS


def test_a_run_in_progress_has_what_was_finished_when_it_was_opened(out):
    rows = read_ledger(out)
    rewrite_ledger(out, [rows["ct-a"], rows["ct-b"]])
    with (out / "ledger.jsonl").open("ab") as file:
        file.write(encode_row(rows["ct-c"])[:40])  # a line that is being written
    (out / "scans" / ".partial-1-ct-x").mkdir()
    run = hilum.open_run(out)
    assert run.ids == ("ct-a", "ct-b")
    assert [scan.scan_id for scan in run.unlisted] == ["ct-c", "ct-d"]
    rewrite_ledger(out, rows.values())
    assert (run.ids, hilum.open_run(out).ids) == (("ct-a", "ct-b"), IDS)
    assert run[0].ct.shape == (30, 48, 40)


def test_without_a_ledger_every_folder_of_a_scan_counts(out):
    (out / "ledger.jsonl").unlink()
    run = hilum.open_run(out)
    assert (run.ids, run.status["done"]) == (IDS, 0)
    assert run.table()["status"] == ["done"] * 4


def test_nothing_is_written(out):
    before = tree(out)
    run = hilum.open_run(out)
    run.table(every=True)
    run.folds()
    assert [scan.scan().ct.shape for scan in run]
    assert tree(out) == before


def test_folds_are_those_of_the_data_set_until_others_are_made(out):
    told = json.loads((out / "scans" / "ct-a" / "scan.json").read_text())
    replace_record(out, "ct-a", told | {"labels": {"fold": 3, "patient_fold": 1}})
    run = hilum.open_run(out)
    assert run.folds() == {"": ("ct-b", "ct-c", "ct-d"), "3": ("ct-a",)}
    assert run.folds("patient_fold")["1"] == ("ct-a",)
    assert [scan.fold for scan in run] == ["3", "", "", ""]
    record = make_folds(out, count=2).record
    run = hilum.open_run(out)
    wanted = {str(fold): tuple(n for n, one in record.scans.items() if one.fold == fold) for fold in (0, 1)}
    assert run.folds() == run.folds("patient_fold") == wanted
    assert run.table()["fold"] == [str(record.scans[name].fold) for name in IDS]
    written = json.loads((out / "folds.json").read_text())
    del written["scans"]["ct-c"]
    (out / "folds.json").write_text(json.dumps(written))
    with pytest.raises(hilum.InputError, match="has no fold for 1 of 4 finished scans, such as ct-c"):
        hilum.open_run(out).folds()
    assert len(hilum.open_run(out)) == 4


def test_a_table_has_the_columns_of_scans_csv_and_every_figure(tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(2):
        phantom = make_phantom(seed=k, shape=(40, 64, 64), spacing=(8.0, 6.0, 6.0))
        hilum.write(phantom.scan.ct, tmp_path / "in" / f"1.2.{k}.mhd")
    (tmp_path / "in" / "broken.mhd").write_text("ObjectType = Image\n")
    batch.run(batch.index([tmp_path / "in"])[0], hilum.recipe("default"), tmp_path / "OUT")
    run = hilum.open_run(tmp_path / "OUT")
    table, every = run.table(), run.table(every=True)
    with (tmp_path / "OUT" / "scans.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert {len(column) for column in table.values()} == {2} == {len(run)}
    assert {len(column) for column in every.values()} == {3} == {len(rows)}
    for k, name in enumerate(every["id"]):
        for column, text in rows[name].items():
            assert ("" if every[column][k] is None else str(every[column][k])) == text, column
    assert every["status"].count("refused") == 1
    assert every["lung_mean_hu"][every["status"].index("refused")] is None
    for k, scan in enumerate(run):
        assert {name: table[name][k] for name in scan.figures} == scan.figures
        assert table["unit"][k] == "HU"
    assert repr(table).startswith("RunTable(2 rows: id, dataset, series_uid")
    assert {type(cell) for column in every.values() for cell in column} <= {str, int, float, bool, type(None)}
    lungs = run[0].lungs
    assert lungs.names == {1: "right lung", 2: "left lung"}
    assert lungs.volume_ml("left lung") == pytest.approx(table["lung_left_ml"][0])
    assert {"lung_right_ml", "slice_thickness_mm", "spacing_z_mm"} <= table.keys()


def test_a_table_has_labels_and_the_volumes_of_label_maps(out):
    told = json.loads((out / "scans" / "ct-a" / "scan.json").read_text())
    replace_record(out, "ct-a", told | {"labels": {"cancer": 1, "id": "not this"}})
    run = hilum.open_run(out)
    table = run.table()
    assert table["cancer"] == [1, None, None, None]
    assert table["id"] == list(IDS)
    voxel_ml = np.prod(run["ct-a"].ct.spacing) / 1000
    volume = np.count_nonzero(run["ct-a"].label_maps["lobes"].mask.array == 2) * voxel_ml
    assert table["labels/lobes/upper_ml"][0] == pytest.approx(volume, abs=1e-6)
    assert table["labels/lobes/upper_ml"][1] is None
    assert table["label_maps"] == ["lobes none", "", "lobes none", ""]


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_table_becomes_a_data_frame_where_the_package_is_installed(made, monkeypatch, name):
    table = hilum.open_run(made).table(every=True)
    if _installed(name):
        frame = getattr(table, f"to_{name}")()
        assert frame.shape == (5, len(table))
        assert list(frame["id"]) == [*IDS, "ct-e"]
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        hilum.InputError, match=rf"needs the package {name}, which is not installed; pip install {name}"
    ):
        getattr(table, f"to_{name}")()


def _installed(name):
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_a_scan_that_failed_says_so(out):
    append_row(out, Row(id="ct-g", status="failed", code="crash", reason="the worker died"))
    run = hilum.open_run(out)
    assert [row.id for row in run.failed] == ["ct-g"]
    with pytest.raises(hilum.UnknownScanError, match=r"ct-g: has no output \(failed\): the worker died"):
        run["ct-g"]


def test_what_takes_the_folder_of_a_run_takes_the_run(out, tmp_path):
    run = hilum.open_run(out)
    assert os.fspath(run) == str(out)
    both = [hilum.PatchDataset(one, size=16, seed=3) for one in (out, run)]
    for ours, theirs in zip(*(hilum.batches(data, 2) for data in both), strict=True):
        assert np.array_equal(ours["image"], theirs["image"])
    assert len(pickle.dumps(both[1])) < len(pickle.dumps(both[0])) + 100
    assert fingerprint(run) == fingerprint(str(out))
    assert [list(map(str, verify(one))) for one in (run,)] == [list(map(str, verify(out)))]
    for number, one in enumerate((out, run)):
        write_patches(one, tmp_path / f"patches{number}", PatchOptions(size=16))
        write_slices(one, tmp_path / f"slices{number}")
        write_report(one, tmp_path / f"report{number}.html")
        make_folds(one, count=2, overwrite=True)
    assert (tmp_path / "report0.html").read_bytes() == (tmp_path / "report1.html").read_bytes()
    for name in ("patches", "slices"):
        assert tree(tmp_path / f"{name}0") == tree(tmp_path / f"{name}1")
    assert hilum.open_run(one)[0].lungs.names == {1: "lungs"}  # no figure tells two sides
    with pytest.raises(hilum.InputError, match="the run did not end"):
        next(batch.convert_run(run, tmp_path / "npy", file_format="npy"))
    with pytest.raises(hilum.InputError, match="the run is not complete, so nothing is exported"):
        write_boxes_csv(run, tmp_path / "boxes.csv")


def test_what_is_no_path_is_refused_with_the_right_call(made):
    with pytest.raises(hilum.InputTypeError, match="is no path"):
        hilum.open_run(hilum.open_run(made)[0].scan())
