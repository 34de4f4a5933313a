"""The names under which a browser reaches the viewer, and what it answers to other names and to links into it."""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256

from starlette.responses import HTMLResponse, Response

from hilum.errors import InputError

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

LINK = "link"  # folder of the links to a view: they hold no secret, and so outlive the viewer

_FIND_VIEWER = """
const folder = localStorage.getItem("hilum-viewer");
if (/^\\/[A-Za-z0-9_-]{22}\\/$/.test(folder ?? "")) location.replace(folder + location.hash);
"""  # the page of the viewer leaves its folder there, for pages of the same host and port only
_HASH = b64encode(sha256(_FIND_VIEWER.encode()).digest()).decode()

_NO_SOURCES = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="dark light">'
    "<title>hilum</title>{}</html>\n"
)
_OTHER_HOST = """<h1>Open another address</h1>
<p>This is a viewer of hilum. It answers only to the address that <code>hilum view</code> printed. That address
begins with <code>http://127.0.0.1:{0}/</code>.
<p>Over SSH, forward the same port, and open the printed address on your own machine:
<pre>ssh -L {0}:127.0.0.1:{0} MACHINE</pre>
<p>To use another host name in the address, start the viewer with it:
<code>hilum view PATH --port {0} --host-name NAME</code>. The viewer still listens on 127.0.0.1 only."""
_NOT_ADMITTED = """<p>This is a link to a view. Open the newest address that <code>hilum view</code> printed, then this
link again, in the same browser."""


def check_host_names(names: Iterable[str]) -> tuple[str, ...]:
    """Check names that can be used instead of ``127.0.0.1`` in an address of the viewer; return them in lower case.

    Raises
    ------
    InputError
        If one is no host name: it has a port or a path, for example.
    """
    lower = tuple(name.lower() for name in names)
    for name in lower:
        if len(name) > 253 or not _HOST_NAME.fullmatch(name):
            what = "--host-name takes the name of a host, such as localhost, without a port"
            raise InputError(what, do="write only letters, digits, '-' and '.'", code="option")
    return lower


def other_host(port: str) -> Response:
    """The answer to a browser that used another host or port: which address to use."""
    return _page(_OTHER_HOST.format(port), 403, _NO_SOURCES)


def link_page() -> Response:
    """The answer to a link: it leads a browser that was admitted to the viewer, which then reads the link's hash."""
    script = f"<script>{_FIND_VIEWER}</script>{_NOT_ADMITTED}"
    return _page(script, 200, f"{_NO_SOURCES}; script-src 'sha256-{_HASH}'")


def _page(body: str, status: int, policy: str) -> Response:
    return HTMLResponse(_PAGE.format(body), status, {"content-security-policy": policy, "connection": "close"})
