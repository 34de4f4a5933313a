"""Logins: a browser brings a one-time code in an address and gets a session cookie for it.

Other users can see an address: in the argument list of a program (``ps``), in a history, on a screen. A used code is
worthless. Only the browser sees the cookie. Cookies do not distinguish ports, so a server on another port of this
machine receives them too; therefore the page also lies in a folder with a random name.

The browser is not started with an address, but with the name of a file that only its owner can read. The address in it
works once, for a short time.
"""

import math
import os
import secrets
import shutil
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

SECONDS = 120.0  # how long a browser may take to start

SNAPS = Path("/var/lib/snapd")  # exists where snaps are installed; the browser may be one

PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta name="color-scheme" content="dark"><meta http-equiv="refresh" content="0; url={0}">'
    '<link rel="icon" href="data:,"><title>hilum</title><p><a href="{0}">To the viewer</a></p></html>\n'
)


class Logins:
    """Issues one-time codes and the session cookie.

    Parameters
    ----------
    host : str
        ``127.0.0.1:PORT``, the address of the server.
    names : sequence of str
        Host names that a browser may use instead of ``127.0.0.1``.
    """

    def __init__(self, host: str, names: Sequence[str] = ()) -> None:
        self.host = host
        self.port = host.rpartition(":")[2]
        self.hosts = (host, *(f"{name}:{self.port}" for name in names))
        self.folder = secrets.token_urlsafe(16)
        self._cookie = f"hilum-{self.port}={secrets.token_urlsafe(32)}"
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
        if not (matches := [one for one in self._codes if secrets.compare_digest(one.encode(), code)]):
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


class AccessPage:
    """A private file that leads a browser to the viewer.

    Parameters
    ----------
    logins : Logins
        The logins of the viewer.
    failed : callable
        Called if no browser could be started.
    """

    def __init__(self, logins: Logins, failed: Callable[[], None]) -> None:
        self._logins, self._failed = logins, failed
        self._folder: Path | None = None

    def open(self) -> None:
        """Start the browser in a thread: some browsers return only when they are closed."""
        threading.Thread(target=self._open, daemon=True).start()

    def remove(self) -> None:
        """Remove the file."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        file = self._write(PAGE.format(self._logins.new_address(seconds=SECONDS, used=self.remove)))
        expiry = threading.Timer(SECONDS, self.remove)
        expiry.daemon = True
        expiry.start()
        if file is None or not webbrowser.open(file.as_uri()):
            self.remove()
            self._failed()

    def _write(self, text: str) -> Path | None:
        for parent in _parents():
            with suppress(OSError):
                self._folder = Path(tempfile.mkdtemp(prefix="hilum-view-", dir=parent))  # 0700
                file = self._folder / "open.html"
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                    out.write(text.encode())
                return file
        return None


def _parents() -> Iterator[Path]:
    """Folders for the file, the best first. A browser from a snap sees only visible files in the user's home."""
    if SNAPS.is_dir():
        with suppress(RuntimeError):
            yield Path.home()
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime)
    yield Path(tempfile.gettempdir())
