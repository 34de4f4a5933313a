"""Assign scans to the workers of a Dask scheduler, and handle their answers or their loss."""

from __future__ import annotations

import pickle
import time
from collections import deque
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from hilum.batch.cluster.connection import MAKE_SCAN
from hilum.batch.cluster.workers import REFRESH_SECONDS, DaskWorkers
from hilum.batch.supervisor import DIED
from hilum.batch.task import failed_row
from hilum.errors import HilumError, MissingInputError
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
"""The code of a scan whose input or output either a worker or this process does not see."""

_GRACE_SECONDS = 5.0  # after this time a scan that its worker does not have is assigned again

_PAUSE_SECONDS = 30.0
"""A worker that did not accept a scan, because Dask paused it for lack of memory, gets none for this time."""

_VISIBLE_SECONDS = 60.0
"""How long to wait until a finished scan is visible here; a network file system may cache folders."""


@dataclass(frozen=True)
class _Assignment:
    """A scan assigned to a worker."""

    task: Task
    attempt: int
    address: str
    since: float

    def failed(self, code: str, what: str, *, more: str = "") -> Row:
        """The row of a failed scan. Only the screen shows `more`, which may contain paths."""
        return failed_row(self.task.ref, code, what, what + more, attempts=self.attempt)


class Dispatch:
    """The scans of one run and their assignment to workers."""

    def __init__(self, scheduler: SchedulerClient, contract: Contract, limits: Limits) -> None:
        self._scheduler, self._limits, self._run = scheduler, limits, contract.run
        self._workers = DaskWorkers(scheduler, contract)
        self._assigned: dict[Any, _Assignment] = {}
        self._waiting: deque[tuple[Task, int]] = deque()
        self._unconfirmed: list[tuple[Row, _Assignment, float]] = []  # not visible here yet; until when to wait

    def close(self) -> None:
        """Cancel assigned scans, and let the workers end their processes."""
        with suppress(HilumError):  # if the scheduler is lost, its workers notice it themselves
            self._scheduler.cancel(self._assigned)
        self._workers.close()

    def make(self, tasks: Iterable[Task], watch: Callable[[tuple[str, ...]], None]) -> Generator[Row]:
        """Make scans, and yield their rows as they end; `watch` is called as in `hilum.batch.supervisor.make_rows`.

        Raises
        ------
        InputError
            If a worker does not fulfill the contract at the start, the scheduler is lost, or there is no worker for too
            long.
        """
        self._waiting.extend((task, 1) for task in tasks)
        self._workers.check_all()
        while True:
            self._assign()
            watch(tuple(assignment.task.ref.scan_id for assignment in self._assigned.values()))
            if not (self._waiting or self._assigned or self._unconfirmed):
                return
            for future in self._workers.ended():
                if future in self._workers:
                    self._workers.handle_answer(future)
                elif row := self._collect(future):
                    yield row
            yield from self._confirmed()
            if time.monotonic() - self._workers.refreshed >= REFRESH_SECONDS:
                self._workers.refresh()
                yield from self._reassign()

    def _assign(self) -> None:
        """Assign to every accepted worker as many scans as it has threads."""
        for address, worker in self._workers.workers.items():
            while self._waiting and worker.is_free():
                task, attempt = self._waiting.popleft()
                message = pickle.dumps((task, self._limits, self._run))
                future = self._scheduler.submit(MAKE_SCAN, address, "scan", message=message)
                self._assigned[future] = _Assignment(task, attempt, address, time.monotonic())
                worker.scans.add(future)

    def _collect(self, future: Any) -> Row | None:
        """Return the row of a scan that its worker has finished; None if it is assigned again or not confirmed yet."""
        assignment = self._forget(future)
        if assignment is None:
            return None
        with self._scheduler.connected():
            try:
                answer = self._scheduler.result(future)
            except HilumError as problem:
                row = assignment.failed(problem.code, reason_without_names(problem, path=assignment.task.ref.path))
                return msgspec.structs.replace(row, full_reason=str(problem))
            except Exception as problem:  # noqa: BLE001 - Dask may raise anything for a lost worker
                more = "" if isinstance(problem, CancelledError) else f": {type(problem).__name__}: {problem}"
                return self._lost(assignment, "its Dask worker was lost", more=more)
        if not answer:  # a new process, which was not probed, has the address
            self._workers.recheck(assignment.address)
            return self._lost(assignment, "its Dask worker was lost and restarted")
        return self._check_row(assignment, msgspec.json.decode(answer, type=Row))

    def _check_row(self, assignment: _Assignment, row: Row) -> Row | None:
        """Return a worker's row if this process agrees; None if it has to wait until the scan is visible."""
        row = msgspec.structs.replace(row, attempts=row.attempts + assignment.attempt - 1)
        if row.status in FINISHED:
            self._unconfirmed.append((row, assignment, time.monotonic() + _VISIBLE_SECONDS))
            return None
        if row.code == MissingInputError.code and assignment.task.ref.path.exists():
            self._workers.recheck(assignment.address)
            what = "is not visible to a Dask worker, but to this command; run again"
            return assignment.failed(NOT_VISIBLE, what, more=f" ({assignment.address})")
        return row

    def _confirmed(self) -> Iterator[Row]:
        """Yield the rows of finished scans that are visible here, and failures of those that are not in time."""
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for row, assignment, until in unconfirmed:
            folder = assignment.task.out / "scans" / row.id
            if record_sha256(folder) == row.scan_sha256:
                yield row
            elif time.monotonic() >= until:
                self._workers.recheck(assignment.address)
                what = "a Dask worker made it, but it is not visible here"
                yield assignment.failed(NOT_VISIBLE, what, more=f" in {folder} ({assignment.address})")
            else:
                self._unconfirmed.append((row, assignment, until))

    def _reassign(self) -> Iterator[Row]:
        """Assign scans again that their workers do not have; yield the rows of scans that were lost too often."""
        for future, assignment in list(self._assigned.items()):
            worker = self._workers.workers.get(assignment.address)
            at_worker = future.key in self._workers.at_work.get(assignment.address, ())
            recent = worker is not None and self._workers.refreshed - assignment.since < _GRACE_SECONDS
            if future.status != "pending" or at_worker or recent:
                continue
            self._forget(future)
            self._scheduler.cancel([future])
            if worker is not None:
                worker.paused_until = self._workers.refreshed + _PAUSE_SECONDS
            if worker is not None or self._scheduler.has_retired(assignment.address):  # the scan is not at fault
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
        if assignment is not None and (worker := self._workers.workers.get(assignment.address)):
            worker.scans.discard(future)
        return assignment
