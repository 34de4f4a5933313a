"""A detector's marks in the report of a run: the score, and what each scan has at the operating point."""

from __future__ import annotations

import re

import numpy as np
import pytest
from small_runs import append_row
from test_report import scan_of, store

import hilum
from hilum import cli
from hilum.errors import AnnotationError
from hilum.io.names import hashed_uid
from hilum.ops.froc import find_hits, froc
from hilum.outputs.ledger import Row
from hilum.report.detections import operating_threshold, score_run
from hilum.report.page import write_report

HEAD = "seriesuid,coordX,coordY,coordZ,probability"


@pytest.fixture
def run(tmp_path):
    """Three scans with two nodules each."""
    for number, name in enumerate("abc", 1):
        store(scan_of(number), tmp_path / "run", name)
        append_row(tmp_path / "run", Row(id=name, status="done"))
    (tmp_path / "run" / "recipe.toml").write_text('name = "mine"\n')
    return tmp_path / "run"


def marks_of(path, rows):
    path.write_text("\n".join([HEAD, *(",".join(map(str, (uid, *point, p))) for uid, point, p in rows)]) + "\n")
    return path


def three(tmp_path):
    """Scan 1: both hit. Scan 2: one hit at 0.8, one at 0.2, false at 0.7. Scan 3: none hit, false at 0.9, 0.6, 0.3."""
    places = {k: [nodule.center for nodule in scan_of(k).nodules] for k in (1, 2, 3)}
    far = np.add(places[1][0], (0, 12, 0))
    return marks_of(tmp_path / "marks.csv", [
        ("1.2.3.1", places[1][0], 0.95), ("1.2.3.1", places[1][1], 0.85), ("1.2.3.2", places[2][0], 0.8),
        ("1.2.3.2", places[2][1], 0.2), ("1.2.3.2", far, 0.7), ("1.2.3.3", far, 0.9), ("1.2.3.3", far + 1, 0.6),
        ("1.2.3.3", far + 2, 0.3),
    ])  # fmt: skip


def test_the_worst_scans_come_first(run, tmp_path):
    found = score_run(three(tmp_path), hilum.open_run(run))
    assert (found.score.nodules, found.score.found, found.score.false_positives, found.score.scans) == (6, 4, 4, 3)
    assert found.score.samples > 900
    # Above 0.3 there are three false positives in three scans; the next point of the curve has four.
    assert found.threshold == 0.6
    rows = [(row.scan_id, row.nodules, row.hits, row.misses, row.false_positives) for row in found.scans]
    assert rows == [("c", 2, 0, 2, 2), ("b", 2, 1, 1, 1), ("a", 2, 2, 0, 0)]
    assert found.scans[0].missed_mm == (7.0, 6.0)
    assert found.scans[1].missed_mm == (7.0,)
    assert found.not_annotated == 0


def test_hits_add_up_to_the_score_at_every_threshold(run, tmp_path):
    found = score_run(three(tmp_path), hilum.open_run(run))
    for rate, sensitivity, threshold in found.score.curve[1:]:
        hits = false = 0
        for number in (1, 2, 3):
            rows = [line.split(",") for line in (tmp_path / "marks.csv").read_text().splitlines()[1:]]
            marks = np.array([row[1:] for row in rows if row[0] == f"1.2.3.{number}"], float)
            spheres = np.array([[*n.center, n.diameter_mm] for n in scan_of(number).nodules])
            hit, wrong = find_hits(marks, spheres, threshold=threshold)
            hits, false = hits + hit.sum(), false + wrong
        assert (false / 3, hits / 6) == pytest.approx((rate, sensitivity))


def test_the_page_has_the_curve_and_a_row_for_each_scan(run, tmp_path, capsys):
    assert cli.main(["report", str(run), "--detections", str(three(tmp_path))]) == 0
    text = (run / "report.html").read_text()
    (section,) = re.findall(r'<section id="detections".*?</section>', text, re.DOTALL)
    assert (
        "Marks with a probability of 0.6 or more hit 3 of 6 nodules in 3 scans, with 1 false positives a scan"
        in section
    )
    assert re.findall(r"<tr><td>(\w)</td>", section) == ["c", "b", "a"]
    assert '<polyline class="curve"' in section
    assert "CPM 0." in section
    write_report(run, tmp_path / "plain.html")
    assert 'id="detections"' not in (tmp_path / "plain.html").read_text()
    assert "3 scans" in capsys.readouterr().out


def test_series_are_found_by_hash_and_by_id(run, tmp_path):
    center = scan_of(4).nodules[0].center
    scan = hilum.Scan(**{**vars(scan_of(4)), "series_uid": hashed_uid("1.2.3.4")})
    store(scan, run, "d")
    append_row(run, Row(id="d", status="done"))
    found = score_run(marks_of(tmp_path / "m.csv", [("1.2.3.4", center, 0.5)]), hilum.open_run(run))
    assert found.scans[-1].scan_id == "d"
    assert found.scans[-1].hits == 1
    found = score_run(marks_of(tmp_path / "m.csv", [("d", center, 0.5)]), hilum.open_run(run))
    assert found.scans[-1].hits == 1


def test_only_listed_scans_count(run, tmp_path, capsys):
    listed = tmp_path / "list.csv"
    listed.write_text("1.2.3.1\n1.2.3.3\n")
    found = score_run(three(tmp_path), hilum.open_run(run), listed=listed)
    assert [row.scan_id for row in found.scans] == ["c", "a"]
    assert (found.score.nodules, found.score.false_positives) == (4, 3)
    listed.write_text("9.9\n")
    with pytest.raises(AnnotationError, match="lists no scan of the run"):
        score_run(three(tmp_path), hilum.open_run(run), listed=listed)
    assert cli.main(["report", str(run), "--scans", str(listed)]) == 1
    assert "give --detections" in capsys.readouterr().err


def test_what_cannot_be_scored_is_refused_or_told(run, tmp_path):
    other = marks_of(tmp_path / "m.csv", [("9.9", (0, 0, 0), 0.5)])
    with pytest.raises(AnnotationError, match="no detection is in a scan of the run"):
        score_run(other, hilum.open_run(run))
    center = np.multiply(scan_of(1).nodules[0].center, [-1, -1, 1])
    rest = np.multiply(scan_of(1).nodules[1].center, [-1, -1, 1])
    turned = marks_of(tmp_path / "m.csv", [("1.2.3.1", center, 0.5), ("1.2.3.1", rest, 0.4)])
    found = score_run(turned, hilum.open_run(run))
    assert found.score.found == 0
    bare = tmp_path / "bare"
    unknown = {"nodules": (), "annotated": False, "nodule_mask": None, "nodule_figures": ()}
    store(hilum.Scan(**{**vars(scan_of(1)), **unknown}), bare, "a")
    append_row(bare, Row(id="a", status="done"))
    with pytest.raises(AnnotationError, match="no scan of the run has annotations"):
        score_run(turned, hilum.open_run(bare))


def test_the_operating_point_on_both_sides_of_one_false_positive_a_scan():
    nodules = {"a": np.array([[0, 0, 0, 8.0]])}
    false = np.array([[50.0, 0, 0, 0.9], [60.0, 0, 0, 0.8]])
    hit = np.array([[0.0, 0, 0, 0.7]])
    one = froc({"a": np.vstack([false[:1], hit])}, nodules, ["a"])
    assert operating_threshold(one) == 0.7
    two = froc({"a": np.vstack([false, hit])}, nodules, ["a"])
    assert operating_threshold(two) == 0.9
    tied = froc({"a": false * [1, 1, 1, 0] + [0, 0, 0, 0.5]}, nodules, ["a"])
    assert operating_threshold(tied) == 0.5  # no threshold has so few
    assert operating_threshold(froc({}, nodules, ["a"])) == np.inf
