"""The browser is started on a private file that leads it to the viewer.

What a program is called with can be read by every user of the machine (``ps``). So no address stands there, but the
name of a file which its owner alone can read; the address in it is good once, and for a short time.
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

    from hilum.viewer.door import Door

SECONDS = 120.0
"""How long a browser may take to start."""

SNAPS = Path("/var/lib/snapd")
"""Where snaps are installed, the browser is likely to be one."""

PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta name="color-scheme" content="dark"><meta http-equiv="refresh" content="0; url={0}">'
    '<title>hilum</title><p><a href="{0}">To the viewer</a></p></html>\n'
)


class Handover:
    """One start of a browser.

    Parameters
    ----------
    door : Door
    failed : callable
        Called where no browser could be started.
    """

    def __init__(self, door: Door, failed: Callable[[], None]) -> None:
        self._door, self._failed = door, failed
        self._folder: Path | None = None

    def start(self) -> None:
        """Start the browser, and do not wait for it: some run until they are closed."""
        threading.Thread(target=self._open, daemon=True).start()

    def remove(self) -> None:
        """Take the file away: it was read, or it is too old, or the viewer ends."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        address = self._door.issue(seconds=SECONDS, used=self.remove)
        file = self._write(PAGE.format(address))
        old = threading.Timer(SECONDS, self.remove)
        old.daemon = True
        old.start()
        if file is None or not webbrowser.open(file.as_uri()):
            self.remove()
            self._failed()

    def _write(self, text: str) -> Path | None:
        for place in _places():
            with suppress(OSError):
                self._folder = Path(tempfile.mkdtemp(prefix="hilum-view-", dir=place))  # 0700
                file = self._folder / "open.html"
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                    out.write(text)
                return file
        return None


def _places() -> Iterator[Path]:
    """Where the file may lie, the best first: a browser from a snap sees nothing but its user's home, not hidden."""
    if SNAPS.is_dir():
        with suppress(RuntimeError):
            yield Path.home()
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime)
    yield Path(tempfile.gettempdir())
