from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import AnnotationError, InputError, MissingInputError
from hilum.io.annotations import csv_tables
from hilum.io.annotations.luna import read_annotations, read_series_rows

UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.1"
HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm"
ROWS = [f"{UID},-128.7,-175.25,-298.5,5.65", f"{UID},103.75,-211.5,-227.0,4.5"]
CENTERS = [(-128.7, -175.25, -298.5), (103.75, -211.5, -227.0)]


def make(folder, *lines, head=HEAD, end="\n"):
    path = folder / "annotations.csv"
    path.write_bytes((end.join([head, *lines]) + end).encode())
    return path


def centers(path):
    return [n.center for n in read_annotations(path, series_uid=UID)[0]]


def test_rows_become_nodules_in_world_millimetres(tmp_path):
    nodules, notes = read_annotations(make(tmp_path, *ROWS), series_uid=UID)
    assert [n.center for n in nodules] == CENTERS
    assert [n.diameter_mm for n in nodules] == [5.65, 4.5]
    assert notes == ()


def test_mark_line_ends_blank_lines_spaces_and_quotes(tmp_path):
    lines = ["", *[row.replace(",", " , ") for row in ROWS], "   ", ""]
    assert centers(make(tmp_path, *lines, head="\ufeff" + HEAD, end="\r\n")) == CENTERS
    assert centers(make(tmp_path, *[f'"{row.replace(",", chr(34) + "," + chr(34))}"' for row in ROWS])) == CENTERS
    assert centers(make(tmp_path, *ROWS, head="\n \n" + HEAD)) == CENTERS


def test_columns_are_found_by_name(tmp_path):
    lines = [",".join([*row.split(",")[::-1], "0.9"]) for row in ROWS]
    assert centers(make(tmp_path, *lines, head="Diameter_mm,coordZ,coordY,coordX,SeriesUID,probability")) == CENTERS


def test_a_uid_matches_whole_or_not_at_all(tmp_path):
    others = [f"{UID}2,0,0,0,9", f"{UID[:-1]},0,0,0,9", f"9{UID},0,0,0,9"]
    assert centers(make(tmp_path, *others, *ROWS)) == CENTERS


def test_rows_of_other_series_are_not_judged(tmp_path):
    assert centers(make(tmp_path, "1.2,0,0,0,-1", "1.2,x", "1.2,nan,0,0,1,2,3", *ROWS)) == CENTERS


def test_no_row_is_an_answer(tmp_path):
    nodules, notes = read_annotations(make(tmp_path, "1.2,0,0,0,9"), series_uid=UID)
    assert nodules is None
    assert [n.code for n in notes] == ["no-rows"]


def test_a_row_with_nothing_but_a_series_says_that_nothing_was_found(tmp_path):
    assert read_annotations(make(tmp_path, f"{UID},,,,"), series_uid=UID) == ((), ())
    assert centers(make(tmp_path, f"{UID}, , , ,", *ROWS)) == CENTERS


def test_a_repeated_row_counts_once(tmp_path):
    nodules, notes = read_annotations(make(tmp_path, *ROWS, ROWS[0], ROWS[0].replace("5.65", "5.650")), series_uid=UID)
    assert [n.center for n in nodules] == CENTERS
    assert [str(n) for n in notes] == ["duplicate-nodules: 2 rows repeat a nodule and were ignored"]


def test_the_same_place_with_another_diameter_is_another_nodule(tmp_path):
    assert len(centers(make(tmp_path, ROWS[0], ROWS[0].replace("5.65", "7")))) == 2


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("{},1,2", "line 4: 3 fields, expected 5"),
        ("{},1,2,3,4,5", "line 4: 6 fields, expected 5"),
        ("{},1,5,2,3,4,5,6", "line 4: 8 fields"),
        ("{},abc,1,2,9", "line 4: coordX is 'abc'"),
        ("{},1,,2,9", "line 4: coordY is ''"),
        ("{},1,2,nan,9", "line 4: coordZ is 'nan'"),
        ("{},inf,1,2,9", "line 4: coordX is 'inf'"),
        ("{},1e400,1,2,9", "line 4: coordX is inf"),
        ("{},1e12,1,2,9", "line 4: coordX is 1e\\+12"),
        ("{},1_0,1,2,9", "line 4: coordX is '1_0'"),
        ("{},\uff11,1,2,9", "line 4: coordX is"),
        ("{},0x10,1,2,9", "line 4: coordX is '0x10'"),
        ('{},"1,5",1,2,9', "line 4: coordX is '1,5'"),
        ("{},1,1,2,0", "line 4: diameter_mm is 0"),
        ("{},1,1,2,-8", "line 4: diameter_mm is -8"),
        ("{},1,1,2,nan", "line 4: diameter_mm is 'nan'"),
        ("{},1,1,2,1e9", "line 4: diameter_mm is 1e\\+09"),
        ("{},1,1,2,500.1", "line 4: diameter_mm is 500.1"),
        ("{},1,1,2,1e999", "line 4: diameter_mm is inf"),
        ("{},1,1,2,5 mm", "line 4: diameter_mm is '5 mm'"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path, row, text):
    with pytest.raises(AnnotationError, match=text) as caught:
        centers(make(tmp_path, *ROWS, row.format(UID)))
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \r\n\r\n", "is empty"),
        (HEAD.replace(",diameter_mm", "").encode(), "column diameter_mm is missing"),
        (HEAD.replace("seriesuid", "uid").encode(), "column seriesuid is missing"),
        ((HEAD + ",coordX").encode(), "column coordX is there twice"),
        ("\n".join(ROWS).encode(), "column seriesuid is missing"),
        (HEAD.replace(",", ";").encode(), "by commas"),
        (HEAD.replace(",", "\t").encode(), "by commas"),
        (HEAD.encode("utf-16"), "UTF-16"),
        (HEAD.encode("utf-16-be"), "UTF-16"),
        (HEAD.encode() + b"\n\0\0", "not text"),
        (HEAD.encode() + b"\n\xff,1,2,3,4", "not UTF-8: line 2, byte 0"),
        (HEAD.encode() + b'\n"an open quote\n' + ROWS[0].encode(), "line 3: "),
        (HEAD.encode() + b"\n" + b"x" * 200000, "line 2: "),
    ],
    ids=range(14),
)
def test_what_is_no_such_file_is_refused(tmp_path, raw, text):
    path = tmp_path / "a.csv"
    path.write_bytes(raw)
    with pytest.raises(AnnotationError, match=text):
        centers(path)


@pytest.mark.parametrize("kind", ["annotations", "candidates", "excluded"])
def test_a_table_is_read_once_for_all_series_and_a_wrong_row_costs_its_own(tmp_path, kind):
    number = {"annotations": "5", "candidates": "1", "excluded": "-1"}[kind]
    head = "seriesuid,coordX,coordY,coordZ," + ("class" if kind == "candidates" else "diameter_mm")
    rows = [f"1.2.3,1,2,3,{number}", f"1.2.4,7,8,9,{number}", "1.2.4,x,1,1,1", "1.2.4,y,1,1,1", "1.2.5,1,2"]
    found = read_series_rows(make(tmp_path, *rows, f"1.2.3,4,5,6,{number}", head=head), kind)
    assert list(found) == ["1.2.3", "1.2.4", "1.2.5"]
    assert found["1.2.3"].values.tolist() == [[1, 2, 3, float(number)], [4, 5, 6, float(number)]]
    assert found["1.2.3"].refusal is None
    assert [found[uid].rows for uid in found] == [2, 3, 1]
    assert "line 4: coordX is 'x'" in str(found["1.2.4"].refusal)
    assert "line 6: 3 fields, expected 5" in str(found["1.2.5"].refusal)


@pytest.mark.parametrize(
    ("kind", "number", "fine"),
    [
        ("candidates", "0", True),
        ("candidates", "1", True),
        ("candidates", "1.0", True),
        ("candidates", "2", False),
        ("candidates", "-1", False),
        ("candidates", "0.5", False),
        ("candidates", "", False),
        ("excluded", "-1", True),
        ("excluded", "-1.0", True),
        ("excluded", "3.5", True),
        ("excluded", "nan", False),
        ("excluded", "501", False),
        ("annotations", "-1", False),
    ],
)
def test_each_kind_of_table_has_its_own_range(tmp_path, kind, number, fine):
    head = "seriesuid,coordX,coordY,coordZ," + ("class" if kind == "candidates" else "diameter_mm")
    found = read_series_rows(make(tmp_path, f"{UID},1,2,3,{number}", head=head), kind)[UID]
    assert (found.refusal is None) == fine
    assert len(found.values) == fine


def test_candidates_that_repeat_are_kept(tmp_path):
    head = "seriesuid,coordX,coordY,coordZ,class"
    rows = [f"{UID},1,2,3,0"] * 3
    assert len(read_series_rows(make(tmp_path, *rows, head=head), "candidates")[UID].values) == 3


def test_line_ends_of_old_macs_and_endless_lines(tmp_path, monkeypatch):
    assert centers(make(tmp_path, *ROWS, end="\r")) == CENTERS
    with pytest.raises(AnnotationError, match="line 2: is longer than"):
        centers(make(tmp_path, "x" * (2**20 + 1)))
    monkeypatch.setattr(csv_tables, "_SIZE_LIMIT", 50)
    with pytest.raises(AnnotationError, match="larger than 50 bytes"):
        centers(make(tmp_path, *ROWS))


PLACES = st.tuples(*[st.floats(-1e6, 1e6)] * 3, st.floats(1e-3, 500))


@given(
    rows=st.lists(st.tuples(st.sampled_from(["1.2.3", "1.2.30", "1.2"]), PLACES), max_size=20),
    order=st.permutations(range(5)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
    gap=st.sampled_from(["", " ", "  "]),
)
def test_whatever_is_written_is_read(tmp_path_factory, rows, order, end, mark, gap):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    lines = [HEAD.split(","), *([uid, *map(repr, place)] for uid, place in rows)]
    text = end.join((gap + "," + gap).join(line[k] for k in order) for line in lines) + end
    path.write_bytes(("\ufeff" * mark + text).encode())
    found = read_series_rows(path, "annotations")
    assert sum(series.rows for series in found.values()) == len(rows)
    for uid, series in found.items():
        once = list(dict.fromkeys(place for name, place in rows if name == uid))
        assert np.array_equal(series.values, np.array(once).reshape(-1, 4))
        assert [(*n.center, n.diameter_mm) for n in series.nodules()] == once


def test_a_row_too_short_to_name_its_series_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="line 2: 1 fields"):
        centers(make(tmp_path, "5", head="diameter_mm,coordX,coordY,coordZ,seriesuid"))


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(MissingInputError):
        centers(tmp_path / "a.csv")
    with pytest.raises(InputError):
        centers(tmp_path)


@pytest.mark.real
def test_the_real_file_gives_each_of_its_nodules(real_data):
    path = real_data / "luna16" / "annotations.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1186
    for uid in sorted({row["seriesuid"] for row in rows})[::100]:
        ours = [row for row in rows if row["seriesuid"] == uid]
        nodules, notes = read_annotations(path, series_uid=uid)
        assert [n.center for n in nodules] == [tuple(float(row["coord" + c]) for c in "XYZ") for row in ours]
        assert [n.diameter_mm for n in nodules] == [float(row["diameter_mm"]) for row in ours]
        assert notes == ()


@pytest.mark.real
def test_excluded_findings_are_no_nodules(real_data):
    path = real_data / "luna16" / "annotations_excluded.csv"
    uid = path.read_text().splitlines()[1].partition(",")[0]
    with pytest.raises(AnnotationError, match="line 2: diameter_mm is -1"):
        read_annotations(path, series_uid=uid)
    assert read_annotations(path, series_uid="1.2")[0] is None
