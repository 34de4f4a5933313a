"""What a person at a terminal sees: results on stdout, notes and refusals on stderr, one line each."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from hilum.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hilum.io.records import DatasetRecord
    from hilum.scan import Scan


def describe(scan: Scan) -> str:
    """Say in one line what a scan is.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    str
    """
    sizes = " x ".join(str(n) for n in scan.ct.shape)
    steps = " x ".join(f"{s:g}" for s in scan.ct.spacing)
    return f"{sizes} voxels of {steps} mm (z, y, x), {scan.ct.array.min()} to {scan.ct.array.max()} HU"


def landing(datasets: Sequence[DatasetRecord]) -> str:
    """Say, a line for each data set with annotations, how many nodules landed in the volumes and in the lungs.

    Parameters
    ----------
    datasets : sequence of DatasetRecord

    Returns
    -------
    str
        Empty where there is no nodule.
    """
    lines = []
    for told in datasets:
        if told.nodules:
            lungs = "" if told.inside_lungs is None else f", {told.inside_lungs} in the lung mask"
            scans = f"{told.scans_with_nodules} of {told.finished} scans"
            lines.append(
                f"{told.dataset}: {told.nodules} nodules in {scans}, {told.landed} landed in the volume{lungs}, "
                f"at most {told.largest_round_trip_mm:.1g} mm beside their annotation"
            )
    return "\n".join(lines)


def say(text: str) -> None:
    """Print a result on stdout.

    Parameters
    ----------
    text : str
    """
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """Print a note on mended data on stderr, in one line that is safe to show.

    Parameters
    ----------
    text : str
    """
    tell(f"note: {one_line(text, limit=290)}")


def complain(text: str) -> None:
    """Print a refusal on stderr, in one line that is safe to show.

    Parameters
    ----------
    text : str
    """
    tell(one_line(text))


def tell(line: str) -> None:
    """Print a line on stderr; where nobody takes it, work goes on without.

    Parameters
    ----------
    line : str
    """
    with suppress(OSError):
        sys.stderr.write(line + "\n")


def open_stderr() -> None:
    """Give a program that was started without stderr one that goes nowhere.

    Else the next file that is opened would get its number, and what libraries print there would go into that file.
    """
    if sys.stderr is None:
        try:
            os.fstat(2)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != 2:
                os.dup2(handle, 2)
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the life of the process
