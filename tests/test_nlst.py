"""The NLST is read with its participants, screening years and cancers; every CT series is a scan."""

from __future__ import annotations

import pytest
from dataset_trees import FAST, stored_scans, write_csv, write_nlst

from hilum import cli
from hilum.datasets import nlst, recognize
from hilum.errors import AnnotationError
from hilum.phantom.chest import make_phantom

pytestmark = pytest.mark.usefixtures("no_workers")


def tiny(seed):
    return make_phantom(seed=seed, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0)).scan


@pytest.fixture
def tree(tmp_path):
    studies = {(100002, 1999): [tiny(1), tiny(2)], (100002, 2001): [tiny(3)], (215001, 2000): [tiny(4)]}
    return write_nlst(tmp_path / "NLST-data", studies, cancers=[100002])


def labels(listing):
    return sorted((ref.case, *sorted(ref.known.labels.items())) for ref in listing.refs)


def test_series_have_participant_year_and_cancer(tree, tmp_path, capsys):
    places = (tree, tree / "NLST", tree / "NLST" / "100002")
    assert {recognize(place) for place in places} == {"nlst"}
    listing = nlst.index(tree)
    assert labels(listing) == [
        ("NLST-100002", ("cancer", 1), ("study_yr", 0)), ("NLST-100002", ("cancer", 1), ("study_yr", 0)),
        ("NLST-100002", ("cancer", 1), ("study_yr", 2)), ("NLST-215001", ("cancer", 0), ("study_yr", 1)),
    ]  # fmt: skip
    notes = {note.code: note.text for note in listing.notes}
    assert notes["several-series"] == "1 of 3 studies have several CT series, 2 in all: each is a scan"
    assert notes.keys() == {"several-series", "assumed-years"}
    assert (listing.tables[0].rows, listing.tables[0].rows_without_scan) == (3, 1)
    (tmp_path / "r.toml").write_text(FAST + "[resample]\nspacing_mm = 6.0\n")
    words = ["run", tree, "--out", tmp_path / "out", "--recipe", tmp_path / "r.toml"]
    assert cli.main([str(word) for word in words]) == 0
    assert "detected the data set nlst" in capsys.readouterr().err
    scans = stored_scans(tmp_path / "out")
    assert sorted(name[:11] for name in scans) == ["NLST-100002"] * 3 + ["NLST-215001"]
    assert cli.main(["folds", str(tmp_path / "out"), "--folds", "2"]) == 0
    assert "2 patients, 4 scans; stratified by cancer" in capsys.readouterr().out


def test_the_table_of_series_decides_the_year(tree):
    first = next(ref for ref in nlst.index(tree).refs if ref.known.labels["study_yr"] == 2)
    rows = [("pid", "study_yr", "seriesinstanceuid"), (100002, 1, first.series_uid), (100002, 0, "1.2.3")]
    write_csv(tree / "tables" / "sct_image_series_d040722.csv", *rows)
    (other,) = [ref for ref in nlst.index(tree).refs if ref.series_uid == first.series_uid]
    assert other.known.labels == {"cancer": 1, "study_yr": 1}
    assert "assumed-years" not in {note.code for note in nlst.index(tree).notes}


def test_without_tables_no_cancer_is_known(tree):
    (tree / "nlst_780_prsn_idc_20210527.csv").unlink()
    listing = nlst.index(tree)
    assert {name for ref in listing.refs for name in ref.known.labels} == {"study_yr"}
    assert "no-labels" in {note.code for note in listing.notes}


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([(100002, 0), (100002, 1)], "cancer differs from an earlier row of the same pid"),
        ([(100002, 0, 1)], "3 fields, expected 2"),
    ],
)
def test_a_wrong_table_is_refused(tree, rows, what):
    write_csv(tree / "nlst_780_prsn_idc_20210527.csv", ("pid", "can_scr"), *rows)
    with pytest.raises(AnnotationError, match=what):
        nlst.index(tree)


def test_other_folders_are_none(tmp_path):
    for name in ("100002/01-02-1999-CHEST-1", "300002/01-02-1999-NLST-LSS-1", "10002/01-02-1999-NLST-LSS-1"):
        (tmp_path / name).mkdir(parents=True)
    assert recognize(tmp_path) == "folder"
    (tmp_path / "200002/01-02-2001-NA-NLST-ACRIN-53095").mkdir(parents=True)
    assert recognize(tmp_path) == "nlst"
