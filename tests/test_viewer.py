"""The server of `hilum view`: who is answered, what is given, what is written."""

from __future__ import annotations

import csv
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import nibabel
import numpy as np
import pytest

import hilum
from hilum import cli
from hilum.datasets.phantom import make_phantom
from hilum.errors import FormatError
from hilum.io.ledger import Row, append_row
from hilum.io.store import store_scan
from hilum.viewer import app
from hilum.viewer.reviews import COLUMNS, NAME, read_reviews, save_review


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


@contextmanager
def started(*words):
    """A viewer's process and its address."""
    command = [sys.executable, "-m", "hilum.cli", "view", *map(str, words), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"http://(127\.0\.0\.1:\d+)/([A-Za-z0-9_-]{32,})/\n", line)
            assert found, (line, process.stderr.read())
            yield process, found[1], found[2]
        finally:
            with suppress(ProcessLookupError):
                process.kill()


@pytest.fixture(scope="module")
def served(run):
    # The server answers though the page is not built; only the command refuses then.
    if not (app.PAGE / "index.html").is_file():
        pytest.skip("the page is not built (python3 dev.py page; needs node)")
    with started(run) as (_, host, token):
        yield host, f"/{token}/"


def ask(host, path, method="GET", body=None, **headers):
    """Status, headers and body; Host and others as they are given, nothing is made nicer on the way."""
    link = http.client.HTTPConnection(host, timeout=30)
    link.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    given = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        given.setdefault("Content-Length", str(len(body)))
    for name, value in given.items():
        if value is not None:
            link.putheader(name, value)
    link.endheaders(body)
    answer = link.getresponse()
    got = answer.status, dict(answer.getheaders()), answer.read()
    link.close()
    return got


def post(served, body, path="api/scans/0/review", **headers):
    host, base = served
    given = {"Origin": f"http://{host}", "Content_Type": "application/json"} | headers
    return ask(host, base + path, "POST", body if isinstance(body, bytes) else json.dumps(body).encode(), **given)


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
def test_a_forged_host_is_turned_away(served, host):
    assert ask(served[0], f"{served[1]}api/session", Host=host)[0] in {400, 403}


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1"},
     {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}],
)  # fmt: skip
def test_a_foreign_origin_is_turned_away(served, headers):
    status, _, body = ask(served[0], f"{served[1]}api/session", **headers)
    assert (status, body) == (403, b"")


def test_no_token_and_a_wrong_one_are_turned_away(served):
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
        assert ask(host, path)[0] == 404, path


@pytest.mark.parametrize(
    "path",
    ["..%2f..%2fetc/passwd", "page/..%2fapp.py", "page/../app.py", "page/app.py", "page/%2e%2e/app.py", "/etc/passwd",
     "api/scans//etc/passwd", "api/scans/%2fetc%2fpasswd", "api/scans/..%2f0", "api/scans/00", "api/scans/-1",
     "api/scans/2", "api/scans/1e0", "api/scans/99999999999999999999", "api/scans/0/ct.nii.gz", "api/scans/0/scan.json",
     "api/scans/0/ct.npy", "page/viewer.js\\..", "api/scans/ct-a", "x" * 300],
)  # fmt: skip
def test_no_path_leads_elsewhere(served, path):
    status, _, body = ask(served[0], served[1] + path)
    assert status == 404
    assert b"root:" not in body
    assert b"import" not in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "HEAD", "BREW"])
def test_other_methods_are_turned_away(served, method):
    assert ask(served[0], f"{served[1]}api/session", method)[0] == 405


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
def test_a_review_that_is_none_is_refused_and_nothing_is_written(served, run, body, headers, status):
    before = sorted(path.name for path in run.iterdir())
    assert post(served, body, **headers)[0] == status
    assert sorted(path.name for path in run.iterdir()) == before


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


def test_volumes_and_surfaces_are_what_was_stored(served, run, tmp_path):
    host, base = served
    facts = json.loads(ask(host, f"{base}api/scans/0")[2])
    stored = {name: np.load(run / "scans/ct-a" / f"{name}.npy") for name in ("ct", "lungs")}
    record = json.loads((run / "scans/ct-a/scan.json").read_text())
    for name, array in stored.items():
        part = facts["volumes"][name]
        status, headers, body = ask(host, base + part["url"])
        assert (status, int(headers["content-length"]), len(body)) == (200, part["bytes"], part["bytes"])
        (tmp_path / f"{name}.nii").write_bytes(body)
        read = nibabel.load(tmp_path / f"{name}.nii")
        assert (np.asarray(read.dataobj).transpose() == array).all()
        origin = np.array(record["geometry"]["origin"]) * (-1, -1, 1)
        np.testing.assert_allclose(read.affine[:3, 3], origin, atol=1e-3)
    lungs = stored["lungs"]
    for name, label in (("right", 1), ("left", 2)):
        raw = ask(host, base + facts["surfaces"][name])[2]
        kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
        corners = np.frombuffer(raw, kind, offset=84)["corners"].reshape(-1, 3)
        voxels = np.argwhere(lungs == label)[:, ::-1]
        world = nibabel.affines.apply_affine(read.affine, voxels)
        np.testing.assert_allclose(corners.min(0), world.min(0), atol=4)
        np.testing.assert_allclose(corners.max(0), world.max(0), atol=4)


def test_ctrl_c_ends_it_at_once_and_a_second_viewer_takes_another_port(run, served):
    with started(run) as (process, host, token), started(run) as (_, other, _):
        assert len({host, other, served[0]}) == 3
        assert ask(host, f"/{token}/api/session")[0] == 200
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert time.monotonic() - start < 15
        assert process.stderr.read() == ""
        assert ask(other, "/")[0] == 404


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
