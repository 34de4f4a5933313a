"""What the tests share that drive the viewer's page with Playwright: a server, a script, and judging pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import browser
import numpy as np
import pytest
from matplotlib import image

WEB = Path(__file__).parents[1] / "viewer/web"

MARKS = [
    pytest.mark.usefixtures("no_workers"),
    pytest.mark.skipif(browser.find() is None, reason="there is no Chromium on this machine"),
    pytest.mark.skipif(
        shutil.which("node") is None or not (WEB / "node_modules/playwright-core").is_dir(),
        reason="Playwright is not installed: python3 dev.py page, where node is",
    ),
]


@contextmanager
def served(path, *options):
    """The address of a viewer that shows a path."""
    words = [sys.executable, "-m", "hilum.cli", "view", str(path), "--no-browser", *map(str, options)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(120)


def drive(script, address, pictures, *words, expected="\0"):
    """What a script of viewer/web/test saw: facts, and pictures by name. No request left the host, no other error."""
    pictures.mkdir(exist_ok=True)
    command = ["node", f"test/{script}.mjs", browser.find(), address, str(pictures), *map(str, words)]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    asked = [url for url in seen["requests"] if not url.startswith(("data:", "blob:"))]
    assert asked
    assert [url for url in asked if not url.startswith(f"http://{address.split('/')[2]}/")] == []
    assert [error for error in seen["errors"] if expected not in error] == []
    return seen, {one.stem: image.imread(one)[..., :3] for one in pictures.glob("*.png")}


def walk(script, path, pictures, *words, options=()):
    """Serve a path with options, and drive a script through it."""
    with served(path, *options) as address:
        return drive(script, address, pictures, *words)


def is_blank(picture):
    """Whether one color is nearly everywhere."""
    _, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    return len(counts) <= 50 or counts.max() >= 0.97 * counts.sum()


def differ(one, other):
    """The share of pixels that are not the same."""
    return (one != other).any(axis=-1).mean()
