"""Patients of the Data Science Bowl 2017: labels come along, and a patient scanned twice over is told apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dsb2017_files import write_dsb2017
from small_runs import finished_scans

from hilum import batch, cli
from hilum.datasets import dsb2017, recognize
from hilum.datasets.listing import scan_id_of
from hilum.errors import AnnotationError, MissingInputError, UnsupportedError
from hilum.outputs.dataset_summary import read_summary
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import read_ledger
from hilum.phantom.chest import PhantomOptions, make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import parse_recipe

COARSE = "[resample]\nspacing_mm = 6.0\n"

pytestmark = pytest.mark.usefixtures("no_workers")


@pytest.fixture(scope="module")
def phantoms():
    none = PhantomOptions(nodules=())
    return [make_phantom(seed=s, shape=(20, 40, 40), options=none if s == 2 else None) for s in range(3)]


@pytest.fixture(scope="module")
def written(phantoms, tmp_path_factory):
    return write_dsb2017(phantoms, tmp_path_factory.mktemp("dsb") / "dsb")


@pytest.fixture
def tree(written, tmp_path):
    """The three patients, free to be spoiled."""
    return Path(shutil.copytree(written, tmp_path / "dsb"))


def cases(tree):
    return sorted(path.name for path in (tree / "stage1").iterdir())


def relabel(tree, *rows, head="id,cancer"):
    (tree / "stage1_labels.csv").write_text("\n".join([head, *rows, ""]))
    return dsb2017.index(tree)


def test_labels_reach_the_finished_scans(capsys, tree, tmp_path):
    assert recognize(tree) == recognize(tree / "stage1") == "dsb2017"
    (tmp_path / "coarse.toml").write_text(COARSE)
    words = ["run", tree, "--out", tmp_path / "out", "--recipe", tmp_path / "coarse.toml"]
    assert cli.main([str(word) for word in words]) == 0
    told = capsys.readouterr()
    assert "detected the data set dsb2017" in told.err
    assert "3 scans: " in told.out
    wanted = dict(line.split(",") for line in (tree / "stage1_labels.csv").read_text().splitlines()[1:])
    assert sorted(wanted.values()) == ["0", "1", "1"]
    records = {folder.name: record for folder, record in finished_scans(tmp_path / "out")}
    assert sorted(records) == cases(tree) == sorted(read_ledger(tmp_path / "out"))
    assert {name: str(record.labels["cancer"]) for name, record in records.items()} == wanted
    assert {record.dataset for record in records.values()} == {"dsb2017"}
    assert all("nodules.nii.gz" not in record.files for record in records.values())
    (summary,) = read_summary(tmp_path / "out")
    assert (summary.dataset, summary.scans, summary.finished, summary.nodules) == ("dsb2017", 3, 3, 0)


@pytest.mark.parametrize("where", ["stage1", "patient"])
def test_labels_are_found_beside_the_folder(tree, where):
    root = tree / "stage1"
    if where == "patient":
        (tree / "stage1_labels.csv").rename(root / "stage1_labels.csv")
        root = root / cases(tree)[0]
    listing = dsb2017.index(root)
    assert len(listing.refs) == (3 if where == "stage1" else 1)
    assert all("cancer" in ref.known.labels for ref in listing.refs)


def test_patients_and_labels_that_do_not_meet_are_named(tree):
    first, second, third = cases(tree)
    listing = relabel(tree, f"{first},1", f"{'0' * 32},1", f"{'f' * 32},0", "Miller^Anna,1")
    assert [dict(ref.known.labels) for ref in listing.refs] == [{"cancer": 1}, {}, {}]
    (table,) = listing.tables
    assert (table.rows, table.rows_of_scans, table.rows_without_scan) == (4, 1, 3)
    assert table.series_without_scan == {"0" * 32: 1, "f" * 32: 1, "(no case id)": 1}
    assert table.scans_without_rows == [second, third]
    assert [note.code for note in listing.notes] == ["rows-without-scan", "scans-without-rows"]
    assert not any("Miller" in str(note) for note in listing.notes)
    (tree / "stage1_labels.csv").unlink()
    assert [note.code for note in dsb2017.index(tree).notes] == ["no-labels"]


def test_labels_that_repeat_or_contradict(tree, tmp_path):
    first, second, third = cases(tree)
    listing = relabel(tree, f"{first},1", f"{second},0", f"{second},0", f"{third},0", f"{third},1", f"{third},1")
    known = [ref.known for ref in listing.refs]
    assert [note.code for note in known[1].notes] == ["duplicate-label"]
    assert "line 6" in str(known[2].refusal)
    rows = batch.run(listing.refs, parse_recipe(COARSE), tmp_path / "out")
    assert rows[2].status == "refused"
    assert len([row for row in rows if row.status in {"done", "repaired"}]) == 2
    assert any(note.startswith("duplicate-label") for note in rows[1].notes)


def test_two_tables_that_contradict_refuse_the_patient(tree):
    first, second, _ = cases(tree)
    (tree / "stage1_solution.csv").write_text(f"id,cancer,Usage\n{first},0,Public\n{second},1,Public\n")
    listing = relabel(tree, f"{first},1", f"{second},1")
    assert [ref.known.refusal is not None for ref in listing.refs] == [True, False, False]
    assert listing.refs[1].known.labels == {"cancer": 1}


@pytest.mark.parametrize("row", ["{},2", "{},", "{},yes", "{},0.5", "{},1,extra", "{},01"])
def test_a_label_that_is_none_costs_its_patient(tree, row):
    first, second, _ = cases(tree)
    listing = relabel(tree, f"{second},1", row.format(first))
    with pytest.raises(AnnotationError, match="line 3"):
        dsb2017.load(listing.refs[0])
    assert listing.refs[1].known.refusal is None


@pytest.mark.parametrize(
    "raw", [b"", b"\xef\xbb\xbf\r\n", b"id;cancer\n", b"id\n", b"\xff\xfei", b"id,cancer\n\xff,1\n"]
)
def test_a_table_that_is_none_is_refused(tree, raw):
    (tree / "stage1_labels.csv").write_bytes(raw)
    found = batch.survey([tree])
    assert found.refs == []
    (row,) = found.refused
    assert row.code == "annotation"
    assert len(row.reason) <= 300


def test_marks_line_ends_and_column_order_are_fine(tree):
    rows = [f"1, x , {case} " for case in cases(tree)]
    listing = relabel(tree, "", *rows, head="\ufeffCancer,note,ID")
    assert [ref.known.labels["cancer"] for ref in listing.refs] == [1, 1, 1]
    text = (tree / "stage1_labels.csv").read_text()
    (tree / "stage1_labels.csv").write_bytes(text.replace("\n", "\r\n").encode())
    assert [ref.known.labels["cancer"] for ref in dsb2017.index(tree).refs] == [1, 1, 1]


def test_labels_may_be_given(tree, tmp_path):
    (tmp_path / "mine.csv").write_text(f"id,cancer\n{cases(tree)[0]},0\n")
    assert [dict(ref.known.labels) for ref in dsb2017.index(tree, tmp_path / "mine.csv").refs] == [
        {"cancer": 0},
        {},
        {},
    ]
    (tmp_path / "mine.xml").write_text("<x/>")
    with pytest.raises(UnsupportedError):
        dsb2017.index(tree, tmp_path / "mine.xml")
    with pytest.raises(MissingInputError):
        dsb2017.index(tree, tmp_path / "gone.csv")


def test_a_patient_folder_of_another_name_does_not_show_it(tree):
    (tree / "stage1" / cases(tree)[0]).rename(tree / "stage1" / "Miller Anna 1950")
    listing = dsb2017.index(tree)
    assert scan_id_of("Miller Anna 1950") in {ref.scan_id for ref in listing.refs}
    (table,) = listing.tables
    assert table.scans_without_rows == [scan_id_of("Miller Anna 1950")]


def test_an_empty_patient_is_a_refused_row(tree, tmp_path):
    case = cases(tree)[1]
    shutil.rmtree(tree / "stage1" / case)
    (tree / "stage1" / case).mkdir()
    found = batch.survey([tree])
    rows = batch.run(found.refs, parse_recipe(COARSE), tmp_path / "out", found=found)
    assert [row.id for row in rows if row.status == "refused"] == [case]
    assert len(read_ledger(tmp_path / "out")) == 3


def test_two_acquisitions_of_one_patient_are_told_apart(tree, phantoms, tmp_path):
    """One series, scanned twice over the same places: the first acquisition is read, and the note says so."""
    case = cases(tree)[0]
    folder = tree / "stage1" / case
    again = write_dicom_series(phantoms[1], tmp_path / "again")
    uid = pydicom.dcmread(next(folder.iterdir())).SeriesInstanceUID
    for number, path in enumerate(sorted(again.iterdir())):
        slice_ = pydicom.dcmread(path)
        slice_.SeriesInstanceUID = uid
        slice_.AcquisitionNumber = "2"
        slice_.save_as(folder / f"again{number}.dcm")
    alone = dsb2017.load(dsb2017.index(tree).refs[1]).ct.shape
    both = dsb2017.load(dsb2017.index(tree).refs[0])
    assert both.ct.shape == alone
    assert "split-series" in [note.code for note in both.notes]
    origin = next(p for p in phantoms if p.scan.series_uid == uid)
    assert np.array_equal(np.sort(both.ct.array.ravel())[-200:], np.sort(origin.scan.ct.array.ravel())[-200:])


def test_an_index_opens_no_slice(tree):
    for path in tree.rglob("*.dcm"):
        path.write_bytes(b"not even DICOM")
    assert len(dsb2017.index(tree).refs) == 3


def test_a_changed_label_makes_a_finished_scan_old(tree, tmp_path):
    first = cases(tree)[0]
    recipe = parse_recipe(COARSE)
    refs = relabel(tree, f"{first},1").refs[:1]
    batch.run(refs, recipe, tmp_path / "out")
    assert batch.run(relabel(tree, f"{first},1", f"{'0' * 32},1").refs[:1], recipe, tmp_path / "out")[0].reason == ""
    changed = relabel(tree, f"{first},0").refs[:1]
    assert batch.run(changed, recipe, tmp_path / "out")[0].reason == ""
    assert read_record(tmp_path / "out" / "scans" / first).labels == {"cancer": 0}


def test_what_is_none_of_it_is_refused_or_left_to_others(tmp_path, tree):
    (tmp_path / "empty").mkdir()
    assert recognize(tmp_path / "empty") == "folder"
    (tmp_path / "empty" / "a.dcm").touch()
    for path in (tmp_path / "empty", tmp_path / "gone", tmp_path / "empty" / "a.dcm"):
        with pytest.raises(MissingInputError):
            dsb2017.index(path)
    assert recognize(tree / "stage1_labels.csv") == "folder"
