"""The server of `hilum view`: who is answered, what is given, what is written."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import nibabel
import numpy as np
import pytest
from served import ADDRESS, JAR, ask, ended, post, started
from small_runs import append_row

import hilum
from hilum import cli
from hilum.batch.lock import output_lock
from hilum.errors import FormatError, OutputError
from hilum.io.volumes.nifti import write_nifti
from hilum.outputs.ledger import Row
from hilum.outputs.store import store_scan
from hilum.phantom.chest import make_phantom
from hilum.viewer import app, reviews
from hilum.viewer.reviews import COLUMNS, NAME, read_reviews, save_review
from hilum.viewer.sources import open_source

REVIEW = {"verdict": "reject", "comment": ""}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one finished scan with two nodules, and one that was refused."""
    folder = tmp_path_factory.mktemp("served") / "out"
    phantom = make_phantom(seed=2, shape=(40, 64, 64), spacing=(7.5, 6.0, 6.0))
    scan = phantom.scan
    recipe = hilum.recipe()
    done = hilum.preprocess(scan, recipe)
    store_scan(done, folder / "scans", scan_id="ct-a", file_format="npy", source=scan.ct.geometry, recipe_name="mine",
               recipe_sha256="0", fingerprint="f" * 64)  # fmt: skip
    append_row(folder, Row(id="ct-a", status="done"))
    append_row(folder, Row(id="ct-b", status="refused", code="gap", reason="a gap of 20 mm \x1b[2J<b>"))
    (folder / "recipe.toml").write_text('name = "mine"\n')
    return folder


@pytest.fixture
def untouched(run):
    """Holds that a test writes nothing: a review that stands is there before and after, and no file beside it."""
    save_review(run, "ct-a", verdict="accept", comment="stands")
    before = written(run)
    yield
    assert written(run) == before
    save_review(run, "ct-a", verdict="", comment="")


def written(run):
    return {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def served(run):
    # The server answers though the page is not built; only the command refuses then.
    if not (app.PAGE / "index.html").is_file():
        pytest.skip("the page is not built (python3 dev.py page; needs node)")
    with started(run) as (_, host, folder):
        yield host, f"/{folder}/"


def test_what_is_asked_rightly_is_answered(served):
    host, base = served
    status, headers, body = ask(host, base)
    assert status == 200
    assert b"<!doctype html>" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]
    for name in app.FILES:
        assert ask(host, f"{base}page/{name}")[0] == 200
    session = json.loads(ask(host, f"{base}api/session")[2])
    assert [(one["id"], one["name"], one["status"], one["viewable"]) for one in session["scans"]] == [
        ("0", "ct-a", "done", True),
        ("1", "ct-b", "refused", False),
    ]
    assert session["scans"][1]["reason"] == r"a gap of 20 mm \u{1b}[2J<b>"


@pytest.mark.parametrize("host", ["evil.example", "localhost:1", "127.0.0.1", None])
@pytest.mark.usefixtures("untouched")
def test_a_forged_host_is_turned_away(served, host):
    assert ask(served[0], f"{served[1]}api/session", Host=host)[0] in {400, 403}
    assert post(served, REVIEW, Host=host)[0] in {400, 403}


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1"},
     {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}],
)  # fmt: skip
@pytest.mark.usefixtures("untouched")
def test_a_foreign_origin_is_turned_away(served, headers):
    assert post(served, REVIEW, **headers)[0] == 403
    status, _, body = ask(served[0], f"{served[1]}api/session", **headers)
    assert (status, body) == (403, b"")


@pytest.mark.usefixtures("untouched")
def test_no_folder_and_a_wrong_one_are_turned_away(served):
    host, base = served
    wrong = base[:-2] + ("A" if base[-2] != "A" else "B") + "/"
    for path in (
        "/",
        "/api/session",
        wrong,
        f"{wrong}api/session",
        base[:-1],
        f"/x{base}",
        base.lower() + "api/session",
    ):
        assert ask(host, path, Cookie=None)[0] == 404, path
    assert ask(host, f"{wrong}api/session")[0] == 404
    assert post((host, wrong), REVIEW)[0] == 404
    assert post((host, "/"), REVIEW)[0] == 404


@pytest.mark.parametrize(
    "path",
    ["..%2f..%2fetc/passwd", "page/..%2fapp.py", "page/../app.py", "page/app.py", "page/%2e%2e/app.py", "/etc/passwd",
     "api/scans//etc/passwd", "api/scans/%2fetc%2fpasswd", "api/scans/..%2f0", "api/scans/00", "api/scans/-1",
     "api/scans/2", "api/scans/1e0", "api/scans/99999999999999999999", "api/scans/0/ct.nii.gz", "api/scans/0/scan.json",
     "api/scans/0/ct.npy", "page/viewer.js\\..", "api/scans/ct-a", "x" * 300,
     "api/session%00", "page/viewer.js%00", "page/%00", "api/scans/0%00", "api/scans/0/ct.nii%00.png"],
)  # fmt: skip
@pytest.mark.usefixtures("untouched")
def test_no_path_leads_elsewhere(served, path):
    assert post(served, REVIEW, path=f"{path}/review")[0] in {404, 405}
    status, _, body = ask(served[0], served[1] + path)
    assert status == 404
    assert b"root:" not in body
    assert b"import" not in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "HEAD", "BREW"])
@pytest.mark.usefixtures("untouched")
def test_other_methods_are_turned_away(served, method):
    assert ask(served[0], f"{served[1]}api/scans/0/review", method)[0] == 405
    assert ask(served[0], f"{served[1]}api/session", method)[0] == 405


@pytest.mark.usefixtures("untouched")
def test_a_post_elsewhere_and_a_get_of_the_review_are_turned_away(served):
    assert post(served, {"verdict": "accept", "comment": ""}, path="api/session")[0] == 405
    assert ask(served[0], f"{served[1]}api/scans/0/review")[0] in {404, 405}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"verdict": "accept", "comment": "x" * 5000}, {}, 413),
        ({"verdict": "accept", "comment": "x" * 1001}, {}, 422),
        ({"verdict": "maybe", "comment": ""}, {}, 422),
        ({"verdict": "accept"}, {}, 400),
        ({"verdict": "accept", "comment": "", "more": 1}, {}, 400),
        (b"\xff{", {}, 400),
        ({"verdict": "accept", "comment": ""}, {"Content_Type": "text/plain"}, 415),
        ({"verdict": "accept", "comment": ""}, {"Origin": None}, 403),
        ({"verdict": "accept", "comment": ""}, {"Origin": "http://evil.example"}, 403),
    ],
)
@pytest.mark.usefixtures("untouched")
def test_a_review_that_is_none_is_refused_and_nothing_is_written(served, body, headers, status):
    assert post(served, body, **headers)[0] == status


@pytest.mark.usefixtures("untouched")
def test_a_body_that_does_not_tell_its_length_is_cut_off_too(served):
    # One JSON object within the bound of a comment, and blanks to no end: only its length is wrong.
    chunks = [json.dumps(REVIEW).encode(), *[b" " * 1000] * 5]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    assert post(served, body, Transfer_Encoding="chunked", Content_Length=None)[0] == 413


def test_a_review_is_saved_safe_for_spreadsheets(served, run):
    comment = '=HYPERLINK("x")\r\n, "quoted" \u202egnp'
    status, _, body = post(served, {"verdict": "reject", "comment": comment})
    assert status == 200
    shown = '=HYPERLINK("x") , "quoted" \\u{202e}gnp'
    assert json.loads(body)["comment"] == shown
    with (run / NAME).open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(COLUMNS)
    assert rows[1][:3] == ["ct-a", "reject", "'" + shown]
    session = json.loads(ask(served[0], f"{served[1]}api/session")[2])
    assert session["scans"][0]["review"]["comment"] == shown
    post(served, {"verdict": "", "comment": ""})
    assert read_reviews(run) == {}


def test_a_review_file_of_another_kind_is_left_alone(tmp_path):
    (tmp_path / NAME).write_text("name,opinion\nct-a,good\n")
    with pytest.raises(FormatError, match="its columns are not"):
        save_review(tmp_path, "ct-a", verdict="accept", comment="")
    assert (tmp_path / NAME).read_text() == "name,opinion\nct-a,good\n"


HEAD = ",".join(reviews.OLD_COLUMNS) + "\n"
NEWER = ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (NEWER + "ct-b,accept,fine,now\n", "line 2 has 4 cells instead of 5"),
        (HEAD + "ct-b,accept,fine\n", "line 2 has 3 cells instead of 4"),
        (HEAD + "ct-b,accept,fine,now\nct-c,reject,a,b,c\n", "line 3 has 5 cells instead of 4"),
        (HEAD + "\nct-b,accept,fine,now\n", "line 2 has 0 cells"),
        (HEAD + "ct-b,perhaps\x1b[2J,,now\n", r"line 2: 'perhaps\u{1b}[2J' is neither accept nor reject"),
        (HEAD + "ct-b,accept,,now\nct-b,reject,,now\n", "line 3: a second line for this scan"),
        (HEAD + "=b,accept,,now\n'=b,reject,,now\n", "line 3: a second line for this scan"),
        (HEAD + ",accept,,now\n", "line 2: no scan_id"),
        (HEAD + 'ct-b,accept,"never closed,now\n', "cannot be read"),
        (HEAD + 'ct-b,accept,"clo"sed,now\n', "cannot be read"),
        (HEAD + "ct-b,accept,\udcff,now\n", "cannot be read"),
        (HEAD + f"ct-b,accept,{'x' * 140_000},now\n", "cannot be read"),
        ("\ufeff" + HEAD, "its columns are not"),
        ("", "its columns are not"),
        (HEAD + "ct-b,accept,fine,now\n" * 40_000, "is longer than 500000 bytes"),
    ],
)
def test_a_damaged_review_file_is_refused_and_left_byte_for_byte(tmp_path, monkeypatch, text, told):
    monkeypatch.setattr(reviews, "MAX_BYTES", 500_000)
    raw = text.encode(errors="surrogateescape")
    (tmp_path / NAME).write_bytes(raw)
    for refused in (
        lambda: read_reviews(tmp_path),
        lambda: save_review(tmp_path, "ct-a", verdict="accept", comment=""),
    ):
        with pytest.raises(FormatError) as caught:
            refused()
        line = str(caught.value)
        assert told in line
        assert len(line) <= 300
        assert line.isprintable()
    assert (tmp_path / NAME).read_bytes() == raw
    assert not [name for name in os.listdir(tmp_path) if ".part" in name]


def test_a_review_file_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(FormatError, match="is not a regular file"):
        read_reviews(tmp_path)


def test_two_viewers_of_a_run_lose_none_of_each_others_reviews(tmp_path):
    code = (
        "import sys; from pathlib import Path; from hilum.viewer.reviews import save_review; sys.stdin.readline()\n"
        "for n in range(50): save_review(Path(sys.argv[1]), sys.argv[2] + str(n), verdict='accept', comment='')"
    )
    command = [sys.executable, "-c", code, tmp_path]
    both = [subprocess.Popen([*command, name], stdin=subprocess.PIPE) for name in "ab"]
    for process in both:  # both have imported by the time that they are told to go
        process.stdin.write(b"go\n")
        process.stdin.close()
    assert [process.wait(120) for process in both] == [0, 0]
    assert set(read_reviews(tmp_path)) == {f"{name}{n}" for name in "ab" for n in range(50)}
    assert sorted(os.listdir(tmp_path)) == [reviews.LOCK, NAME]
    assert (tmp_path / reviews.LOCK).read_bytes() == b""


def test_a_review_that_another_viewer_keeps_from_being_saved_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(reviews, "LOCK_TIMEOUT", 0.0)
    with (
        output_lock(tmp_path, name=reviews.LOCK),
        pytest.raises(OutputError, match="another viewer is saving a review"),
    ):
        save_review(tmp_path, "ct-a", verdict="accept", comment="")
    assert not (tmp_path / NAME).exists()


def test_without_scikit_image_only_the_surfaces_are_missing(run, monkeypatch):
    served_here = httpx.ASGITransport(app.make_app(open_source(run)))

    def get(url):
        async def answer():
            async with httpx.AsyncClient(transport=served_here, base_url="http://here") as client:
                return await client.get(url)

        return asyncio.run(answer())

    facts = get("/api/scans/0").json()
    urls = [url for url in facts["surfaces"].values() if url]
    assert len(urls) >= 2
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "skimage", None)
        for url in urls:
            answer = get(f"/{url}")
            assert answer.status_code == 422
            assert answer.json() == {"error": "surfaces need scikit-image; pip install 'hilum[viewer]'"}
        assert get(f"/{facts['volumes']['lungs']['url']}").status_code == 200
    assert get(f"/{urls[0]}").status_code == 200


def test_volumes_and_surfaces_are_what_was_stored(served, run, tmp_path):
    host, base = served
    facts = json.loads(ask(host, f"{base}api/scans/0")[2])
    stored = {name: np.load(run / "scans/ct-a" / f"{name}.npy") for name in ("ct", "lungs")}
    record = json.loads((run / "scans/ct-a/scan.json").read_text())
    for name, array in stored.items():
        part = facts["volumes"][name]
        status, headers, body = ask(host, base + part["url"])
        assert (status, int(headers["content-length"])) == (200, len(body))
        (tmp_path / f"{name}.nii").write_bytes(body)
        read = nibabel.load(tmp_path / f"{name}.nii")
        origin = np.array(record["geometry"]["origin"]) * (-1, -1, 1)
        box = [slice(None)] * 3
        if name == "ct":
            assert len(body) == part["bytes"]
        else:  # the box around its labels
            assert len(body) < part["bytes"]
            box = [slice(one.min(), one.max() + 1) for one in np.nonzero(array)]
            origin = origin + read.affine[:3, :3] @ [one.start for one in box][::-1]
            assert array.sum() == array[tuple(box)].sum()
        assert (np.asarray(read.dataobj).transpose() == array[tuple(box)]).all()
        np.testing.assert_allclose(read.affine[:3, 3], origin, atol=1e-3)
    lungs = stored["lungs"]
    for name, label in (("right", 1), ("left", 2)):
        raw = ask(host, base + facts["surfaces"][name])[2]
        kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
        corners = np.frombuffer(raw, kind, offset=84)["corners"].reshape(-1, 3)
        voxels = (np.argwhere(lungs == label) - [one.start for one in box])[:, ::-1]
        world = nibabel.affines.apply_affine(read.affine, voxels)
        np.testing.assert_allclose(corners.min(0), world.min(0), atol=4)
        np.testing.assert_allclose(corners.max(0), world.max(0), atol=4)


def test_ctrl_c_ends_it_at_once_and_a_second_viewer_takes_another_port(run, served):
    with started(run) as (process, host, token), started(run) as (_, other, _):
        assert len({host, other, served[0]}) == 3
        assert ask(host, f"/{token}/api/session")[0] == 200
        assert ended(process) == 0
        first, second, rest = process.stderr.read().partition("for another browser: ")
        assert (first, bool(second)) == ("Press Ctrl-C to stop\n", True)
        assert ADDRESS.fullmatch(rest)
        assert process.stdout.read() == ""
        assert ask(other, "/")[0] == 404


@pytest.mark.usefixtures("served")
def test_sigterm_ends_it_well_too(run):
    with started(run) as (process, _, _):
        assert ended(process, signal.SIGTERM) == 0


@pytest.mark.usefixtures("served")
def test_ctrl_c_does_not_wait_for_an_answer_that_is_going_out(run):
    with started(run) as (process, host, token), asked(host, f"/{token}/api/scans/0/ct.nii") as link:
        assert link.recv(12) == b"HTTP/1.1 200"  # and nobody takes the rest, 80 MB
        assert ended(process) == 0


@pytest.mark.usefixtures("served")
def test_ctrl_c_does_not_wait_for_lungs_that_are_being_found(tmp_path):
    ct = make_phantom(seed=2, shape=(200, 320, 320), spacing=(1.5, 1.2, 1.2)).scan.ct
    write_nifti(ct, tmp_path / "ct.nii")
    with started(tmp_path / "ct.nii") as (process, host, token):
        assert ask(host, f"/{token}/api/scans/0")[0] == 200
        with asked(host, f"/{token}/api/scans/0/lungs.nii") as link:
            assert ask(host, f"/{token}/api/session")[0] == 200
            assert not select.select([link], [], [], 0)[0], "the lungs were found too fast for this test"
            assert ended(process) == 0


@contextmanager
def asked(host, path):
    """A socket on which a page was asked for, and no answer was read yet."""
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=120) as link:
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {JAR[host]}\r\n\r\n".encode())
        yield link


def test_what_cannot_be_seen_is_one_line(run, tmp_path, capsys, monkeypatch, served):
    def refused(*words):
        assert cli.main(["view", *map(str, words), "--no-browser"]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert len(error) <= 301
        return error

    assert "no such file" in refused(tmp_path / "nothing")
    assert "port" in refused(run, "--port", served[0].split(":")[1])
    assert "--original" in refused(tmp_path, "--original", run)
    monkeypatch.setattr(app, "PAGE", tmp_path)
    assert "dev.py page" in refused(run)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "hilum[viewer]" in refused(run)
    assert os.listdir(tmp_path) == []
