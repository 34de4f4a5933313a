"""Limits on idle connections.

Any user of the machine can open connections to the server. Limits on their number and time keep them from blocking the
viewer's user. A connection with a request in progress does not count.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT = 20.0  # seconds for the complete head of a request, from the connection or the last response on

MAX_IDLE = 128  # waiting connections; with more the oldest is closed (macOS lets a process open twice as many files)

ACCEPT_BATCH = 16  # connections accepted before accepted ones are read: so few that none is closed before it was read


class LimitedConnection(H11Protocol):
    """A connection that is closed if no request comes.

    A connection without a login is always idle: its requests are answered at once, and it is closed.
    """

    timer: asyncio.TimerHandle | None = None
    """Runs while no request is in progress."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._update_timer()

    def handle_events(self) -> None:
        """Handle received data."""
        super().handle_events()
        self._update_timer()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._update_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        super().connection_lost(exc)
        self._stop_timer()

    def _update_timer(self) -> None:
        if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            self._stop_timer()
        elif self.timer is None:
            self.timer = self.loop.call_later(HEAD_TIMEOUT, self._on_timeout)
            idle = [one for one in cast("set[LimitedConnection]", self.connections) if one.timer is not None]
            if len(idle) > MAX_IDLE:
                min(idle, key=_closing_order).abort()

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def abort(self) -> None:
        """Close the connection at once."""
        self._stop_timer()
        self.transport.abort()

    def _on_timeout(self) -> None:
        if self.transport.get_write_buffer_size():  # still sending the end of a response
            self.timer = None
            self._update_timer()
        else:
            self.abort()


def _closing_order(one: LimitedConnection) -> tuple[bool, float]:
    """Connections that send nothing come first, then those that have waited longest."""
    return one.transport.get_write_buffer_size() > 0, one.timer.when() if one.timer is not None else 0.0
