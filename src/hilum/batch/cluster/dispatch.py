"""Scans given to the workers of a Dask scheduler, and what is made of their answers, or of their loss."""

from __future__ import annotations

import pickle
import time
from collections import deque
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from hilum.batch.cluster.connection import MAKE
from hilum.batch.cluster.workers import ROUND, Roster
from hilum.batch.supervisor import DIED
from hilum.errors import HilumError, MissingInputError, one_line
from hilum.outputs.finished import record_sha256
from hilum.outputs.ledger_rows import FINISHED, Row
from hilum.outputs.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from hilum.batch.cluster.connection import Link
    from hilum.batch.cluster.contract import Contract
    from hilum.batch.limits import Limits
    from hilum.batch.task import Task

UNSEEN = "unseen"
"""The code of a scan that a worker and this process do not see alike."""

_GRACE = 5.0
"""Seconds after which a scan that its worker does not have is given out again."""

_REST = 30.0
"""Seconds for which a worker that did not take a scan, being paused for want of memory, is given none."""

_SIGHT = 60.0
"""Seconds in which a finished scan is seen from here; a network file system may keep what it knew of a folder."""


@dataclass(frozen=True)
class _Handed:
    """A scan at a worker."""

    task: Task
    attempt: int
    address: str
    since: float

    def failed(self, code: str, what: str, *, more: str = "") -> Row:
        """Its row where it failed; `more`, which may name places, is shown and not kept."""
        shown = one_line(f"{self.task.ref.path}: {what}{more}")
        name = self.task.ref.scan_id
        return Row(id=name, status="failed", code=code, reason=what, shown=shown, attempts=self.attempt)


@dataclass(frozen=True)
class _Late:
    """A row whose scan is not seen from here yet."""

    row: Row
    handed: _Handed
    until: float


class Dispatch:
    """The scans of one run, and which worker is at which."""

    def __init__(self, link: Link, contract: Contract, limits: Limits) -> None:
        self._link, self._limits, self._run = link, limits, contract.run
        self._roster = Roster(link, contract)
        self._handed: dict[Any, _Handed] = {}
        self._waiting: deque[tuple[Task, int]] = deque()
        self._late: list[_Late] = []

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take back what is at work, and let the workers end their processes."""
        with suppress(HilumError):  # a scheduler that is lost: its workers find out by themselves
            self._link.cancel(self._handed)
        self._roster.close()

    def make(self, tasks: Iterable[Task], watch: Callable[[tuple[str, ...]], None]) -> Generator[Row]:
        """Have scans made.

        Parameters
        ----------
        tasks : iterable of Task
        watch : callable
            Called with the ids of the scans that are at workers whenever they change.

        Yields
        ------
        Row
            One per task, as they end.

        Raises
        ------
        InputError
            If a worker that is there at the start does not keep the contract, the scheduler is lost, or no worker
            comes in time.
        """
        self._waiting.extend((task, 1) for task in tasks)
        self._roster.open()
        while True:
            self._give_out()
            watch(tuple(handed.task.ref.scan_id for handed in self._handed.values()))
            if not (self._waiting or self._handed or self._late):
                return
            for future in self._roster.ended():
                if future in self._roster:
                    self._roster.hear(future)
                elif row := self._settle(future):
                    yield row
            yield from self._seen()
            if time.monotonic() - self._roster.looked >= ROUND:
                self._roster.look_round()
                yield from self._take_back()

    def _give_out(self) -> None:
        """Give every worker that may have scans as many as it has threads."""
        now = time.monotonic()
        for address, post in self._roster.posts.items():
            while self._waiting and post.good and len(post.scans) < post.threads and post.rests_until <= now:
                task, attempt = self._waiting.popleft()
                given = pickle.dumps((task, self._limits, self._run))
                future = self._link.submit(MAKE, address, "scan", given=given)
                self._handed[future] = _Handed(task, attempt, address, now)
                post.scans.add(future)

    def _settle(self, future: Any) -> Row | None:
        """The row of a scan that a worker is done with; None where it is given out again, or not looked for yet."""
        handed = self._forget(future)
        if handed is None:
            return None
        with self._link.reached():
            try:
                answer = self._link.result(future)
            except HilumError as problem:
                row = handed.failed(problem.code, reason_of(problem, path=handed.task.ref.path))
                return msgspec.structs.replace(row, shown=str(problem))
            except Exception as problem:  # noqa: BLE001 - whatever Dask makes of a worker that is lost
                more = "" if isinstance(problem, CancelledError) else f": {type(problem).__name__}: {problem}"
                return self._lost(handed, "its Dask worker was lost", more=more)
        if not answer:  # another process than the one that was asked has the address
            self._roster.doubt(handed.address)
            return self._lost(handed, "its Dask worker was lost and started anew")
        return self._taken(handed, msgspec.json.decode(answer, type=Row))

    def _taken(self, handed: _Handed, row: Row) -> Row | None:
        """A worker's row as this process sees it; None where the scan is still to be seen."""
        row = msgspec.structs.replace(row, attempts=row.attempts + handed.attempt - 1)
        if row.status in FINISHED:
            self._late.append(_Late(row, handed, time.monotonic() + _SIGHT))
            return None
        if row.code == MissingInputError.code and handed.task.ref.path.exists():
            self._roster.doubt(handed.address)
            what = "a Dask worker does not see it, this command does; run again"
            return handed.failed(UNSEEN, what, more=f" ({handed.address})")
        return row

    def _seen(self) -> Iterator[Row]:
        """Rows of finished scans that are seen from here, and of those that should be by now."""
        late, self._late = self._late, []
        for one in late:
            folder = one.handed.task.out / "scans" / one.row.id
            if record_sha256(folder) == one.row.scan_sha256:
                yield one.row
            elif time.monotonic() >= one.until:
                self._roster.doubt(one.handed.address)
                what = "a Dask worker made it, but it is not seen here"
                yield one.handed.failed(UNSEEN, what, more=f" in {folder} ({one.handed.address})")
            else:
                self._late.append(one)

    def _take_back(self) -> Iterator[Row]:
        """Give out again what its worker does not have; rows of scans that were lost with a worker once too often."""
        for future, handed in list(self._handed.items()):
            post = self._roster.posts.get(handed.address)
            at_worker = future.key in self._roster.at_work.get(handed.address, ())
            young = post is not None and self._roster.looked - handed.since < _GRACE
            if future.status != "pending" or at_worker or young:
                continue
            self._forget(future)
            self._link.cancel([future])
            if post is not None:
                post.rests_until = self._roster.looked + _REST
            if post is not None or self._link.has_retired(handed.address):  # no fault of the scan
                self._waiting.appendleft((handed.task, handed.attempt))
            elif row := self._lost(handed, "its Dask worker was lost"):
                yield row

    def _lost(self, handed: _Handed, what: str, *, more: str = "") -> Row | None:
        if handed.attempt <= self._limits.retries:
            self._waiting.appendleft((handed.task, handed.attempt + 1))
            return None
        return handed.failed(DIED, what, more=more)

    def _forget(self, future: Any) -> _Handed | None:
        handed = self._handed.pop(future, None)
        if handed is not None and (post := self._roster.posts.get(handed.address)):
            post.scans.discard(future)
        return handed
