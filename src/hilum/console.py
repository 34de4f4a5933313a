"""Text for the terminal: results on stdout, notes and errors on stderr, one line each."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO, cast

from hilum.errors import OutputError, one_line, path_end
from hilum.io.names import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from hilum.io.dicom.records import Finding
    from hilum.io.inspect import Series
    from hilum.outputs.records import DatasetRecord
    from hilum.scan import Note, Scan


@dataclass(frozen=True)
class Verbosity:
    """How much a command prints: `quiet` leaves out notes and progress, `verbose` adds a line for each scan."""

    quiet: bool = False
    verbose: bool = False
    log: TextIO | None = None


_NORMAL = Verbosity()

verbosity = ContextVar("verbosity", default=_NORMAL)
"""How much the present command prints."""


@contextmanager
def printing(*, quiet: bool = False, verbose: bool = False, log: Path | None = None) -> Iterator[None]:
    """Set how much a command prints.

    Parameters
    ----------
    quiet, verbose : bool
        Leave out notes and progress on stderr; add a line for each scan of a run.
    log : Path, optional
        A file that gets every printed line, with the time, and also the notes that `quiet` leaves out.

    Raises
    ------
    OutputError
        If the log cannot be opened.
    """
    try:
        file = None if log is None else log.open("a", encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as problem:
        what = f"the log cannot be written: {problem.strerror}"
        raise OutputError(what, where=log, do="give --log another file") from problem
    token = verbosity.set(Verbosity(quiet, verbose, file))
    try:
        yield
    finally:
        verbosity.reset(token)
        if file is not None:
            with suppress(OSError):
                file.close()


def _log(text: str) -> None:
    """Append lines to the log, if there is one."""
    if (file := verbosity.get().log) is None:
        return
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    with suppress(OSError):
        file.writelines(f"{now} {line}\n" for line in text.splitlines())
        file.flush()


def describe_volume(scan: Scan) -> str:
    """Describe the size and HU range of a scan in one line."""
    sizes = " x ".join(str(n) for n in scan.ct.shape)
    steps = " x ".join(f"{s:g}" for s in scan.ct.spacing)
    return f"{sizes} voxels of {steps} mm (z, y, x), {scan.ct.array.min()} to {scan.ct.array.max()} HU"


def nodule_lines(datasets: Sequence[DatasetRecord]) -> list[str]:
    """Describe, one line per data set with nodules, how many nodules lie in the volumes and in the lungs."""
    lines = []
    for record in (record for record in datasets if record.nodules):
        counts = f"{record.nodules} nodules in {record.scans_with_nodules} of {record.finished} scans"
        lungs = "" if record.inside_lungs is None else f", {record.inside_lungs} in the lung mask"
        agreement = f"stored centers agree within {record.largest_round_trip_mm:.1g} mm"
        lines.append(f"{record.dataset}: {counts}; {record.landed} lie in the volume{lungs}; {agreement}")
        lines += [f"{record.dataset}: {note}" for note in record.notes if note.startswith("wrong-axes: ")]
    return lines


class OutputLostError(Exception):
    """Stdout cannot be written, and the result is stored nowhere else."""

    def __init__(self, problem: OSError) -> None:
        super().__init__(problem.strerror or str(problem))
        # The reader closed the pipe, as in `hilum info ... | head -1`. Windows reports EINVAL.
        self.closed = problem.errno in {errno.EPIPE, errno.EBADF, errno.EINVAL}


class _LenientStream:
    """A standard stream that drops its text after the first error, or raises `OutputLostError` if it is required."""

    def __init__(self, stream: TextIO | None, *, required: bool = False) -> None:
        self._stream = stream if stream is not None else io.StringIO()
        self._lost = None if stream is not None else OSError(errno.EBADF, "stream is closed")
        self._required = required
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        """Pass everything else to the stream."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write and flush."""
        if self._lost is None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError as problem:
                self._lost = problem
                _redirect_to_null(self._stream)
        if self._lost is not None and self._required:
            raise OutputLostError(self._lost)
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` flushes."""


@contextmanager
def lenient_streams(*, stdout_required: bool) -> Iterator[None]:
    """Print to any terminal, pipe or file, even if it is closed or full.

    Characters that the stream's encoding lacks are written as escapes. If a stream is closed or full, its text is
    dropped and the work goes on.

    Parameters
    ----------
    stdout_required : bool
        Whether the work is useless without stdout.

    Raises
    ------
    OutputLostError
        If stdout is required and cannot be written.
    """
    _open_standard()
    out = cast("TextIO", _LenientStream(sys.stdout, required=stdout_required))
    with redirect_stdout(out), redirect_stderr(cast("TextIO", _LenientStream(sys.stderr))):
        yield


_NAMED = 3  # how many files of a finding are named; the JSON names all

_COLUMNS = (
    "",
    "folder",
    "series",
    "kernel",
    "phase",
    "slices",
    "rows x columns",
    "spacing mm",
    "verdict",
    "series UID",
)


def inspection_text(records: Sequence[Series]) -> str:
    """Format an inspection as a table of series, followed by each finding once."""
    rows = [_COLUMNS, *(_row(series, alone=len(records) == 1) for series in records)]
    columns = [k for k in range(len(_COLUMNS)) if k == 0 or any(row[k] for row in rows[1:])]
    widths = {k: max(len(row[k]) for row in rows) for k in columns}
    lines = ["  ".join(row[k].ljust(widths[k]) for k in columns).rstrip() for row in rows]
    series_of: dict[tuple[str, str, str, tuple[str, ...]], list[int]] = {}
    for series in records:
        for finding in series.findings:
            key = finding.action, finding.code, finding.text, _unnamed_files(finding)
            series_of.setdefault(key, []).append(series.number)
    for (action, code, text, files), numbers in series_of.items():
        names = "all" if len(numbers) == len(records) > 1 else ", ".join(map(str, numbers))
        lines.append(f"{names}: {action}, {code}: {text}")
        lines += [f"{'':12}{name}" for name in files]
    for series in records:
        for one in series.regions:
            lines.append(one_line(f"{series.number}: regions, {one.kind}, {one.file}: {', '.join(one.names)}"))
    return "\n".join(lines)


def _unnamed_files(finding: Finding) -> tuple[str, ...]:
    """Name the files that a finding's text does not name because their names could identify a patient."""
    names = [name for name in finding.files if not safe_name(name)]
    rest = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return (*names[:_NAMED], *rest)


def _row(series: Series, *, alone: bool) -> tuple[str, ...]:
    grid, folder = series.geometry, path_end(series.folder, limit=40) or "."
    series_number = "" if series.series_number is None else str(series.series_number)
    size = "" if grid is None else f"{grid.shape[1]} x {grid.shape[2]}"
    spacing = "" if grid is None else " x ".join(f"{step:.4g}" for step in grid.spacing)
    names = (str(series.number), folder, series_number, series.kernel, series.phase)
    return (*names, str(series.slices or ""), size, spacing, _verdict(series, alone=alone), series.uid)


def _verdict(series: Series, *, alone: bool) -> str:
    if not series.usable:
        return "left out" if not any(f.action == "refused" for f in series.findings) else "refused"
    ready = "can be read" if series.pixels_read else "headers can be read, pixels not checked"
    return f"{ready} (the default)" if series.chosen and not alone else ready


def print_result(text: str) -> None:
    """Print a result on stdout."""
    _log(text)
    sys.stdout.write(text + "\n")


def print_note(text: str) -> None:
    """Print a note on stderr as one line without control characters."""
    print_stderr(f"note: {one_line(text, limit=290)}", needed=False)


def print_notes(notes: Iterable[Note]) -> None:
    """Print notes as the files name them, one per line."""
    for note in notes:
        print_note(str(note))


def print_error(text: str) -> None:
    """Print an error on stderr as one line without control characters."""
    print_stderr(one_line(text))


def print_stderr(line: str, *, needed: bool = True) -> None:
    """Print a line on stderr; with ``--quiet`` only one that is needed."""
    _log(line)
    if needed or not verbosity.get().quiet:
        with suppress(OSError):  # a progress bar replaces the lenient stream
            sys.stderr.write(line + "\n")


def _redirect_to_null(stream: TextIO) -> None:
    """Redirect a stream to the null device, or its buffer would raise again when Python ends."""
    with suppress(OSError, ValueError):  # a stream in memory has no file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _open_standard() -> None:
    """Open the null device for closed standard streams; otherwise the next opened file would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
