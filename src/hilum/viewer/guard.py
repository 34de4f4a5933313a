"""Who may ask: only the page that this very server gave out. Everything else is turned away before it is looked at."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./")
"""What an address of ours is made of: nothing is written with %, and no name has .. in it."""

LONGEST_ADDRESS = 256


@dataclass(frozen=True)
class Guard:
    """Turns away what does not come from this server's own page, and puts the headers on every answer.

    Parameters
    ----------
    app : ASGI application
        Gets the path without the token.
    token : str
        The secret part of the address.
    host : str
        ``127.0.0.1:PORT``, what Host must say.
    """

    app: ASGIApp
    token: str
    host: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        refused = self.verdict(scope)
        if refused:
            await send({"type": "http.response.start", "status": refused, "headers": [*HEADERS]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def dressed(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                message = {**message, "headers": [*given, *HEADERS]}  # type: ignore[misc]
            await send(message)

        path = scope["path"][len(self.token) + 1 :]
        await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, dressed)  # type: ignore[arg-type]

    def verdict(self, scope: Scope) -> int:
        """The status of a refusal, or 0."""
        given: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.lower(), []).append(value)
        method = scope["method"]
        origin = [f"http://{self.host}".encode()]
        checks = (
            (given.get(b"host") == [self.host.encode()], 403),
            (given.get(b"origin", origin) == origin, 403),
            (given.get(b"sec-fetch-site", [b"none"]) in ([b"none"], [b"same-origin"]), 403),
            (self._is_ours(scope["raw_path"]), 404),
            (method in {"GET", "POST"}, 405),
            (method != "POST" or b"origin" in given, 403),
        )
        return next((status for holds, status in checks if not holds), 0)

    def _is_ours(self, raw: bytes) -> bool:
        """Whether an address is written as ours are, and begins with the token."""
        if len(raw) > LONGEST_ADDRESS or not PLAIN.issuperset(raw) or b".." in raw or b"//" in raw:
            return False
        start, slash, _ = raw[1:].partition(b"/")
        return secrets.compare_digest(start, self.token.encode()) and slash == b"/"
