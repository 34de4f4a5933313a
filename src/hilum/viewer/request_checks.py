"""Check every request: only the page of this server may make requests, after a login."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hilum.viewer.login import PAGE, Logins

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send


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

ADDRESS_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./")
"""The characters of the viewer's addresses; none needs % escapes."""

REFUSAL = (
    b"This address is not valid. Each address works once, for one browser. "
    b"Open the newest address that hilum view printed.\n"
)


@dataclass(frozen=True)
class RequestChecks:
    """Refuses requests that do not come from this server's own page, and adds security headers to every response.

    Parameters
    ----------
    app : ASGI application
        Gets the path without its first folder, the secret one.
    logins : Logins
    """

    app: ASGIApp
    logins: Logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        first, rest = self._split(scope["raw_path"])
        inside = secrets.compare_digest(first, self.logins.folder.encode())
        refused = self._refusal(scope["method"], headers, inside=inside, login=bool(first) and not rest)
        if refused:
            await _respond(send, refused, REFUSAL if refused == 404 else b"")
        elif not inside:
            await self._log_in(first.decode(), headers, send)
        elif not self.logins.has_session(headers.get(b"cookie", [])):
            await _respond(send, 403, REFUSAL)
        else:
            path = f"/{rest.decode()}"
            await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, _with_headers(send))

    def _refusal(self, method: str, headers: dict[bytes, list[bytes]], *, inside: bool, login: bool) -> int:
        """The status of a refusal, or 0."""
        origin = [f"http://{self.logins.host}".encode()]
        site = headers.get(b"sec-fetch-site", [b"none"])
        checks = (
            (headers.get(b"host") == [self.logins.host.encode()], 403),
            (headers.get(b"origin", origin) == origin, 403),
            # A browser treats the access page as another site.
            (site in ([b"none"], [b"same-origin"]) or (login and not inside and _opens_page(headers)), 403),
            (inside or (login and method == "GET"), 404),
            (method in {"GET", "POST"}, 405),
            (method != "POST" or b"origin" in headers, 403),
        )
        return next((status for passed, status in checks if not passed), 0)

    def _split(self, raw: bytes) -> tuple[bytes, bytes]:
        """Split an address after its first folder; return nothing for an address that the viewer never makes."""
        if len(raw) > 256 or not ADDRESS_BYTES.issuperset(raw) or b".." in raw or b"//" in raw:
            return b"", b""
        first, slash, rest = raw[1:].partition(b"/")
        return (first, rest) if slash else (b"", b"")

    async def _log_in(self, code: str, headers: dict[bytes, list[bytes]], send: Send) -> None:
        """Exchange a code for the session cookie; a browser that is logged in may open its address again."""
        if headers.get(b"sec-purpose"):  # a prefetch
            await _respond(send, 403, b"")
        elif self.logins.has_session(headers.get(b"cookie", [])) or self.logins.redeem(code.encode()):
            cookies = [(b"set-cookie", one) for one in self.logins.session_cookies(code)]
            # A page, no redirect: with SameSite=Strict the cookie is only sent on requests from a page of this server.
            page = PAGE.format(f"/{self.logins.folder}/").encode()
            await _respond(send, 200, page, kind=b"text/html", more=cookies)
        else:
            await _respond(send, 404, REFUSAL)


def _opens_page(headers: dict[bytes, list[bytes]]) -> bool:
    """Whether a browser opens a page, not a part of one."""
    return (headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")) == ([b"navigate"], [b"document"])


def _with_headers(send: Send) -> Send:
    """Add the security headers to the application's responses."""

    async def send_with_headers(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}  # type: ignore[misc]
        await send(message)

    return send_with_headers  # type: ignore[return-value]


async def _respond(
    send: Send, status: int, body: bytes, *, kind: bytes = b"text/plain", more: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    headers = [
        *HEADERS,
        (b"content-type", kind + b"; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": body})
