"""The connection to a Dask scheduler and its workers. A lost connection is reported in one line."""

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

PROBE = "exec(text, space) or space['probe_worker'](request)"
MAKE_SCAN = "load('hilum.batch.cluster.worker_pools').make_scan(message)"
END_RUN = "load('hilum.batch.cluster.worker_pools').end_run(run)"
"""Expressions for a worker. Dask calls Python's own `eval`, so neither worker nor scheduler needs hilum for it."""

_RPC_SECONDS = 60.0  # a scheduler that does not answer within this time is lost

_SHUTDOWN_SECONDS = 5.0  # how long to wait until the workers have ended their processes


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

    def result(self, future: Any) -> Any:
        """Return the result of a future that has ended, or raise its exception; CancelledError if it was cancelled."""
        return future.result(timeout=_RPC_SECONDS)

    def at_work(self) -> dict[str, set[str]]:
        """The keys of the tasks at each worker, by address; idle workers have none."""
        with self.connected():
            tasks = self.client.sync(self.client.scheduler.processing, workers=None, callback_timeout=_RPC_SECONDS)
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
            ends = [self.submit(END_RUN, address, "end", run=run) for address in addresses]
            if ends:
                wait(ends, timeout=_SHUTDOWN_SECONDS)  # type: ignore[no-untyped-call]  # Dask has no types here
