"""Who may ask: only the page that this very server gave out. Everything else is turned away before it is looked at."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from hilum.viewer.door import Door

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./")
"""What an address of ours is made of: nothing is written with %, and no name has .. in it."""

LONGEST_ADDRESS = 256

CLOSED = (
    b"This address opens nothing here: each one lets a single browser in, once. "
    b"Open the newest address that hilum view printed.\n"
)

# A page that leads on, and no redirect: the cookie goes only with what a page of this server asks for (SameSite).
WELCOME = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta name="color-scheme" content="dark"><meta http-equiv="refresh" content="0; url=/{0}/">'
    '<link rel="icon" href="data:,"><title>hilum</title><p><a href="/{0}/">To the viewer</a></p></html>\n'
)


@dataclass(frozen=True)
class Guard:
    """Turns away what does not come from this server's own page, and puts the headers on every answer.

    Parameters
    ----------
    app : ASGI application
        Gets the path without the folder that stands before it.
    door : Door
        Says who is let in.
    """

    app: ASGIApp
    door: Door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        given: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.lower(), []).append(value)
        first, rest = self._parts(scope["raw_path"])
        inside = secrets.compare_digest(first, self.door.folder.encode())
        refused = self._verdict(scope["method"], given, inside=inside, entering=bool(first) and not rest)
        if refused:
            await _answer(send, refused, CLOSED if refused == 404 else b"")
        elif not inside:
            await self._let_in(first.decode(), given, send)
        elif not self.door.knows(given.get(b"cookie", [])):
            await _answer(send, 403, CLOSED)
        else:
            path = f"/{rest.decode()}"
            await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, _dressed(send))

    def _verdict(self, method: str, given: dict[bytes, list[bytes]], *, inside: bool, entering: bool) -> int:
        """The status of a refusal, or 0."""
        origin = [f"http://{self.door.host}".encode()]
        site = given.get(b"sec-fetch-site", [b"none"])
        checks = (
            (given.get(b"host") == [self.door.host.encode()], 403),
            (given.get(b"origin", origin) == origin, 403),
            # The file that leads here is of another site for a browser.
            (site in ([b"none"], [b"same-origin"]) or (entering and not inside and _leads_here(given)), 403),
            (inside or (entering and method == "GET"), 404),
            (method in {"GET", "POST"}, 405),
            (method != "POST" or b"origin" in given, 403),
        )
        return next((status for holds, status in checks if not holds), 0)

    def _parts(self, raw: bytes) -> tuple[bytes, bytes]:
        """An address that is written as ours are, cut behind its first folder; else nothing."""
        if len(raw) > LONGEST_ADDRESS or not PLAIN.issuperset(raw) or b".." in raw or b"//" in raw:
            return b"", b""
        first, slash, rest = raw[1:].partition(b"/")
        return (first, rest) if slash else (b"", b"")

    async def _let_in(self, code: str, given: dict[bytes, list[bytes]], send: Send) -> None:
        """Exchange a code for the cookie; the browser that did so before may open its address again."""
        if given.get(b"sec-purpose"):  # a browser that guesses what its user may open next
            await _answer(send, 403, b"")
        elif self.door.knows(given.get(b"cookie", [])) or self.door.take(code.encode()):
            cookies = [(b"set-cookie", one) for one in self.door.cookies(code)]
            await _answer(send, 200, WELCOME.format(self.door.folder).encode(), kind=b"text/html", more=cookies)
        else:
            await _answer(send, 404, CLOSED)


def _leads_here(given: dict[bytes, list[bytes]]) -> bool:
    """Whether a browser asks for a page to show, and not for a part of one."""
    return (given.get(b"sec-fetch-mode"), given.get(b"sec-fetch-dest")) == ([b"navigate"], [b"document"])


def _dressed(send: Send) -> Send:
    """Put the headers on what the application answers."""

    async def dressed(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            given = message.get("headers", ())
            message = {**message, "headers": [*given, *HEADERS]}  # type: ignore[misc]
        await send(message)

    return dressed  # type: ignore[return-value]


async def _answer(
    send: Send, status: int, body: bytes, *, kind: bytes = b"text/plain", more: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    headers = [
        *HEADERS,
        (b"content-type", kind + b"; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # a stranger keeps no connection
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": body})
