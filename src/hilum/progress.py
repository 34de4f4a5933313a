"""The progress of a run, and the summary at its end.

On a terminal stderr shows a progress bar with the scans in progress, elsewhere a line now and then.
"""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from hilum.console import print_error, print_note, print_stderr, verbosity
from hilum.errors import LINE_LIMIT, one_line
from hilum.outputs import findings, ledger

STATUSES = ("done", "repaired", "refused", "failed")

_NAMES = 3  # how many scans in progress are named, and how many codes

_LONGEST_NAME = 120  # characters of an output folder's name in a line of the summary


class RunCounts:
    """Counts of the scans of a run by how they ended."""

    def __init__(self, total: int) -> None:
        self.total, self.started, self.seconds = total, time.monotonic(), 0.0
        self.statuses: Counter[str] = Counter()
        self.codes: Counter[tuple[str, str]] = Counter()
        self.repairs: Counter[str] = Counter()
        self.alarms: Counter[str] = Counter()
        self.to_check = self.kept = 0
        self._firsts: dict[tuple[str, str], ledger.Row] = {}

    def add(self, row: ledger.Row) -> None:
        """Count a scan."""
        self.statuses[row.status] += 1
        if row.status in ledger.FINISHED:
            self.kept += row.kept
            self.repairs.update(findings.codes_of(row.notes, "changed"))
            self.alarms.update(row.alarms)
            self.to_check += bool(row.alarms)
        elif row.code:
            self.codes[row.status, row.code] += 1
            self._firsts.setdefault((row.status, row.code), row)
        self.seconds = time.monotonic() - self.started

    @property
    def count(self) -> int:
        """Number of scans that ended."""
        return self.statuses.total()

    @property
    def all_finished(self) -> bool:
        """Whether no scan was refused or failed."""
        return not (self.statuses["refused"] or self.statuses["failed"])

    @property
    def made(self) -> int:
        """Number of scans that this run finished; the other finished scans were `kept` from an earlier run."""
        return sum(self.statuses[status] for status in ledger.FINISHED) - self.kept

    @property
    def per_minute(self) -> float:
        """Scans per minute; 0 at the start."""
        return 60.0 * self.count / self.seconds if self.seconds else 0.0

    def by_status(self) -> str:
        """Name the number of scans of each status."""
        return ", ".join(f"{self.statuses[status]} {status}" for status in STATUSES if self.statuses[status])

    def progress_text(self) -> str:
        """Name the number of scans of each status, and how many a person should check."""
        return self.by_status() + (f", {self.to_check} to check" if self.to_check else "")

    def time_left(self) -> str:
        """Estimate the time for the remaining scans, as h:mm:ss."""
        if not self.per_minute:
            return "?"
        hours, rest = divmod(round(60.0 * (self.total - self.count) / self.per_minute), 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"

    def summary(self, out: Path) -> list[str]:
        """Summarize a finished run: all scans, then repaired scans, scans to check, refused and failed scans.

        Parameters
        ----------
        out : Path
            The output folder. The first line about scans to look at ends with the command for its report.

        Returns
        -------
        list of str
            Lines of at most `LINE_LIMIT` characters.
        """
        name = one_line(out, limit=_LONGEST_NAME)
        scans = f"{self.count} scan{'' if self.count == 1 else 's'}"
        kept = f" ({self.made} new, {self.kept} unchanged)" if self.kept else ""
        lines = [f"{name}: {scans}: {self.by_status()}{kept}, in {_duration(time.monotonic() - self.started)}"]
        if self.repairs:
            lines.append(f"repaired: {_commonest(self.repairs)}")
        step = _report_command(out)
        if self.to_check:
            lines.append(f"to check: {self.to_check} ({_commonest(self.alarms)}){step}")
            step = ""
        for status in ("refused", "failed"):
            if self.statuses[status]:
                lines.append(self._without_output(status, step))
                step = ""
        return [one_line(line) for line in lines]

    def as_json(self, out: Path) -> str:
        """Return the counts as one line of JSON."""
        statuses = {status: self.statuses[status] for status in STATUSES}
        scans = {"in": self.count, **statuses, "made": self.made, "kept": self.kept, "to_check": self.to_check}
        codes = {f"{status}/{code}": count for (status, code), count in sorted(self.codes.items())}
        notes = {"repairs": dict(sorted(self.repairs.items())), "alarms": dict(sorted(self.alarms.items()))}
        pace = {"seconds": round(self.seconds, 1), "scans_per_minute": round(self.per_minute, 1)}
        return msgspec.json.encode({"out": str(out), **scans, "codes": codes, **notes, **pace}).decode()

    def _without_output(self, status: str, step: str) -> str:
        """Name the commonest reasons why scans have no output, and the first scan with the commonest one."""
        if not (codes := Counter({code: count for (of, code), count in self.codes.items() if of == status})):
            return f"{status}: {self.statuses[status]}{step}"
        row = self._firsts[status, min(codes, key=lambda code: (-codes[code], code))]
        line = f"{status}: {_commonest(codes)} ("
        room = LINE_LIMIT - len(line) - len(step) - 1
        reason = reason_line(row)
        if len(reason) > room:  # leave out the path
            reason = one_line(f"{row.id}: {row.reason}", limit=room)
        return f"{line}{reason}){step}"


def reason_line(row: ledger.Row) -> str:
    """Name a scan that was refused or failed, the reason, and its path if it is known."""
    reason = row.full_reason or row.reason
    return one_line(reason if row.id.startswith("input-") else f"{row.id}: {reason}")


def _commonest(codes: Counter[str]) -> str:
    """Name the commonest codes with their counts."""
    ordered = sorted(codes, key=lambda code: (-codes[code], code))
    named = [f"{code} {codes[code]}" for code in ordered[:_NAMES]]
    return ", ".join(named) + (f", and {len(ordered) - _NAMES} more" if len(ordered) > _NAMES else "")


def _report_command(out: Path) -> str:
    command = f": hilum report {shlex.quote(str(out))}"
    return command if len(command) <= _LONGEST_NAME and one_line(command) == command else ": see 'hilum report'"


def _duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Shows the progress of a run: `add` takes each ledger row, `watch` the ids of the scans in progress."""

    def __init__(self, total: int, bar: Any = None) -> None:
        self.counts, self._bar = RunCounts(total), bar
        self._task = bar.add_task("scans", total=total, rate="", left="", names="", counts="") if bar else None
        self._names: tuple[str, ...] = ()
        self._printed = time.monotonic()

    def add(self, row: ledger.Row) -> None:
        """Count a row, and print its notes and the reason of a refusal."""
        self.counts.add(row)
        for note in row.notes:
            print_note(f"{row.id}: {note}")
        if row.reason and not row.id.startswith("input-"):
            print_error(reason_line(row))
        if verbosity.get().verbose:
            print_stderr(f"{row.id}: {row.status}{', unchanged' if row.kept else ''}, {row.seconds:.1f} s")
        self._show()

    def watch(self, names: tuple[str, ...]) -> None:
        """Show the scans in progress."""
        self._names = names
        self._show()

    def _show(self) -> None:
        counts = self.counts
        rate, left = f"{counts.per_minute:.1f} scans per minute", f"{counts.time_left()} left"
        text = counts.progress_text()
        if self._bar is not None:
            more = f" and {len(self._names) - _NAMES} more" if len(self._names) > _NAMES else ""
            names = one_line(", ".join(self._names[:_NAMES]) + more, limit=80)
            self._bar.update(self._task, completed=counts.count, rate=rate, left=left, names=names, counts=text)
        elif time.monotonic() - self._printed >= 30 and counts.count < counts.total:
            self._printed = time.monotonic()
            print_stderr(f"{counts.count} of {counts.total} scans, {rate}, {left}: {text}", needed=False)


@contextmanager
def progress(total: int) -> Iterator[Progress]:
    """Show the progress of a run of `total` scans."""
    if not sys.stderr.isatty() or verbosity.get().quiet:
        yield Progress(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    text = "{task.fields[rate]}  {task.fields[left]}\n  {task.fields[counts]}\n  {task.fields[names]}"
    columns = SpinnerColumn(), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn(text)
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Progress(total, bar)
