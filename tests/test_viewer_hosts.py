"""The viewer at other host names: whom it answers, with what, and how a link finds it again."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from served import ask, closed, let_in, started

from hilum import cli
from hilum.errors import InputError
from hilum.io.volumes.nifti import write_nifti
from hilum.phantom.chest import make_phantom
from hilum.viewer import app
from hilum.viewer.addresses import check_host_names

pytestmark = pytest.mark.skipif(
    not (app.PAGE / "index.html").is_file(), reason="the page is not built (python3 dev.py page; needs node)"
)

OPENED = {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("hosts") / "ct.nii"
    write_nifti(make_phantom(seed=2, shape=(30, 40, 40), spacing=(10.0, 9.0, 9.0)).scan.ct, path)
    return path


@pytest.fixture(scope="module")
def served(scan):
    with started(scan) as (_, host, folder):
        yield host, f"/{folder}/"


@pytest.fixture(scope="module")
def named(scan):
    flags = ("--no-browser", "--host-name", "localhost", "--host-name", "Reading-Room.example")
    with started(scan, flags=flags) as (_, host, folder):
        yield host, f"/{folder}/"


def at(host, name):
    return f"{name}:{host.partition(':')[2]}"


@pytest.mark.parametrize("given", [{}, OPENED])
@pytest.mark.parametrize("name", ["localhost", "evil.example", "<script>alert(1)</script>", "127.0.0.1:1", "x" * 300])
@pytest.mark.parametrize("path", ["/", "/secretpath/", "{0}", "{0}api/session"])
def test_another_host_is_told_the_right_address_and_nothing_else(served, name, path, given):
    host, base = served
    port = host.partition(":")[2]
    status, headers, body = ask(host, path.format(base), Host=at(host, name), **given)
    text = body.decode()
    assert status == 403
    assert headers["content-type"].startswith("text/html")
    assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert "script" not in headers["content-security-policy"]
    assert "<script" not in text
    assert f"http://127.0.0.1:{port}/" in text
    assert "--host-name" in text
    for told in ("evil", "alert", "secretpath", base.strip("/"), "x" * 20):
        assert told not in text
    assert text == ask(host, "/", Host="one.example")[2].decode()


@pytest.mark.parametrize(
    "given",
    [{"Origin": "http://evil.example"}, {"Sec_Fetch_Dest": "empty"}, {"Sec_Fetch_Dest": "iframe"},
     {"Sec_Fetch_Dest": "image"}],
)  # fmt: skip
def test_a_script_at_another_host_gets_nothing(served, given):
    host, base = served
    status, _, body = ask(host, f"{base}api/session", Host=at(host, "evil.example"), **given)
    assert (status, body) == (403, b"")
    assert ask(host, f"{base}api/session", "POST", b"{}", Host=at(host, "evil.example"))[0] == 403


def test_a_port_that_was_forwarded_from_another_one_is_told(served):
    host, base = served
    status, _, body = ask(host, base, Host="127.0.0.1:9")
    assert status == 403
    assert f"ssh -L {host.partition(':')[2]}:127.0.0.1:" in body.decode()


@pytest.mark.parametrize("name", ["localhost", "reading-room.example"])
def test_a_name_that_was_allowed_is_answered(named, name):
    host, base = named
    other = at(host, name)
    status, headers, _ = ask(host, base, Host=other)
    assert status == 200
    assert "script-src 'self'" in headers["content-security-policy"]
    assert ask(host, f"{base}api/session", Host=other, Origin=f"http://{other}")[0] == 200
    assert ask(host, f"{base}api/session", Host=other, Cookie=None)[0] == 403  # the cookie is needed as before


def test_a_name_is_allowed_for_its_own_pages_only(named):
    host, base = named
    local = at(host, "localhost")
    assert ask(host, f"{base}api/session", Host=local, Origin=f"http://{host}")[0] == 403
    assert ask(host, f"{base}api/session", Origin=f"http://{local}")[0] == 403
    assert ask(host, f"{base}api/session", Host=local, Sec_Fetch_Site="same-site")[0] == 403
    for forged in ("localhost", "localhost:1", at(host, "localhost.evil.example"), at(host, "evil.example")):
        assert ask(host, f"{base}api/session", Host=forged)[0] == 403


def test_without_the_option_localhost_is_forged(served):
    assert ask(served[0], f"{served[1]}api/session", Host=at(served[0], "localhost"))[0] == 403


@pytest.mark.parametrize("name", ["", "*", "a b", "localhost:80", "http://localhost", "-a", "a-", "a..b", ".a", "a\n",
                                  "[::1]", "bücher", "a" * 64, ".".join(["a" * 60] * 5)])  # fmt: skip
def test_what_is_no_host_name_is_refused(scan, capsys, name):
    with pytest.raises(InputError, match="takes the name of a host"):
        check_host_names([name])
    assert cli.main(["view", str(scan), f"--host-name={name}"]) == 1
    assert "--host-name takes the name of a host" in capsys.readouterr().err


def test_names_are_compared_as_browsers_send_them():
    assert check_host_names(["LocalHost", "a-b.c1"]) == ("localhost", "a-b.c1")


# ---- links


def test_a_link_leads_whoever_was_admitted(scan):
    with closed(scan) as (_, host, code):
        status, headers, body = ask(host, "/link/", Cookie=None, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate",
                                    Sec_Fetch_Dest="document")  # fmt: skip
        assert status == 200
        (script,) = re.findall("<script>(.*?)</script>", body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert headers["content-security-policy"] == (
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
            f"script-src 'sha256-{digest}'"
        )
        folder = let_in(host, code)
        assert folder not in body.decode()
        for path in ("/link", "/link/x", "/link//", "/LINK/"):
            assert ask(host, path, Cookie=None)[0] == 404, path
        assert ask(host, "/link/", "POST", b"", Origin=f"http://{host}")[0] == 404
        assert (
            ask(host, "/link/", Sec_Fetch_Dest="iframe", Sec_Fetch_Mode="navigate", Sec_Fetch_Site="cross-site")[0]
            == 403
        )
