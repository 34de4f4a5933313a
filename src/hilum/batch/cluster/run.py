"""Make scans on a Dask cluster, whose workers may run on any machine that sees the input and the output.

1. Every worker is checked against the contract (`hilum.batch.cluster.contract`). A worker that does not fulfill it ends
   the run at its start; one that joins later gets no scan.
2. Each scan is assigned to one worker, with as many at a time as it has threads. Dask does not move scans.
3. A row counts when this process sees the scan in the output folder.
4. If a worker is lost, its current scans are tried once more. Without workers the run waits for a limited time;
   without its scheduler it ends.

A Dask worker makes each scan in a child process (`hilum.batch.cluster.worker_pools`), like the supervisor on one
machine: a crash, a timeout or too much memory costs that scan alone. The Dask worker survives.
"""

import logging
import pickle
import secrets
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from hilum.batch.cluster.contract import Contract, contract_of
from hilum.batch.cluster.workers import MAKE_SCAN, REFRESH_SECONDS, RPC_SECONDS, DaskWorkers, SchedulerClient
from hilum.batch.limits import Limits, count_processes
from hilum.batch.supervisor import DIED, Watch
from hilum.batch.task import Task, failed_row
from hilum.errors import HilumError, InputError, MissingInputError
from hilum.outputs.finished import record_sha256
from hilum.outputs.ledger import FINISHED, Row
from hilum.outputs.reasons import reason_without_names

NOT_VISIBLE = "unseen"  # the code of a scan whose input or output either a worker or this process does not see

_GRACE_SECONDS = 5.0  # after this time a scan that its worker does not have is assigned again

_PAUSE_SECONDS = 30.0  # a worker that did not accept a scan, because Dask paused it, gets none for this time

_VISIBLE_SECONDS = 60.0  # how long to wait until a finished scan is visible; a network file system may cache folders

_WAIT_SECONDS = 30  # how long to wait for the scheduler to answer


def make_on_cluster(
    tasks: Sequence[Task], *, scheduler: str, workers: int | None, limits: Limits, watch: Watch
) -> Generator[Row]:
    """Make scans with the workers of a Dask scheduler.

    Parameters
    ----------
    tasks, limits, watch
        As the jobs, limits and callback of `hilum.batch.supervisor.make_rows`; it yields the same too.
    scheduler : str
        Its address; ``local`` starts one on this machine.
    workers : int or None
        Their number with ``local``; 0 or None for one per core, as far as memory allows.

    Raises
    ------
    InputError
        If dask.distributed is not installed, no scheduler answers at the address, a worker does not fulfill the
        contract, or the scheduler or all workers are lost.
    OutputError
        If the output folder cannot be written.
    """
    try:
        import distributed  # noqa: F401 - only to check that it is installed
    except ImportError:
        raise InputError("dask.distributed is not installed", do="pip install 'hilum[dask]'", code="no-dask") from None
    waiting = [_absolute(task) for task in tasks]
    log, drop = logging.getLogger("distributed.client"), lambda _: False
    with ExitStack() as stack:
        log.addFilter(drop)  # its tracebacks for a lost scheduler; hilum reports that in one line
        stack.callback(log.removeFilter, drop)
        contract = stack.enter_context(contract_of(waiting, secrets.token_hex(8)))
        client = stack.enter_context(_connect(scheduler, workers or 0, stack))
        dispatch = stack.enter_context(closing(Dispatch(SchedulerClient(client, scheduler), contract, limits)))
        yield from dispatch.make(waiting, watch)


def _absolute(task: Task) -> Task:
    """Make the paths of a task absolute, for processes in other folders."""
    ref, lungs, annotations = task.ref, task.ref.known.lungs, task.ref.annotations
    known = replace(ref.known, lungs=lungs and lungs.absolute())
    labels = tuple(replace(file, path=file.path.absolute()) for file in ref.label_files)
    ref = replace(ref, path=ref.path.absolute(), annotations=annotations and annotations.absolute(), known=known)
    ref = replace(ref, label_files=labels)
    return replace(task, ref=ref, out=task.out.absolute())


def _connect(scheduler: str, workers: int, stack: ExitStack) -> Any:
    """Connect to the scheduler."""
    import dask.config
    from distributed import Client, LocalCluster
    from distributed.versions import VersionMismatchWarning

    stack.enter_context(dask.config.set({"distributed.diagnostics.nvml": False}))
    try:
        if scheduler == "local":
            cluster = LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=count_processes(workers), threads_per_worker=1, processes=False, dashboard_address=":0"
            )
            return Client(stack.enter_context(cluster))  # type: ignore[no-untyped-call]
        warnings.simplefilter("ignore", VersionMismatchWarning)  # the contract reports it for each worker
        return Client(scheduler, timeout=_WAIT_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, ImportError) as problem:  # ImportError: incompatible versions
        what = f"no Dask scheduler answers: {str(problem) or 'no answer'}"
        raise InputError(what, where=scheduler, do="start one, or leave --scheduler out", code="no-cluster") from None


class _Assignment(NamedTuple):
    """A scan assigned to a worker."""

    task: Task
    attempt: int
    address: str
    since: float

    def failed(self, code: str, what: str, *, more: str = "") -> Row:
        """The row of a failed scan. Only the screen shows `more`, which may contain paths."""
        return msgspec.structs.replace(failed_row(self.task.ref, code, what, what + more), attempts=self.attempt)


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

    def make(self, tasks: Iterable[Task], watch: Watch) -> Generator[Row]:
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
        if (assignment := self._forget(future)) is None:
            return None
        with self._scheduler.connected():
            try:
                answer = future.result(timeout=RPC_SECONDS)
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
