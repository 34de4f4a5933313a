"""Check every request: only the page of this server may make requests, after a login."""

import secrets
from dataclasses import dataclass

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hilum.viewer import addresses
from hilum.viewer.login import PAGE, Logins

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
    "This address is not valid. Each address works once, for one browser. "
    "Open the newest address that hilum view printed.\n"
)


@dataclass(frozen=True)
class RequestChecks:
    """Refuses requests that do not come from this server's own page, and adds security headers to every response.

    Parameters
    ----------
    app : ASGI application
        Gets the path without its first folder, the secret one.
    logins : Logins
        The logins of the viewer.
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
        if self._other_host(scope["method"], headers):
            answer: ASGIApp = addresses.other_host(self.logins.port)
        elif refused := self._refused(scope["method"], headers, inside=inside, login=bool(first) and not rest):
            answer = _refusal(refused, REFUSAL if refused == 404 else "")
        elif first == addresses.LINK.encode():
            answer = addresses.link_page()
        elif not inside:
            answer = self._log_in(first.decode(), headers)
        elif not self.logins.has_session(headers.get(b"cookie", [])):
            answer = _refusal(403, REFUSAL)
        else:
            path = f"/{rest.decode()}"
            answer, scope = self.app, {**scope, "path": path, "raw_path": path.encode()}
        await answer(scope, receive, _with_headers(send))

    def _other_host(self, method: str, headers: dict[bytes, list[bytes]]) -> bool:
        """Whether a person opens a page at a host or port that is not the viewer's. Scripts get an empty refusal."""
        page = headers.get(b"sec-fetch-dest", [b"document"]) == [b"document"] and b"origin" not in headers
        return method == "GET" and page and headers.get(b"host") not in self._hosts

    @property
    def _hosts(self) -> list[list[bytes]]:
        return [[host.encode()] for host in self.logins.hosts]

    def _refused(self, method: str, headers: dict[bytes, list[bytes]], *, inside: bool, login: bool) -> int:
        """The status of a refusal, or 0."""
        host = headers.get(b"host", [])
        origin = [b"http://" + one for one in host]
        site = headers.get(b"sec-fetch-site", [b"none"])
        page = (headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")) == ([b"navigate"], [b"document"])
        checks = (
            (host in self._hosts, 403),
            (headers.get(b"origin", origin) == origin, 403),
            # A browser treats the access page as another site, and opens a page from it, not a part of one.
            (site in ([b"none"], [b"same-origin"]) or (login and not inside and page), 403),
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

    def _log_in(self, code: str, headers: dict[bytes, list[bytes]]) -> Response:
        """Exchange a code for the session cookie; a browser that is logged in may open its address again."""
        if headers.get(b"sec-purpose"):  # a prefetch
            return _refusal(403, "")
        if not (self.logins.has_session(headers.get(b"cookie", [])) or self.logins.redeem(code.encode())):
            return _refusal(404, REFUSAL)
        # A page, no redirect: with SameSite=Strict the cookie is only sent on requests from a page of this server.
        page = HTMLResponse(PAGE.format(f"/{self.logins.folder}/"), headers={"connection": "close"})
        page.raw_headers += [(b"set-cookie", one) for one in self.logins.session_cookies(code)]
        return page


def _with_headers(send: Send) -> Send:
    """Add the security headers to a response."""

    async def send_with_headers(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            given: list[tuple[bytes, bytes]] = list(message.get("headers", ()))  # type: ignore[call-overload]
            names = {name for name, _ in given}  # a page that is no part of the viewer has a stricter policy of its own
            message = {**message, "headers": [*given, *(one for one in HEADERS if one[0] not in names)]}
        await send(message)

    return send_with_headers  # type: ignore[return-value]


def _refusal(status: int, text: str) -> Response:
    return PlainTextResponse(text, status, {"connection": "close"})
