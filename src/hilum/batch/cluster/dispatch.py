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
from hilum.batch.cluster.workers import ROUND, DaskWorkers
from hilum.batch.supervisor import DIED
from hilum.errors import HilumError, MissingInputError, one_line
from hilum.outputs.finished import record_sha256
from hilum.outputs.ledger_rows import FINISHED, Row
from hilum.outputs.reasons import reason_without_names

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from hilum.batch.cluster.connection import SchedulerClient
    from hilum.batch.cluster.contract import Contract
    from hilum.batch.limits import Limits
    from hilum.batch.task import Task

NOT_VISIBLE = "unseen"
"""The code of a scan that a worker and this process do not see alike."""

_GRACE = 5.0
"""Seconds after which a scan that its worker does not have is given out again."""

_REST = 30.0
"""Seconds for which a worker that did not take a scan, being paused for want of memory, is given none."""

_SIGHT = 60.0
"""Seconds in which a finished scan is seen from here; a network file system may keep what it knew of a folder."""


@dataclass(frozen=True)
class _Assignment:
    """A scan at a worker."""

    task: Task
    attempt: int
    address: str
    since: float

    def failed(self, code: str, what: str, *, more: str = "") -> Row:
        """Its row where it failed; `more`, which may name places, is shown and not kept."""
        shown = one_line(f"{self.task.ref.path}: {what}{more}")
        name = self.task.ref.scan_id
        return Row(id=name, status="failed", code=code, reason=what, full_reason=shown, attempts=self.attempt)


@dataclass(frozen=True)
class _Late:
    """A row whose scan is not seen from here yet."""

    row: Row
    assignment: _Assignment
    until: float


class Dispatch:
    """The scans of one run, and which worker is at which."""

    def __init__(self, scheduler: SchedulerClient, contract: Contract, limits: Limits) -> None:
        self._scheduler, self._limits, self._run = scheduler, limits, contract.run
        self._workers = DaskWorkers(scheduler, contract)
        self._assigned: dict[Any, _Assignment] = {}
        self._waiting: deque[tuple[Task, int]] = deque()
        self._late: list[_Late] = []

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take back what is at work, and let the workers end their processes."""
        with suppress(HilumError):  # a scheduler that is lost: its workers find out by themselves
            self._scheduler.cancel(self._assigned)
        self._workers.close()

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
        self._workers.open()
        while True:
            self._give_out()
            watch(tuple(assignment.task.ref.scan_id for assignment in self._assigned.values()))
            if not (self._waiting or self._assigned or self._late):
                return
            for future in self._workers.ended():
                if future in self._workers:
                    self._workers.handle_answer(future)
                elif row := self._collect(future):
                    yield row
            yield from self._seen()
            if time.monotonic() - self._workers.looked >= ROUND:
                self._workers.refresh()
                yield from self._reassign()

    def _give_out(self) -> None:
        """Give every worker that may have scans as many as it has threads."""
        now = time.monotonic()
        for address, worker in self._workers.by_address.items():
            while self._waiting and worker.good and len(worker.scans) < worker.threads and worker.rests_until <= now:
                task, attempt = self._waiting.popleft()
                given = pickle.dumps((task, self._limits, self._run))
                future = self._scheduler.submit(MAKE, address, "scan", given=given)
                self._assigned[future] = _Assignment(task, attempt, address, now)
                worker.scans.add(future)

    def _collect(self, future: Any) -> Row | None:
        """The row of a scan that a worker is done with; None where it is given out again, or not looked for yet."""
        assignment = self._forget(future)
        if assignment is None:
            return None
        with self._scheduler.reached():
            try:
                answer = self._scheduler.result(future)
            except HilumError as problem:
                row = assignment.failed(problem.code, reason_without_names(problem, path=assignment.task.ref.path))
                return msgspec.structs.replace(row, full_reason=str(problem))
            except Exception as problem:  # noqa: BLE001 - whatever Dask makes of a worker that is lost
                more = "" if isinstance(problem, CancelledError) else f": {type(problem).__name__}: {problem}"
                return self._lost(assignment, "its Dask worker was lost", more=more)
        if not answer:  # another process than the one that was asked has the address
            self._workers.recheck(assignment.address)
            return self._lost(assignment, "its Dask worker was lost and started anew")
        return self._taken(assignment, msgspec.json.decode(answer, type=Row))

    def _taken(self, assignment: _Assignment, row: Row) -> Row | None:
        """A worker's row as this process sees it; None where the scan is still to be seen."""
        row = msgspec.structs.replace(row, attempts=row.attempts + assignment.attempt - 1)
        if row.status in FINISHED:
            self._late.append(_Late(row, assignment, time.monotonic() + _SIGHT))
            return None
        if row.code == MissingInputError.code and assignment.task.ref.path.exists():
            self._workers.recheck(assignment.address)
            what = "a Dask worker does not see it, this command does; run again"
            return assignment.failed(NOT_VISIBLE, what, more=f" ({assignment.address})")
        return row

    def _seen(self) -> Iterator[Row]:
        """Rows of finished scans that are seen from here, and of those that should be by now."""
        late, self._late = self._late, []
        for one in late:
            folder = one.assignment.task.out / "scans" / one.row.id
            if record_sha256(folder) == one.row.scan_sha256:
                yield one.row
            elif time.monotonic() >= one.until:
                self._workers.recheck(one.assignment.address)
                what = "a Dask worker made it, but it is not seen here"
                yield one.assignment.failed(NOT_VISIBLE, what, more=f" in {folder} ({one.assignment.address})")
            else:
                self._late.append(one)

    def _reassign(self) -> Iterator[Row]:
        """Give out again what its worker does not have; rows of scans that were lost with a worker once too often."""
        for future, assignment in list(self._assigned.items()):
            worker = self._workers.by_address.get(assignment.address)
            at_worker = future.key in self._workers.at_work.get(assignment.address, ())
            young = worker is not None and self._workers.looked - assignment.since < _GRACE
            if future.status != "pending" or at_worker or young:
                continue
            self._forget(future)
            self._scheduler.cancel([future])
            if worker is not None:
                worker.rests_until = self._workers.looked + _REST
            if worker is not None or self._scheduler.has_retired(assignment.address):  # no fault of the scan
                self._waiting.appendleft((assignment.task, assignment.attempt))
            elif row := self._lost(assignment, "its Dask worker was lost"):
                yield row

    def _lost(self, assignment: _Assignment, what: str, *, more: str = "") -> Row | None:
        if assignment.attempt <= self._limits.retries:
            self._waiting.appendleft((assignment.task, assignment.attempt + 1))
            return None
        return assignment.failed(DIED, what, more=more)

    def _forget(self, future: Any) -> _Assignment | None:
        assignment = self._assigned.pop(future, None)
        if assignment is not None and (worker := self._workers.by_address.get(assignment.address)):
            worker.scans.discard(future)
        return assignment
