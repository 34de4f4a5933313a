"""What a person sees of a run while it goes on, and how its books are told at its end.

On a terminal a bar with the scans at work; elsewhere a plain line now and then. Both on stderr.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from hilum.console import complain, tell, warn
from hilum.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hilum.io.ledger import Row

STATUSES = ("done", "repaired", "refused", "failed")

_EVERY = 30.0
"""Seconds between two plain lines; a run that is over before has none."""

_NAMES = 3
"""How many scans at work are named."""


class Tally:
    """The counts of a run, however many scans it has."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.statuses: Counter[str] = Counter()
        self.codes: Counter[tuple[str, str]] = Counter()
        self.started = time.monotonic()
        self.seconds = 0.0

    def add(self, row: Row) -> None:
        """Count a scan."""
        self.statuses[row.status] += 1
        if row.code:
            self.codes[row.status, row.code] += 1
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
    def per_minute(self) -> float:
        """How many scans were known a minute; 0 at the start."""
        return 60.0 * self.count / self.seconds if self.seconds else 0.0

    def counts(self) -> str:
        """Say how many ended how."""
        return ", ".join(f"{self.statuses[status]} {status}" for status in STATUSES if self.statuses[status])

    def left(self) -> str:
        """Say how long the rest takes at this pace."""
        if not self.per_minute:
            return "?"
        seconds = round(60.0 * (self.total - self.count) / self.per_minute)
        hours, rest = divmod(seconds, 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"

    def balance(self, out: Path) -> str:
        """Say in one line how a run ended: so many in, so many done, repaired, refused, failed."""
        return f"{out}: {self.count} in, {self.counts()}"

    def as_json(self, out: Path) -> str:
        """Say the same to a program."""
        told = {
            "out": str(out),
            "in": self.count,
            **{status: self.statuses[status] for status in STATUSES},
            "codes": {f"{status}/{code}": count for (status, code), count in sorted(self.codes.items())},
            "seconds": round(self.seconds, 1),
            "scans_per_minute": round(self.per_minute, 1),
        }
        return msgspec.json.encode(told).decode()


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
            complain(f"{row.id}: {row.shown or row.reason}")
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
                self._task, completed=tally.count, rate=rate, left=left, names=names, counts=tally.counts()
            )
        elif time.monotonic() - self._told >= _EVERY and tally.count < tally.total:
            self._told = time.monotonic()
            tell(f"{tally.count} of {tally.total} scans, {rate}, {left}: {tally.counts()}")


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
        shown = Progress(total, bar)
        yield shown
    _show_table(shown.tally, console)


def _show_table(tally: Tally, console: Any) -> None:
    """Show how many scans ended how, and why."""
    from rich.table import Table

    table = Table("status", "why", "scans", box=None, pad_edge=False)
    for status in STATUSES:
        whys = {code: count for (of, code), count in sorted(tally.codes.items()) if of == status}
        rest = tally.statuses[status] - sum(whys.values())
        for why, count in {**({"": rest} if rest else {}), **whys}.items():
            table.add_row(status, why, str(count))
    table.add_row("in all", f"{tally.per_minute:.1f} scans a minute", str(tally.count))
    console.print(table)
