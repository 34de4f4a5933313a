"""The score of detections: by hand, by a second computation that shares nothing, and from odd tables."""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hilum
from hilum import cli
from hilum.errors import AnnotationError, InputError, MissingInputError
from hilum.io.annotations.detections import read_candidates, read_detections, read_findings, read_series
from hilum.ops.froc import RATES, froc
from hilum.ops.mark_axes import explain_misses

A, B, C = "1.2.3.1", "1.2.3.2", "1.2.3.3"


def rows(*lines):
    return np.array(lines, float).reshape(-1, 4)


# --- a case by hand -------------------------------------------------------------------------------------------------
# Two scans. A: nodules P (0,0,0) of 10 mm and Q (40,0,0) of 6 mm. B: nodule R (0,0,0) of 8 mm.
# A: 0.9 at 4 mm from P: hit. 0.95 at 4.9 mm from P: the better hit. 0.8 at 3 mm from Q, its very radius: no hit, so a
#    false positive. 0.3 at 2 mm from Q: hit. 0.7 at 4.9 mm from an excluded finding without diameter (10 mm): ignored.
# B: 0.6 far from all: false positive. 0.5 far from all: false positive. R is never found.
# Sorted: 0.95 hit, 0.8 false, 0.6 false, 0.5 false, 0.3 hit: (0, 1/3), (0.5, 1/3), (1, 1/3), (1.5, 1/3), (1.5, 2/3).
# 1/8, 1/4, 1/2, 1: 1/3; 2, 4, 8: 2/3. CPM = (4/3 + 6/3) / 7 = 10/21.
MARKS = {
    A: rows((4, 0, 0, 0.9), (0, 4.9, 0, 0.95), (40, 3, 0, 0.8), (40, 0, 2, 0.3), (100, 104.9, 100, 0.7)),
    B: rows((50, 0, 0, 0.6), (0, 50, 0, 0.5)),
}
NODULES = {A: rows((0, 0, 0, 10), (40, 0, 0, 6)), B: rows((0, 0, 0, 8))}
EXCLUDED = {A: rows((100, 100, 100, -1), (0, 0, 0, -1))}


def test_a_case_by_hand():
    score = froc(MARKS, NODULES, [A, B], excluded=EXCLUDED)
    assert score.sensitivity == pytest.approx([1 / 3] * 4 + [2 / 3] * 3, abs=1e-12)
    assert score.cpm == pytest.approx(10 / 21, abs=1e-12)
    assert (score.scans, score.nodules, score.found, score.marks) == (2, 3, 2, 7)
    assert (score.false_positives, score.ignored, score.repeated, score.beyond_limit) == (3, 1, 1, 0)
    assert score.curve[:, :2] == pytest.approx(
        np.array([[0, 0], [0, 1 / 3], [0.5, 1 / 3], [1, 1 / 3], [1.5, 1 / 3], [1.5, 2 / 3]])
    )
    assert score.curve[1:, 2].tolist() == [0.95, 0.8, 0.6, 0.5, 0.3]
    assert (score.low, math.isnan(score.cpm_low)) == ((), True)


def test_between_two_points_the_curve_is_straight():
    # One scan; 0.9 false, then a tie at 0.5 of one hit and one false: (0,0), (1,0), (2,1): at 1 it is 0, at 2 it is 1.
    marks = {A: rows((90, 0, 0, 0.9), (0, 0, 0, 0.5), (80, 0, 0, 0.5))}
    score = froc(marks, {A: rows((0, 0, 0, 4))}, [A, B])
    # Two scans: (0,0), (0.5,0), (1,1).
    assert score.sensitivity == pytest.approx([0, 0, 0, 1, 1, 1, 1])
    three = froc(marks, {A: rows((0, 0, 0, 4))}, [A])
    assert three.sensitivity == pytest.approx([0, 0, 0, 0, 1, 1, 1])
    alone = froc({A: marks[A][1:]}, {A: rows((0, 0, 0, 4))}, [A])
    assert alone.sensitivity == pytest.approx([1 / 8, 1 / 4, 1 / 2, 1, 1, 1, 1])


def test_a_scan_without_anything_is_in_the_denominator():
    few, many = froc(MARKS, NODULES, [A, B]), froc(MARKS, NODULES, [A, B, C])
    assert many.curve[-1, 0] == pytest.approx(few.curve[-1, 0] * 2 / 3)


def test_a_mark_on_two_nodules_finds_both_and_an_excluded_finding_never_takes_a_hit():
    both = {A: rows((0, 0, 0, 10), (2, 0, 0, 10))}
    score = froc({A: rows((1, 0, 0, 0.5))}, both, [A], excluded={A: rows((1, 0, 0, 20))})
    assert (score.found, score.ignored, score.false_positives, score.cpm) == (2, 0, 0, 1.0)


def test_no_false_positive_and_no_mark_at_all():
    assert froc({A: rows((0, 0, 0, 0.1))}, NODULES, [A, B]).sensitivity == pytest.approx([1 / 3] * 7)
    assert froc({}, NODULES, [A, B]).cpm == 0.0


def test_the_limit_per_scan_drops_those_equal_to_the_first_beyond_it():
    marks = {A: rows(*[(900 + k, 0, 0, p) for k, p in enumerate((0.9, 0.8, 0.7, 0.7, 0.7, 0.1))])}
    kept = [froc(marks, NODULES, [A, B], most_marks=most).marks for most in (0, 1, 2, 3, 4, 5, 6)]
    assert kept == [6, 1, 2, 2, 2, 5, 6]


# --- a second computation -------------------------------------------------------------------------------------------
def inside(mark, finding):
    return math.dist(mark[:3], finding[:3]) < (10.0 if finding[3] < 0 else finding[3]) / 2


def slow(marks, nodules, excluded, scans, *, limit=100):
    """Sensitivities at the rates, by counting anew at every threshold, the points in exact fractions."""
    seen, total = [], 0  # of each mark: probability, which nodules it hits, whether it is false
    for name in scans:
        one, here = [tuple(m) for m in marks.get(name, [])], list(nodules.get(name, []))
        if len(one) > limit:
            edge = sorted((m[3] for m in one), reverse=True)[limit]
            one = [m for m in one if m[3] > edge]
        for m in one:
            hit = {(name, k) for k, n in enumerate(here) if inside(m, n)}
            seen.append((m[3], hit, not hit and not any(inside(m, n) for n in excluded.get(name, []))))
        total += len(here)
    points = [(Fraction(0), Fraction(0))]
    for level in sorted({m[0] for m in seen}, reverse=True):
        up = [m for m in seen if m[0] >= level]
        found = set().union(*(m[1] for m in up))
        points.append((Fraction(sum(m[2] for m in up), len(scans)), Fraction(len(found), total)))
    return [float(read(points, Fraction(rate))) for rate in RATES]


def read(points, rate):
    """The curve's height: on a vertical its top, on a slope by the rule of three, beyond the end the last."""
    before = [p for p in points if p[0] <= rate]
    after = [p for p in points if p[0] > rate]
    x0, y0 = before[-1]
    if not after:
        return y0
    x1, y1 = after[0]
    return y0 + (y1 - y0) * (rate - x0) / (x1 - x0)


def draw(seed):
    """A random case: crowded, so that hits, doubles, ties, excluded findings and misses all happen."""
    r = np.random.default_rng(seed)
    scans = [f"1.2.840.{k}" for k in range(r.integers(1, 9))]

    def scatter(most):
        return {s: r.uniform(0, 16, (r.integers(0, most), 4)) for s in scans}

    marks, nodules, excluded = scatter(30), scatter(5), scatter(5)
    for table in marks.values():
        table[:, 3] = np.round(table[:, 3] / 16, r.integers(1, 4))
    for table in [*nodules.values(), *excluded.values()]:
        table[:, 3] = table[:, 3] / 2 + 4
    for table in excluded.values():
        table[::2, 3] = -1
    nodules[scans[0]] = np.vstack([nodules[scans[0]], [8, 8, 8, 9]])
    return marks, nodules, excluded, scans


def test_a_hundred_random_sets_agree_with_the_second_computation():
    moved = 0
    for seed in range(100):
        marks, nodules, excluded, scans = draw(seed)
        limit = 100 if seed % 3 else 12
        score = froc(marks, nodules, scans, excluded=excluded, most_marks=limit)
        want = slow(marks, nodules, excluded, scans, limit=limit)
        assert np.abs(np.array(score.sensitivity) - want).max() < 1e-9
        assert abs(score.cpm - sum(want) / 7) < 1e-9
        without = froc(marks, nodules, scans, most_marks=limit)
        moved += abs(without.cpm - score.cpm) > 1e-6
    assert moved > 50  # the excluded findings decide: a comparison that ignored them would not pass


def test_the_interval_is_that_of_samples_drawn_out_in_full():
    marks, nodules, excluded, scans = draw(7)
    score = froc(marks, nodules, scans, excluded=excluded, bootstrap=40, seed=3)
    generator, heights = np.random.default_rng(3), []
    for _ in range(40):
        picked = [scans[k] for k in generator.integers(len(scans), size=len(scans))]
        copies = [f"{name}.{k}" for k, name in enumerate(picked)]
        again = [{c: t.get(n, []) for c, n in zip(copies, picked, strict=True)} for t in (marks, nodules, excluded)]
        if sum(len(t) for t in again[1].values()):
            heights.append(slow(*again, copies))
    assert score.samples == len(heights)
    for k in range(7):
        ranked = sorted(h[k] for h in heights)
        assert score.low[k] == pytest.approx(ranked[len(ranked) * 25 // 1000], abs=1e-9)
        assert score.high[k] == pytest.approx(ranked[len(ranked) * 975 // 1000], abs=1e-9)
    assert score.cpm_low <= score.cpm <= score.cpm_high
    other = froc(marks, nodules, scans, excluded=excluded, bootstrap=40, seed=4)
    assert (score.low, score.high) != (other.low, other.high)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 4.0]), st.sampled_from([-8.0, 0.0]))
def test_only_the_order_of_the_probabilities_counts(seed, scale, shift):
    marks, nodules, excluded, scans = draw(seed)
    other = {name: np.column_stack([t[:, :3], t[:, 3] * scale + shift]) for name, t in marks.items()}
    one, two = (froc(m, nodules, scans, excluded=excluded) for m in (marks, other))
    assert one.sensitivity == two.sensitivity
    assert np.all(np.diff(one.curve[:, :2], axis=0) >= 0)
    assert list(one.sensitivity) == sorted(one.sensitivity)


def test_what_has_no_score_is_refused():
    with pytest.raises(InputError, match="no nodule"):
        froc(MARKS, {}, [A])
    with pytest.raises(InputError, match="2 scans, 1 of them different"):
        froc(MARKS, NODULES, [A, A])
    with pytest.raises(InputError, match="0 scans"):
        froc(MARKS, NODULES, [])
    with pytest.raises(InputError, match="not finite"):
        froc({A: rows((0, 0, 0, math.nan))}, NODULES, [A])
    with pytest.raises(InputError, match="negative"):
        froc(MARKS, NODULES, [A], bootstrap=-1)


# --- tables ---------------------------------------------------------------------------------------------------------
HEAD = "seriesuid,coordX,coordY,coordZ,probability"


def write(folder, text, name="d.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(table, head=HEAD):
    return "\n".join(
        [head, *[f"{uid},{','.join(map(str, row))}" for uid, t in table.items() for row in t.tolist()], ""]
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n\n \n"),
        lambda text: text.replace(",", " , "),
        lambda text: "\n".join(",".join(line.split(",")[::-1]) for line in text.splitlines()),
        lambda text: text.replace("seriesuid", "SeriesUID").replace("probability", "PROBABILITY"),
        lambda text: text.replace("\n", ",extra\n"),
    ],
)
def test_marks_order_of_columns_line_ends_and_extra_columns_do_no_harm(tmp_path, change):
    found = read_detections(write(tmp_path, change(lines(MARKS))))
    assert set(found.tables) == {A, B}
    assert all(np.array_equal(found.tables[uid], MARKS[uid]) for uid in MARKS)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\r\n \n", "is empty"),
        ("seriesuid,coordX,coordY,coordZ\n", "column probability is missing"),
        (HEAD + ",coordX\n", "column coordX is there twice"),
        (HEAD.replace(",", ";"), "by commas"),
        (HEAD + f"\n{A},1,2,3\n", "line 2: 4 fields, expected 5"),
        (HEAD + f"\n{A},1,2,3,0.5,6\n", "line 2: 6 fields, expected 5"),
        (HEAD + f"\n{A},1,2,3,nan\n", "line 2: probability is 'nan'"),
        (HEAD + f"\n{A},1,2,3,inf\n", "line 2: probability is 'inf'"),
        (HEAD + f"\n{A},1,2,3,1e999\n", "line 2: probability is inf"),
        (HEAD + f"\n{A},1,2,3,\n", "line 2: probability is ''"),
        (HEAD + f"\n{A},1,2,3,high\n", "line 2: probability is 'high'"),
        (HEAD + f'\n{A},1,2,3,"0,5"\n', "line 2: probability is '0,5'"),
        (HEAD + f"\n{A},nan,2,3,0.5\n", "line 2: coordX is 'nan'"),
        (HEAD + f"\n{A},1,1e12,3,0.5\n", "line 2: coordY is 1e\\+12"),
        (HEAD + "\n,1,2,3,0.5\n", "line 2: seriesuid is ''"),
        (HEAD + "\na b,1,2,3,0.5\n", "line 2: seriesuid is 'a b'"),
        (HEAD.encode("utf-16"), "UTF-16"),
        (HEAD.encode() + b"\n\xff", "not UTF-8"),
    ],
    ids=range(19),
)
def test_a_wrong_table_of_marks_is_refused_by_its_line(tmp_path, text, said):
    with pytest.raises(AnnotationError, match=said) as caught:
        read_detections(write(tmp_path, text))
    assert len(str(caught.value)) <= 300


@settings(max_examples=150)
@given(data=st.data())
def test_a_mangled_table_is_read_or_refused_and_nothing_else(data, tmp_path_factory):
    reader = data.draw(st.sampled_from([read_detections, read_findings, read_candidates, read_series]))
    head = {read_findings: "diameter_mm", read_candidates: "class"}.get(reader, "probability")
    raw = bytearray(f"seriesuid,coordX,coordY,coordZ,{head}\n{A},1,2,3,1\n{B},4,5,6,0\n".encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        cut = data.draw(st.integers(0, 3))
        new = st.sampled_from([b'"', b"\n", b"\r", b",", b"\0", b"\xff", b"nan", b"-", b"9" * 400, b"e999", b";", b" "])
        raw[at : at + cut] = data.draw(new)
    path = write(tmp_path_factory.getbasetemp(), bytes(raw), "mangled.csv")
    refusal, found = "", None
    try:
        found = reader(path)[0]
    except InputError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert len(refusal) <= 300
    assert (found is None) == bool(refusal)
    assert all(np.isfinite(table).all() for table in (found.values() if isinstance(found, dict) else ()))


def test_repeated_marks_count_and_repeated_nodules_do_not(tmp_path):
    twice = lines(MARKS) + "\n".join(lines(MARKS).splitlines()[1:])
    found = read_detections(write(tmp_path, twice))
    assert [note.code for note in found.notes] == ["duplicate-detections"]
    assert len(found.tables[A]) == 2 * len(MARKS[A])
    head = HEAD.replace("probability", "diameter_mm")
    findings = read_findings(write(tmp_path, lines(NODULES, head) + "\n".join(lines(NODULES, head).splitlines()[1:])))
    assert [str(n) for n in findings.notes] == ["duplicate-nodules: 3 rows repeat a nodule and were ignored"]
    assert np.array_equal(findings.tables[A], NODULES[A])


def test_a_negative_diameter_is_for_excluded_findings_only(tmp_path):
    path = write(tmp_path, lines(EXCLUDED, HEAD.replace("probability", "diameter_mm")))
    assert np.array_equal(read_findings(path, excluded=True).tables[A], EXCLUDED[A])
    with pytest.raises(AnnotationError, match="line 2: diameter_mm is -1"):
        read_findings(path)
    with pytest.raises(AnnotationError, match="line 2: diameter_mm is 0"):
        read_findings(write(tmp_path, lines({A: rows((0, 0, 0, 0))}, path.read_text().splitlines()[0])), excluded=True)


def test_candidates_have_a_class(tmp_path):
    head = HEAD.replace("probability", "class")
    assert read_candidates(write(tmp_path, f"{head}\n{A},1,2,3,0\n{A},1,2,4,1\n")).tables[A].tolist() == [
        [1, 2, 3, 0],
        [1, 2, 4, 1],
    ]
    with pytest.raises(AnnotationError, match="line 2: class is 2"):
        read_candidates(write(tmp_path, f"{head}\n{A},1,2,3,2\n"))


def test_series_are_listed_with_or_without_a_heading(tmp_path):
    assert read_series(write(tmp_path, f"{A}\r\n{B}\r\n\r\n"))[0] == (A, B)
    assert read_series(write(tmp_path, f"\ufefffold,SeriesUID\n1,{A}\n2,{B}\n"))[0] == (A, B)
    listed, notes = read_series(write(tmp_path, f"{A}\n{B}\n{A}\n"))
    assert (listed, [n.code for n in notes]) == ((A, B), ["duplicate-series"])
    with pytest.raises(AnnotationError, match="lists no series"):
        read_series(write(tmp_path, "seriesuid\n"))
    with pytest.raises(AnnotationError, match="line 2: seriesuid is"):
        read_series(write(tmp_path, f"{A}\nan unknown scan\n"))


# --- the command ----------------------------------------------------------------------------------------------------
@pytest.fixture
def files(tmp_path):
    head = HEAD.replace("probability", "diameter_mm")
    return {
        "marks": write(tmp_path, lines(MARKS), "marks.csv"),
        "nodules": write(tmp_path, lines(NODULES, head), "nodules.csv"),
        "excluded": write(tmp_path, lines(EXCLUDED, head), "excluded.csv"),
        "scans": write(tmp_path, f"{A}\n{B}\n", "scans.csv"),
    }


def call(capsys, *words):
    status = cli.main(["froc", *[str(word) for word in words]])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_the_command_prints_the_score(capsys, files, tmp_path):
    options = ("--excluded", files["excluded"], "--scans", files["scans"])
    status, out, err = call(capsys, files["marks"], files["nodules"], *options, "--json")
    told = json.loads(out)
    assert (status, err.count("\n") <= 1) == (0, True)
    assert told["cpm"] == pytest.approx(10 / 21)
    assert [p["sensitivity"] for p in told["points"]] == pytest.approx([1 / 3] * 4 + [2 / 3] * 3)
    assert told["points"][0]["low"] <= 1 / 3 <= told["points"][0]["high"]
    assert (told["found"], told["ignored"], told["bootstrap"], told["seed"]) == (2, 1, 1000, 0)
    again = call(capsys, files["marks"], files["nodules"], *options, "--json")[1]
    assert again == out
    status, out, err = call(capsys, files["marks"], files["nodules"], *options, "--bootstrap", 0)
    assert (status, err) == (0, "")
    assert out.startswith("CPM 0.4762\n  0.125 false positives a scan: 0.3333\n")
    assert "2 of 3 nodules found in 2 scans by 7 marks" in out
    plot = tmp_path / "froc.png"
    assert call(capsys, files["marks"], files["nodules"], *options, "--plot", plot)[0] == 0
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_odd_tables_are_named(capsys, files, tmp_path):
    status, out, err = call(capsys, files["marks"], files["nodules"], "--bootstrap", 0, "--json")
    assert (status, "scans-assumed: the 2 series of the tables" in err) == (0, True)
    assert json.loads(out)["notes"][0]["code"] == "scans-assumed"
    stray = write(tmp_path, lines({**MARKS, "1.2.9": rows((0, 0, 0, 1))}), "stray.csv")
    err = call(capsys, stray, files["nodules"])[2]
    assert "1 of them are only in the detections: 1.2.9" in err
    status, out, err = call(capsys, stray, files["nodules"], "--scans", files["scans"], "--json", "--bootstrap", 0)
    assert "unknown-series: detections of 1 series outside the list of scans do not count: 1.2.9" in err
    assert json.loads(out)["marks"] == 7
    short = write(tmp_path, A, "short.csv")
    err = call(capsys, files["marks"], files["nodules"], "--scans", short)[2]
    assert "annotations of 1 series outside" in err
    assert "detections of 1 series outside" in err
    status, out, err = call(capsys, write(tmp_path, HEAD, "none.csv"), files["nodules"], "--json")
    assert (status, json.loads(out)["cpm"], "no-detections" in err) == (0, 0.0, True)
    err = call(capsys, files["marks"], files["nodules"], "--most-marks", 2)[2]
    assert "marks-beyond-limit: 3 marks do not count: only the 2 most probable marks of a scan do" in err
    lonely = write(tmp_path, lines({A: NODULES[A]}, HEAD.replace("probability", "diameter_mm")), "lonely.csv")
    err = call(capsys, files["marks"], lonely, "--scans", files["scans"], "--bootstrap", 100)[2]
    assert "bootstrap samples have no nodule" in err


def test_what_cannot_be_scored_is_one_line(capsys, files, tmp_path):
    other = write(tmp_path, lines({"1.2.9": rows((0, 0, 0, 1))}), "other.csv")
    wrong = [
        (other, files["nodules"]),
        (tmp_path / "gone.csv", files["nodules"]),
        (files["marks"], files["marks"]),
        (files["marks"], files["nodules"], "--scans", tmp_path),
        (files["marks"], files["nodules"], "--scans", write(tmp_path, "1.2.77", "far.csv")),
        (files["marks"], files["nodules"], "--bootstrap", "-1"),
        (files["marks"], files["nodules"], "--plot", tmp_path / "a.jpg"),
        (files["marks"], files["nodules"], "--plot", tmp_path / "no" / "a.png"),
    ]
    for words in wrong:
        status, out, err = call(capsys, *words)
        assert (status, out) == (1, "")
        assert [line for line in err.splitlines() if not line.startswith("note: ")] == [err.splitlines()[-1]]
        assert len(err.splitlines()[-1]) <= 300
    assert not list(tmp_path.glob("*.png"))


def test_without_matplotlib_the_extra_is_named(capsys, files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("hilum.cli.plot_files.find_spec", lambda _name: None)
    status, _, err = call(capsys, files["marks"], files["nodules"], "--plot", tmp_path / "a.png")
    assert (status, "pip install 'hilum[plots]'" in err) == (1, True)


def test_missing_files_are_missing(tmp_path):
    with pytest.raises(MissingInputError):
        read_detections(tmp_path / "gone.csv")


def test_the_names_are_public():
    assert hilum.froc is froc


@pytest.mark.real
def test_luna16s_own_nodules_as_detections_score_one(real_data, tmp_path, capsys):
    """Every nodule marked at its center: CPM 1. The excluded findings as marks: none found, none false."""
    folder = real_data / "luna16"
    perfect = write(tmp_path, "\n".join([HEAD, *(folder / "annotations.csv").read_text().splitlines()[1:]]), "p.csv")
    tables = ("--excluded", folder / "annotations_excluded.csv", "--bootstrap", 0, "--json")
    told = json.loads(call(capsys, perfect, folder / "annotations.csv", *tables)[1])
    assert (told["cpm"], told["nodules"], told["false_positives"]) == (1.0, 1186, 0)
    excluded = (folder / "annotations_excluded.csv").read_text().splitlines()[1:]
    idle = write(tmp_path, "\n".join([HEAD, *excluded]), "e.csv")
    told = json.loads(call(capsys, idle, folder / "annotations.csv", *tables, "--most-marks", 0)[1])
    assert (told["false_positives"], told["marks"]) == (0, len(excluded))
    assert told["ignored"] > 30000


# --- marks in other axes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p, ""),
        (lambda p: p * (-1, -1, 1), "as RAS, with x and y negated they hit 3 of 3"),
        (lambda p: p[:, ::-1], "with x and z swapped they hit 3 of 3"),
        (lambda p: p / 10, "as cm they hit 3 of 3"),
        (lambda p: p + np.array([0, 0, 60]), ""),  # near, and wrong in another way
        (lambda p: p + 900, "over 100 mm from every nodule"),
    ],
)
def test_marks_that_miss_everything_are_explained(change, said):
    nodules = {A: rows((50, -60, -150, 10), (-40, 70, -90, 8)), B: rows((20, 30, -200, 12)), C: rows((1, 2, 3, 4))}
    marks = {name: np.column_stack([change(table[:, :3]), np.ones(len(table))]) for name, table in nodules.items()}
    del marks[C]  # a scan without marks says nothing
    assert said in explain_misses(marks, nodules)
    assert bool(said) == bool(explain_misses(marks, nodules))


@pytest.mark.parametrize(("flipped", "explained"), [(2, True), (1, False)])
def test_half_of_the_nodules_have_to_be_hit(flipped, explained):
    nodules = {A: rows((50, -60, -150, 10), (-40, 70, -90, 8), (20, 30, -99, 8), (9, 9, -9, 4))}
    marks = np.where(np.arange(4)[:, None] < flipped, nodules[A] * (-1, -1, 1, 1), nodules[A] + (0, 0, 40, 0))
    assert bool(explain_misses({A: marks}, nodules)) == explained


@pytest.mark.parametrize(("distance", "explained"), [(100.0, False), (100.1, True)])
def test_only_far_marks_are_explained_without_other_axes(distance, explained):
    nodules = {A: rows((0, 0, 0, 10))}
    assert bool(explain_misses({A: rows((distance, 0, 0, 1))}, nodules)) == explained
    assert explain_misses({A: rows((distance, 0, 0, 1), (50, 0, 0, 1))}, nodules) == ""


def test_the_command_says_that_the_marks_are_in_ras(tmp_path, capsys):
    (tmp_path / "n.csv").write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{A},50,-60,-150,10\n")
    (tmp_path / "d.csv").write_text(f"seriesuid,coordX,coordY,coordZ,probability\n{A},-50,60,-150,0.9\n")
    assert cli.main(["froc", str(tmp_path / "d.csv"), str(tmp_path / "n.csv")]) == 0
    assert "wrong-axes: no mark hits a nodule, but as RAS" in capsys.readouterr().err
