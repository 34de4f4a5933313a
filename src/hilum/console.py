"""What a person at a terminal sees: results on stdout, notes and refusals on stderr, one line each."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from hilum.errors import one_line
from hilum.io.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hilum.io.inspect import FindingRecord, SeriesRecord
    from hilum.outputs.records import DatasetRecord
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


class OutputLostError(Exception):
    """Stdout took no more of a result that is printed and kept nowhere else."""

    def __init__(self, problem: OSError) -> None:
        super().__init__(problem.strerror or str(problem))
        self.closed = problem.errno in _CLOSED


_CLOSED = frozenset({errno.EPIPE, errno.EBADF, errno.EINVAL})
"""Nobody reads any more: ``hilum info ... | head -1``. Windows says EINVAL."""


class _Lenient:
    """A standard stream that is given up at the first refusal: what follows is dropped, or nobody needs to go on."""

    def __init__(self, stream: TextIO | None, *, needed: bool = False) -> None:
        self._stream = stream if stream is not None else io.StringIO()
        self._lost = None if stream is not None else OSError(errno.EBADF, "it is closed")
        self._needed = needed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's own."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write at once, where that is possible."""
        if self._lost is None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError as problem:
                self._lost = problem
                _lead_nowhere(self._stream)
        if self._lost is not None and self._needed:
            raise OutputLostError(self._lost)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


@contextmanager
def lenient_streams(*, needed: bool) -> Iterator[None]:
    """Have results and notes printed on any terminal, pipe or file, whatever becomes of it.

    Characters that its encoding lacks are written as escapes. A stream that is closed or full ends no work that leaves
    files: what would be printed on it is dropped.

    Parameters
    ----------
    needed : bool
        Whether what is printed on stdout is all that comes of the work, which then ends when stdout does.

    Raises
    ------
    OutputLostError
        If it is needed and takes no more.
    """
    _open_standard()
    out, err = (cast("TextIO", _Lenient(s, needed=n)) for s, n in ((sys.stdout, needed), (sys.stderr, False)))
    with redirect_stdout(out), redirect_stderr(err):
        yield


_NAMED = 3
"""How many files a finding names for a person; the JSON has all."""

_FOLDER_WIDTH = 40

_COLUMNS = ("", "folder", "series", "kernel", "slices", "rows x columns", "spacing mm", "verdict", "series UID")


def inspection_text(found: list[SeriesRecord]) -> str:
    """Write a verdict as lines for a person: a table, and below it each finding once.

    Parameters
    ----------
    found : list of SeriesRecord

    Returns
    -------
    str
    """
    rows = [_COLUMNS, *(_row(number, series, alone=len(found) == 1) for number, series in enumerate(found, start=1))]
    kept = [k for k in range(len(_COLUMNS)) if k == 0 or any(row[k] for row in rows[1:])]
    widths = {k: max(len(row[k]) for row in rows) for k in kept}
    lines = ["  ".join(row[k].ljust(widths[k]) for k in kept).rstrip() for row in rows]
    whose: dict[tuple[str, str, str, tuple[str, ...]], list[int]] = {}
    for number, series in enumerate(found, start=1):
        for finding in series.findings:
            key = finding.action, finding.code, finding.text, _unsaid(finding)
            whose.setdefault(key, []).append(number)
    for (action, code, text, files), numbers in whose.items():
        every = len(numbers) == len(found) > 1
        names = "all" if every else ", ".join(map(str, numbers))
        lines.append(f"{names}: {action}, {code}: {text}")
        lines += [f"{'':12}{name}" for name in files]
    return "\n".join(lines)


def _unsaid(finding: FindingRecord) -> tuple[str, ...]:
    """The files that a finding's text tells by their place alone: whoever asks here holds them."""
    names = [name for name in finding.files if not safe_name(name)]
    rest = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return (*names[:_NAMED], *rest)


def _row(number: int, series: SeriesRecord, *, alone: bool) -> tuple[str, ...]:
    grid = series.geometry
    return (
        str(number),
        _end_of(series.folder),
        "" if series.number is None else str(series.number),
        series.kernel,
        str(series.slices or ""),
        "" if grid is None else f"{grid.shape[1]} x {grid.shape[2]}",
        "" if grid is None else " x ".join(f"{step:.4g}" for step in grid.spacing),
        _verdict(series, alone=alone),
        series.series_uid,
    )


def _end_of(folder: str) -> str:
    """A folder's name, its end where it is long: that is what differs."""
    name = one_line(folder, limit=1000) or "."
    return name if len(name) <= _FOLDER_WIDTH else "…" + name[1 - _FOLDER_WIDTH :]


def _verdict(series: SeriesRecord, *, alone: bool) -> str:
    if not series.usable:
        return "left out" if not any(f.action == "refused" for f in series.findings) else "refused"
    ready = "can be read" if series.pixels_read else "headers can be read, pixels not looked at"
    return f"{ready} (the default)" if series.chosen and not alone else ready


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
    """Print a line on stderr.

    Parameters
    ----------
    line : str
    """
    with suppress(OSError):  # a progress bar takes the stream for itself: work goes on where nobody reads it
        sys.stderr.write(line + "\n")


def _lead_nowhere(stream: TextIO) -> None:
    """Give a stream the null device for its file: what it still holds would fail once more when Python ends."""
    with suppress(OSError, ValueError):  # a stream in memory has no file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _open_standard() -> None:
    """Open the null device where a standard stream was closed: the next file opened would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
