"""The server: one address of this machine, one person who is let in, and an end at once with Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from hilum.errors import InputError, MissingInputError
from hilum.viewer.reviews import saving

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from hilum.viewer.sources import Source

HOST = "127.0.0.1"

QUEUE = 1024
"""Connections that the system keeps until they are taken."""


def check() -> None:
    """Check that the viewer can run here, before a scan is read for it.

    Raises
    ------
    InputError
        If a package is missing, or the page was not built.
    """
    try:
        import starlette
        import uvicorn
    except ImportError:
        raise InputError(
            "the viewer needs starlette and uvicorn", do="pip install 'hilum[viewer]'", code="no-viewer"
        ) from None
    del starlette, uvicorn
    from hilum.viewer.app import PAGE

    if not (PAGE / "index.html").is_file():
        what = "this copy of hilum was made without the viewer's page"
        do = "run 'python3 dev.py page' where node is, or install a wheel that holds it"
        raise MissingInputError(what, do=do, code="no-page")


def serve(
    source: Source,
    *,
    port: int,
    browser: bool,
    ready: Callable[[str], None],
    again: Callable[[str], None],
    failed: Callable[[], None],
) -> None:
    """Serve until Ctrl-C.

    Parameters
    ----------
    source : Source
    port : int
        0 for one that is free.
    browser : bool
        Whether the browser of this machine is started.
    ready, again, failed : callable
        As `hilum.viewer.view` takes them.

    Raises
    ------
    InputError
        If the port is taken.
    """
    import uvicorn

    from hilum.viewer.app import make_app
    from hilum.viewer.connections import AT_ONCE, Connection
    from hilum.viewer.door import Door
    from hilum.viewer.guard import Guard
    from hilum.viewer.handover import Handover

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        if os.name == "posix":  # else a port is closed for a minute after a viewer on it ended
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, port))
        except (OSError, OverflowError):
            raise InputError(f"port {port} cannot be used", do="leave --port out for a free one", code="port") from None
        taken.listen(QUEUE)
        door = Door(f"{HOST}:{taken.getsockname()[1]}")
        handover = Handover(door, failed)

        def end(sig: int, frame: FrameType | None) -> None:
            """End well at once, with Ctrl-C as with SIGTERM; only a review that is being written is waited for."""
            del sig, frame
            with saving:
                handover.remove()
                os._exit(0)

        class Server(uvicorn.Server):
            """One that does not wait for what is under way."""

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                taken.listen(QUEUE)  # asyncio made it AT_ONCE

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                end(sig, frame)

        def renew() -> None:
            again(door.issue(used=renew))

        settings = uvicorn.Config(
            Guard(make_app(source), door), http=Connection, log_level="critical", access_log=False, server_header=False,
            date_header=False, lifespan="off", ws="none", h11_max_incomplete_event_size=16384, backlog=AT_ONCE,
        )  # fmt: skip
        if threading.current_thread() is threading.main_thread():
            for sig in (signal.SIGINT, signal.SIGTERM):  # from the moment on that the address is out
                signal.signal(sig, end)
        ready(door.issue(used=renew))
        if browser:
            handover.start()
        Server(settings).run(sockets=[taken])
