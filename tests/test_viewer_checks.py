"""What `hilum view` shows is what the run wrote under that name, and what it reads and writes is the run's own."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil

import httpx
import pytest
from served import ask, post, started
from small_runs import append_row, rewrite_ledger

import hilum
from hilum.errors import FormatError
from hilum.ops.preview import draw_preview
from hilum.outputs.checksums import RERUN, file_sha256
from hilum.outputs.ledger import Row
from hilum.outputs.store import store_scan
from hilum.phantom.chest import make_phantom
from hilum.recipes import parse_recipe
from hilum.viewer import app
from hilum.viewer.reviews import COLUMNS, NAME, OLD_COLUMNS, read_reviews, save_review
from hilum.viewer.sources import open_source

COARSE = parse_recipe("[resample]\nspacing_mm = 4.0\n")


def stored(out, name, seed):
    """Store a phantom's scan in a run, and give its line of the ledger."""
    scan = make_phantom(seed=seed, shape=(40, 64, 64), spacing=(7.5, 6.0, 6.0)).scan
    done = hilum.preprocess(scan, COARSE)
    store_scan(done, out / "scans", scan_id=name, file_format="npy", source=scan.ct.geometry, recipe_name="mine",
               recipe_sha256="0", fingerprint=f"{seed:x}" * 64, preview=draw_preview(done))  # fmt: skip
    return Row(id=name, status="done", scan_sha256=file_sha256(out / "scans" / name / "scan.json"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("DOE^JOHN") / "out"
    rows = [stored(out, "ct-a", 2), stored(out, "ct-b", 3)]
    rewrite_ledger(out, rows)
    (out / "recipe.toml").write_text('name = "mine"\n')
    return out


@pytest.fixture
def run(made, tmp_path):
    """A run of two scans whose files have the same sizes."""
    shutil.copytree(made, tmp_path / "DOE^JOHN" / "out")
    return tmp_path / "DOE^JOHN" / "out"


class Asked:
    """The answers for a run, without a server."""

    def __init__(self, run):
        self.source = open_source(run)
        self.app = app.make_app(self.source)

    def __call__(self, path, **more):
        async def answer():
            served_here = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=served_here, base_url="http://here") as client:
                return await (client.post(path, **more) if more else client.get(path))

        return asyncio.run(answer())

    def row(self, number=0):
        return self("/api/session").json()["scans"][number]

    def review(self, **body):
        return self("/api/scans/0/review", json={"verdict": "accept", "comment": ""} | body)


def swap(run, name):
    """Put a file of ct-b in the place of that of ct-a; sizes and times tell nothing."""
    one, other = (run / "scans" / scan / name for scan in ("ct-a", "ct-b"))
    assert one.stat().st_size == other.stat().st_size
    assert one.read_bytes() != other.read_bytes()
    before = one.stat()
    one.write_bytes(other.read_bytes())
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))


# ---- what is shown


def test_what_fits_is_shown_without_a_word(run):
    asked = Asked(run)
    facts = asked("/api/scans/0").json()
    assert facts["doubt"] == ""
    assert facts["scan_sha256"] == file_sha256(run / "scans/ct-a/scan.json")
    assert asked("/api/scans/0/ct.nii").status_code == 200
    assert asked("/api/scans/0/thumbnail.png").status_code == 200


@pytest.mark.parametrize("name", ["ct.npy", "lungs.npy"])
def test_a_file_of_another_scan_is_not_shown(run, name):
    asked = Asked(run)
    swap(run, name)
    for path in ("", "/ct.nii", "/lungs.nii", "/right.stl"):
        answer = asked(f"/api/scans/0{path}")
        assert answer.status_code == 422
        assert answer.json() == {"error": f"scans/ct-a/{name}: does not match its checksum; {RERUN}"}
    assert asked("/api/scans/1/ct.nii").status_code == 200


def test_the_whole_folder_of_another_scan_is_not_shown(run):
    told = Asked(run).row()
    shutil.rmtree(run / "scans/ct-a")
    shutil.copytree(run / "scans/ct-b", run / "scans/ct-a")
    asked = Asked(run)
    row = asked.row()
    assert (row["flags"], row["viewable"], row["nodules"], row["right_ml"]) == (["changed"], True, None, None)
    assert told["flags"] != ["changed"]
    again = "run the same command again: it repairs the output"
    for path in ("", "/ct.nii", "/thumbnail.png"):
        answer = asked(f"/api/scans/0{path}")
        assert answer.status_code == 422
        assert answer.json() == {"error": f"scans/ct-a/scan.json: does not match the checksum in the ledger; {again}"}


def test_a_record_of_another_scan_is_not_shown_where_the_ledger_has_no_checksums(run):
    rewrite_ledger(run, [Row(id="ct-a", status="done"), Row(id="ct-b", status="done")])
    shutil.copy(run / "scans/ct-b/scan.json", run / "scans/ct-a/scan.json")
    assert "is the record of another scan" in Asked(run)("/api/scans/0").json()["error"]


@pytest.mark.parametrize(("rows", "doubt"), [
    ([Row(id="ct-a", status="done")], "the ledger has no checksum for this scan"),
    ([], "the ledger does not list this scan"),
])  # fmt: skip
def test_what_nothing_vouches_for_is_shown_with_a_word(run, rows, doubt):
    rewrite_ledger(run, rows)
    answer = Asked(run)("/api/scans/0")
    assert (answer.status_code, answer.json()["doubt"]) == (200, doubt)


def test_what_is_left_of_a_scan_that_the_run_refuses_now_is_not_shown(run):
    rewrite_ledger(run, [Row(id="ct-a", status="refused", code="gap", reason="10 mm are missing")])
    asked = Asked(run)
    assert (asked.row()["viewable"], asked.row()["reason"]) == (False, "10 mm are missing")
    assert asked("/api/scans/0").json() == {"error": "ct-a: this scan has no output; see the run's ledger"}


def test_a_scan_that_is_made_anew_meanwhile_is_shown_as_it_is_now(run):
    asked = Asked(run)
    before = asked("/api/scans/0").json()
    append_row(run, stored(run, "ct-a", 5))
    now = asked("/api/scans/0").json()
    assert now["scan_sha256"] == file_sha256(run / "scans/ct-a/scan.json") != before["scan_sha256"]
    assert now["doubt"] == ""
    assert asked("/api/scans/0/thumbnail.png").status_code == 200


# ---- which output a review is of


def test_a_review_says_which_output_was_seen(run):
    asked = Asked(run)
    seen = asked("/api/scans/0").json()["scan_sha256"]
    assert asked.review(scan_sha256=seen).json()["current"] is True
    with (run / NAME).open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert (line["scan_id"], line["verdict"], line["scan_sha256"]) == ("ct-a", "accept", seen)
    assert asked.row()["review"]["current"] is True
    append_row(run, stored(run, "ct-a", 5))
    assert asked.row()["review"]["current"] is False
    for wrong in ("x", seen.upper(), f"{seen}0"):
        assert asked.review(scan_sha256=wrong).status_code == 422


def test_reviews_of_an_older_version_are_kept(run):
    old = ["ct-b", "reject", "blurred", "2025-01-01T00:00:00+00:00"]
    (run / NAME).write_text(",".join(OLD_COLUMNS) + "\n" + ",".join(old) + "\n")
    asked = Asked(run)
    assert asked.row(1)["review"] == {"verdict": "reject", "comment": "blurred", "when": old[3], "current": None}
    asked.review()
    with (run / NAME).open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(COLUMNS)
    assert rows[2] == [*old, ""]


# ---- what is read and written


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_review_file_that_is_a_link_is_refused_and_not_followed(run, tmp_path, target):
    (tmp_path / "there").write_text(",".join(COLUMNS) + "\n")
    (run / NAME).symlink_to(tmp_path / target)
    for refused in (lambda: read_reviews(run), lambda: save_review(run, "ct-a", verdict="accept", comment="")):
        with pytest.raises(FormatError, match=r"review\.csv: is a link; correct it, or move it away"):
            refused()
    assert (run / NAME).is_symlink()
    assert (tmp_path / "there").read_text() == ",".join(COLUMNS) + "\n"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "huge", "device"])
def test_a_recipe_that_is_no_file_of_the_run_is_left_out(run, tmp_path, kind):
    path = run / "recipe.toml"
    path.unlink()
    (tmp_path / "secret").write_text("secret = 1\n")
    make = {"pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to(tmp_path / "secret"),
            "device": lambda: path.symlink_to("/dev/zero"), "huge": lambda: path.write_text("#" * 2**21)}  # fmt: skip
    make[kind]()
    assert Asked(run)("/api/session").json()["recipe"] is None


def test_a_record_that_becomes_a_pipe_or_a_link_is_refused(run, tmp_path):
    asked = Asked(run)
    path = run / "scans/ct-a/scan.json"
    path.rename(tmp_path / "scan.json")
    os.mkfifo(path)
    assert asked("/api/scans/0").json() == {
        "error": "scans/ct-a/scan.json: the file is not a regular file; give a file"
    }
    path.unlink()
    path.symlink_to(tmp_path / "scan.json")
    assert "scans/ct-a/scan.json: is a link" in asked("/api/scans/0").json()["error"]
    assert asked.row()["viewable"]


def test_no_place_of_this_machine_is_told(run, tmp_path, monkeypatch):
    asked = Asked(run)
    asked.review()
    swap(run, "ct.npy")
    said = [asked(f"/api/{path}").text for path in ("session", "scans/0", "scans/1", "scans/0/ct.nii")]
    (run / NAME).write_text("name\n")
    said += [asked("/api/session").text, asked.review().text]

    def broken(*_, **_options):
        raise OSError(5, "Input/output error", str(tmp_path / "DOE^JOHN"))

    monkeypatch.setattr("hilum.viewer.sources.RunScan.scan", broken)
    failed = Asked(run)("/api/scans/1")
    assert (failed.status_code, failed.json()) == (500, {"error": "hilum failed: Input/output error"})
    for text in (*said, failed.text):
        assert "DOE" not in text
        assert str(tmp_path) not in text
        assert "Traceback" not in text


@pytest.mark.skipif(not (app.PAGE / "index.html").is_file(), reason="the page is not built (python3 dev.py page)")
def test_a_run_that_may_only_be_read_is_shown_and_takes_no_review(run):
    # root may write everywhere: this takes that away, from the viewer alone
    before = ("setpriv", "--bounding-set", "-dac_override") if os.geteuid() == 0 else ()
    if before and shutil.which(before[0]) is None:
        pytest.skip("root may write everywhere, and there is no setpriv to take that away")
    run.chmod(0o555)
    try:
        with started(run, before=before) as (_, host, folder):
            assert ask(host, f"/{folder}/api/scans/0/ct.nii")[0] == 200
            status, _, body = post((host, f"/{folder}/"), {"verdict": "accept", "comment": ""})
            line = "no permission to write to this run; ask its owner"
            assert (status, json.loads(body)) == (422, {"error": line})
    finally:
        run.chmod(0o755)
    assert not (run / NAME).exists()
