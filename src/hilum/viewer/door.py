"""Who is let in: a browser that brings a one-time code, and after that the cookie which it got for it.

The code stands in an address, and an address is seen by others: in the argument list of a program, in a history, over a
shoulder. It is worth nothing once it was used. The cookie is seen by the browser alone. Cookies know no ports: whatever
listens on another port of this machine gets those of its host, so this one is bound to a folder with a random name.
"""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class _Code(NamedTuple):
    until: float
    used: Callable[[], None]


class Door:
    """Gives out one-time codes, and the cookie for them.

    Parameters
    ----------
    host : str
        ``127.0.0.1:PORT``, where the server listens.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.folder = secrets.token_urlsafe(16)
        self._name = f"hilum-{host.rpartition(':')[2]}"
        self._secret = secrets.token_urlsafe(32)
        self._codes: dict[str, _Code] = {}

    def issue(self, *, seconds: float = math.inf, used: Callable[[], None] = lambda: None) -> str:
        """Make an address that lets one browser in.

        Parameters
        ----------
        seconds : float
            How long it is good for.
        used : callable
            Called when it was used.

        Returns
        -------
        str
        """
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Code(time.monotonic() + seconds, used)
        return f"http://{self.host}/{code}/"

    def take(self, code: bytes) -> bool:
        """Use a code up; whether it was good."""
        found = [one for one in self._codes if secrets.compare_digest(one.encode(), code)]
        if not found:
            return False
        until, used = self._codes.pop(found[0])
        if time.monotonic() > until:
            return False
        used()
        return True

    def cookies(self, code: str) -> list[bytes]:
        """What is set for a code: the cookie for the page, and for the code's own address, which then works again."""
        rest = "HttpOnly; SameSite=Strict"
        return [f"{self._name}={self._secret}; Path=/{path}/; {rest}".encode() for path in (self.folder, code)]

    def knows(self, cookies: list[bytes]) -> bool:
        """Whether the headers ``Cookie`` of a request hold ours."""
        ours = f"{self._name}={self._secret}".encode()
        return any(secrets.compare_digest(one.strip(), ours) for line in cookies for one in line.split(b";"))
