"""Who gets into `hilum view` on a machine that others use too, and who cannot keep its user out."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from served import ADDRESS, JAR, ask, closed, ended, let_in, started

from hilum.io.volumes.nifti import write_nifti
from hilum.phantom.chest import make_phantom
from hilum.viewer import app, login
from hilum.viewer.login import Logins

pytestmark = pytest.mark.skipif(
    not (app.PAGE / "index.html").is_file(), reason="the page is not built (python3 dev.py page; needs node)"
)

# In place of a browser: writes down what it was called with and what it found there.
STAND_IN = """
import json, os, stat, sys, urllib.parse, urllib.request
path = urllib.request.url2pathname(urllib.parse.urlsplit(sys.argv[1]).path)
file, folder = os.stat(path), os.stat(os.path.dirname(path))
told = {"argv": sys.argv, "path": path, "text": open(path).read(), "mode": stat.S_IMODE(file.st_mode),
        "folder": stat.S_IMODE(folder.st_mode), "owner": [file.st_uid, folder.st_uid]}
out = os.environ["TOLD"]
with open(out + ".part", "w") as written:
    json.dump(told, written)
os.replace(out + ".part", out)
"""


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("login") / "ct.nii"
    write_nifti(make_phantom(seed=2, shape=(30, 40, 40), spacing=(10.0, 9.0, 9.0)).scan.ct, path)
    return path


@pytest.fixture(scope="module")
def served(scan):
    with started(scan) as (_, host, folder):
        yield host, f"/{folder}/"


@pytest.fixture
def stand_in(tmp_path):
    """The environment in which the stand-in is the browser, and where it writes."""
    (tmp_path / "browser.py").write_text(STAND_IN)
    (tmp_path / "runtime").mkdir(mode=0o700)
    told = tmp_path / "told.json"
    words = f"{sys.executable} {tmp_path / 'browser.py'} %s"
    return {"BROWSER": words, "TOLD": str(told), "XDG_RUNTIME_DIR": str(tmp_path / "runtime")}, told


def seen(path):
    """What the stand-in wrote; the time only guards against a test that hangs."""
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, "no browser was started"
        time.sleep(0.05)
    return json.loads(path.read_text())


def gone(path):
    until = time.monotonic() + 60
    while path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return not path.exists()


def code_in(text):
    host, code = re.search(r"http://(127\.0\.0\.1:\d+)/([A-Za-z0-9_-]{43})/", text).groups()
    return host, code


# ---- how the browser learns where to go


def test_no_secret_stands_in_the_argument_list_of_the_browser(scan, stand_in):
    env, told = stand_in
    with closed(scan, flags=(), **env) as (_, host, printed):
        found = seen(told)
        _, code = code_in(found["text"])
        assert len(found["argv"]) == 2
        assert found["argv"][1] == Path(found["path"]).as_uri()
        for secret in (code, printed, "127.0.0.1", host):
            assert secret not in found["argv"][1]
        assert (found["mode"], found["folder"]) == (0o600, 0o700)
        assert found["owner"] == [os.geteuid()] * 2
        assert code != printed
        folder = let_in(host, code)
        assert gone(Path(found["path"]).parent)
        assert ask(host, f"/{folder}/api/session")[0] == 200
        assert ask(host, f"/{code}/", Cookie=None)[0] == 404  # who read the file after the browser has nothing
        assert let_in(host, printed) == folder  # the printed address is another one, and still good


def test_the_file_goes_when_the_viewer_ends_before_it_was_read(scan, stand_in):
    env, told = stand_in
    with closed(scan, flags=(), **env) as (process, _, _):
        path = Path(seen(told)["path"])
        assert path.is_file()
        assert ended(process) == 0
        assert not path.parent.exists()


def test_no_browser_is_said_and_leaves_no_file(scan, stand_in):
    env, told = stand_in
    with closed(scan, flags=(), **env | {"BROWSER": "/nowhere/browser %s", "PATH": "/nowhere"}) as (process, _, _):
        assert process.stderr.readline() == "Press Ctrl-C to stop\n"
        assert process.stderr.readline() == "could not start a browser: open the address above\n"
        assert not told.exists()
        assert list(Path(env["XDG_RUNTIME_DIR"]).iterdir()) == []


def test_where_snaps_are_the_file_lies_in_the_home_and_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(login, "SNAPS", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    opened = []
    monkeypatch.setattr(login.webbrowser, "open", lambda url: opened.append(url) or True)
    one = login.AccessPage(Logins("127.0.0.1:1"), failed=lambda: pytest.fail("it was started"))
    for home, place in ((False, "run"), (True, "home")):
        if home:
            (tmp_path / "home").mkdir()
        one._open()
        assert re.fullmatch(rf"file://{tmp_path}/{place}/hilum-view-\w+/open\.html", opened[-1])
        one.remove()
        assert list((tmp_path / place).iterdir()) == []


# ---- codes and cookies


def test_a_code_opens_once(scan):
    with closed(scan) as (process, host, code):
        assert process.stderr.readline() == "Press Ctrl-C to stop\n"
        status, headers, body = ask(host, f"/{code}/", Cookie=None)
        assert status == 200
        assert headers["referrer-policy"] == "no-referrer"
        assert code.encode() not in body
        cookie = headers["set-cookie"]
        assert re.fullmatch(
            rf"hilum-{host.split(':')[1]}=[A-Za-z0-9_-]{{43}}; Path=/{code}/; HttpOnly; SameSite=Strict", cookie
        )
        status, _, body = ask(host, f"/{code}/", Cookie=None)
        assert (status, body.count(b"\n")) == (404, 1)
        assert b"Open the newest address that hilum view printed" in body
        assert ask(host, f"/{code}/", Cookie=cookie.split(";")[0])[0] == 200  # its own browser may come back
        again = process.stderr.readline().removeprefix("for another browser: ")
        assert ADDRESS.fullmatch(again)
        assert code not in again
        let_in(*ADDRESS.fullmatch(again).groups())


def test_a_code_that_is_too_old_opens_nothing(monkeypatch):
    one, used, now = Logins("127.0.0.1:1"), [], [100.0]
    monkeypatch.setattr(login.time, "monotonic", lambda: now[0])
    address = one.new_address(seconds=60.0, used=lambda: used.append(1))
    now[0] += 61.0
    assert not one.redeem(address.split("/")[3].encode())
    assert used == []


def test_without_the_cookie_or_with_a_wrong_one_nothing_is_answered(served):
    host, base = served
    name = JAR[host].split("=")[0]
    for cookie in (None, "", f"{name}=", f"{name}={'A' * 43}", JAR[host][:-1], f"x{JAR[host]}", f"{JAR[host]}x"):
        for path in ("", "api/session", "page/viewer.js", "api/scans/0/ct.nii"):
            status, _, body = ask(host, base + path, Cookie=cookie)
            assert (status, body.count(b"\n")) == (403, 1), (cookie, path)
        given = {"Origin": f"http://{host}", "Content_Type": "application/json", "Cookie": cookie}
        assert ask(host, f"{base}api/scans/0/review", "POST", b"{}", **given)[0] == 403
    assert ask(host, f"{base}api/session", Cookie=f"other=1; {JAR[host]}; more=2")[0] == 200


def test_two_viewers_leave_each_others_cookies_alone(scan):
    with started(scan) as (_, one, first), started(scan) as (_, other, second):
        names = [JAR[host].split("=")[0] for host in (one, other)]
        assert len({first, second, *names}) == 4
        assert ask(other, f"/{second}/api/session", Cookie=JAR[one])[0] == 403
        both = f"{JAR[one]}; {JAR[other]}"
        assert ask(one, f"/{first}/api/session", Cookie=both)[0] == 200
        assert ask(other, f"/{second}/api/session", Cookie=both)[0] == 200


def test_a_viewer_that_is_started_again_knows_no_old_cookie(scan):
    with started(scan) as (process, host, folder):
        cookie = JAR[host]
        ended(process)
    with closed(scan, "--port", host.split(":")[1]) as (_, same, code):
        assert same == host
        assert ask(host, f"/{folder}/api/session", Cookie=cookie)[0] == 404
        fresh = let_in(host, code)
        assert ask(host, f"/{fresh}/api/session", Cookie=cookie)[0] == 403


@pytest.mark.parametrize("headers", [
    {"Sec_Purpose": "prefetch;prerender"}, {"Origin": "http://evil.example"}, {"Host": "evil.example"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
])  # fmt: skip
def test_what_does_not_open_a_page_does_not_use_the_code_up(scan, headers):
    with closed(scan) as (_, host, code):
        assert ask(host, f"/{code}/", Cookie=None, **headers)[0] == 403
        assert ask(host, f"/{code}/", "POST", b"", Cookie=None, Origin=f"http://{host}")[0] == 404
        way = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        assert ask(host, f"/{code}/", Cookie=None, **way)[0] == 200  # as a file of this machine leads there


def test_no_secret_is_printed_but_in_an_address(scan):
    with started(scan) as (process, host, folder):
        ask(host, f"/{folder}/api/session")
        ask(host, f"/{folder}/api/nothing")
        ended(process)
        said = process.stdout.read() + process.stderr.read()
    assert folder not in said
    assert JAR[host].split("=")[1] not in said


# ---- connections that ask nothing


def link(host):
    name, _, port = host.partition(":")
    return socket.create_connection((name, int(port)), timeout=120)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: ", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                  b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx"])  # fmt: skip
def test_idle_connections_keep_nobody_out(served, sent):
    host, base = served
    with ExitStack() as idle:
        links = [idle.enter_context(link(host)) for _ in range(200)]
        for one in links:
            one.sendall(sent)
        for _ in range(3):
            assert ask(host, f"{base}api/session")[0] == 200


def test_idle_connections_do_not_break_off_an_answer(served):
    host, base = served
    size = int(ask(host, f"{base}api/scans/0/ct.nii")[1]["content-length"])
    with link(host) as mine, ExitStack() as idle:
        mine.sendall(f"GET {base}api/scans/0/ct.nii HTTP/1.1\r\nHost: {host}\r\nCookie: {JAR[host]}\r\n\r\n".encode())
        for _ in range(200):
            idle.enter_context(link(host))
        assert ask(host, f"{base}api/session")[0] == 200
        with mine.makefile("rb") as answer:
            while answer.readline() != b"\r\n":
                pass
            assert len(answer.read(size)) == size


def test_the_oldest_of_many_idle_connections_is_closed(served):
    with ExitStack() as idle:
        links = [idle.enter_context(link(served[0])) for _ in range(200)]
        ask(*served)
        over = [one for one in links if select.select([one], [], [], 0)[0]]
        assert over == links[: len(over)]
        assert 60 <= len(over) <= 80


def test_a_connection_that_never_asks_is_closed(monkeypatch, scan):
    from hilum.viewer import connection_limits

    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT", 0.1)
    host = in_a_thread(monkeypatch, scan)
    with link(host) as quiet, link(host) as slow, link(host) as asked:
        slow.sendall(b"GET / HTTP/1.1\r\nHost:")
        asked.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        for one in (quiet, slow, asked):
            while one.recv(65536):
                pass


def in_a_thread(monkeypatch, scan):
    """A server that lives until the tests end, and its host."""
    from hilum.viewer.server import serve
    from hilum.viewer.sources import open_source

    addresses, there = [], threading.Event()
    monkeypatch.setattr(login.webbrowser, "open", lambda _: pytest.fail("no browser was asked for"))
    ready = lambda address: (addresses.append(address), there.set())  # noqa: E731
    threading.Thread(target=serve, args=(open_source(scan),), kwargs={"ready": ready}, daemon=True).start()
    assert there.wait(60)
    return addresses[0].split("/")[2]
