"""What a person at a terminal sees: results on stdout, notes and refusals on stderr, one line each."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hilum.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hilum.io.ledger import Row
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


def balance(rows: Sequence[Row], out: Path) -> str:
    """Say in one line how a run ended: so many in, so many done, repaired, refused, failed.

    Parameters
    ----------
    rows : sequence of Row
    out : Path
        The output folder.

    Returns
    -------
    str
    """
    counts = {status: sum(row.status == status for row in rows) for status in ("done", "repaired", "refused", "failed")}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{out}: {len(rows)} in, {told}"


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


@contextmanager
def progress(total: int) -> Iterator[Callable[[Row], None]]:
    """Show a bar on a terminal, and say in one line on stderr what is odd or refused.

    Parameters
    ----------
    total : int
        Number of scans.

    Yields
    ------
    callable
        To be called with the row of each scan that ended.
    """

    def tell(row: Row) -> None:
        for note in row.notes:
            warn(f"{row.id}: {note}")
        if row.reason and not row.id.startswith("input-"):
            complain(f"{row.id}: {row.reason}")

    if not sys.stderr.isatty():
        yield tell
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(),
                  console=Console(stderr=True)) as bar:  # fmt: skip
        task = bar.add_task("scans", total=total)

        def step(row: Row) -> None:
            tell(row)
            bar.advance(task)

        yield step


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
    sys.stderr.write(f"note: {one_line(text, limit=290)}\n")


def complain(text: str) -> None:
    """Print a refusal on stderr, in one line that is safe to show.

    Parameters
    ----------
    text : str
    """
    sys.stderr.write(one_line(text) + "\n")
