"""The workers of a Dask scheduler as a run sees them: who is there, and who may be given scans."""

from __future__ import annotations

import logging
import queue
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hilum.batch.cluster.connection import LOOK, SchedulerClient
from hilum.batch.cluster.contract import CODE, Contract
from hilum.errors import HilumError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUND = 1.0
"""Seconds between two looks at who is there."""

_PATIENCE = 300.0
"""Seconds for which a run without any worker waits for one, unless Dask's own setting says otherwise."""

_SETTING = "distributed.scheduler.no-workers-timeout"

_ANSWER = 30.0
"""Seconds in which the workers that are there at the start answer; who takes longer gets scans when it answers."""

_NAMED = 20
"""How many workers that do not keep the contract are named, one a line."""

_log = logging.getLogger("hilum")


@dataclass(eq=False)
class DaskWorker:
    """A worker: whether it may be given scans (None until it has answered), how many at a time, what it is at."""

    threads: int
    good: bool | None = None
    scans: set[Any] = field(default_factory=set)
    rests_until: float = 0.0


class DaskWorkers:
    """The workers of one scheduler, for the time of a run."""

    def __init__(self, scheduler: SchedulerClient, contract: Contract) -> None:
        self.by_address: dict[str, DaskWorker] = {}
        self.at_work: dict[str, set[str]] = {}
        self.looked = self._had_workers = time.monotonic()
        self._scheduler, self._contract = scheduler, contract
        self._asked: dict[Any, str] = {}
        self._told_of_waiting = False

    def __contains__(self, future: Any) -> bool:
        """Whether a future is a worker's answer about itself."""
        return future in self._asked

    def open(self) -> None:
        """Ask the workers that are there, and wait for their answers.

        Raises
        ------
        InputError
            If one does not keep the contract, or none comes in time.
        """
        self.refresh()
        while not self.by_address:
            time.sleep(ROUND / 4)
            self.refresh()
        until, wrong = time.monotonic() + _ANSWER, []
        while self._asked and time.monotonic() < until:
            wrong += [problem for future in self.ended() if (problem := self.handle_answer(future, tell=False))]
            if time.monotonic() - self.looked >= ROUND:
                self.refresh()
        if wrong:
            raise self._refusal(wrong)
        for address in self._asked.values():
            _log.warning("%s: the worker is busy or hangs; it gets scans when it answers", address)

    def ended(self) -> Iterator[Any]:
        """What has ended by now; where nothing has, wait for it a moment."""
        with suppress(queue.Empty):
            yield self._scheduler.ended.get(timeout=ROUND / 4)
            while True:
                yield self._scheduler.ended.get_nowait()

    def refresh(self) -> None:
        """See who came and who left; wait for somebody, but not for ever.

        Raises
        ------
        InputError
            If nobody came in time, or the scheduler is lost.
        """
        self.at_work = self._scheduler.at_work()
        self.looked = time.monotonic()
        for address in self.by_address.keys() - self.at_work.keys():
            del self.by_address[address]
            for future in [future for future, asked in self._asked.items() if asked == address]:
                del self._asked[future]
        came = self.at_work.keys() - self.by_address.keys()
        threads = self._scheduler.threads() if came else {}
        for address in sorted(came & threads.keys()):
            self.by_address[address] = DaskWorker(threads[address])
            self._ask(address)
        self._mind_nobody()

    def handle_answer(self, future: Any, *, tell: bool = True) -> InputError | None:
        """Take a worker's answer about itself, and tell once of one that gets no scans.

        Parameters
        ----------
        future
            What has ended.
        tell : bool
            Whether it is told here, not by the caller.

        Returns
        -------
        InputError or None
            What is wrong with the worker.
        """
        address = self._asked.pop(future, "")
        worker = self.by_address.get(address)
        if worker is None:
            return None  # it has left
        with self._scheduler.reached():
            try:
                wrong = self._contract.judge(address, self._scheduler.result(future))
            except (CancelledError, TimeoutError):  # it is leaving; where it stays after all, it is asked anew
                del self.by_address[address]
                return None
            except Exception as problem:  # noqa: BLE001 - whatever a foreign environment makes of the question
                what = f"cannot be asked: {type(problem).__name__}: {problem}"
                wrong = InputError(what, where=address, do="see the worker's own log", code=CODE)
        worker.good = wrong is None
        if wrong is not None and tell:
            _log.warning("%s; it gets no scans", wrong)
        return wrong

    def recheck(self, address: str) -> None:
        """Ask a worker once more before it gets another scan."""
        worker = self.by_address.get(address)
        if worker is not None and worker.good:
            worker.good = None
            self._ask(address)

    def close(self) -> None:
        """Take back what was asked, and let the workers end the processes of this run."""
        with suppress(HilumError):
            self._scheduler.cancel(self._asked)
            self._scheduler.dismiss(
                self._contract.run, [address for address, worker in self.by_address.items() if worker.good]
            )

    def _ask(self, address: str) -> None:
        future = self._scheduler.submit(LOOK, address, "look", asked=self._contract.question(address))
        self._asked[future] = address

    def _refusal(self, wrong: list[InputError]) -> InputError:
        if len(wrong) == 1:
            return wrong[0]
        for problem in wrong[:_NAMED]:
            _log.warning("%s", problem)
        what = (
            f"{len(wrong)} of {len(self.by_address)} Dask workers cannot make these scans, such as {wrong[0].where}: "
        )
        do = "mend them or end them"
        return InputError(what + wrong[0].what, where=self._scheduler.address, do=do, code=CODE)

    def _mind_nobody(self) -> None:
        if any(worker.good is not False for worker in self.by_address.values()):
            self._had_workers, self._told_of_waiting = self.looked, False
            return
        what = "no Dask worker is there" if not self.by_address else "no Dask worker is there that can make these scans"
        where, patience = self._scheduler.address, _patience()
        if self.looked - self._had_workers >= patience:
            do = "start workers and run again: what is finished stays"
            raise InputError(f"{what}; waited {patience:g} s for one", where=where, do=do, code="no-workers")
        if not self._told_of_waiting:
            self._told_of_waiting = True
            _log.warning("%s: %s; waiting up to %g s for one", where, what, patience)


def _patience() -> float:
    """Seconds for which a run without any worker waits: of Dask's own setting for that, where there is one."""
    import dask.config
    from dask.utils import parse_timedelta

    asked = dask.config.get(_SETTING, None)
    return _PATIENCE if asked is None else float(parse_timedelta(asked))
