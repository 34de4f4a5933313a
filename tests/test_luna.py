from __future__ import annotations

import csv

import pytest

from hilum.errors import AnnotationError, InputError, MissingInputError
from hilum.io.luna import read_annotations

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
    assert nodules == ()
    assert [n.code for n in notes] == ["no-nodules"]


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
        (HEAD.replace(",", ";").encode(), "something else than commas"),
        (HEAD.replace(",", "\t").encode(), "something else than commas"),
        (HEAD.encode("utf-16"), "UTF-16"),
        (HEAD.encode("utf-16-be"), "UTF-16"),
        (HEAD.encode() + b"\n\0\0", "no text"),
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
    assert read_annotations(path, series_uid="1.2")[0] == ()
