"""Start the browser on a private file that leads it to the viewer.

Every user of the machine can read the arguments of a program (``ps``). Therefore the browser is not started with an
address, but with the name of a file that only its owner can read. The address in it works once, for a short time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hilum.viewer.login import Logins

SECONDS = 120.0  # how long a browser may take to start

SNAPS = Path("/var/lib/snapd")  # exists where snaps are installed; the browser may be one

PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta name="color-scheme" content="dark"><meta http-equiv="refresh" content="0; url={0}">'
    '<title>hilum</title><p><a href="{0}">To the viewer</a></p></html>\n'
)


class AccessPage:
    """A private file that leads a browser to the viewer.

    Parameters
    ----------
    logins : Logins
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
        address = self._logins.new_address(seconds=SECONDS, used=self.remove)
        file = self._write(PAGE.format(address))
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
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                    out.write(text)
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
