"""The command that opens a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.status import ALL_WELL
from hilum.console import say


def view(
    source: Path,
    /,
    *,
    annotations: Path | None = None,
    original: Path | None = None,
    series: str = "",
    port: int = 0,
    browser: Annotated[bool, Parameter(negative="--no-browser")] = True,
) -> int:
    """Look at a scan or a finished output in the browser: slices, lungs, nodules, 3-D; nothing leaves the machine.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or an output folder of 'hilum run'.
    annotations
        For one scan: a LUNA16 annotations.csv, or a reading of LIDC-IDRI in .xml.
    original
        For an output folder: the input of that run, to be shown beside what was made of it.
    series
        Series Instance UID, where a DICOM folder holds several.
    port
        Of 127.0.0.1; 0 for one that is free.
    browser
        Whether a browser is opened; an address that lets one browser in is printed either way.
    """
    from hilum.viewer import view as serve
    from hilum.viewer.server import check

    def ready(address: str) -> None:
        say(address)
        sys.stdout.flush()
        sys.stderr.write("Ctrl-C ends it\n")

    def again(address: str) -> None:
        sys.stderr.write(f"for another browser: {address}\n")

    def failed() -> None:
        sys.stderr.write("no browser could be started: open the address above\n")

    check()
    serve(
        source, annotations=annotations, original=original, series=series, port=port, browser=browser,
        ready=ready, again=again, failed=failed,
    )  # fmt: skip
    return ALL_WELL
