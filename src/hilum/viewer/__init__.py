"""Show a scan or a finished run in the browser: a server for one person on this machine, and the page that it serves.

``python3 dev.py page`` builds the page from `viewer/web` into the folder ``page`` next to this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["view"]


def view(
    path: Path,
    *,
    port: int = 0,
    annotations: Path | None = None,
    original: Path | None = None,
    series: str = "",
    browser: bool = False,
    ready: Callable[[str], None],
    again: Callable[[str], None] = lambda _: None,
    failed: Callable[[], None] = lambda: None,
) -> None:
    """Serve a scan or a finished run to a browser on this machine, until Ctrl-C.

    Parameters
    ----------
    path : Path
        A DICOM folder, a volume file, or the output folder of a run.
    port : int
        Port on 127.0.0.1; 0 for any free port.
    annotations : Path, optional
        For one scan: its annotations, as in `hilum.read`.
    original : Path, optional
        For a run: its input, to compare with the result.
    series : str
        Series Instance UID, if a DICOM folder holds several series.
    browser : bool
        Whether to start a browser. It gets its own address in a file that only its owner can read.
    ready : callable
        Called with an address when the server runs. The address logs one browser in, once.
    again : callable
        Called with a new address when one was used.
    failed : callable
        Called if no browser could be started.

    Raises
    ------
    HilumError
        If there is nothing to show, the page was not built, a package is missing, or the port is in use.
    """
    from hilum.viewer.server import serve
    from hilum.viewer.sources import open_source

    source = open_source(path, annotations=annotations, original=original, series=series)
    serve(source, port=port, browser=browser, ready=ready, again=again, failed=failed)
