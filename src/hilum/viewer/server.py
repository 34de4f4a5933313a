"""The server: it listens on this machine only, and Ctrl-C stops it at once."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import FrameType

from hilum.errors import InputError, MissingInputError
from hilum.viewer import reviews, sources

HOST = "127.0.0.1"

BACKLOG = 1024  # connections that the system queues until they are accepted


def check(host_names: Sequence[str] = ()) -> None:
    """Check that the viewer can run, before a scan is read for it.

    Raises
    ------
    InputError
        If a package is missing, the page was not built, or a name cannot be that of a host.
    """
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        what = "the viewer needs starlette and uvicorn"
        raise InputError(what, do="pip install 'hilum[viewer]'", code="no-viewer")
    from hilum.viewer.addresses import check_host_names
    from hilum.viewer.app import PAGE

    check_host_names(host_names)
    if not (PAGE / "index.html").is_file():
        what = "this installation of hilum lacks the page of the viewer"
        raise MissingInputError(what, do="run 'python3 dev.py page' (needs node), or install a wheel", code="no-page")


def serve(
    source: sources.Source,
    *,
    port: int = 0,
    browser: bool = False,
    host_names: Sequence[str] = (),
    ready: Callable[[str], None],
    again: Callable[[str], None] = lambda _: None,
    failed: Callable[[], None] = lambda: None,
) -> None:
    """Serve a scan or a finished run to a browser on this machine, until Ctrl-C.

    Parameters
    ----------
    source : Source
        What is shown.
    port : int
        Port on 127.0.0.1; 0 for any free port.
    browser : bool
        Whether to start a browser. It gets its own address in a file that only its owner can read.
    host_names : sequence of str
        Names that can be used instead of ``127.0.0.1`` in an address, for a browser that reaches this port through
        another program. The server listens on 127.0.0.1 in any case.
    ready : callable
        Called with an address when the server runs. The address logs one browser in, once.
    again : callable
        Called with a new address when one was used.
    failed : callable
        Called if no browser could be started.

    Raises
    ------
    InputError
        If the port is in use, or one of the names is no host name.
    """
    import uvicorn

    from hilum.viewer import addresses, app, connection_limits, login, request_checks

    names = addresses.check_host_names(host_names)

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        if os.name == "posix":  # otherwise a port cannot be used again for a minute
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError):
            what = f"port {port} cannot be used"
            raise InputError(what, do="leave out --port to use any free port", code="port") from None
        listener.listen(BACKLOG)
        logins = login.Logins(f"{HOST}:{listener.getsockname()[1]}", names)
        access_page = login.AccessPage(logins, failed)

        def end(*_: object) -> None:
            """End at once, on Ctrl-C and SIGTERM; only wait until a review is saved.

            A normal exit would wait for the threads that read a scan or segment its lungs.
            """
            with reviews.saving:
                access_page.remove()
                os._exit(0)

        class Server(uvicorn.Server):
            """A server that does not wait for requests in progress."""

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                listener.listen(BACKLOG)  # asyncio has set it to ACCEPT_BATCH

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                end(sig, frame)

        def renew() -> None:
            again(logins.new_address(used=renew))

        settings = uvicorn.Config(
            request_checks.RequestChecks(app.make_app(source), logins),
            http=connection_limits.LimitedConnection, backlog=connection_limits.ACCEPT_BATCH,
            log_level="critical", access_log=False, server_header=False, date_header=False,
            lifespan="off", ws="none", h11_max_incomplete_event_size=16384,
        )  # fmt: skip
        if threading.current_thread() is threading.main_thread():
            for sig in (signal.SIGINT, signal.SIGTERM):  # before the address is printed
                signal.signal(sig, end)
        ready(logins.new_address(used=renew))
        if browser:
            access_page.open()
        Server(settings).run(sockets=[listener])
