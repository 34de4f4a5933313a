"""A scan or a finished run in the browser of this machine: a server for one person, and the page it serves.

The page is made of `viewer/web` in the project by ``python3 dev.py page``, into the folder ``page`` beside this file.
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
    """Serve a scan or a finished run to the browser of this machine, until Ctrl-C.

    Parameters
    ----------
    path : Path
        A DICOM folder, a volume file, or the output folder of a run.
    port : int
        Of 127.0.0.1; 0 for one that is free.
    annotations : Path, optional
        For one scan: where its nodules are listed, as `hilum.read` takes it.
    original : Path, optional
        For a run: its input, to be shown beside what was made of it.
    series : str
        For a DICOM folder that holds several: the Series Instance UID.
    browser : bool
        Whether the browser of this machine is started; it gets an address of its own, in a file that nobody else can
        read.
    ready : callable
        Called with an address once it answers. It lets one browser in, once.
    again : callable
        Called with the next such address when one was used.
    failed : callable
        Called where no browser could be started.

    Raises
    ------
    HilumError
        If there is nothing to see, the page was not built, a package is missing, or the port is taken.
    """
    from hilum.viewer.server import serve
    from hilum.viewer.sources import open_source

    source = open_source(path, annotations=annotations, original=original, series=series)
    serve(source, port=port, browser=browser, ready=ready, again=again, failed=failed)
