"""The way to a Dask scheduler and its workers, which says in one line where it is lost."""

from __future__ import annotations

import queue
import secrets
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.batch.cluster import probe
from hilum.errors import HilumError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOOK = "exec(text, space) or space['look'](asked)"
MAKE = "load('hilum.batch.cluster.worker_pools').make_here(given)"
DISMISS = "load('hilum.batch.cluster.worker_pools').dismiss(run)"
"""What a worker evaluates: by Python's own `eval`, so that neither it nor the scheduler needs hilum to be asked."""

_RPC = 60.0
"""Seconds after which a scheduler that does not answer counts as lost."""

_SHUTDOWN_SECONDS = 5.0
"""Seconds for which the end of the workers' processes is waited for."""


class SchedulerClient:
    """A client of a scheduler at an address; `ended` gets what was submitted as it ends, in whatever way."""

    def __init__(self, client: Any, scheduler: str) -> None:
        self.client, self.address = client, scheduler
        self.ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._text = Path(probe.__file__).read_text(encoding="utf-8")

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Say in one line that the scheduler is lost, however Dask says it.

        Raises
        ------
        InputError
            If it is.
        """
        lost = False
        try:
            yield
        except HilumError:
            raise
        except (OSError, CancelledError, RuntimeError):
            lost = True
        if lost or self.client.status != "running":
            do = "start it and run again: what is finished stays"
            raise InputError("the Dask scheduler was lost", where=self.address, do=do, code="no-cluster") from None

    def submit(self, expression: str, address: str, kind: str, **given: Any) -> Any:
        """Have an expression evaluated by one worker and no other; the future of it."""
        space = {"load": import_module, **given}
        if expression == LOOK:
            space |= {"text": self._text, "space": {}}
        key = f"hilum-{kind}-{secrets.token_hex(16)}"
        with self.reached():
            future = self.client.submit(eval, expression, space, workers=[address], key=key, pure=False, retries=0)
        future.add_done_callback(self.ended.put)
        return future

    def result(self, future: Any) -> Any:
        """What a future that has ended gave; raises what it raised, and CancelledError where it was cancelled."""
        return future.result(timeout=_RPC)

    def at_work(self) -> dict[str, set[str]]:
        """Which keys are at which worker, by address; every worker that is there stands in it."""
        with self.reached():
            asked = self.client.sync(self.client.scheduler.processing, workers=None, callback_timeout=_RPC)
        return {address: set(keys) for address, keys in asked.items()}

    def threads(self) -> dict[str, int]:
        """How many threads each worker has."""
        with self.reached():
            return dict(self.client.nthreads())

    def has_retired(self, address: str) -> bool:
        """Whether a worker left in order, such as at the end of its lifetime."""
        with self.reached():
            events = self.client.get_events(address)
        left = [event for _, event in events if event.get("action") == "remove-worker"]
        return bool(left and left[-1].get("expected"))

    def cancel(self, futures: Iterable[Any]) -> None:
        """Take back what is at workers."""
        with self.reached():
            self.client.cancel(list(futures))

    def dismiss(self, run: str, addresses: Iterable[str]) -> None:
        """Have workers end their processes for a run; one that does not answer ends them when they are idle."""
        if self.client.status != "running":
            return
        from distributed import wait

        with suppress(OSError, CancelledError, HilumError):
            ends = [self.submit(DISMISS, address, "end", run=run) for address in addresses]
            if ends:
                wait(ends, timeout=_SHUTDOWN_SECONDS)  # type: ignore[no-untyped-call]
