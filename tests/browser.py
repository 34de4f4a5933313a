"""A headless Chromium, driven over its own pipe (Chrome DevTools Protocol): no driver, no port, no network."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")

# The browser reads commands from 3 and writes answers to 4.
START = """
import fcntl, os, sys
high = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
for old, new in zip(high, (3, 4)):
    os.dup2(old, new, inheritable=True)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def find():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of the browser, and everything that it asked for or complained about."""

    def __init__(self, commands, answers):
        self.commands, self.answers = commands, answers
        self.number, self.session, self.rest = 0, None, b""
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Send a command and wait for its answer; events on the way are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(120)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, event, seconds=120):
        """Wait for an event; those before it are kept too."""
        until = time.monotonic() + seconds
        while not any(e.get("method") == event for e in self.events):
            self.events.append(self._read(until - time.monotonic()))

    def _read(self, seconds):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.answers], [], [], max(0.0, seconds))
            if not ready:
                raise TimeoutError(f"the browser said nothing for {seconds:.0f} s")
            data = os.read(self.answers, 1 << 20)
            if not data:
                raise EOFError("the browser ended")
            self.rest += data
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def open(self, path):
        """Load a file of this machine, or an address of it, and go along where it leads to another one."""
        self.events.clear()
        local = isinstance(path, str) and path.startswith("http://127.0.0.1:")
        self.call("Page.navigate", url=path if local else Path(path).resolve().as_uri())
        self.wait("Page.loadEventFired")
        arrived = "document.readyState === 'complete' && !document.querySelector('meta[http-equiv=refresh]')"
        for _ in range(2400):
            with suppress(RuntimeError):  # between one page and the next
                if self.run(arrived):
                    return
            time.sleep(0.05)
        raise TimeoutError(f"{path} never led anywhere")

    def run(self, script):
        """The value of an expression of JavaScript, awaited where it is a promise."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise RuntimeError(str(told["exceptionDetails"]))
        return told["result"].get("value")

    def until(self, script, want, seconds=120):
        """The value of an expression as soon as it is the one wanted, or when the time is over."""
        until = time.monotonic() + seconds
        while (value := self.run(script)) != want and time.monotonic() < until:
            time.sleep(0.05)
        return value

    def press(self, key, code=0, text=""):
        """Press one key."""
        parts = {"key": key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **parts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **parts)

    def mouse(self, kind, x, y, *, button="none", buttons=0, **more):
        """One event of the mouse; a drag is pressed, moved, released."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=1, **more)

    def drag(self, start, end, *, button="left"):
        """Press at one place, move in steps to another, and let go."""
        held = {"left": 1, "right": 2}[button]
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, button=button, buttons=held)
        for k in range(1, 5):
            at = [a + (b - a) * k / 4 for a, b in zip(start, end, strict=True)]
            self.mouse("mouseMoved", *at, button=button, buttons=held)
        self.mouse("mouseReleased", *end, button=button)

    def requests(self):
        """Addresses that the page asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def complaints(self):
        """Whatever came to the console, and exceptions."""
        kinds = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [e["params"] for e in self.events if e.get("method") in kinds]

    def look(self, path, **emulated):
        """Take a screenshot of what is in the window."""
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **emulated)["data"]))


@contextmanager
def browser(*, width=1400, height=900, flags=()):
    """Start Chromium and give a page; it is ended, with all that it wrote, when the block ends."""
    program = find()
    to_read, commands = os.pipe()
    answers, to_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-gpu",
                 f"--window-size={width},{height}", "--no-first-run", "--disable-background-networking",
                 "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-unsafe-swiftshader", *flags]  # fmt: skip
        words += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(to_read), str(to_write), *words],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        try:
            page = Page(commands, answers)
            yield page
        finally:
            try:
                page.session = None
                page.call("Browser.close")
                process.wait(10)
            except (EOFError, OSError, TimeoutError, UnboundLocalError, subprocess.TimeoutExpired):
                process.kill()
                process.wait()
            os.close(commands)
            os.close(answers)
