"""Logins: a browser brings a one-time code in an address and gets a session cookie for it.

Other users can see an address: in the argument list of a program, in a history, on a screen. A used code is worthless.
Only the browser sees the cookie. Cookies do not distinguish ports, so a server on another port of this machine receives
them too; therefore the page also lies in a folder with a random name.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable


class Logins:
    """Issues one-time codes and the session cookie.

    Parameters
    ----------
    host : str
        ``127.0.0.1:PORT``, the address of the server.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.folder = secrets.token_urlsafe(16)
        self._cookie = f"hilum-{host.rpartition(':')[2]}={secrets.token_urlsafe(32)}"
        self._codes: dict[str, tuple[float, Callable[[], None]]] = {}

    def new_address(self, *, seconds: float = math.inf, used: Callable[[], None] = lambda: None) -> str:
        """Make an address that logs one browser in.

        Parameters
        ----------
        seconds : float
            How long it is valid.
        used : callable
            Called when it was used.

        Returns
        -------
        str
        """
        code = secrets.token_urlsafe(32)
        self._codes[code] = time.monotonic() + seconds, used
        return f"http://{self.host}/{code}/"

    def redeem(self, code: bytes) -> bool:
        """Use a code up; return whether it was valid."""
        matches = [one for one in self._codes if secrets.compare_digest(one.encode(), code)]
        if not matches:
            return False
        until, used = self._codes.pop(matches[0])
        if time.monotonic() > until:
            return False
        used()
        return True

    def session_cookies(self, code: str) -> list[bytes]:
        """Set-Cookie headers for the page and for the address of the code, so that the browser can open both again."""
        return [f"{self._cookie}; Path=/{path}/; HttpOnly; SameSite=Strict".encode() for path in (self.folder, code)]

    def has_session(self, cookies: list[bytes]) -> bool:
        """Whether the ``Cookie`` headers of a request hold the session cookie."""
        expected = self._cookie.encode()
        return any(secrets.compare_digest(one.strip(), expected) for line in cookies for one in line.split(b";"))
