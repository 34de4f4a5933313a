"""The connection to a Dask scheduler, its workers, and which of them may get scans of a run."""

import logging
import queue
import secrets
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from hilum.batch.cluster import probe
from hilum.batch.cluster.contract import CODE, Contract
from hilum.errors import HilumError, InputError

PROBE = "exec(text, space) or space['probe_worker'](request)"
MAKE_SCAN = "load('hilum.batch.cluster.worker_pools').make_scan(message)"
END_RUN = "load('hilum.batch.cluster.worker_pools').end_run(run)"
"""Expressions for a worker. Dask calls Python's own `eval`, so neither worker nor scheduler needs hilum for it."""

RPC_SECONDS = 60.0  # a scheduler that does not answer within this time is lost

_SHUTDOWN_SECONDS = 5.0  # how long to wait until the workers have ended their processes

REFRESH_SECONDS = 1.0  # how often the list of workers is refreshed

_NO_WORKERS_SECONDS = 300.0  # how long a run without workers waits for one, unless Dask's own setting differs

_ANSWER_SECONDS = 30.0  # how long the run waits at its start for answers; slower workers get scans once they answer

_log = logging.getLogger("hilum")


@dataclass(eq=False)
class DaskWorker:
    """A worker: its threads, whether it may get scans (None until it has answered), and its current scans."""

    threads: int
    accepted: bool | None = None
    scans: set[Any] = field(default_factory=set)
    paused_until: float = 0.0

    def is_free(self) -> bool:
        """Check that the worker may get another scan now."""
        return bool(self.accepted) and len(self.scans) < self.threads and self.paused_until <= time.monotonic()


class DaskWorkers:
    """The workers of one scheduler during a run."""

    def __init__(self, scheduler: "SchedulerClient", contract: Contract) -> None:
        self.workers: dict[str, DaskWorker] = {}
        self.at_work: dict[str, set[str]] = {}
        self.refreshed = self._had_workers = time.monotonic()
        self._scheduler, self._contract = scheduler, contract
        self._probes: dict[Any, str] = {}
        self._reported_waiting = False

    def __contains__(self, future: Any) -> bool:
        """Check whether a future is the answer of a worker to the probe."""
        return future in self._probes

    def check_all(self) -> None:
        """Probe the workers that exist at the start of the run, and wait for their answers.

        Raises
        ------
        InputError
            If one does not fulfill the contract, or no worker appears in time.
        """
        self.refresh()
        while not self.workers:
            time.sleep(REFRESH_SECONDS / 4)
            self.refresh()
        until, problems = time.monotonic() + _ANSWER_SECONDS, []
        while self._probes and time.monotonic() < until:
            if time.monotonic() - self.refreshed >= REFRESH_SECONDS:
                self.refresh()
            problems += [problem for future in self.ended() if (problem := self.handle_answer(future, log=False))]
        if problems:
            raise self._refusal(problems)
        for address in self._probes.values():
            _log.warning("%s: the worker is busy or hangs; it gets scans when it answers", address)

    def ended(self) -> Iterator[Any]:
        """Yield the futures that have ended; wait a moment if there are none."""
        with suppress(queue.Empty):
            yield self._scheduler.ended.get(timeout=REFRESH_SECONDS / 4)
            while True:
                yield self._scheduler.ended.get_nowait()

    def refresh(self) -> None:
        """Update the list of workers.

        Raises
        ------
        InputError
            If there has been no worker for too long, or the scheduler is lost.
        """
        self.at_work = self._scheduler.at_work()
        self.refreshed = time.monotonic()
        for address in self.workers.keys() - self.at_work.keys():
            del self.workers[address]
            for future in [future for future, probed in self._probes.items() if probed == address]:
                del self._probes[future]
        new = self.at_work.keys() - self.workers.keys()
        threads = self._scheduler.threads() if new else {}
        for address in sorted(new & threads.keys()):
            self.workers[address] = DaskWorker(threads[address])
            self._probe(address)
        self._check_any_worker()

    def handle_answer(self, future: Any, *, log: bool = True) -> InputError | None:
        """Handle a worker's answer to the probe.

        Parameters
        ----------
        future
            It must have ended.
        log : bool
            Log the problem with a worker that gets no scans.

        Returns
        -------
        InputError or None
            The problem with the worker.
        """
        address = self._probes.pop(future, "")
        if (worker := self.workers.get(address)) is None:
            return None  # it has left
        with self._scheduler.connected():
            try:
                problem = self._contract.problem(address, future.result(timeout=RPC_SECONDS))
            except (CancelledError, TimeoutError):  # it is leaving; if it stays, it is probed again
                del self.workers[address]
                return None
            except Exception as error:  # noqa: BLE001 - a foreign environment may raise anything
                what = f"cannot run the probe: {type(error).__name__}: {error}"
                problem = InputError(what, where=address, do="see the worker's own log", code=CODE)
        worker.accepted = problem is None
        if problem is not None and log:
            _log.warning("%s; it gets no scans", problem)
        return problem

    def recheck(self, address: str) -> None:
        """Probe a worker again before it gets another scan."""
        if (worker := self.workers.get(address)) is not None and worker.accepted:
            worker.accepted = None
            self._probe(address)

    def close(self) -> None:
        """Cancel open probes, and let the workers end their processes of this run."""
        with suppress(HilumError):
            self._scheduler.cancel(self._probes)
            accepted = [address for address, worker in self.workers.items() if worker.accepted]
            self._scheduler.end_run(self._contract.run, accepted)

    def _probe(self, address: str) -> None:
        future = self._scheduler.submit(PROBE, address, "probe", request=self._contract.request(address))
        self._probes[future] = address

    def _refusal(self, problems: list[InputError]) -> InputError:
        first = problems[0]
        if len(problems) == 1:
            return first
        for problem in problems[:20]:
            _log.warning("%s", problem)
        what = f"{len(problems)} of {len(self.workers)} Dask workers cannot make these scans, such as {first.where}: "
        return InputError(what + first.what, where=self._scheduler.address, do="repair them or end them", code=CODE)

    def _check_any_worker(self) -> None:
        """Wait for a worker that can make scans, but only for a limited time."""
        if any(worker.accepted is not False for worker in self.workers.values()):
            self._had_workers, self._reported_waiting = self.refreshed, False
            return
        what = "no Dask worker is there" if not self.workers else "no Dask worker is there that can make these scans"
        where, wait_seconds = self._scheduler.address, _no_workers_seconds()
        if self.refreshed - self._had_workers >= wait_seconds:
            do = "start workers and run again: finished scans are kept"
            raise InputError(f"{what}; waited {wait_seconds:g} s for one", where=where, do=do, code="no-workers")
        if not self._reported_waiting:
            self._reported_waiting = True
            _log.warning("%s: %s; waiting up to %g s for one", where, what, wait_seconds)


def _no_workers_seconds() -> float:
    """How long a run without workers waits for one; Dask's own setting takes precedence."""
    import dask.config
    from dask.utils import parse_timedelta

    setting = dask.config.get("distributed.scheduler.no-workers-timeout", None)
    return _NO_WORKERS_SECONDS if setting is None else float(parse_timedelta(setting))


class SchedulerClient:
    """The client of a scheduler. `ended` is a queue of the futures that have ended, in any way."""

    def __init__(self, client: Any, scheduler: str) -> None:
        self.client, self.address = client, scheduler
        self.ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._text = Path(probe.__file__).read_text(encoding="utf-8")

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Turn any error of Dask about a lost scheduler into one line.

        Raises
        ------
        InputError
            If the scheduler is lost.
        """
        lost = False
        try:
            yield
        except HilumError:
            raise
        except (OSError, CancelledError, RuntimeError):
            lost = True
        if lost or self.client.status != "running":
            do = "start it and run again: finished scans are kept"
            raise InputError("the Dask scheduler was lost", where=self.address, do=do, code="no-cluster") from None

    def submit(self, expression: str, address: str, kind: str, **values: Any) -> Any:
        """Let one worker evaluate an expression; return the future."""
        space = {"load": import_module, **values}
        if expression == PROBE:
            space |= {"text": self._text, "space": {}}
        key = f"hilum-{kind}-{secrets.token_hex(16)}"
        with self.connected():
            future = self.client.submit(eval, expression, space, workers=[address], key=key, pure=False, retries=0)
        future.add_done_callback(self.ended.put)
        return future

    def at_work(self) -> dict[str, set[str]]:
        """The keys of the tasks at each worker, by address; idle workers have none."""
        with self.connected():
            tasks = self.client.sync(self.client.scheduler.processing, workers=None, callback_timeout=RPC_SECONDS)
        return {address: set(keys) for address, keys in tasks.items()}

    def threads(self) -> dict[str, int]:
        """The number of threads of each worker, by address."""
        with self.connected():
            return dict(self.client.nthreads())

    def has_retired(self, address: str) -> bool:
        """Check whether a worker left regularly, for example at the end of its lifetime."""
        with self.connected():
            events = self.client.get_events(address)
        removals = [event for _, event in events if event.get("action") == "remove-worker"]
        return bool(removals and removals[-1].get("expected"))

    def cancel(self, futures: Iterable[Any]) -> None:
        """Cancel futures."""
        with self.connected():
            self.client.cancel(list(futures))

    def end_run(self, run: str, addresses: Iterable[str]) -> None:
        """Let workers end their processes of a run. A worker that does not answer ends idle processes by itself."""
        if self.client.status != "running":
            return
        from distributed import wait

        with suppress(OSError, CancelledError, HilumError):
            if ends := [self.submit(END_RUN, address, "end", run=run) for address in addresses]:
                wait(ends, timeout=_SHUTDOWN_SECONDS)  # type: ignore[no-untyped-call]  # Dask has no types here
