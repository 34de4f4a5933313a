"""What a person sees of a run while it goes on, and how its books are told at its end.

On a terminal a bar with the scans at work; elsewhere a plain line now and then. Both on stderr.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from hilum.console import complain, tell, warn
from hilum.errors import LINE_LIMIT, one_line
from hilum.outputs.findings import codes_of
from hilum.outputs.ledger_rows import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hilum.outputs.ledger_rows import Row

STATUSES = ("done", "repaired", "refused", "failed")

_EVERY = 30.0
"""Seconds between two plain lines; a run that is over before has none."""

_NAMES = 3
"""How many scans at work are named, and how many reasons."""

_LONGEST_NAME = 120
"""Characters of an output folder's name; beyond them a line would have no room for what it tells."""


class Tally:
    """The counts of a run, however many scans it has."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.statuses: Counter[str] = Counter()
        self.codes: Counter[tuple[str, str]] = Counter()
        self.repairs: Counter[str] = Counter()
        self.alarms: Counter[str] = Counter()
        self.to_check = self.kept = 0
        self.started = time.monotonic()
        self.seconds = 0.0
        self._firsts: dict[tuple[str, str], Row] = {}

    def add(self, row: Row) -> None:
        """Count a scan."""
        self.statuses[row.status] += 1
        if row.status in FINISHED:
            self.kept += row.kept
            self.repairs.update(codes_of(row.notes, "changed"))
            self.alarms.update(row.alarms)
            self.to_check += bool(row.alarms)
        elif row.code:
            self.codes[row.status, row.code] += 1
            self._firsts.setdefault((row.status, row.code), row)
        self.seconds = time.monotonic() - self.started

    @property
    def count(self) -> int:
        """How many are known."""
        return self.statuses.total()

    @property
    def well(self) -> bool:
        """Whether every scan is finished."""
        return not (self.statuses["refused"] or self.statuses["failed"])

    @property
    def made(self) -> int:
        """How many were finished by this run; the other finished ones were `kept`."""
        return sum(self.statuses[status] for status in FINISHED) - self.kept

    @property
    def per_minute(self) -> float:
        """How many scans were known a minute; 0 at the start."""
        return 60.0 * self.count / self.seconds if self.seconds else 0.0

    def counts(self) -> str:
        """Say how many ended how."""
        return ", ".join(f"{self.statuses[status]} {status}" for status in STATUSES if self.statuses[status])

    def so_far(self) -> str:
        """Say the same while a run goes on, and how many are to be checked."""
        return self.counts() + (f", {self.to_check} to check" if self.to_check else "")

    def left(self) -> str:
        """Say how long the rest takes at this pace."""
        if not self.per_minute:
            return "?"
        seconds = round(60.0 * (self.total - self.count) / self.per_minute)
        hours, rest = divmod(seconds, 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"

    def ending(self, out: Path) -> list[str]:
        """Say how a run ended: its balance, then what was changed, what is to be checked, and what did not come out.

        Parameters
        ----------
        out : Path
            The output folder, whose report is the next step where there is anything to look at.

        Returns
        -------
        list of str
            Lines of at most `LINE_LIMIT` characters; none for what did not happen.
        """
        name = one_line(out, limit=_LONGEST_NAME)
        kept = f" ({self.made} made now, {self.kept} kept)" if self.kept else ""
        lines = [f"{name}: {self.count} in: {self.counts()}{kept}, in {_duration(time.monotonic() - self.started)}"]
        if self.repairs:
            lines.append(f"repaired: {_commonest(self.repairs)}")
        step = _report_of(out)
        if self.to_check:
            lines.append(f"to check: {self.to_check} ({_commonest(self.alarms)}){step}")
            step = ""
        for status in ("refused", "failed"):
            if self.statuses[status]:
                lines.append(self._unmade(status, step))
                step = ""
        return [one_line(line) for line in lines]

    def as_json(self, out: Path) -> str:
        """Say the same to a program."""
        told = {
            "out": str(out),
            "in": self.count,
            **{status: self.statuses[status] for status in STATUSES},
            "made": self.made,
            "kept": self.kept,
            "to_check": self.to_check,
            "codes": {f"{status}/{code}": count for (status, code), count in sorted(self.codes.items())},
            "repairs": dict(sorted(self.repairs.items())),
            "alarms": dict(sorted(self.alarms.items())),
            "seconds": round(self.seconds, 1),
            "scans_per_minute": round(self.per_minute, 1),
        }
        return msgspec.json.encode(told).decode()

    def _unmade(self, status: str, step: str) -> str:
        """Say why scans have no output, and the first one's reason of the commonest kind."""
        codes = Counter({code: count for (of, code), count in self.codes.items() if of == status})
        if not codes:
            return f"{status}: {self.statuses[status]}{step}"
        row = self._firsts[status, min(codes, key=lambda code: (-codes[code], code))]
        line = f"{status}: {_commonest(codes)} ("
        room = LINE_LIMIT - len(line) - len(step) - 1
        told = reason_line(row)
        if len(told) > room:  # the path goes before the reason does
            told = one_line(f"{row.id}: {row.reason}", limit=room)
        return f"{line}{told}){step}"


def reason_line(row: Row) -> str:
    """Say which scan was refused or failed, and why, with its path where that is known.

    Parameters
    ----------
    row : Row

    Returns
    -------
    str
    """
    told = row.full_reason or row.reason
    return one_line(told if row.id.startswith("input-") else f"{row.id}: {told}")


def _commonest(codes: Counter[str]) -> str:
    """Name the commonest codes with their counts, and how many more there are."""
    ordered = sorted(codes, key=lambda code: (-codes[code], code))
    named = [f"{code} {codes[code]}" for code in ordered[:_NAMES]]
    return ", ".join(named) + (f", and {len(ordered) - _NAMES} more" if len(ordered) > _NAMES else "")


def _report_of(out: Path) -> str:
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
    """A run as it goes on: `add` takes each row, `watch` the ids of the scans at work."""

    def __init__(self, total: int, bar: Any = None) -> None:
        self.tally = Tally(total)
        self._bar = bar
        self._task = bar.add_task("scans", total=total, rate="", left="", names="", counts="") if bar else None
        self._names: tuple[str, ...] = ()
        self._told = time.monotonic()

    def add(self, row: Row) -> None:
        """Count a row, and say in one line each what is odd or refused."""
        self.tally.add(row)
        for note in row.notes:
            warn(f"{row.id}: {note}")
        if row.reason and not row.id.startswith("input-"):
            complain(reason_line(row))
        self._show()

    def watch(self, names: tuple[str, ...]) -> None:
        """Take the scans at work."""
        self._names = names
        self._show()

    def _show(self) -> None:
        tally = self.tally
        rate, left = f"{tally.per_minute:.1f} scans a minute", f"{tally.left()} left"
        if self._bar is not None:
            more = f" and {len(self._names) - _NAMES} more" if len(self._names) > _NAMES else ""
            names = one_line(", ".join(self._names[:_NAMES]) + more, limit=80)
            self._bar.update(
                self._task, completed=tally.count, rate=rate, left=left, names=names, counts=tally.so_far()
            )
        elif time.monotonic() - self._told >= _EVERY and tally.count < tally.total:
            self._told = time.monotonic()
            tell(f"{tally.count} of {tally.total} scans, {rate}, {left}: {tally.so_far()}")


@contextmanager
def progress(total: int) -> Iterator[Progress]:
    """Show how a run goes on.

    Parameters
    ----------
    total : int
        Number of scans.

    Yields
    ------
    Progress
    """
    if not sys.stderr.isatty():
        yield Progress(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}  {task.fields[left]}\n  {task.fields[counts]}\n  {task.fields[names]}"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        yield Progress(total, bar)
