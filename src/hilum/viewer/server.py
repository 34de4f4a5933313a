"""The server: one address of this machine, a secret in it, and an end at once with Ctrl-C."""

from __future__ import annotations

import os
import secrets
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


def serve(source: Source, *, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Parameters
    ----------
    source : Source
    port : int
        0 for one that is free.
    ready : callable
        Called with the address once connections are taken.

    Raises
    ------
    InputError
        If the port is taken.
    """
    import uvicorn

    from hilum.viewer.app import make_app
    from hilum.viewer.guard import Guard

    class Server(uvicorn.Server):
        """One that does not wait for what is under way."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            _end(sig, frame)

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        try:
            taken.bind((HOST, port))
        except (OSError, OverflowError):
            raise InputError(f"port {port} cannot be used", do="leave --port out for a free one", code="port") from None
        taken.listen(64)
        host = f"{HOST}:{taken.getsockname()[1]}"
        token = secrets.token_urlsafe(32)
        app = Guard(make_app(source), token, host)
        settings = uvicorn.Config(
            app, log_level="critical", access_log=False, server_header=False, date_header=False, lifespan="off",
            ws="none", limit_concurrency=64, timeout_keep_alive=30, h11_max_incomplete_event_size=16384,
        )  # fmt: skip
        if threading.current_thread() is threading.main_thread():
            for sig in (signal.SIGINT, signal.SIGTERM):  # from the moment on that the address is out
                signal.signal(sig, _end)
        ready(f"http://{host}/{token}/")
        Server(settings).run(sockets=[taken])


def _end(sig: int, frame: FrameType | None) -> None:
    """End well at once, with Ctrl-C as with SIGTERM, but for a review that is being written: that is waited for."""
    del sig, frame
    with saving:
        os._exit(0)
