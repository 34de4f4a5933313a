"""The command that opens a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hilum.cli.options import Series
from hilum.console import print_result


def view(
    source: Path,
    /,
    *,
    annotations: Path | None = None,
    original: Path | None = None,
    series: Series = "",
    port: int = 0,
    browser: Annotated[bool, Parameter(negative="--no-browser")] = True,
) -> None:
    """Look at a scan or a finished output in the browser: slices, lungs, nodules, 3-D. No data leave the machine.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or an output folder of 'hilum run'.
    annotations
        For one scan: a LUNA16 annotations.csv, or a LIDC-IDRI reading in .xml.
    original
        For an output folder: the input of that run, to compare with the result.
    port
        Port on 127.0.0.1; 0 for any free port.
    browser
        Open a browser; hilum prints a single-use address for one browser in any case.
    """
    from hilum.viewer.server import check, serve
    from hilum.viewer.sources import open_source

    def ready(address: str) -> None:
        print_result(address)
        sys.stdout.flush()
        sys.stderr.write("Press Ctrl-C to stop\n")

    def again(address: str) -> None:
        sys.stderr.write(f"for another browser: {address}\n")

    def failed() -> None:
        sys.stderr.write("could not start a browser: open the address above\n")

    check()
    opened = open_source(source, annotations=annotations, original=original, series=series)
    serve(opened, port=port, browser=browser, ready=ready, again=again, failed=failed)
