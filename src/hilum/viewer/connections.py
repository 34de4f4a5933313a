"""Connections on which nothing is asked: few, and not for long, so that nobody locks out the person who looks.

Any user of the machine can open connections to the server. They count against each other, never against an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

PATIENCE = 20.0
"""Seconds in which the whole head of a request has to be there, from the connection or the last answer on."""

WAITING = 128
"""Connections that may wait for a request; of more, the oldest is closed. Half the files macOS lets a process open."""

AT_ONCE = 16
"""Connections that are taken before those that were taken are read from: so few that none is closed unread."""


class Connection(H11Protocol):
    """A connection that is closed where no request comes.

    A stranger's is always one that waits: what the guard refuses is answered at once, and closed.
    """

    timer: asyncio.TimerHandle | None = None
    """Runs while no request is under way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._note()

    def handle_events(self) -> None:
        """Take what came."""
        super().handle_events()
        self._note()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._note()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        self._stop()

    def _note(self) -> None:
        """Note whether a request is under way."""
        if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            self._stop()
        elif self.timer is None:
            self.timer = self.loop.call_later(PATIENCE, self._give_up)
            waiting = [one for one in cast("set[Connection]", self.connections) if one.timer is not None]
            if len(waiting) > WAITING:
                min(waiting, key=_age).drop()

    def _stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def drop(self) -> None:
        """Close it at once."""
        self._stop()
        self.transport.abort()

    def _give_up(self) -> None:
        if self.transport.get_write_buffer_size():  # the end of an answer is still on its way
            self.timer = None
            self._note()
        else:
            self.drop()


def _age(one: Connection) -> tuple[bool, float]:
    """What is closed first: that on which nothing goes out, and which has waited longest."""
    return one.transport.get_write_buffer_size() > 0, one.timer.when() if one.timer is not None else 0.0
