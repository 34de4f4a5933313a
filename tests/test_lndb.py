"""LNDb is read with its findings, the masks of each reader, folds and follow-up."""

from __future__ import annotations

import numpy as np
import pytest
from dataset_trees import FAST, check_places, chest, places, stored_map, stored_scans, write_csv, write_lndb

import hilum
from hilum import cli
from hilum.datasets import lndb, recognize
from hilum.errors import AnnotationError, MissingInputError
from hilum.phantom.chest import make_phantom
from hilum.volume import Mask

pytestmark = pytest.mark.usefixtures("no_workers")


def tiny(seed=0):
    scan = make_phantom(seed=seed, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0)).scan
    labels = scan.lungs.array.copy()
    labels[10:12, 20:24, 20:24] = 3
    return scan.ct, Mask(labels, scan.lungs.geometry)


@pytest.fixture
def tree(tmp_path):
    return write_lndb(tmp_path / "LNDb", {1: tiny(1), 2: tiny(2), 7: (tiny(3)[0], None)}, readers={1: 3})


def test_findings_and_masks_are_where_they_were(tmp_path, capsys):
    kinds = ("plain", "flipped", "oblique", "thick")
    cases = {number: chest(number, kind) for number, kind in enumerate(kinds, start=1)}
    root = write_lndb(tmp_path / "LNDb", cases, readers={2: 2})
    (tmp_path / "r.toml").write_text(FAST)
    words = ["run", root, "--out", tmp_path / "out", "--recipe", tmp_path / "r.toml"]
    assert cli.main([str(word) for word in words]) == 0
    assert "detected the data set lndb" in capsys.readouterr().err
    records = {name: record for name, (_, record) in stored_scans(tmp_path / "out").items()}
    assert sorted(records) == ["LNDb-0001", "LNDb-0002", "LNDb-0003", "LNDb-0004"]
    for number, (_, truth) in cases.items():
        record = records[f"LNDb-{number:04d}"]
        assert sorted(record.label_maps) == (["rad1", "rad2"] if number == 2 else ["rad1"])
        for name in record.label_maps:
            stored, values = stored_map(tmp_path / "out", f"LNDb-{number:04d}", name)
            assert values == {"1": 1, "2": 2, "3": 3}
            check_places(stored, truth)
        center, volume = places(truth)[3]
        (nodule,) = record.nodules
        assert np.linalg.norm(np.array(nodule.world) - center) < 0.1
        assert nodule.diameter_mm == pytest.approx((6000 * volume / np.pi) ** (1 / 3), rel=1e-3)
        assert record.labels == {"fold": (number + 1) % 2, "fleischner": number % 4}


def test_every_part_is_found(tree):
    assert recognize(tree) == recognize(tree / "data0") == "lndb"
    listing = lndb.index(tree)
    assert [(ref.scan_id, ref.case) for ref in listing.refs] == [
        ("LNDb-0001", "LNDb-0001"), ("LNDb-0007", "LNDb-0007"), ("LNDb-0002", "LNDb-0002"),
    ]  # fmt: skip
    first, last, _ = listing.refs
    assert [(file.name, file.path.name) for file in first.label_files] == [
        (f"rad{k}", f"LNDb-0001_rad{k}.mhd") for k in (1, 2, 3)
    ]
    assert (last.known.annotated, last.known.nodules, last.label_files) == (True, (), ())
    assert len(first.known.nodules) == 1
    assert {note.code for note in listing.notes} == {"read-table", "scans-without-labels"}
    (tree / "trainset_csv" / "trainCTs.csv").unlink()
    listing = lndb.index(tree)
    assert [ref.known.annotated for ref in listing.refs] == [True, False, True]
    assert "scans-without-rows" in {note.code for note in listing.notes}
    assert listing.tables[0].rows_of_scans == 2


def test_scans_alone_have_no_findings(tree):
    listing = lndb.index(tree / "data0")
    assert [note.code for note in listing.notes] == ["scans-without-labels", "no-annotations"]
    assert not any(ref.known.annotated for ref in listing.refs)


def test_other_folders_are_none(tmp_path):
    hilum.write(tiny()[0], tmp_path / "LNDb-0001_rad1.mhd")
    hilum.write(tiny()[0], tmp_path / "case-0001.mhd")
    assert recognize(tmp_path) == "folder"
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(MissingInputError):
            lndb.index(root)


def test_what_belongs_to_nothing_is_told(tree):
    (tree / "data0" / "LNDb-0001.mhd").unlink()
    (tree / "data5").mkdir()
    for suffix in ("mhd", "raw"):
        (tree / "data5" / f"LNDb-0002.{suffix}").write_bytes((tree / "data1" / f"LNDb-0002.{suffix}").read_bytes())
    listing = lndb.index(tree)
    assert [refusal.code for refusal in listing.refused] == ["series-twice"]
    notes = {note.code: note.text for note in listing.notes}
    assert notes["labels-without-scan"] == "3 masks of readers belong to no scan: left out"
    assert listing.tables[0].rows_without_scan == 1


@pytest.mark.parametrize(
    ("name", "rows", "what"),
    [
        ("trainFolds.csv", [("Fold0", "Fold1"), (1, 2), (7, 1)], "LNDb-0001 is in two folds"),
        ("trainFolds.csv", [("Fold0", "Fold1"), (1, "x")], "expected the number of a scan"),
        ("trainFolds.csv", [("Fold0", "Fold1"), (1, 2, 7)], "3 fields, expected 2"),
        ("trainFleischner.csv", [("LNDbID", "Fleischner"), (1, 4)], "the follow-up of LNDb-0001 is not 0, 1, 2 or 3"),
        ("trainFleischner.csv", [("LNDbID", "Other"), (1, 3)], "column Fleischner is missing"),
        ("trainCTs.csv", [("LNDbID",), (1,)], "column RadN is missing"),
        ("trainNodules_gt.csv", [("LNDbID", "x"), (1, 3)], "column seriesuid is missing"),
    ],
)
def test_a_wrong_table_is_refused(tree, name, rows, what):
    write_csv(tree / "trainset_csv" / name, *rows)
    with pytest.raises(AnnotationError, match=what):
        lndb.index(tree)


def test_folds_without_names_of_columns(tree):
    write_csv(tree / "trainset_csv" / "trainFolds.csv", (1, "LNDb-0002"), ("7.0", ""))
    folds = {ref.scan_id: ref.known.labels["fold"] for ref in lndb.index(tree).refs}
    assert folds == {"LNDb-0001": 0, "LNDb-0002": 1, "LNDb-0007": 0}


def test_a_wrong_row_refuses_its_scan_only(tree):
    path = tree / "trainset_csv" / "trainNodules_gt.csv"
    path.write_text(path.read_text().replace("\n2,1,3,1,", "\n2,1,3,1,far"))
    refusals = {ref.scan_id: ref.known.refusal for ref in lndb.index(tree).refs}
    assert [name for name, refusal in refusals.items() if refusal] == ["LNDb-0002"]
