"""The marks of a detector: read, shown over a scan or a run, and refused where they lie elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from browser import browser, find
from test_viewer_browser import BUILT, Viewer, served
from test_viewer_labels import answers, stored

import hilum
from hilum import cli
from hilum.errors import AnnotationError
from hilum.geometry import Geometry
from hilum.io.annotations.detections import read_detections
from hilum.io.names import hashed_uid
from hilum.ops.mark_axes import explain_outside
from hilum.scan import Nodule
from hilum.viewer.sources import open_source

UID = "1.2.840.99.7"
GRID = Geometry((30, 40, 44), (2.5, 1.0, 1.2), (-80.0, -60.0, -90.0))
HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm,probability"


def at(*voxel):
    return tuple(GRID.index_to_world(voxel).tolist())


NODULES = (Nodule(at(12, 18, 20), 9.0), Nodule(at(20, 30, 34), 6.0))
MARKS = [(at(12, 19, 20), 8.0, 0.91), (at(20, 30, 34), 0.0, 0.5), (at(5, 8, 8), 5.0, 0.97)]


def table(path, marks=MARKS, uid=UID, turn=lambda point: point):
    rows = [",".join(map(str, (uid, *turn(np.array(center)), size or "", p))) for center, size, p in marks]
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


def scan(uid=UID):
    ct = hilum.Volume(np.full(GRID.shape, -600, np.int16), GRID)
    lungs = np.zeros(GRID.shape, np.uint8)
    lungs[5:25, 5:30, 3:18], lungs[5:25, 5:30, 25:40] = 1, 2
    return hilum.Scan(series_uid=uid, ct=ct, nodules=NODULES, annotated=True, lungs=hilum.Mask(lungs, GRID))


# ---- the table


def test_a_table_has_diameters_or_none(tmp_path):
    marks = read_detections(table(tmp_path / "a.csv")).marks([UID])
    assert [(mark.probability, mark.diameter_mm) for mark in marks[:2]] == [(0.97, 5.0), (0.91, 8.0)]
    assert marks[2].center == pytest.approx(at(20, 30, 34))
    assert np.isnan(marks[2].diameter_mm)
    (tmp_path / "b.csv").write_text(f"PROBABILITY,coordX,coordY,coordZ,seriesuid\n0.5,1,2,3,{UID}\n")
    found = read_detections(tmp_path / "b.csv")
    assert found.marks(["other", UID])[0][::2] == ((1.0, 2.0, 3.0), 0.5)
    assert found.marks(["other"]) == ()
    hilum.write_detections(tmp_path / "c.csv", {UID: marks[:2]})
    assert [one[1:] for one in read_detections(tmp_path / "c.csv").marks([UID])] == [(5.0, 0.97), (8.0, 0.91)]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (f"{UID},1,2,3,nan,0.5", "line 2: diameter_mm is 'nan', expected at most 500"),
        (f"{UID},1,2,3,-4,0.5", "line 2: diameter_mm is '-4'"),
        (f"{UID},1,2,3,501,0.5", "line 2: diameter_mm is '501'"),
        (f"{UID},1,2,nan,4,0.5", "line 2: coordZ is 'nan', expected a number"),
        (f"{UID},1,2,3,4,inf", "line 2: probability is 'inf'"),
        (f"{UID},1,2,3,4", "line 2: 5 fields, expected 6"),
        ("", "column probability is missing"),
    ],
)
def test_a_wrong_row_refuses_the_table(tmp_path, row, told):
    (tmp_path / "a.csv").write_text(f"{HEAD}\n{row}\n" if row else "seriesuid,coordX,coordY,coordZ\n")
    with pytest.raises(AnnotationError, match=told):
        read_detections(tmp_path / "a.csv")


def test_marks_outside_a_scan_are_explained():
    inside = np.array([at(12, 18, 20), at(20, 30, 34)])
    assert explain_outside(inside, GRID) == explain_outside(np.empty((0, 3)), GRID) == ""
    assert "as RAS, with x and y negated 2 of 2 do" in explain_outside(inside * [-1, -1, 1], GRID)
    assert "none of the 2 marks lies in the scan" in explain_outside(inside + 5000, GRID)
    assert explain_outside(np.vstack([inside + 5000, inside[:1]]), GRID) == ""


# ---- the page's facts


def facts(source, number=0):
    (answer,) = answers(source, f"/api/scans/{number}")
    assert answer.status_code == 200, answer.json()
    return answer.json()


def test_marks_of_a_run_reach_the_page(tmp_path):
    run = stored(tmp_path / "run", one=scan(), two=scan(hashed_uid("1.2.840.1")), three=scan("1.2.840.3"))
    marks = tmp_path / "marks.csv"
    table(marks)
    hidden = table(tmp_path / "more.csv", MARKS[:1], "1.2.840.1").read_text().splitlines()[1]
    marks.write_text(marks.read_text() + hidden + "\n")
    source = open_source(run, detections=marks)
    names = [item.name for item in source.items]
    shown = facts(source, names.index("one"))["detections"]
    assert [(one["probability"], one["diameter_mm"], one["nodule"]) for one in shown] == [
        (0.97, 5.0, None),
        (0.91, 8.0, 1),
        (0.5, None, 2),
    ]
    assert shown[0]["voxel"] == pytest.approx([5, 8, 8])
    assert shown[0]["world"] == pytest.approx(at(5, 8, 8))
    assert len(facts(source, names.index("two"))["detections"]) == 1  # its UID is a hash
    third = facts(source, names.index("three"))
    assert third["detections"] == []
    assert "no-detections" in [note["code"] for note in third["notes"]]
    assert facts(open_source(run))["detections"] is None
    with pytest.raises(AnnotationError, match="no detection is in one of the 3 scans of the run"):
        open_source(run, detections=table(tmp_path / "other.csv", uid="9.9"))


def test_marks_of_a_scan_reach_the_page_by_its_name(tmp_path):
    hilum.write(scan().ct, tmp_path / "case1.nii.gz")
    source = open_source(tmp_path / "case1.nii.gz", detections=table(tmp_path / "marks.csv", uid="case1"))
    assert [one["nodule"] for one in facts(source)["detections"]] == [None] * 3


def test_marks_in_other_axes_are_refused(tmp_path):
    hilum.write(scan().ct, tmp_path / "case1.nii.gz")
    marks = table(tmp_path / "marks.csv", uid="case1", turn=lambda point: point * [-1, -1, 1])
    with pytest.raises(AnnotationError, match="as RAS, with x and y negated 3 of 3 do"):
        open_source(tmp_path / "case1.nii.gz", detections=marks)
    far = table(tmp_path / "far.csv", [*MARKS, ((900.0, 0.0, 0.0), 4.0, 0.1)], uid="case1")
    notes = facts(open_source(tmp_path / "case1.nii.gz", detections=far))["notes"]
    assert {"code": "detections-outside", "text": "1 of 4 detections lie outside the scan"} in notes


@pytest.mark.skipif(not BUILT.is_file(), reason="the page is not built (python3 dev.py page; needs node)")
def test_the_command_refuses_a_table_that_is_none(tmp_path, capsys):
    hilum.write(scan().ct, tmp_path / "case1.nii.gz")
    (tmp_path / "marks.csv").write_text("x,y\n1,2\n")
    words = ["view", str(tmp_path / "case1.nii.gz"), "--detections", str(tmp_path / "marks.csv"), "--no-browser"]
    assert cli.main(words) == 1
    assert "column seriesuid is missing" in capsys.readouterr().err


# ---- the page


@pytest.mark.skipif(find() is None or not BUILT.is_file(), reason="no Chromium, or the page is not built")
def test_marks_are_listed_drawn_and_jumped_to(tmp_path):
    run = stored(tmp_path / "run", one=scan(), two=scan("1.2.840.3"))
    marks = table(tmp_path / "marks.csv")
    with served(run, "--detections", marks) as (address, _), browser() as page:
        viewer = Viewer(page, address)
        viewer.wait("document.querySelectorAll('#detections li').length === 3")
        assert viewer.texts("#detections li p:first-child") == ["0.97  5.0 mm", "0.91  8.0 mm", "0.5"]
        assert viewer.texts("#detections .small") == ["on no nodule", "on nodule 1", "on nodule 2"]
        viewer.click("#detections li:first-child")
        assert viewer.crosshair() == (5, 8, 8)
        assert viewer.page.run("document.querySelector('#detections li').getAttribute('aria-current')") == "true"
        viewer.bare()
        viewer.key("r")
        red = np.array((255, 106, 77))
        drawn = np.abs(viewer.picture("axial").astype(int) - red).max(axis=-1) < 40
        assert drawn.sum() > 30
        viewer.key("r")
        assert not (np.abs(viewer.picture("axial").astype(int) - red).max(axis=-1) < 40).any()
        viewer.is_quiet()
        viewer.page.run(
            "[...document.querySelectorAll('#scans li')].find(one => one.textContent.includes('two')).click()"
        )
        viewer.wait("document.getElementById('detection-count').textContent === '0'")
        assert not viewer.page.run("document.getElementById('marks').hidden")
    with served(run) as (address, _), browser() as page:
        assert Viewer(page, address).page.run("document.getElementById('marks').hidden")
