"""`hilum view` in a process of its own, and questions to it that no browser would ask."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)/([A-Za-z0-9_-]{43})/\n")

JAR = {}
"""The cookie that each server gave, by its host."""


@contextmanager
def closed(*words, flags=("--no-browser",), before=(), **env):
    """A viewer's process, its host and the code of the address that it prints; ``before`` starts it another way."""
    command = [*before, sys.executable, "-m", "hilum.cli", "view", *map(str, words), *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=os.environ | env) as process:
        try:
            line = process.stdout.readline()
            found = ADDRESS.fullmatch(line)
            assert found, (line, process.stderr.read())
            yield process, found[1], found[2]
        finally:
            with suppress(ProcessLookupError):
                process.kill()


@contextmanager
def started(*words, **options):
    """A viewer's process, its host and the folder of its page; `ask` has the cookie."""
    with closed(*words, **options) as (process, host, code):
        yield process, host, let_in(host, code)


def let_in(host, code):
    """Exchange a code for the cookie, which is put into the jar, and tell the folder of the page."""
    status, headers, body = ask(host, f"/{code}/", Cookie=None)
    assert status == 200
    JAR[host] = headers["set-cookie"].split(";")[0]
    return re.search(rb'url=/([A-Za-z0-9_-]{22})/"', body)[1].decode()


def ended(process, sig=signal.SIGINT):
    """The status a process ends with; the time only guards against a test that hangs."""
    process.send_signal(sig)
    return process.wait(120)


def ask(host, path, method="GET", body=None, **headers):
    """Status, headers and body; Host and others as they are given, nothing is made nicer on the way."""
    link = http.client.HTTPConnection(host, timeout=30)
    link.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    given = {"Host": host, "Cookie": JAR.get(host)} | {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        given.setdefault("Content-Length", str(len(body)))
    for name, value in given.items():
        if value is not None:
            link.putheader(name, value)
    link.endheaders(body)
    answer = link.getresponse()
    got = answer.status, dict(answer.getheaders()), answer.read()
    link.close()
    return got


def post(served, body, path="api/scans/0/review", **headers):
    host, base = served
    given = {"Origin": f"http://{host}", "Content_Type": "application/json"} | headers
    return ask(host, base + path, "POST", body if isinstance(body, bytes) else json.dumps(body).encode(), **given)
